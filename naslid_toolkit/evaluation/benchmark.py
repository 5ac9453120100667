"""Tables of reference accuracies and of scores by architecture."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import DataError, nearest_name, printable
from naslid_toolkit.evaluation.columns import SMALLER_IS_BETTER, counted, examples, kind_of
from naslid_toolkit.evaluation.keyed import KeyedTable, Reading, Where, read_table
from naslid_toolkit.shipped import shipped

_PERCENT: Final = 1.5  # a largest accuracy above this can only be a percentage
_ROUNDED: Final = 1e-6  # what a share may be off, rounded in 32 bits
_SHARE: Final = 1 + _ROUNDED
_MOST: Final = 100.0  # no accuracy in per cent is above this
_NO_ACCURACY: Final = frozenset({"loss", "rank"})


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTable:
    """Reference accuracies, and where they come from.

    Parameters
    ----------
    accuracy
        In [0, 1], by official architecture string; the mean over its seeds.
    seeds
        The accuracies behind it, a column for each seed; NaN where an architecture was not
        trained with one. A single column where the table has means only.
    validation
        Validation accuracies of the same architectures in [0, 1], mean over seeds; None where
        the table has none.
    column
        The column they were read from, and the rows chosen.
    source
        File name.
    task
        Name of the image task, or an empty string where the file does not say.
    one_per_cell
        Whether one architecture stands for all isomorphic ones.
    reading
        What was read of the file and how; None where the table is from no file.
    """

    accuracy: pd.Series
    seeds: pd.DataFrame
    validation: pd.Series | None
    column: str
    source: str
    task: str = ""
    one_per_cell: bool = False
    reading: Reading | None = None

    @property
    def rows(self) -> int:
        """Seeds averaged for every architecture, at least."""
        return int(self.seeds.notna().sum(axis=1).min())


def load_reference(
    path: str | Path,
    *,
    column: str | None = None,
    validation: str | None = None,
    where: Where | None = None,
    key: str | None = None,
    notation: str | None = None,
) -> ReferenceTable:
    """Read reference accuracies from a table.

    Parameters
    ----------
    path
        A table of architectures and accuracies in per cent or in [0, 1]: Parquet, text
        separated by commas, semicolons or tabs, JSON or a plain pickle, packed or not. Rows of
        the same architecture are seeds if there is a column ``seed``.
    column
        The column of accuracies; None takes ``test_accuracy``, ``accuracy``, or the only one
        that fits. A column of errors gives one minus the error.
    validation
        The column of validation accuracies; None takes ``valid_accuracy`` if there is one, or
        the rows of the split ``x-valid`` of an imported benchmark.
    where
        Rows to take, such as ``{"dataset": "cifar10", "split": "ori-test", "epochs": 200}``;
        needed where a table holds several kinds of trainings.
    key
        The column of the architectures' names; None takes ``architecture``, ``arch`` and their
        like, or the one whose values are cells of NAS-Bench-201.
    notation
        How the names are written: ``"official"``, ``"index"``, ``"naslib"``, ``"codes"``,
        ``"genotype"``, ``"mask"``, or ``"names"`` to compare them as they are. None recognises
        it.

    Returns
    -------
    ReferenceTable
        Accuracies in [0, 1], and in ``reading`` what was read and what was left out.

    Raises
    ------
    DataError
        If the file is missing, damaged or has no such columns or rows, or if it is not clear
        which accuracy is meant; names the file and the choices.
    """
    path = Path(path)
    table = read_table(path, key=key, notation=notation, where=where, reference=True)
    column = _accuracy_column(table, column)
    found = _accuracies(table, column)
    chosen = ", ".join(f"{name}={value}" for name, value in (where or {}).items())
    others = {name: "not the one asked for" for name in table.columns if name != column}
    return ReferenceTable(
        accuracy=found.mean.rename(column),
        seeds=found.seeds,
        validation=_validation(table, validation, where or {}),
        column=f"{column} ({chosen})" if chosen else column,
        source=printable(path.name),
        task=table.whole.metadata.get("task", ""),
        one_per_cell=table.whole.metadata.get("cells", "").startswith("one for each class"),
        reading=table.reading(len(found.mean), {column: found.how}, others, found.notes),
    )


def digits_truth_path() -> Path:
    """Return where the table of NB201-digits is; ``naslid truth build`` makes it.

    Raises
    ------
    DataError
        If it is in neither place, the package or the project's ``data`` folder.
    """
    return shipped("data/nb201_digits.parquet")


def read_columns(
    path: str | Path,
    *,
    where: Where | None = None,
    key: str | None = None,
    notation: str | None = None,
) -> pd.DataFrame:
    """Read every column of numbers of a table, by architecture, mean over seeds.

    Returns
    -------
    pandas.DataFrame
        Indexed by architecture string; numbers as they stand in the file, NaN where a cell is
        empty. Seeds, epochs, times and the like are left out.

    Raises
    ------
    DataError
        As :func:`load_reference`.
    """
    table = read_table(path, key=key, notation=notation, where=where)
    names = [name for name, one in table.columns.items() if _kind(table, name) != "bookkeeping"]
    return _mean_over_seeds(table, {name: table.columns[name].values for name in names})[0]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Scores of methods, and what was read of their file.

    Parameters
    ----------
    scores
        One column a method, by architecture, larger is better; NaN where there is none.
    reading
        What was read and what was left out.
    """

    scores: pd.DataFrame
    reading: Reading


