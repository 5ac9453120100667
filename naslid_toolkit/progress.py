"""Progress of long work, for people: bars or lines made from events."""

import time
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from naslid_toolkit.partition.cost import SweepCost
from naslid_toolkit.plain_text import visible
from naslid_toolkit.runtime import Event, Remark, WorkDone
from naslid_toolkit.search.few_shot import Scored, SearchDone, SpaceSplit
from naslid_toolkit.search.hierarchical import HierarchySplit
from naslid_toolkit.search.steps import SupernetReused, SupernetTrained
from naslid_toolkit.search.study import ArmDone
from naslid_toolkit.supernet.training import EpochDone

_LINE_EVERY: Final = 10.0  # seconds between lines about mere progress, without a terminal


class ProgressDisplay:
    """Shows events: bars in a terminal, lines in a notebook or a file, nothing if quiet.

    Give it to ``on_event``. Bars need ``with``, which ends them; lines do not.

    Parameters
    ----------
    quiet
        Whether to show nothing.
    total_steps
        Optimiser steps of all trainings together, for the time left; 0 if unknown.
    """

    def __init__(self, *, quiet: bool = False, total_steps: int = 0) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._bars = not quiet and self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._bars,
        )
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._total = total_steps
        self._whole = self._progress.add_task(
            "all training", total=total_steps or None, visible=total_steps > 0
        )
        self._found = 0
        self._remarks: set[str] = set()  # each is shown once, whatever runs on the same images
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        if self._bars:  # else there is nothing to draw, and older versions end with a newline
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line whatever the mode."""
        self._progress.console.print(Text(visible(text)), soft_wrap=True)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, WorkDone):
            self._advance(event)
        text = None if self._quiet else _describe(event)
        if text is None or (isinstance(event, Remark) and text in self._remarks):
            return
        if isinstance(event, EpochDone | WorkDone):
            if self._bars or time.monotonic() - self._last_line < _LINE_EVERY:
                return
            text += self._share()
        if isinstance(event, Remark):
            self._remarks.add(text)
        self._last_line = time.monotonic()
        self.say(f"{time.monotonic() - self._started:7.1f} s  {text}")

    def _advance(self, event: WorkDone) -> None:
        if event.task not in self._tasks:
            if event.unit == "steps" and event.done == event.total:
                self._found += event.total  # the result of an earlier run
            self._tasks[event.task] = self._progress.add_task(
                visible(event.task), total=event.total
            )
        self._progress.update(
            self._tasks[event.task],
            completed=event.done,
            total=event.total,
            visible=event.done < event.total,
        )
        if event.unit == "steps":
            self._done[event.task] = event.done
            self._progress.update(self._whole, completed=sum(self._done.values()))

    def _share(self) -> str:
        """Say how much of all training is done, and roughly how long the rest takes."""
        done = sum(self._done.values())
        if not 0 < done < self._total:
            return ""
        fresh = max(done - self._found, 1)
        left = (time.monotonic() - self._started) * (self._total - done) / fresh
        return f"; {done / self._total:.0%} of all training, about {left:.0f} s left"


def _describe(event: Event) -> str | None:
    """Say an event in a line; None where it is not worth one."""
    line = _LINES.get(type(event))
    if line is None:
        return None
    parts = getattr(event, "groups", None) or getattr(event, "kept", [])
    return line.format(e=event, parts=" | ".join(", ".join(part) for part in parts))


_LINES: Final[Mapping[type[Event], str]] = {
    Remark: "{e.text}",
    WorkDone: "{e.task}: {e.done:,} of {e.total:,} {e.unit}",
    EpochDone: "{e.task}: epoch {e.epoch}, loss {e.loss:.3f}",
    SpaceSplit: "split {e.node} on edge {e.edge}: {parts} (score {e.score:.3f})",
    SupernetTrained: "trained {e.node}: {e.steps:,} steps, {e.seconds:.1f} s",
    SupernetReused: "took over {e.node} from another run with equal training",
    Scored: "scored {e.architectures} architectures by {e.method}",
    SearchDone: "search picks {e.architecture} (score {e.score:.3f})",
    ArmDone: "{e.arm}, seed {e.seed}: finished",
    HierarchySplit: "kept 1 of {e.parts} parts at node {e.node} (score {e.score:.3f}): {parts}",
    SweepCost: (
        "{e.criterion}, {e.others}, {e.pixels} px, batch {e.batch}: "
        "{e.megabytes:,.1f} MB, {e.seconds:.1f} s"
    ),
}
