"""What each file of a run must hold: the fields or columns, their kinds and ranges."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from naslid_toolkit.errors import DataError, SpaceError
from naslid_toolkit.space.nasbench201 import parse_architecture

_THREADS: Final = 10_000  # more than any machine has; torch would abort
_FINGERPRINT: Final = 12  # numbers


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: what it is called, and which values are of it."""

    words: str
    holds: Callable[[Any], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_groups(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(group, list) and group and all(map(_is_text, group)) for group in value
    )


def _is_cell(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_architecture(value)
    except SpaceError:
        return False
    return True


TEXT: Final = Kind("text", _is_text)
YES_OR_NO: Final = Kind("true or false", lambda value: isinstance(value, bool))
COUNT: Final = Kind("a whole number from 0", lambda v: _is_whole(v) and 0 <= v < 2**63)
PLACE: Final = Kind("a whole number from 1", lambda v: _is_whole(v) and 1 <= v < 2**63)
NUMBER: Final = Kind("a finite number", _is_number)
NUMBER_OR_NAN: Final = Kind(
    "a finite number or NaN", lambda v: isinstance(v, float) and not math.isinf(v)
)
SECONDS: Final = Kind("a number of seconds", lambda value: _is_number(value) and value >= 0)
CELL: Final = Kind("an architecture of NAS-Bench-201", _is_cell)
GROUPS: Final = Kind("groups of operations", _is_groups)
MAPPING: Final = Kind("an object", lambda value: isinstance(value, dict))
THREADS: Final = Kind(
    f"a whole number from 1 to {_THREADS}", lambda v: _is_whole(v) and 1 <= v <= _THREADS
)
TEXTS: Final = Kind("a list of texts", lambda v: isinstance(v, list) and all(map(_is_text, v)))
CELLS: Final = Kind(
    "a list of different architectures of NAS-Bench-201",
    lambda v: TEXTS.holds(v) and len(set(v)) == len(v) > 0 and all(map(_is_cell, v)),
)
FINGERPRINT: Final = Kind(
    f"{_FINGERPRINT} numbers",
    lambda v: isinstance(v, list) and len(v) == _FINGERPRINT and all(map(_is_number, v)),
)
SCORES: Final[Mapping[str, Kind]] = {
    "accuracy": Kind("a number in [0, 1]", lambda value: _is_number(value) and 0 <= value <= 1),
    "log_likelihood": Kind(
        "a log-likelihood, at most 0", lambda value: _is_number(value) and value <= 0
    ),
}

EVENTS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "EpochDone": {
        "task": TEXT,
        "epoch": PLACE,
        "loss": NUMBER,
        "learning_rate": NUMBER,
        "seconds": SECONDS,
    },
    "SupernetTrained": {"node": TEXT, "steps": COUNT, "seconds": SECONDS},
    "SupernetReused": {"node": TEXT},
    "SpaceSplit": {
        "node": TEXT,
        "edge": TEXT,
        "groups": GROUPS,
        "score": NUMBER,
        "seconds": SECONDS,
    },
    "Scored": {"method": TEXT, "architectures": COUNT, "seconds": SECONDS},
    "GenerationDone": {"evaluations": PLACE, "best_score": NUMBER, "best": CELL},
    "SearchDone": {"architecture": CELL, "score": NUMBER},
}
ENVIRONMENT: Final[Mapping[str, Kind]] = {
    "format": PLACE,
    "threads": THREADS,
    "task": TEXT,
    "python": TEXT,
    "platform": TEXT,
    "cuda": TEXT,
    "packages": MAPPING,
    "commit": TEXT,
}
LATER: Final[Mapping[str, Kind]] = {  # of environment.json, where it is known
    "truth": TEXT,
    "search": MAPPING,
    "fingerprint": FINGERPRINT,
    "images": TEXTS,
    "derived": YES_OR_NO,
}
HISTORY: Final[Mapping[str, Kind]] = {
    "architecture": CELL,
    "score": NUMBER,
    "parameters": COUNT,
    "flops": COUNT,
    "parent": Kind("an architecture or nothing", lambda value: value == "" or _is_cell(value)),
}
PROFILES: Final[Mapping[str, Kind]] = {
    "edge": COUNT,
    "context": TEXT,
    "operation": TEXT,
    "layer": TEXT,
    "lid": NUMBER_OR_NAN,
    "undefined": COUNT,
}
COSTS: Final[Mapping[str, Kind]] = {  # of a study
    "arm": TEXT,
    "seed": COUNT,
    "steps": COUNT,
    "train_seconds": SECONDS,
    "split_seconds": SECONDS,
    "pick": CELL,
    "leaves": PLACE,
}
VARIANCES: Final[Mapping[str, Kind]] = {
    "edge": TEXT,
    "cosine": NUMBER,
    "own": NUMBER,
    "arm": TEXT,
    "seed": COUNT,
}
STABILITIES: Final[Mapping[str, Kind]] = {
    "arm": TEXT,
    "seed": COUNT,
    "edge": TEXT,
    **dict.fromkeys(("same_edge", "same_groups", "same_split"), SCORES["accuracy"]),
}
STUDY_SPLITS: Final[Mapping[str, Kind]] = {
    "arm": TEXT,
    "seed": COUNT,
    "node": TEXT,
    "edge": TEXT,
    "groups": TEXT,
    "score": NUMBER_OR_NAN,
}
SPLITS: Final[Mapping[str, Kind]] = {
    "node": PLACE,
    "parts": PLACE,
    "kept": GROUPS,
    "score": SCORES["accuracy"],
    "steps": COUNT,
}


def check_fields(
    data: Mapping[str, Any], expected: Mapping[str, Kind], where: str, *, all_of_them: bool = True
) -> None:
    """Check the fields of a JSON object; those that are not expected may be anything.

    Raises
    ------
    DataError
        If one is missing (unless ``all_of_them`` is false) or of another kind.
    """
    for name, kind in expected.items():
        if name not in data:
            if all_of_them:
                raise DataError(f"{where} lacks {name!r}, {kind.words}")
        elif not kind.holds(data[name]):
            raise DataError(f"{name!r} of {where} must be {kind.words}, got {_short(data[name])}")


def check_event(data: Mapping[str, Any], where: str) -> None:
    """Check a line of ``events.jsonl``; of a kind that is not known, that it says its kind.

    Raises
    ------
    DataError
        If a field is missing or of another kind.
    """
    check_fields(data, {"event": TEXT}, where)
    check_fields(data, EVENTS.get(data["event"], {}), f"{where} ({data['event']})")


def score_of(row: Mapping[str, Any], measure: str, where: str) -> tuple[str, float]:
    """Return architecture and score of a line of ``evaluations/METHOD.jsonl``.

    Raises
    ------
    DataError
        If it holds no architecture, or no score that the measure can give.
    """
    check_fields(row, {"architecture": CELL, "score": SCORES[measure]}, where)
    return str(row["architecture"]), float(row["score"])


def check_columns(
    frame: pd.DataFrame, expected: Mapping[str, Kind], where: str, *, rows: bool = True
) -> None:
    """Check that a table has exactly these columns, values of their kinds, and rows if it must.

    Raises
    ------
    DataError
        If not; names the column and the value.
    """
    if list(frame) != list(expected):
        raise DataError(f"{where} has the columns {_short(list(frame))}, expected {list(expected)}")
    if rows and frame.empty:
        raise DataError(f"{where} has no rows")
    for name, kind in expected.items():
        _check_values(frame[name].tolist(), kind, f"column {name!r} of {where}")


def check_score_table(
    frame: pd.DataFrame, methods: Sequence[str], measure: str, where: str
) -> None:
    """Check ``scores.parquet``: architectures by name, each once, and their scores.

    Raises
    ------
    DataError
        If a method is missing, or an entry is nothing that the measure can give.
    """
    counts = ["convolution_count", "parameter_count"]
    check_columns(
        frame,
        dict.fromkeys(methods, SCORES[measure]) | dict.fromkeys(counts, NUMBER),
        where,
    )
    check_cells(frame, where)


def check_cells(frame: pd.DataFrame, where: str) -> None:
    """Check that the rows of a table are named by architectures, each once.

    Raises
    ------
    DataError
        If not.
    """
    _check_values(frame.index.tolist(), CELL, f"the index of {where}")
    if not frame.index.is_unique:
        raise DataError(f"{where} has an architecture twice")


def _check_values(values: Iterable[Any], kind: Kind, where: str) -> None:
    for value in values:
        if not kind.holds(value):
            raise DataError(f"{where} must hold {kind.words}, got {_short(value)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
