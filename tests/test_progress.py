import pytest

from naslid_toolkit import progress
from naslid_toolkit.partition.cost import SweepCost
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.runtime import Event, WorkDone
from naslid_toolkit.search.few_shot import Scored, SearchDone, SpaceSplit
from naslid_toolkit.search.hierarchical import HierarchySplit
from naslid_toolkit.search.steps import SupernetReused, SupernetTrained
from naslid_toolkit.search.study import ArmDone
from naslid_toolkit.supernet.training import EpochDone

EVENTS = (
    SupernetTrained("root", 14, 1.0),
    SpaceSplit("root", "0→1", [["none"], ["skip_connect"]], 0.5, 1.0),
    Scored("few_shot", 8, 1.0),
    SearchDone("|none~0|", 0.5),
    SupernetReused("root"),
    ArmDone("lid", 3),
    HierarchySplit(2, 4, [["none"], ["skip_connect", "none"]], 0.5, 10),
    SweepCost("lid", "path", 32, 128, 41.5, 2.0, scaled=False),
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_what_happened_is_said_in_a_line_each(capsys):
    show = ProgressDisplay()

    for event in EVENTS:
        show(event)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(EVENTS)
    assert lines[0].endswith("trained root: 14 steps, 1.0 s")
    assert lines[1].endswith("split root on edge 0→1: none | skip_connect (score 0.500)")
    assert lines[2].endswith("scored 8 architectures by few_shot")
    assert lines[3].endswith("search picks |none~0| (score 0.500)")
    assert lines[4].endswith("took over root from another run with equal training")
    assert lines[5].endswith("lid, seed 3: finished")
    assert lines[6].endswith("1 of 4 parts at node 2 (score 0.500): none | skip_connect, none")
    assert lines[7].endswith("lid, path, 32 px, batch 128: 41.5 MB, 2.0 s")


def test_mere_progress_is_said_every_ten_seconds_with_the_time_left(capsys, clock):
    show = ProgressDisplay(total_steps=100)

    for step in range(1, 51):
        clock[0] = float(step)
        show(WorkDone("training root", step, 60, "steps"))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[1].split("s  ")[1] == (
        "training root: 20 of 60 steps; 20% of all training, about 80 s left"
    )


def test_work_of_an_earlier_run_does_not_count_as_speed(capsys, clock):
    show = ProgressDisplay(total_steps=100)
    show(WorkDone("training root", 60, 60, "steps"))

    for clock[0], step in ((5.0, 5), (20.0, 20)):
        show(WorkDone("training root-0", step, 20, "steps"))
        show(EpochDone("training root-0", 2, 0.5, 0.1, 1.0))

    assert "80% of all training, about 20 s left" in capsys.readouterr().err


def test_quiet_says_nothing(capsys):
    show = ProgressDisplay(quiet=True, total_steps=9)

    with show:
        for event in (*EVENTS, WorkDone("a", 1, 2, "steps"), Event()):
            show(event)

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
