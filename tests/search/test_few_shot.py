import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import ConfigError, DataError, SearchCancelledError
from naslid_toolkit.evaluation.baselines import parameter_count
from naslid_toolkit.evaluation.scores import LeafScore
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.runtime import WorkDone, ignore_event
from naslid_toolkit.search.config import RunConfig, merged, mode_settings
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.reuse import Donors
from naslid_toolkit.search.steps import Steps, resolve_device
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.supernet.network import Supernet
from tests.search.folders import unlisted_copy

MOMENTS = {
    "within the warm-up": ("EpochDone", "epoch", "1"),
    "between two splits": ("SpaceSplit", "node", "root-0"),
    "within the search": ("GenerationDone", "evaluations", "4"),
}
# Forks a search for every moment, from a process that has loaded everything, and kills it there.
KILLER = """
import json, os, signal, sys, torch
from naslid_toolkit.datasets import load_digits
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.few_shot import few_shot_search

torch.set_num_threads(1)
settings, folder, moments = sys.argv[1:]
torch.optim.SGD([torch.zeros(1)])  # the first of a process loads much
config, images = RunConfig.from_toml(settings), load_digits(copies=1)
for name, (kind, field, value) in json.loads(moments).items():
    def on_event(event):
        if type(event).__name__ == kind and str(getattr(event, field)) == value:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            few_shot_search(config, images, out=f"{folder}/{name}", on_event=on_event)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == -signal.SIGKILL, (name, code)
"""


