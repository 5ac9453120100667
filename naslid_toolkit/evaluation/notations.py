"""The ways in which architectures of NAS-Bench-201 are written, and how to tell them apart."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import ConfigError, DataError, SpaceError, nearest_name
from naslid_toolkit.space.architecture import NONE, SKIP, Architecture, Edge, live_edges
from naslid_toolkit.space.nasbench201 import (
    CONV1,
    CONV3,
    EDGES,
    OPERATIONS,
    POOL,
    benchmark_order,
    format_architecture,
    nasbench201,
    parse_architecture,
)

NAMES: Final = "names"  # the notation of names that are compared letter by letter
_ALIASES: Final = {"conv_1x1": CONV1, "conv_3x3": CONV3} | {name: name for name in OPERATIONS}
_NASLIB_OPERATIONS: Final = (SKIP, NONE, CONV3, CONV1, POOL)
_NASLIB_EDGES: Final[tuple[Edge, ...]] = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
_MASK_OPERATIONS: Final = (NONE, POOL, CONV3, CONV1, SKIP)
_PAIR: Final = re.compile(r"""[(\[]\s*["'](\w+)["']\s*,\s*(\d)\s*[)\]]""")
_NAMED: Final = re.compile(r"""["'](\d)_(\d)["']\s*:\s*(?:["'](\w+)["']|\[([\w\s,]+)\])""")
_SIX: Final = re.compile(r"[\[(]?\s*([\w'\"]+(?:[\s,]+[\w'\"]+){5})\s*,?\s*[\])]?")
_INDEX: Final = re.compile(r"(0|[1-9]\d{0,4})(\.0)?")
_LONGEST: Final = 2000  # characters of a name
_MOST, _FEW = 0.9, 0.5  # shares of names that another table knows: of the right order, of a wrong
_EXAMPLES: Final = 3


def _official(text: str) -> Architecture | None:
    try:
        return parse_architecture(re.sub(r"\s", "", text))
    except SpaceError:
        return None


def _genotype(text: str) -> Architecture | None:
    """Read ``[(('none', 0),), (('skip_connect', 0), ('none', 1)), ...]``."""
    pairs = _PAIR.findall(text)
    if [int(source) for _, source in pairs] != [source for source, _ in EDGES]:
        return None
    if re.sub(r"[\s,()\[\]]", "", _PAIR.sub("", text)):
        return None
    return _architecture(dict(zip(EDGES, (name for name, _ in pairs), strict=True)))


def _mask(text: str) -> Architecture | None:
    """Read ``{'0_1': 'none', ...}``, or a list of five truth values for each edge."""
    found: dict[Edge, str] = {}
    for source, target, name, choices in _NAMED.findall(text):
        found[int(source), int(target)] = name or _chosen(choices)
    return _architecture(found) if len(found) == len(EDGES) else None


def _chosen(choices: str) -> str:
    """Return the operation of a list of truth values with a single true one."""
    values = [value.strip().lower() in {"true", "1"} for value in choices.split(",")]
    right = len(values) == len(_MASK_OPERATIONS) and sum(values) == 1
    return _MASK_OPERATIONS[values.index(True)] if right else ""


def _six(text: str, *, operations: Sequence[str], edges: Sequence[Edge]) -> Architecture | None:
    """Read six operations, as digits or by name, in the order of ``edges``."""
    match = _SIX.fullmatch(text.strip())
    if match is None:
        return None
    known = {str(place): name for place, name in enumerate(operations)} | _ALIASES
    words = [word.strip("'\"") for word in re.split(r"[\s,]+", match.group(1))]
    return _architecture({e: known.get(w, "") for e, w in zip(edges, words, strict=True)})


def _index(text: str) -> Architecture | None:
    match = _INDEX.fullmatch(text.strip())
    order = _benchmark_order()
    return order[int(match.group(1))] if match and int(match.group(1)) < len(order) else None


def _architecture(named: Mapping[Edge, str]) -> Architecture | None:
    operations = [_ALIASES.get(named.get(edge, "")) for edge in EDGES]
    known = tuple(name for name in operations if name is not None)
    return Architecture(known) if len(known) == len(EDGES) else None


_benchmark_order = lru_cache(maxsize=1)(benchmark_order)
_space = lru_cache(maxsize=1)(nasbench201)


@dataclass(frozen=True, slots=True)
class Notation:
    """One way to write the cells of NAS-Bench-201.

    Parameters
    ----------
    title
        What it is called in messages.
    read
        Returns the architecture that a text stands for, or None.
    """

    title: str
    read: Callable[[str], Architecture | None]


NOTATIONS: Final[Mapping[str, Notation]] = {
    "official": Notation("official strings of NAS-Bench-201", _official),
    "genotype": Notation("genotype tuples of NAS-Bench-201", _genotype),
    "mask": Notation("operations by edge of NAS-Bench-201 (NAS-LID)", _mask),
    "naslib": Notation(
        "operation indices in the order of NASLib (0 skip, 1 none, 2 conv 3x3, 3 conv 1x1, "
        "4 pool; edges 01 02 03 12 13 23)",
        partial(_six, operations=_NASLIB_OPERATIONS, edges=_NASLIB_EDGES),
    ),
    "codes": Notation(
        "operation indices in the order of the benchmark (0 none, 1 skip, 2 conv 1x1, "
        "3 conv 3x3, 4 pool; edges 01 02 12 03 13 23)",
        partial(_six, operations=OPERATIONS, edges=EDGES),
    ),
    "index": Notation("indices of NAS-Bench-201, 0 to 15624", _index),
}


@dataclass(frozen=True, slots=True)
class Translation:
    """Names as the toolkit writes them.

    Parameters
    ----------
    names
        Official strings, in the order asked; a name that the notation cannot read stands as it
        was.
    title
        What the names are.
    why
        The fact that decided between several notations; empty where one alone can read them.
    unread
        Names that the notation cannot read.
    """

    names: tuple[str, ...]
    title: str
    why: str = ""
    unread: tuple[str, ...] = ()


def translate(
    names: Sequence[str],
    *,
    notation: str | None = None,
    values: pd.DataFrame | None = None,
    reference: bool = False,
    known: Collection[str] = (),
) -> Translation:
    """Write names of architectures as official strings, if they are cells of NAS-Bench-201.

    Parameters
    ----------
    names
        As a file has them.
    notation
        A key of :data:`NOTATIONS`, which decides where several can read the names, or
        ``"names"`` to leave them alone; None decides by facts.
    values
        Columns of numbers beside the names. Cells without a path from input to output are at
        chance: that tells which order of operations is meant.
    reference
        Whether the numbers are accuracies of trained networks; then no such cell can be above
        another.
    known
        Names of the other table, which tell the order apart if they are few.

    Returns
    -------
    Translation
        Names of no notation are left as they are, without the blanks around them.

    Raises
    ------
    DataError
        If the names can be read in several ways, and neither the numbers nor the other table
        say which; or as indices, and the numbers say that they are none.
    ConfigError
        If there is no notation of that name.

    Examples
    --------
    >>> translate(["(0, 1, 1, 1, 1, 1)"], notation="naslib").names
    ('|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|',)
    """
    if notation not in {None, NAMES, *NOTATIONS}:
        raise ConfigError(
            f"unknown notation {notation!r}; {nearest_name(str(notation), [*NOTATIONS, NAMES])}"
        )
    texts = [str(name).strip() for name in names]
    if notation == NAMES:
        return Translation(tuple(texts), "names, compared as they are")
    readings = _readings(texts)
    if not readings:
        return Translation(tuple(texts), "names, compared as they are")
    chosen, why = next(iter(readings)), ""
    if notation in readings:
        chosen = str(notation)
    elif len(readings) > 1:
        chosen, why = _settle(readings, texts, _facts(values, reference), known)
    elif chosen == "index":
        _check_indices(readings[chosen], texts, _facts(values, reference))
    read = readings[chosen]
    unread = tuple(dict.fromkeys(text for text in texts if read.get(text) is None))
    written = tuple(_written(read.get(text), text) for text in texts)
    return Translation(written, NOTATIONS[chosen].title, why, unread)


@lru_cache(maxsize=1 << 15)
def is_cell(name: str) -> bool:
    """Say whether a name is an official string of NAS-Bench-201."""
    try:
        parse_architecture(name)
    except SpaceError:
        return False
    return True


def looks_like_names(values: pd.Series) -> bool:
    """Say whether texts are cells of NAS-Bench-201 in a notation that nothing else has."""
    some = [str(value).strip() for value in values.head(20)]
    own = ("official", "genotype", "mask", "naslib")
    return any(_share(some, NOTATIONS[name].read) > _FEW for name in own)


_Cells = Mapping[str, Architecture | None]


@dataclass(frozen=True, slots=True)
class _Facts:
    """Columns of numbers, one row a name, and whether they are accuracies."""

    columns: tuple[np.ndarray, ...]
    reference: bool


def _facts(values: pd.DataFrame | None, reference: bool) -> _Facts:  # noqa: FBT001 - private
    columns = () if values is None else tuple(c.to_numpy(dtype=float) for _, c in values.items())
    return _Facts(columns, reference)


def _share(texts: Sequence[str], read: Callable[[str], Architecture | None]) -> float:
    short = [text for text in texts if len(text) <= _LONGEST]
    return sum(read(text) is not None for text in short) / max(len(texts), 1)


def _readings(texts: Sequence[str]) -> dict[str, _Cells]:
    """Return what each notation makes of the texts, of those that read most of them."""
    unique = list(dict.fromkeys(texts))
    some = unique[:: max(1, len(unique) // 50)]
    found: dict[str, _Cells] = {}
    for name, read in ((name, notation.read) for name, notation in NOTATIONS.items()):
        if _share(some, read) > _FEW:
            cells = {t: read(t) if len(t) <= _LONGEST else None for t in unique}
            if name != "index" or None not in cells.values():  # a name of another kind: no indices
                found[name] = cells
    return found


def _written(cell: Architecture | None, text: str) -> str:
    return text if cell is None else _format(cell)


@lru_cache(maxsize=1 << 15)
def _format(cell: Architecture) -> str:
    return format_architecture(cell, _space())


def _settle(
    readings: Mapping[str, _Cells],
    texts: Sequence[str],
    facts: _Facts,
    known: Collection[str],
) -> tuple[str, str]:
    """Choose between notations by facts, or refuse."""
    verdicts = {name: _verdict(cells, texts, facts) for name, cells in readings.items()}
    for name, (supports, contradicts) in verdicts.items():
        others = [verdict for other, verdict in verdicts.items() if other != name]
        refuted = all(other_contradicts for _, other_contradicts in others)
        alone = supports > 1 and not any(other_supports for other_supports, _ in others)
        if not contradicts and ((refuted and (supports or facts.reference)) or alone):
            return name, "the cells without a path to the output are those at chance"
    shares = {name: _known_share(cells, known) for name, cells in readings.items()}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= _MOST and all(s <= _FEW for n, s in shares.items() if n != best):
        return best, "so the names are those of the other table"
    candidates = " or ".join(f"{name!r}: {NOTATIONS[name].title}" for name in readings)
    raise DataError(
        f"names such as {texts[0]!r} can be read in {len(readings)} ways, and nothing in the table "
        f"says which; choose with --notation: {candidates}"
    )


def _known_share(cells: _Cells, known: Collection[str]) -> float:
    index = frozenset(known)
    written = [_written(cell, text) for text, cell in cells.items()]
    return sum(name in index for name in written) / max(len(written), 1)


def _verdict(cells: _Cells, texts: Sequence[str], facts: _Facts) -> tuple[int, bool]:
    """Return how many disconnected cells stand at the bottom of a column, and if one does not.

    A network without a path from input to output gives every image the same answer: all of
    them have one value, the lowest.
    """
    dead = np.array([(cell := cells.get(text)) is not None and _dead(cell) for text in texts])
    supports, contradicts = 0, False
    for column in facts.columns:
        values = column[dead & ~np.isnan(column)]
        if len(values):
            if (values == np.nanmin(column)).all():
                supports = max(supports, len(np.unique(np.array(texts)[dead])))
            else:
                contradicts = True
    return supports, contradicts and not supports


@lru_cache(maxsize=1 << 15)
def _dead(cell: Architecture) -> bool:
    return not any(live_edges(EDGES, [(operation,) for operation in cell.operations]))


def _check_indices(cells: _Cells, texts: Sequence[str], facts: _Facts) -> None:
    """Refuse integers that accuracies show to be no indices of the benchmark."""
    supports, contradicts = _verdict(cells, texts, facts)
    whole = len(cells) == len(_benchmark_order())  # may be numbered in another order
    if (facts.reference or whole) and contradicts and not supports:
        wrong = [t for t in dict.fromkeys(texts) if (c := cells[t]) is not None and _dead(c)]
        raise DataError(
            f"the names are integers, but no indices of NAS-Bench-201: its cells "
            f"{', '.join(wrong[:_EXAMPLES])} have no path to the output and cannot be above "
            f"others; --notation names compares them as they are, --notation index takes them for "
            f"indices all the same"
        )
