"""A run followed from its folder, while it goes on or afterwards: stages, losses, scores."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.contents import check_event, score_of
from naslid_toolkit.search.journal import Mark
from naslid_toolkit.search.reuse import FEW_SHOT, SINGLE
from naslid_toolkit.search.storage import EVENTS, RunStore

State = Literal["running", "paused", "stopped", "finished"]
EPOCHS: Final = "epochs"
_RECENT: Final = 8  # epochs from which the time left is judged
_TRAINING: Final = "training "


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a search: its name, and how much of it is done."""

    name: str
    done: int
    total: int
    unit: str

    @property
    def share(self) -> float:
        """The part that is done, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 1.0


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Mean training loss of a supernet by epoch."""

    node: str
    epochs: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Where a run stands after some number of its events.

    Parameters
    ----------
    events
        How many events.
    stages
        In the order in which they come.
    share
        The part of all training that is done, in [0, 1].
    seconds_left
        Of training, from the last epochs; None if nothing can be said.
    losses
        One curve a supernet, in the order they began.
    bests
        ``(evaluations, best score)`` of the search as it went on.
    best, best_score
        The best architecture so far; empty and None before there is one.
    splits
        A line for each node that was split.
    scored
        How many of the architectures of the sample have a score, by method.
    """

    events: int
    stages: tuple[Stage, ...]
    share: float
    seconds_left: float | None
    losses: tuple[LossCurve, ...]
    bests: tuple[tuple[int, float], ...]
    best: str
    best_score: float | None
    splits: tuple[str, ...]
    scored: Mapping[str, int]


class _Column:
    """Events of one kind with their numbers, so that a prefix is found by bisection."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.rows: list[dict[str, Any]] = []

    def add(self, number: int, row: dict[str, Any]) -> None:
        self.numbers.append(number)
        self.rows.append(row)

    def until(self, number: int) -> Sequence[dict[str, Any]]:
        return self.rows[: bisect_right(self.numbers, number)]