@pytest.fixture(scope="module")
def config() -> RunConfig:
    over = {"levels": 2, "warmup_epochs": 2, "sample": 8, "training": {"epochs": 4}}
    over |= {"evolution": {"evaluations": 8, "population": 4}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


@pytest.fixture(scope="module")
def whole(once, config, few_digits):
    return once("few_shot", lambda folder: few_shot_search(config, few_digits, out=folder))


def assert_same_numbers(one, other):
    first, second = load_run(one), load_run(other)
    pd.testing.assert_frame_equal(first.scores, second.scores, check_exact=True)
    assert first.tree.to_dict() == second.tree.to_dict()
    assert first.history == second.history
    assert first.costs["steps"].to_dict() == second.costs["steps"].to_dict()
    for node, evidence in first.evidence.items():
        for a, b in zip(evidence, second.evidence[node], strict=True):
            assert torch.equal(a.vectors, b.vectors)
    for path in (one / "weights").iterdir():
        assert path.read_bytes() == (other / "weights" / path.name).read_bytes()


@pytest.fixture(params=MOMENTS)
def killed(once, whole, request, tmp_path):
    """A run that was killed at one of the moments."""

    def kill(folder):
        folder.mkdir()
        places = (str(whole / "config.toml"), str(folder), json.dumps(MOMENTS))
        subprocess.run([sys.executable, "-c", KILLER, *places], check=True)

    return shutil.copytree(once("killed", kill) / request.param, tmp_path / "run")


def test_a_killed_run_ends_with_the_same_numbers(config, whole, killed, few_digits):
    with pytest.raises(DataError, match="not finished"):
        load_run(killed)

    few_shot_search(config, few_digits, out=killed, resume=True)

    assert_same_numbers(whole, killed)
    assert not list((killed / "weights").glob("*unfinished*"))


def test_a_cancelled_run_goes_on(tmp_path, config, whole, few_digits):
    def cancel(event) -> None:
        if isinstance(event, WorkDone) and event.task == "training root-1":
            raise SearchCancelledError("enough")

    with pytest.raises(SearchCancelledError):
        few_shot_search(config, few_digits, out=tmp_path / "run", on_event=cancel)
    few_shot_search(config, few_digits, out=tmp_path / "run", resume=True)

    assert_same_numbers(whole, tmp_path / "run")


def test_a_finished_run_is_resumed_at_once(whole, config, few_digits):
    events = []

    few_shot_search(
        config,
        few_digits,
        architectures=["|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"],
        out=whole,
        resume=True,
        on_event=events.append,
    )

    assert not events
    assert len(load_run(whole).scores) == config.sample


def test_the_budget_of_both_methods_is_equal(whole, config):
    costs = load_run(whole).costs

    assert costs.loc["few_shot", "steps"] == costs.loc["single", "steps"]
    assert costs.loc["few_shot", "steps"] == config.total_epochs * (900 // 128)
    assert (costs["seconds"] > 0).all()


def test_stored_evidence_gives_the_stored_split(whole):
    run = load_run(whole)

    for name, evidence in run.evidence.items():
        assert split_by(evidence).to_dict() == run.tree.node(name).split.to_dict()


def test_scores_are_those_of_the_stored_weights(whole, config, few_digits):
    task, run, store = few_digits, load_run(whole), RunStore.open(whole)
    supernets = {}
    for leaf in run.tree.leaves:
        supernets[leaf.name] = Supernet(leaf.space, config.skeleton(task), seed=0)
        supernets[leaf.name].load_state_dict(store.load_weights(leaf.name))
    score = LeafScore(run.tree, supernets, task.valid)

    for name, value in run.scores["few_shot"].head(4).items():
        assert score(parse_architecture(name)) == value


def test_the_sample_is_that_of_the_reference_table(tmp_path, config, few_digits):
    names = [
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|",
        "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
    ]
    small = RunConfig.from_dict(
        merged(config.to_dict(), {"levels": 0, "training": {"epochs": 1}, "single": False})
    )

    run = few_shot_search(small, few_digits, architectures=names)

    assert sorted(run.scores.index) == sorted(names)
    assert list(run.scores) == ["few_shot", "convolution_count", "parameter_count"]
    parameters = parameter_count(map(parse_architecture, names), small.skeleton(few_digits))
    assert run.scores["parameter_count"].to_dict() == parameters.to_dict()
    assert len(run.tree.leaves) == 1


def test_a_random_criterion_needs_no_measurement(config, few_digits):
    control = RunConfig.from_dict(
        merged(
            config.to_dict(),
            {
                "criterion": "random",
                "levels": 1,
                "warmup_epochs": 1,
                "single": False,
                "training": {"epochs": 2},
            },
        )
    )

    run = few_shot_search(control, few_digits)

    assert run.evidence["root"][0].entries[0] == "random0"
    assert len(run.tree.leaves) == 2


@pytest.mark.parametrize("mode", ["paper", "official_code"])
def test_the_paper_and_its_code_can_be_run(config, mode, few_digits):
    short = {"levels": 1, "warmup_epochs": 1, "single": False, "training": {"epochs": 2}}
    variant = RunConfig.from_dict(merged(merged(config.to_dict(), short), mode_settings(mode)))

    run = few_shot_search(variant, few_digits)

    groups = run.tree.split.chosen.groups
    assert sorted(len(group) for group in groups) == [2, 3]
    candidates = run.tree.split.candidates
    assert run.tree.split.edge == max(candidates, key=lambda c: c.grouping.score).edge
    totals = {c.edge: float(c.similarity.triu(1).sum()) for c in candidates}
    within = {
        c.edge: sum(
            float(c.similarity[i, j]) for g in c.grouping.groups for i in g for j in g if i < j
        )
        for c in candidates
    }
    for candidate in candidates:
        inside = within[candidate.edge]
        expected = inside if mode == "paper" else totals[candidate.edge] - inside
        assert candidate.grouping.score == pytest.approx(expected)


def test_a_used_folder_is_never_overwritten(whole, config, few_digits):
    before = sorted((p.name, p.stat().st_mtime_ns) for p in whole.rglob("*") if p.is_file())

    with pytest.raises(ConfigError, match="is not empty and is left as it is"):
        few_shot_search(config, few_digits, out=whole)

    assert before == sorted((p.name, p.stat().st_mtime_ns) for p in whole.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["new", "deeper/new", "empty", "."])
def test_a_run_may_start_in_a_new_or_an_empty_folder(tmp_path, monkeypatch, config, name):
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    if name == ".":
        (tmp_path / "here" / "empty").rmdir()

    create_store(name, config, task=load_digits())

    assert RunStore.open(name).config == config
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_run_is_not_resumed(whole, config, few_digits):
    other = RunConfig.from_dict(merged(config.to_dict(), {"seed": 5}))

    with pytest.raises(ConfigError, match="has other settings"):
        few_shot_search(other, few_digits, out=whole, resume=True)
    with pytest.raises(ConfigError, match="is on 'digits"):
        few_shot_search(config, load_digits(seed=3), out=whole, resume=True)


def test_two_processes_do_not_share_a_run(whole, config, few_digits):
    with (
        RunStore.open(whole).control.locked(),
        pytest.raises(ConfigError, match="another process works on the run"),
    ):
        few_shot_search(config, few_digits, out=whole, resume=True)


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="device 'tpu' cannot be used"):
        resolve_device("tpu")


@pytest.fixture
def damaged(whole, tmp_path):
    return unlisted_copy(whole, tmp_path / "damaged")


@pytest.mark.parametrize(
    "name",
    ["tree.json", "scores.parquet", "history.parquet", "profiles/root.parquet", "environment.json"],
)
@pytest.mark.parametrize("content", [b"", b"\x80\x04PK junk"])
def test_a_damaged_file_is_named(damaged, name, content):
    (damaged / name).write_bytes(content)

    with pytest.raises(DataError, match=rf"{name} is missing or damaged; expected"):
        load_run(damaged)


def test_damaged_weights_are_named(damaged):
    path = damaged / "weights" / "root.safetensors"
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(DataError, match="root.safetensors is missing or damaged"):
        RunStore.open(damaged).load_weights("root")


def test_missing_weights_of_a_parent_are_named(damaged, config, few_digits):
    task, store = few_digits, RunStore.open(damaged)
    for name in ("root", "root-0"):
        (damaged / "weights" / f"{name}.safetensors").unlink()
    steps = Steps(store, config, task, torch.device("cpu"), Donors(), ignore_event)

    with pytest.raises(DataError, match="lacks the weights of 'root'"):
        steps.train("root-0", store.load_tree().chain("root-0"))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="it has no config.toml"):
        load_run(tmp_path)


def test_a_later_format_is_refused(damaged):
    data = json.loads((damaged / "environment.json").read_text())
    (damaged / "environment.json").write_text(json.dumps({**data, "format": 99}))

    with pytest.raises(DataError, match="has format 99, this version reads format 2"):
        load_run(damaged)


def test_an_unfinished_run_says_how_to_go_on(damaged):
    (damaged / "scores.parquet").unlink()

    with pytest.raises(DataError, match="not finished; continue it with --resume"):
        load_run(damaged)


def test_nothing_in_a_run_is_pickled(whole):
    for path in whole.rglob("*"):
        if path.is_file() and path.name != ".lock":
            head = path.read_bytes()[:4]
            assert path.suffix in {".toml", ".json", ".jsonl", ".parquet", ".safetensors"}
            assert head[:2] not in (b"\x80\x02", b"\x80\x04", b"PK")
