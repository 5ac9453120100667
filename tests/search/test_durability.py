"""Runs that are killed at random moments, meet a full disk or damaged files."""

import errno
import os
import random
import subprocess
import sys

import pandas as pd
import pytest

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.ranking import tau_b
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore
from tests.search.test_few_shot import assert_same_numbers

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("NASLID_KILLS", "12"))  # 50 takes some minutes more

# Forks a search from a process that has loaded everything, so that most of a child's life is
# the search itself; kills it after a while, and lets another child finish.
FORKER = """
import os, signal, sys, time, traceback
import torch
torch.set_num_threads(1)
from naslid_toolkit.datasets import load_digits
from naslid_toolkit.search import steps, result, storage
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.few_shot import few_shot_search

settings, folder, *moments = sys.argv[1:]
config, task = RunConfig.from_toml(settings), load_digits(copies=1)

def child(out, seconds=None):
    pid = os.fork()
    if pid == 0:
        try:
            few_shot_search(config, task, out=out, resume=os.path.exists(out))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

few_shot_search(config, task, out=f"{folder}/whole")  # which loads the last
started = time.monotonic()
assert child(f"{folder}/again") == 0
whole = time.monotonic() - started
for number, moment in enumerate(moments):
    killed = child(f"{folder}/{number}", float(moment) * whole)
    print(number, killed, child(f"{folder}/{number}"), flush=True)
"""


@pytest.fixture(scope="module")
def config() -> RunConfig:
    over = {"sample": 8, "evolution": {"evaluations": 6, "population": 3}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


def test_runs_killed_at_random_moments_end_with_the_same_numbers(config, tmp_path):
    settings = (
        create_store(tmp_path / "settings", config, task=load_digits()).folder / "config.toml"
    )
    draw = random.Random(0)
    moments = [str(draw.random()) for _ in range(KILLS)]

    done = subprocess.run(
        [sys.executable, "-c", FORKER, str(settings), str(tmp_path), *moments],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert len(outcomes) == KILLS
    assert all(finished == "0" for _, _, finished in outcomes), done.stderr
    assert sum(killed == "-9" for _, killed, _ in outcomes) > KILLS / 2
    truth = load_reference(digits_truth_path()).accuracy
    tau = _tau(tmp_path / "whole", truth)
    for number in range(KILLS):
        assert_same_numbers(tmp_path / "whole", tmp_path / str(number))
        assert _tau(tmp_path / str(number), truth) == tau
        assert not list((tmp_path / str(number)).rglob("*unfinished*"))


def _tau(folder, truth: pd.Series) -> float:
    scores = load_run(folder).scores["few_shot"]
    known = scores.index.intersection(truth.index)
    return tau_b(scores[known], truth[known])


@pytest.fixture(scope="module")
def whole(once, config, few_digits):
    return once("durable", lambda folder: few_shot_search(config, few_digits, out=folder))


def test_a_full_disk_is_named_and_the_last_good_state_stays(
    config, whole, few_digits, tmp_path, monkeypatch
):
    full = False

    def fsync(handle) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def on_event(event) -> None:
        nonlocal full
        full = type(event).__name__ == "SpaceSplit" or full

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataError, match=r"cannot write .*unfinished.safetensors: No space left"):
        few_shot_search(config, few_digits, out=tmp_path / "run", on_event=on_event)
    monkeypatch.undo()

    assert RunStore.open(tmp_path / "run").load_tree().split is not None
    assert not list((tmp_path / "run").rglob("*.tmp"))
    few_shot_search(config, few_digits, out=tmp_path / "run", resume=True)
    assert_same_numbers(whole, tmp_path / "run")