class RunFollower:
    """Reads what a run appends to its folder, and tells where it stood at any event.

    Parameters
    ----------
    folder
        The folder of a run.

    Raises
    ------
    DataError
        If it is not the folder of a run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.store = RunStore.open(folder)
        self.config: RunConfig = self.store.config
        self.events = 0
        self._columns: dict[str, _Column] = {}
        self._epochs: dict[str, _Column] = {}
        self._marks: dict[str, Mark] = {}
        self.scores: dict[str, list[tuple[str, float]]] = {FEW_SHOT: [], SINGLE: []}

    def state(self) -> State:
        """Return whether the run goes on at present, is paused, was stopped, or is finished."""
        if self.store.control.is_running:
            return "paused" if self.store.control.is_requested("pause") else "running"
        return "finished" if self.store.is_finished else "stopped"

    def poll(self) -> bool:
        """Read what is new; say whether there was anything.

        Raises
        ------
        DataError
            If a line is damaged.
        """
        before = self.events, *(len(rows) for rows in self.scores.values())
        for row in self._new_rows(EVENTS):
            self.events += 1
            check_event(row, f"line {self.events} of {self.store.folder / EVENTS}")
            self._note(row)
        for method, rows in self.scores.items():
            name = f"evaluations/{method}.jsonl"
            for row in self._new_rows(name):
                rows.append(score_of(row, self.config.score, f"{self.store.folder / name}"))
        return before != (self.events, *(len(rows) for rows in self.scores.values()))

    def _note(self, row: dict[str, Any]) -> None:
        kind = str(row.get("event"))
        if kind == "EpochDone":
            column = self._epochs.setdefault(str(row["task"]).removeprefix(_TRAINING), _Column())
        else:
            column = self._columns.setdefault(kind, _Column())
        column.add(self.events, row)

    def _new_rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Read the complete lines that were appended since the last time."""
        if name not in self._marks:
            self.store.files.rows(name)  # says so if the run once wrote more
        mark = self._marks.get(name, Mark())
        rows, self._marks[name] = self.store.files.journal(name).read(mark)
        yield from rows

    def at(self, events: int | None = None) -> RunProgress:
        """Return where the run stood after some number of events; now, by default."""
        number = self.events if events is None else events
        now = number >= self.events
        epochs = {task: _latest(column.until(number)) for task, column in self._epochs.items()}
        epochs = {task: rows for task, rows in epochs.items() if rows}
        done = {kind: column.until(number) for kind, column in self._columns.items()}
        generations = done.get("GenerationDone", ())
        scored = self._scored(done.get("Scored", ()), now=now)
        best: str = ""
        best_score: float | None = None
        if generations:
            best, best_score = generations[-1]["best"], generations[-1]["best_score"]
        stages = tuple(self._stages(epochs, done, scored))
        trainings = [stage for stage in stages if stage.unit == EPOCHS]
        left = sum(stage.total - stage.done for stage in trainings)
        return RunProgress(
            events=number,
            stages=stages,
            share=1 - left / sum(stage.total for stage in trainings),
            seconds_left=_seconds_left(epochs, left),
            losses=tuple(
                LossCurve(task, tuple(rows), tuple(row["loss"] for row in rows.values()))
                for task, rows in epochs.items()
            ),
            bests=tuple({row["evaluations"]: row["best_score"] for row in generations}.items()),
            best=best,
            best_score=best_score,
            splits=tuple({r["node"]: _split_line(r) for r in done.get("SpaceSplit", ())}.values()),
            scored=scored,
        )

    def _scored(self, events: Sequence[dict[str, Any]], *, now: bool) -> dict[str, int]:
        """Count scores of the sample; only of the present state their file says more."""
        counts = {str(row["method"]): int(row["architectures"]) for row in events}
        if now:
            for method, rows in self.scores.items():
                if method not in counts and rows:
                    counts[method] = min(len(rows), self.config.sample)
        return counts

    def _stages(
        self,
        epochs: Mapping[str, Mapping[int, Any]],
        done: Mapping[str, Sequence[dict[str, Any]]],
        scored: Mapping[str, int],
    ) -> Iterator[Stage]:
        config = self.config
        splits = {row["node"]: row["groups"] for row in done.get("SpaceSplit", ())}
        nodes = ["root"]
        for level in range(config.levels + 1):
            first, last = config.epochs_of(level)
            count = sum(len(epochs.get(node, ())) for node in nodes)
            yield Stage(f"train level {level}", count, len(nodes) * (last - first), EPOCHS)
            if level < config.levels:
                split = [node for node in nodes if node in splits]
                yield Stage(f"split level {level}", len(split), len(nodes), "nodes")
                parts = {node: len(splits.get(node, ())) or config.split.groups for node in nodes}
                nodes = [f"{node}-{i}" for node in nodes for i in range(parts[node])]
        yield Stage("score few-shot", scored.get(FEW_SHOT, 0), config.sample, "architectures")
        generations = done.get("GenerationDone", ())
        visited = generations[-1]["evaluations"] if generations else 0
        if done.get("SearchDone"):
            visited = config.evolution.evaluations
        yield Stage("search", visited, config.evolution.evaluations, "architectures")
        if config.single:
            count = len(epochs.get(SINGLE, ()))
            yield Stage("train single", count, config.total_epochs, EPOCHS)
            yield Stage("score single", scored.get(SINGLE, 0), config.sample, "architectures")


def _seconds_left(epochs: Mapping[str, Mapping[int, Any]], left: int) -> float | None:
    """Judge the time of the epochs that are left by the last ones."""
    rows = [row for task in epochs.values() for row in task.values()]
    if not rows or left <= 0:
        return None
    return left * median(float(row["seconds"]) for row in rows[-_RECENT:])


def _latest(rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the rows by epoch; of an epoch that was repeated after a kill, the last."""
    found = {int(row["epoch"]): row for row in rows}
    return dict(sorted(found.items()))


def _split_line(row: Mapping[str, Any]) -> str:
    groups = " | ".join(", ".join(group) for group in row["groups"])
    return f"{row['node']} on edge {row['edge']}: {groups} (score {row['score']:.3f})"
