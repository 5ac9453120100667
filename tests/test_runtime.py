import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naslid_toolkit import runtime
from naslid_toolkit.errors import DataError, nearest_name
from naslid_toolkit.runtime import (
    WorkDone,
    append_json_line,
    derive_seed,
    generator,
    read_json_lines,
    replacing,
)


@given(seed=st.integers(0, 2**31), names=st.lists(st.text(max_size=5) | st.integers(0, 9)))
def test_a_stream_depends_on_its_name_alone(seed, names):
    first = torch.rand(3, generator=generator(seed, *names))
    torch.rand(7, generator=generator(seed, "other"))

    assert torch.equal(first, torch.rand(3, generator=generator(seed, *names)))
    assert 0 <= derive_seed(seed, *names) < 2**63


def test_names_are_not_glued_together():
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
    assert derive_seed(0, 1) != derive_seed(0, "1")


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@given(cut=st.integers(1, 10))
def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("lines") / "events.jsonl"
    append_json_line(path, {"n": 1})
    append_json_line(path, {"n": 2, "text": "äöü\n"})
    content = path.read_bytes()
    path.write_bytes(content[:-cut])

    assert read_json_lines(path) == [{"n": 1}]
    append_json_line(path, {"n": 3})
    assert read_json_lines(path) == [{"n": 1}, {"n": 3}]


def test_a_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"n": 1}\nnonsense\n')

    with pytest.raises(DataError, match=r"line 2 of .*events.jsonl is not JSON"):
        read_json_lines(path)


def test_an_event_is_plain_data():
    assert WorkDone("a", 1, 2, "steps").to_dict() == {
        "event": "WorkDone",
        "task": "a",
        "done": 1,
        "total": 2,
        "unit": "steps",
    }


def test_a_word_that_is_like_nothing_lists_the_names():
    assert nearest_name("zzz", ["b", "a"]) == "known: a, b"


TRAINING = """
import resource, sys, torch
from naslid_toolkit import nasbench201
from naslid_toolkit.datasets import Images
from naslid_toolkit.runtime import keep_freed_memory
from naslid_toolkit.supernet import training
from naslid_toolkit.supernet.network import Skeleton, Supernet
taken = keep_freed_memory() if sys.argv[1] == "keep" else False
training.keep_freed_memory = lambda: None
images = Images(torch.randn(512, 3, 16, 16), torch.arange(512) % 10)
network = Supernet(nasbench201(), Skeleton(8, 1, (3, 16, 16)), seed=0)
for _ in range(2):  # the first warms up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    training.train(network, images, training.TrainingConfig(epochs=2), seed=0)
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_training_uses_freed_memory_again_without_page_faults():
    found = {}
    for word in ("keep", "leave"):
        command = [sys.executable, "-c", TRAINING, word]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        taken, count = done.stdout.split()
        found[word] = int(count)
        if word == "keep" and taken == "False":
            pytest.skip("no glibc here")

    assert found["keep"] < 0.5 * found["leave"]


def test_without_glibc_nothing_is_asked_for(monkeypatch):
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _name: object())

    assert runtime.keep_freed_memory.__wrapped__() is False
