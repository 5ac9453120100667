"""The exercises of the notebook 09: what a right answer is, and a hint for a wrong one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, SupportsFloat

import torch

from naslid_toolkit.errors import ConfigError, NaslidError, nearest_name
from naslid_toolkit.evaluation.ranking import kendall_tau
from naslid_toolkit.lid.likelihood import lid_mle
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.plain_text import as_html
from naslid_toolkit.search.result import FewShotRun, load_neighbours, load_run
from naslid_toolkit.shipped import example_run
from naslid_toolkit.space.architecture import live_edges
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    OPERATIONS,
    convolution_depth,
    nasbench201,
    parse_architecture,
)

_DISTANCES: Final = (1.0, 2.0, 4.0, 8.0)
_SCORES: Final = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
_ACCURACIES: Final = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.4}
_ROUNDING: Final = 0.006  # two decimals are enough


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of an answer; ``right`` is None where there is none yet."""

    exercise: str
    right: bool | None
    text: str

    def __str__(self) -> str:
        return f"{self.exercise}: {self.text}"

    def _repr_html_(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.right]
        name, text = as_html(self.exercise), as_html(self.text)
        return f"<p>{mark} <b>{name}</b>: {text}</p>"


@dataclass(frozen=True, slots=True)
class _Exercise:
    is_right: Callable[[object], bool]
    hint: str


def check_answer(exercise: str, answer: object) -> Verdict:
    """Say whether an answer to an exercise of the notebook 09 is right.

    Parameters
    ----------
    exercise
        Name of the exercise.
    answer
        A number or a text, as the exercise asks for; None: no answer yet.

    Returns
    -------
    Verdict
        Shown as a line; a wrong answer gets a hint, never the solution.

    Raises
    ------
    ConfigError
        If there is no such exercise.

    Examples
    --------
    >>> print(check_answer("leaves", 8))
    leaves: not yet; every level doubles the number of sub-supernets
    >>> check_answer("leaves", 16).right
    True
    """
    if exercise not in EXERCISES:
        raise ConfigError(f"no exercise {exercise!r}; {nearest_name(exercise, EXERCISES)}")
    if answer is None:
        return Verdict(exercise, None, "no answer yet")
    known = EXERCISES[exercise]
    try:
        right = known.is_right(answer)
    except (NaslidError, TypeError, ValueError) as error:
        return Verdict(
            exercise, right=False, text=f"this is no answer of the kind asked for: {error}"
        )
    return Verdict(exercise, right, "right" if right else f"not yet; {known.hint}")


def _near(value: Callable[[], float]) -> Callable[[object], bool]:
    def is_right(answer: object) -> bool:
        if isinstance(answer, SupportsFloat):
            return math.isclose(float(answer), value(), abs_tol=_ROUNDING, rel_tol=1e-6)
        raise TypeError("a number is expected")

    return is_right


def _same(value: Callable[[], str]) -> Callable[[object], bool]:
    def is_right(answer: object) -> bool:
        return str(answer).strip().lower().replace("->", "→") == value().lower()

    return is_right


@lru_cache(maxsize=1)
def _run() -> FewShotRun:
    return load_run(example_run())


def _lid() -> float:
    return float(lid_mle(torch.tensor([_DISTANCES]))[0])


def _smaller_part() -> int:
    groups = (OPERATIONS[:2], OPERATIONS[2:])
    return min(len(part) for part in nasbench201().split(0, groups))


def _two_convolutions(answer: object) -> bool:
    """Whether a cell is connected, two convolutions deep, and has no other convolution."""
    operations = parse_architecture(str(answer)).operations
    codes = torch.tensor([[OPERATIONS.index(name) for name in operations]]).numpy()
    count = sum("conv" in name for name in operations)
    alive = any(live_edges(EDGES, [(name,) for name in operations]))
    return alive and count == 2 and int(convolution_depth(codes)[0]) == 2


def _first_edge(k: int | None = None) -> str:
    run = _run()
    split = run.tree.split
    if k is not None:
        split = split_by(load_neighbours(example_run(), "root").evidence(k=k))
    assert split is not None  # noqa: S101 - the shipped run is split
    return run.tree.space.edge_name(split.edge)


EXERCISES: Final[Mapping[str, _Exercise]] = {
    "LID by hand": _Exercise(
        _near(_lid), "sum the logarithms of 8 / 1, 8 / 2 and 8 / 4, and divide k - 1 by it"
    ),
    "LID of millimetres": _Exercise(
        _near(_lid), "only ratios of distances enter; what does a factor do to a ratio?"
    ),
    "sub-spaces": _Exercise(
        _near(_smaller_part), "one of six edges allows 2 operations, the others 5 as before"
    ),
    "leaves": _Exercise(_near(lambda: 16), "every level doubles the number of sub-supernets"),
    "tau by hand": _Exercise(
        _near(lambda: kendall_tau(_SCORES, _ACCURACIES, seed=0, resamples=2).tau),
        "of six pairs, how many are ranked alike, how many the other way round?",
    ),
    "a cell": _Exercise(
        _two_convolutions, "two convolutions one after the other on some path, and no third"
    ),
    "first edge": _Exercise(_same(_first_edge), "the root of the tree names it, as source→target"),
    "another k": _Exercise(
        _same(lambda: _first_edge(5)), "split_by of store.evidence(k=5) has an edge"
    ),
    "Markov paths": _Exercise(
        _near(lambda: 2), "with two operations, 'always another one' leaves a single choice"
    ),
}
