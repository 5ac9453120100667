import json
import time

import pytest

from naslid_toolkit.errors import ConfigError, DataError, WorkerError
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.launch import LOG, create_run
from naslid_toolkit.widgets import SearchMonitor
from tests.search.folders import unlisted_copy
from tests.widgets.test_base import HOSTILE

pytestmark = pytest.mark.slow


@pytest.fixture
def long_config(tiny_config):
    """Settings that take long enough to be interrupted."""
    over = {"warmup_epochs": 40, "training": {"epochs": 80}}
    return RunConfig.from_dict(merged(tiny_config.to_dict(), over))


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until_state(monitor, *states):
    def reached():
        monitor.refresh()
        return monitor.state in states

    until(reached)


def test_a_finished_run_is_shown_and_replayed(tiny_folder, shown):
    monitor = shown(SearchMonitor(tiny_folder, background=False))
    last = monitor.position.max

    assert "finished, 100%" in monitor.words.value
    assert "Kendall tau" in monitor.summary.value
    assert monitor.begin.disabled
    assert monitor.pause.disabled
    assert len(monitor.best.cells) == 1

    monitor.play.value = 1
    assert monitor.position.value == 1
    assert monitor.progress.events == 1
    assert "100%" not in monitor.words.value
    assert len(monitor.figure.figure["data"][-1]["x"]) == 0
    monitor.position.value = last
    assert len(monitor.figure.figure["data"][-1]["x"]) > 24


def test_a_search_is_started_paused_continued_cancelled_and_resumed(tmp_path, long_config, shown):
    monitor = shown(
        SearchMonitor(long_config, out=tmp_path / "run", device="cpu", background=False)
    )
    assert "not started" in monitor.words.value
    monitor.begin.click()
    assert monitor.errors.value == ""
    until(monitor._follower.poll)
    until_state(monitor, "running")

    monitor.pause.click()
    assert monitor.state == "paused"
    assert monitor.pause.description == "Continue"
    time.sleep(0.5)
    monitor._follower.poll()
    seen = monitor._follower.events
    time.sleep(1)
    monitor._follower.poll()
    assert monitor._follower.events == seen
    monitor.pause.click()
    until(monitor._follower.poll)

    attached = shown(SearchMonitor(tmp_path / "run", background=False))
    assert attached.state == "running"
    attached.cancel.click()
    until(lambda: monitor.process.exit_status is not None)
    until_state(attached, "stopped")
    assert "Resume continues" in attached.status.value
    assert attached.errors.value == ""
    events = attached.progress.events

    attached.begin.click()
    until_state(attached, "running")
    until(attached._follower.poll)
    assert attached._follower.events > events
    attached.cancel.click()
    until(lambda: attached.process.exit_status is not None)


def test_a_search_that_fails_says_why(tmp_path, tiny_config, shown):
    monitor = shown(
        SearchMonitor(tiny_config, out=tmp_path / "run", device="cpu", background=False)
    )
    monitor._device = "nowhere"

    monitor.begin.click()
    until(lambda: monitor.process.exit_status is not None)
    monitor.refresh()

    monitor.refresh()  # another look takes nothing away

    assert "failed" in monitor.errors.value
    assert "device &#x27;nowhere&#x27; cannot be used" in monitor.errors.value
    again = shown(SearchMonitor(tmp_path / "run", background=False))
    assert "cannot be used" in again.errors.value

    monitor._device = "cpu"
    monitor.begin.click()
    assert monitor.errors.value == ""
    with pytest.raises(ConfigError, match="is running"):
        monitor.start()
    until(lambda: monitor.process.exit_status == 0)
    until_state(monitor, "finished")
    assert monitor.errors.value == ""


def test_the_end_of_a_search_is_waited_for(tmp_path, tiny_config, shown):
    monitor = shown(SearchMonitor(tiny_config, out=tmp_path / "run", device="cpu"))
    with pytest.raises(WorkerError, match="ended before it was finished"):
        monitor.wait()

    monitor.start()
    run = monitor.wait()

    assert len(run.scores) == 24
    assert monitor.state == "finished"
    assert "finished, 100%" in monitor.words.value
    assert len(shown(SearchMonitor(tmp_path / "run")).wait().scores) == 24