def read_scores(
    path: str | Path,
    *,
    methods: Sequence[str] = (),
    smaller: Collection[str] = (),
    larger: Collection[str] = (),
    where: Where | None = None,
    key: str | None = None,
    notation: str | None = None,
    known: Collection[str] = (),
) -> ScoreTable:
    """Read the scores of one or several methods from a table in any dress.

    Parameters
    ----------
    path, where, key, notation
        As :func:`load_reference`.
    methods
        The columns to take, in this order; none: all columns of numbers but those that count
        (seeds, epochs, times), and but costs (parameters, FLOPs, latency) beside others.
    smaller, larger
        Columns of which small or large values are good. Of losses, errors and ranks small ones
        are, by their names; of all others large ones.
    known
        Architectures of the reference, which may tell two notations apart.

    Raises
    ------
    DataError
        As :func:`load_reference`; or if a column asked for holds no numbers, says why.
    """
    table = read_table(path, key=key, notation=notation, where=where, known=known)
    left_out = _no_scores(table, methods)
    taken = list(methods) or [name for name in table.columns if name not in left_out]
    for name in [*taken, *smaller, *larger]:
        if name not in table.columns:
            raise DataError(_no_numbers(table, name))
    if not taken:
        reasons = "; ".join(f"{n!r} is {why}" for n, why in {**left_out, **table.problems}.items())
        raise DataError(f"{table.path} has no column of scores: {reasons or 'there is no other'}")
    turned = {name for name in taken if _is_turned(table, name, smaller, larger)}
    values = {name: table.columns[name].values for name in taken}
    values |= {name: -values[name] for name in turned}
    scores, notes = _mean_over_seeds(table, values)
    how = {n: "smaller is better: sign turned" if n in turned else "" for n in taken}
    infinite = [name for name in taken if np.isinf(scores[name]).any()]
    notes += [
        f"{counted(int(np.isinf(scores[n]).sum()), 'infinite value')} of {n!r} ranked at its end"
        for n in infinite
    ]
    return ScoreTable(scores, table.reading(len(scores), how, left_out, notes))


def _kind(table: KeyedTable, name: str) -> str:
    return kind_of(name, table.columns[name].values)


def _no_scores(table: KeyedTable, methods: Sequence[str]) -> dict[str, str]:
    """Return the columns of numbers that are not judged, with the reason."""
    if methods:
        return {name: "not asked for" for name in table.columns if name not in methods}
    kinds = {name: _kind(table, name) for name in table.columns}
    reasons = {n: "no score, by its name" for n, kind in kinds.items() if kind == "bookkeeping"}
    costs = [name for name, kind in kinds.items() if kind == "cost"]
    if len(costs) + len(reasons) < len(kinds):
        reasons |= {n: f"a cost; --method {n} judges it" for n in costs}
    return reasons


def _is_turned(
    table: KeyedTable, name: str, smaller: Collection[str], larger: Collection[str]
) -> bool:
    small = name in smaller or _kind(table, name) in SMALLER_IS_BETTER
    return small and name not in larger


def _no_numbers(table: KeyedTable, name: str) -> str:
    """Say why a column cannot be taken."""
    if name in table.problems:
        return f"column {name!r} of {table.path} is {table.problems[name]}"
    return f"{table.path} has no scores {name!r}; {nearest_name(name, table.columns)}"


def _mean_over_seeds(
    table: KeyedTable, values: Mapping[str, pd.Series]
) -> tuple[pd.DataFrame, list[str]]:
    rows, notes = table.by_architecture(values)
    return rows.groupby(level="architecture", observed=True).mean(), notes


