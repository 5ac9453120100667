import json
import shutil
import threading
import time

import pytest

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import ConfigError, DataError, SearchCancelledError
from naslid_toolkit.runtime import WORK_CLOCK, ignore_event
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.following import RunFollower
from naslid_toolkit.search.launch import create_run, last_words, start_search
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import load_run
from naslid_toolkit.space.nasbench201 import parse_architecture
from tests.search.folders import unlisted_copy


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A run whose files can be written by hand: they have no hashes."""
    return unlisted_copy(tiny_folder, tmp_path / "run")


def test_a_finished_run_has_all_its_stages_done(tiny_folder):
    follower = RunFollower(tiny_folder)
    assert follower.poll()
    progress = follower.at()

    assert follower.state() == "finished"
    assert not follower.poll()
    assert [stage.share for stage in progress.stages] == [1.0] * len(progress.stages)
    assert [stage.name for stage in progress.stages] == [
        "train level 0", "split level 0", "train level 1", "score few-shot", "search",
        "train single", "score single",
    ]  # fmt: skip
    assert progress.share == 1.0
    assert progress.seconds_left is None
    run = load_run(tiny_folder)
    assert progress.best == run.history.best.architecture
    assert progress.scored == {"few_shot": 24, "single": 24}


def test_where_a_run_stood_is_what_a_follower_of_that_time_saw(tiny_folder, copy):
    whole = RunFollower(tiny_folder)
    whole.poll()
    lines = (copy / "events.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "events.jsonl").write_bytes(b"")
    shutil.rmtree(copy / "evaluations")
    growing = RunFollower(copy)

    for number, line in enumerate(lines, start=1):
        with (copy / "events.jsonl").open("ab") as handle:
            handle.write(line[:5])
            handle.flush()
            assert not growing.poll()  # half a line is no event yet
            handle.write(line[5:])
            handle.flush()
        assert growing.poll()
        assert growing.at() == whole.at(number)


def test_an_epoch_repeated_after_a_kill_counts_once(copy):
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join([lines[0], *lines]))

    follower = RunFollower(copy)
    follower.poll()

    assert follower.at().share == 1.0


def test_time_left_is_judged_from_the_last_epochs(copy):
    rows = [{"event": "EpochDone", "task": "training root", "epoch": 1, "loss": 1.0,
             "learning_rate": 0.1, "seconds": 2.0}]  # fmt: skip
    (copy / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    follower = RunFollower(copy)
    follower.poll()

    total = follower.config.total_epochs * 2
    assert follower.at().seconds_left == pytest.approx(2.0 * (total - 1))


def test_a_damaged_line_is_named(copy):
    with (copy / "events.jsonl").open("a") as handle:
        handle.write("{nonsense\n")

    with pytest.raises(DataError, match="is not JSON"):
        RunFollower(copy).poll()


def test_a_paused_search_waits_and_its_clock_stands(tmp_path, tiny_config):
    folder, paused = tmp_path / "run", []

    def on_event(event):
        control = OpenRun(folder).store.control
        if type(event).__name__ == "EpochDone" and not paused:
            assert control.is_running
            control.request("pause")
            paused.append(WORK_CLOCK.now())
            threading.Timer(1.0, lambda: control.withdraw("pause")).start()
        elif len(paused) == 1:
            paused.append(WORK_CLOCK.now())

    started = time.perf_counter()
    few_shot_search(tiny_config, load_digits(), out=folder, on_event=on_event)

    assert time.perf_counter() - started > 1.0
    assert paused[1] - paused[0] < 0.9
    assert not OpenRun(folder).store.control.is_running


def test_a_run_that_is_asked_to_end_does_and_can_go_on(tmp_path, tiny_config, tiny_folder):
    folder = tmp_path / "run"

    def on_event(event):
        if type(event).__name__ == "SpaceSplit":
            OpenRun(folder).store.control.request("cancel")

    with pytest.raises(SearchCancelledError, match="asked to end"):
        few_shot_search(tiny_config, load_digits(), out=folder, on_event=on_event)
    assert RunFollower(folder).state() == "stopped"
    few_shot_search(tiny_config, load_digits(), out=folder, resume=True, on_event=ignore_event)

    assert RunFollower(folder).state() == "finished"
    assert load_run(folder).scores.equals(load_run(tiny_folder).scores)


def test_a_search_in_a_process_of_its_own_gives_the_same(tmp_path, tiny_config, tiny_folder):
    folder = create_run(tiny_config, tmp_path / "run").folder
    process = start_search(folder, device="cpu")

    assert process.process.wait(120) == 0

    assert process.exit_status == 0
    assert "Kendall" in last_words(folder)
    assert set(load_run(folder).scores.columns) == set(load_run(tiny_folder).scores.columns)


def test_the_folder_of_a_new_run_must_be_free(tiny_folder, tiny_config):
    with pytest.raises(ConfigError, match="not empty"):
        create_run(tiny_config, tiny_folder)


def test_an_open_run_scores_and_measures_as_the_search_did(tiny_folder):
    run = OpenRun(tiny_folder)
    name = str(run.scores.index[0])

    assert run.score(parse_architecture(name)) == pytest.approx(run.scores["few_shot"][name])
    assert OpenRun.of(run) is run
    assert run.name == "tiny"
    assert run.result is not None
    assert name in run.evaluated["few_shot"]


def test_an_unfinished_run_has_the_scores_so_far(copy):
    (copy / "scores.parquet").unlink()
    run = OpenRun(copy)

    assert run.result is None
    assert set(run.scores.columns) == {"few_shot", "single"}


def test_images_that_are_not_the_runs_are_refused(copy):
    environment = json.loads((copy / "environment.json").read_text())
    (copy / "environment.json").write_text(json.dumps({**environment, "task": "other"}))

    with pytest.raises(ConfigError, match="'other'"):
        _ = OpenRun(copy).images


def test_presets_start(tmp_path):
    assert create_run(RunConfig.preset("demo"), tmp_path / "demo").task