def test_errors_stay_while_the_folder_is_looked_at(tmp_path, tiny_config, shown):
    folder = create_run(tiny_config, tmp_path / "run").folder
    (folder / LOG).write_text("naslid: error: no such images")
    monitor = shown(SearchMonitor(folder))
    until(lambda: "no such images" in monitor.errors.value)

    time.sleep(1.2)  # at least two more looks
    assert "no such images" in monitor.errors.value

    monitor.cancel.click()
    assert "no search is running" in monitor.errors.value
    time.sleep(1.2)
    assert "no search is running" in monitor.errors.value


def test_what_a_log_says_is_text(tmp_path, tiny_config, shown):
    folder = create_run(tiny_config, tmp_path / "run").folder
    (folder / LOG).write_text(f"naslid: error: {HOSTILE}")

    monitor = shown(SearchMonitor(folder, background=False))

    assert "&lt;img" in monitor.errors.value
    assert "<img" not in monitor.errors.value


def test_events_are_text(tiny_folder, tmp_path, shown):
    folder = unlisted_copy(tiny_folder, tmp_path / "run")
    text = (
        (folder / "events.jsonl").read_text().replace("training root-0", f"training {HOSTILE[:30]}")
    )
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        if row["event"] == "SpaceSplit":
            row["groups"] = [[HOSTILE], ["b"]]
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    monitor = shown(SearchMonitor(folder, background=False))

    assert "<img" not in monitor.splits.value + monitor.stages.value
    assert "<img" not in json.dumps(monitor.figure.figure)


def test_a_running_or_finished_search_is_not_started_again(tiny_folder, shown):
    monitor = shown(SearchMonitor(tiny_folder, background=False))

    with pytest.raises(ConfigError, match="is finished"):
        monitor.start()
    monitor.cancel.click()
    assert "no search is running" in monitor.errors.value


def test_what_is_no_run_is_refused(tmp_path, tiny_folder):
    with pytest.raises(DataError, match="not the folder of a run"):
        SearchMonitor(tmp_path, background=False)
    with pytest.raises(ConfigError, match="out is for a new run"):
        SearchMonitor(tiny_folder, out=tmp_path, background=False)


def test_a_long_history_stays_small(tiny_folder, tmp_path, shown):
    folder = unlisted_copy(tiny_folder, tmp_path / "run")
    row = {"event": "EpochDone", "learning_rate": 0.1, "seconds": 0.4}
    with (folder / "events.jsonl").open("w") as handle:
        for number in range(100_000):
            task, epoch = divmod(number, 5000)
            more = {"task": f"training node-{task}", "epoch": epoch + 1, "loss": 1 / (epoch + 1)}
            handle.write(json.dumps({**row, **more}) + "\n")

    monitor = shown(SearchMonitor(folder, background=False))
    monitor.position.value = 60_000

    assert monitor.progress.events == 60_000
    assert len(json.dumps(monitor.figure.figure)) < 100_000


def test_the_monitor_looks_by_itself_and_ends_with_its_dashboard(tiny_folder, tmp_path, shown):
    folder = unlisted_copy(tiny_folder, tmp_path / "run")
    lines = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(lines[: lines.index("\n") + 1])
    monitor = shown(SearchMonitor(folder))
    monitor.settled()

    (folder / "events.jsonl").write_text(lines)

    until(lambda: monitor.position.max == lines.count("\n"))
    monitor.close()
    until(lambda: "naslid-monitor" not in [t.name for t in __import__("threading").enumerate()])


def test_before_it_begins_there_is_no_picture(tiny_config, tmp_path, shown):
    monitor = shown(SearchMonitor(tiny_config, out=tmp_path / "run", background=False))

    with pytest.raises(ConfigError, match="not begun"):
        monitor.to_figure()


def test_the_picture_shows_losses_and_scores(tiny_folder, shown):
    figure = shown(SearchMonitor(tiny_folder, background=False)).to_figure()

    assert figure.layout.xaxis.title.text == "epoch of the schedule"
    assert "best so far" in [trace.name for trace in figure.data]
