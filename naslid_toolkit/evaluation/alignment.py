"""Which architectures can be compared: those with all scores and a reference."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final

import pandas as pd

from naslid_toolkit.errors import DataError, SpaceError
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.columns import counted, examples
from naslid_toolkit.evaluation.notations import is_cell
from naslid_toolkit.space.nasbench201 import canonical_cell, parse_architecture

_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What could not be compared, with examples.

    Parameters
    ----------
    scored, referenced
        Architectures of the scores and of the reference.
    undefined
        Architectures of which a score is NaN, by method.
    undefined_examples
        The first of them.
    without_reference, without_reference_examples
        Scored architectures that the reference lacks, and the first of them.
    without_score, without_score_examples
        Architectures of the reference without a score, and the first of them.
    """

    scored: int
    referenced: int
    undefined: dict[str, int]
    undefined_examples: tuple[str, ...]
    without_reference: int
    without_reference_examples: tuple[str, ...]
    without_score: int
    without_score_examples: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it as text, one line; none where nothing was left out."""
        parts = [f"{name!r} lacks {counted(n, 'score')}" for name, n in self.undefined.items()]
        if self.undefined:
            parts[-1] += f" ({examples(self.undefined_examples)})"
        if self.without_reference:
            shown = examples(self.without_reference_examples)
            parts.append(
                f"{self.without_reference:,} of {counted(self.scored, 'scored architecture')} not "
                f"in the reference ({shown})"
            )
        if self.without_score:
            shown = examples(self.without_score_examples)
            parts.append(
                f"{self.without_score:,} of {self.referenced:,} in the reference without a score "
                f"({shown})"
            )
        return [f"Left out: {'; '.join(parts)}."] if parts else []

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)


def comparable(
    methods: pd.DataFrame,
    reference: pd.Series,
    *,
    identity: Callable[[str], str] = str,
    strict: bool = False,
) -> tuple[pd.DataFrame, LeftOut]:
    """Return the rows of which no score is NaN, and what cannot be compared.

    Parameters
    ----------
    methods
        One column a method, by architecture.
    reference
        Reference accuracies by architecture.
    identity
        What architectures share that count as the same.
    strict
        Whether a score that cannot be judged is an error.

    Raises
    ------
    DataError
        If ``strict`` and a score is NaN or has no reference.
    """
    nan = methods.isna()
    undefined = {str(name): int(count) for name, count in nan.sum().items() if count}
    judged, known = reference.dropna().index, methods.dropna()
    mine = {str(name): identity(str(name)) for name in methods.index}
    theirs = {str(name): identity(str(name)) for name in judged}
    both = set(theirs.values())
    scored = {mine[str(name)] for name in known.index}
    alone = [name for name, key in mine.items() if key not in both]
    missing = [name for name, key in theirs.items() if key not in scored]
    left = LeftOut(
        scored=len(mine),
        referenced=len(theirs),
        undefined=undefined,
        undefined_examples=_first(list(map(str, methods.index[nan.any(axis=1)]))),
        without_reference=len(alone),
        without_reference_examples=_first(alone),
        without_score=len(missing),
        without_score_examples=_first(missing),
    )
    if strict and (undefined or alone):
        found = left.lines()[0].removeprefix("Left out: ").rstrip(".")
        raise DataError(f"not every score can be judged: {found}")
    return known, left


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:_EXAMPLES])


@lru_cache(maxsize=1 << 15)
def cell_of(name: str) -> str:
    """Return what isomorphic cells of NAS-Bench-201 share.

    Raises
    ------
    SpaceError
        If the name is none of them.
    """
    try:
        return canonical_cell(parse_architecture(name))
    except SpaceError as error:
        error.add_note("isomorphic cells can be found among architectures of NAS-Bench-201 only")
        raise


def cell_or_name(name: str) -> str:
    """Return what isomorphic cells share; names of another space stand for themselves."""
    return cell_of(name) if is_cell(name) else name


def by_cell(values: pd.DataFrame) -> pd.DataFrame:
    """Average over isomorphic cells; names of another space have none."""
    cells = [name for name in values.index if is_cell(str(name))] or list(values.index)
    return values.loc[cells].groupby([cell_of(str(name)) for name in cells]).mean()


def table_by_cell(table: ReferenceTable) -> ReferenceTable:
    """Average a table over isomorphic cells."""
    validation = table.validation
    if validation is not None:
        validation = by_cell(validation.to_frame("accuracy"))["accuracy"]
    accuracy = by_cell(table.accuracy.to_frame("accuracy"))["accuracy"]
    return replace(table, accuracy=accuracy, seeds=by_cell(table.seeds), validation=validation)