def _accuracy_column(table: KeyedTable, column: str | None) -> str:
    """Return the column of accuracies, or of errors, that is asked for or alone."""
    kinds = {name: _kind(table, name) for name in table.columns}
    able = [name for name, kind in kinds.items() if kind in {"accuracy", "score", "error"}]
    if column is not None:
        return _asked_for(table, column, kinds)
    for usual in ("test_accuracy", "accuracy", "test_acc", "testacc", "acc"):
        named = [n for n in able if n.lower().replace("-", "_").replace(" ", "_") == usual]
        if named:
            return named[0]
    accuracies = [name for name in able if kinds[name] == "accuracy"]
    for fitting in (able, accuracies):
        if len(fitting) == 1:
            return fitting[0]
    if not able:
        found = {n: f"a {kind}" for n, kind in kinds.items()} | dict(table.problems)
        reasons = "; ".join(f"{name!r} is {why}" for name, why in found.items())
        raise DataError(f"{table.path} has no column of accuracies: {reasons or 'names alone'}")
    raise DataError(f"{table.path} has several columns of numbers, name one of {', '.join(able)}")


def _asked_for(table: KeyedTable, column: str, kinds: Mapping[str, str]) -> str:
    if column in table.problems:
        raise DataError(f"column {column!r} of {table.path} is {table.problems[column]}")
    if column not in kinds:
        raise DataError(
            f"{table.path} has no column {column!r} of accuracies; {nearest_name(column, kinds)}"
        )
    if kinds[column] in _NO_ACCURACY:
        raise DataError(
            f"column {column!r} of {table.path} is a {kinds[column]}, which gives no accuracies"
        )
    return column


def _no_accuracies(table: KeyedTable, column: str, values: pd.Series, *, low: bool) -> str:
    """Say which architecture has what can be no accuracy."""
    place = int(values.argmin() if low else values.argmax())
    name, number = values.index[place][0], values.iloc[place]
    return (
        f"column {column!r} of {table.path} holds no accuracies in per cent or in [0, 1]: the "
        f"{'smallest' if low else 'largest'} is {number:g}, of {examples([str(name)])}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Accuracies:
    """A column in [0, 1]: mean over seeds, by seed, how it stood in the file, and notes."""

    mean: pd.Series
    seeds: pd.DataFrame
    how: str
    notes: Sequence[str]


def _accuracies(table: KeyedTable, column: str) -> _Accuracies:
    """Return a column of accuracies or errors in [0, 1] by architecture and seed."""
    rows, notes = table.by_architecture({column: table.columns[column].values})
    values = rows[column].astype(float)
    missing = values[values.isna()].index.get_level_values("architecture")
    if len(missing) == len(values):
        raise DataError(f"column {column!r} of {table.path} has no numbers")
    if len(missing):
        notes.append(
            f"{counted(len(missing), 'row')} without a value left out ({examples([*missing])})"
        )
    values = values.dropna()
    share = table.columns[column].percent
    neither = _SHARE < values.max() <= _PERCENT  # too large for shares, too small for per cent
    too_large = neither or values.max() > (_SHARE if share else _MOST)
    if too_large or values.min() < -_ROUNDED:
        raise DataError(_no_accuracies(table, column, values, low=not too_large))
    values = values.clip(lower=0)
    scale = 0.01 if values.max() > _PERCENT else 1.0
    seeds = values.unstack().rename_axis(index="architecture", columns="seed")
    mean, seeds = seeds.mean(axis=1) * scale, seeds * scale
    how = "in per cent" if share or scale < 1 else "in shares of 1"
    if kind_of(column) == "error":
        mean, seeds, how = 1 - mean, 1 - seeds, f"{how}, taken as 1 - error"
    return _Accuracies(mean, seeds, how, notes)


def _validation(table: KeyedTable, column: str | None, where: Where) -> pd.Series | None:
    """Return mean validation accuracies, if the table has any."""
    if column is None and "valid_accuracy" in table.columns:
        column = "valid_accuracy"
    if column is not None:
        return _accuracies(table, _accuracy_column(table, column)).mean
    if {"dataset", "split"} <= where.keys() and "x-valid" in set(table.whole.frame["split"]):
        # The benchmark validates CIFAR-10 in a training of its own, on half of the images.
        dataset = f"{where['dataset']}-valid" if where["dataset"] == "cifar10" else where["dataset"]
        other = table.with_rows({**where, "dataset": dataset, "split": "x-valid"})
        return _accuracies(other, "accuracy").mean
    return None
