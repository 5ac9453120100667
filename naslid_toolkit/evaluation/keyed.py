"""Tables with a row for each architecture: the names found and translated, the numbers read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import DataError, SpaceError, nearest_name, printable
from naslid_toolkit.evaluation.columns import (
    SMALLER_IS_BETTER,
    Numbers,
    counted,
    examples,
    kind_of,
    numbers,
)
from naslid_toolkit.evaluation.keys import NAMELESS, find_key, name_of
from naslid_toolkit.evaluation.notations import Translation, translate
from naslid_toolkit.evaluation.reading import RawTable, read_raw

Where = Mapping[str, str | int]
_LISTED: Final = 8  # choices that an error message lists
# Columns that tell the trainings of one architecture apart, beside the seed.
_KINDS: Final = ("dataset", "split", "epochs")
_CHOOSE: Final = "by --where, of scores by --rows"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a table and how, for people to check.

    Parameters
    ----------
    source
        Name of the file.
    form
        How it is written.
    key
        Where the names of the architectures stand, and what they are.
    architectures
        How many different ones were read.
    taken
        The columns taken, with what was made of them.
    left_out
        Columns left out, with the reason.
    notes
        Rows left out and why, with examples; whatever else was odd.
    """

    source: str
    form: str
    key: str
    architectures: int
    taken: Mapping[str, str]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]

    def lines(self, title: str, *, verbose: bool = True) -> list[str]:
        """Return it as one or two lines of text; without ``verbose`` columns left out are not."""
        taken = ", ".join(f"{n} ({how})" if how else n for n, how in self.taken.items())
        lines = [
            f"{title}: {taken} of {self.source} ({self.form}), "
            f"{counted(self.architectures, 'architecture')}; {self.key}."
        ]
        left = [f"{name} ({why})" for name, why in self.left_out.items()] if verbose else []
        parts = [f"left out: {', '.join(left)}"] if left else []
        parts += self.notes
        return lines + ([f"{title}: {'; '.join(parts)}."] if parts else [])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, eq=False)
class KeyedTable:
    """A table by architecture.

    Parameters
    ----------
    path
        Its file.
    whole
        The file with all its rows.
    ask
        What was asked about its names.
    names
        Architecture of every row, official strings where they are cells of NAS-Bench-201.
    frame
        All other columns as the file has them.
    columns
        Those columns that hold numbers.
    problems
        Why the others hold none.
    key, notes
        As of :class:`Reading`.
    """

    path: Path
    whole: RawTable
    ask: "_Ask"
    names: pd.Series
    frame: pd.DataFrame
    columns: Mapping[str, Numbers]
    problems: Mapping[str, str]
    key: str
    notes: tuple[str, ...]

    def with_rows(self, where: Where) -> "KeyedTable":
        """Return other rows of the same file."""
        return _keyed(self.path, self.whole, self.ask, where)

    def reading(
        self,
        found: int,
        taken: Mapping[str, str],
        left_out: Mapping[str, str],
        notes: Sequence[str],
    ) -> Reading:
        """Return what was read of it."""
        left = {name or NAMELESS: why for name, why in {**left_out, **self.problems}.items()}
        every = tuple(dict.fromkeys([*self.notes, *notes]))
        return Reading(
            printable(self.path.name), self.whole.form, self.key, found, taken, left, every
        )

    def by_architecture(self, chosen: Mapping[str, pd.Series]) -> tuple[pd.DataFrame, list[str]]:
        """Return chosen columns by architecture and seed, and what was done with repeated rows.

        Rows that say the same count once. Different ones are seeds if there is a column ``seed``.

        Raises
        ------
        DataError
            If an architecture has different values with the same seed, or without one.
        """
        table = pd.DataFrame({"architecture": self.names, "seed": self._seeds(), **chosen})
        once = table.drop_duplicates()
        twice = once.duplicated(["architecture", "seed"], keep=False)
        if twice.any():
            raise DataError(self._different(once[twice]))
        notes = []
        if len(once) < len(table):
            repeated = table[table.duplicated()]["architecture"]
            notes.append(f"{counted(len(repeated), 'row')} repeated ({examples([*repeated])})")
        index = pd.MultiIndex.from_frame(once[["architecture", "seed"]])
        return once[list(chosen)].set_axis(index, axis=0), notes

    def _seeds(self) -> pd.Series:
        """Return the seed of every row: whole numbers, or whatever texts the column has."""
        if "seed" not in self.columns:
            return self.frame.get("seed", pd.Series(0, self.names.index))
        seeds = self.columns["seed"].values
        whole = bool(np.isfinite(seeds).all()) and bool((seeds == seeds.round()).all())
        return seeds.astype("int64") if whole else seeds

    def _different(self, rows: pd.DataFrame) -> str:
        """Say which architecture has several values, and what tells its rows apart."""
        name = rows["architecture"].iloc[0]
        own = rows[rows["architecture"] == name]
        whole = self.frame.loc[own.index]
        differing = [
            str(name)
            for name in whole
            if name not in rows
            and (name in self.problems or kind_of(str(name)) == "bookkeeping")
            and whole[name].astype(str).nunique() > 1
            and not self.frame[name].astype(str).is_unique  # such a column numbers the rows
        ]
        seed = f" with seed {own['seed'].iloc[0]}" if "seed" in self.frame else ""
        count = "twice" if len(own) == 2 else f"{len(own)} times"
        message = (
            f"{self.path} has architecture {examples([name])} {count}{seed} and different values"
        )
        if differing:
            values = examples([*whole[differing[0]].astype(str).unique()])
            return f"{message}; choose rows {_CHOOSE}: they differ in {differing[0]!r} ({values})"
        return f"{message}; rows of different trainings need a column 'seed'"


def read_table(
    path: str | Path,
    *,
    key: str | None = None,
    notation: str | None = None,
    where: Where | None = None,
    known: Collection[str] = (),
    reference: bool = False,
    every_kind: bool = False,
) -> KeyedTable:
    """Read a table by architecture, whatever dress it is in.

    Parameters
    ----------
    path
        Parquet, text separated by commas, semicolons or tabs, JSON, or a plain pickle; packed
        by gzip, bzip2 or xz, or not.
    key
        The column of the architectures' names; None finds it.
    notation
        What the names are, as :func:`~naslid_toolkit.evaluation.notations.translate` takes it.
    where
        Rows to take, by the text of columns.
    known, reference
        As :func:`~naslid_toolkit.evaluation.notations.translate`.
    every_kind
        Whether rows of several data sets, splits or schedules may stand side by side.

    Raises
    ------
    DataError
        If the file is missing, damaged or no table, if no column holds names, or if the names
        can be read in several ways.
    """
    path = Path(path)
    ask = _Ask(key, notation, known, reference, every_kind)
    raw = read_raw(path)
    try:
        return _keyed(path, raw, ask, where or {})
    except SpaceError as error:  # of a name, which knows no file
        error.add_note(f"while reading {path}")
        raise


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is asked about the names of a table; see :func:`read_table`."""

    key: str | None
    notation: str | None
    known: Collection[str]
    reference: bool
    every_kind: bool


def _keyed(path: Path, raw: RawTable, ask: _Ask, where: Where) -> KeyedTable:
    key = find_key(path, raw.frame, ask.key)
    frame = _chosen_rows(path, raw.frame, where)
    if not ask.every_kind:
        _check_kinds(path, frame)
    texts = frame[key].map(name_of)
    named = texts.ne("")
    frame, texts = frame[named], texts[named]
    if frame.empty:
        raise DataError(f"{path} has no row with a name")
    read = {str(name): numbers(frame[name]) for name in frame if name != key}
    columns = {name: one for name, one in read.items() if not one.problem}
    translation = _translated(path, texts, columns, ask)
    return KeyedTable(
        path=path,
        whole=raw,
        ask=ask,
        names=pd.Series(translation.names, frame.index, dtype=object),
        frame=frame.drop(columns=key),
        columns=columns,
        problems={name: one.problem for name, one in read.items() if one.problem},
        key=_about_names(key, translation),
        notes=(*raw.notes, *_about_rows(int((~named).sum()), translation), *_odd_cells(columns)),
    )


def _translated(
    path: Path, texts: pd.Series, columns: Mapping[str, Numbers], ask: _Ask
) -> Translation:
    facts = {name: _oriented(name, one.values) for name, one in columns.items()}
    try:
        return translate(
            texts.tolist(),
            notation=ask.notation,
            values=pd.DataFrame({n: v for n, v in facts.items() if v is not None}),
            reference=ask.reference,
            known=ask.known,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _about_names(key: str, translation: Translation) -> str:
    title = f"names: column {key!r}" if key else f"names: {NAMELESS}"
    reason = f", since {translation.why}" if translation.why else ""
    return f"{title}, {translation.title}{reason}"


def _about_rows(nameless: int, translation: Translation) -> list[str]:
    notes = [f"{counted(nameless, 'row')} without a name left out"] if nameless else []
    if translation.unread:
        found = f"{counted(len(translation.unread), 'name')} of another kind"
        notes.append(f"{found} ({examples(translation.unread)})")
    return notes


def _odd_cells(columns: Mapping[str, Numbers]) -> list[str]:
    return [
        f"cells of {name!r} that are no numbers count as missing ({examples(one.odd)})"
        for name, one in columns.items()
        if one.odd
    ]


def _oriented(name: str, values: pd.Series) -> pd.Series | None:
    """Return values of which larger is better; None where that is not known of the column."""
    kind = kind_of(name, values)
    if kind in {"cost", "bookkeeping"}:
        return None
    return -values if kind in SMALLER_IS_BETTER else values


def _chosen_rows(path: Path, frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """Take the rows asked for."""
    for name, value in where.items():
        if name not in frame:
            hint = nearest_name(name, [str(column) for column in frame])
            raise DataError(f"{path} has no column {name!r} to choose rows by; {hint}")
        chosen = frame[frame[name].astype(str) == str(value)]
        if chosen.empty:
            values = sorted(map(str, frame[name].unique()))[:_LISTED]
            raise DataError(f"{path} has no row with {name}={value}; it has {', '.join(values)}")
        frame = chosen
    return frame


def _check_kinds(path: Path, frame: pd.DataFrame) -> None:
    """Refuse rows of several kinds of trainings."""
    kinds = [name for name in _KINDS if name in frame]
    different = frame[kinds].drop_duplicates() if kinds else frame.iloc[:1]
    if len(different) > 1:
        some = [
            " ".join(f"{name}={value}" for name, value in zip(kinds, row, strict=True))
            for row in different.head(_LISTED).itertuples(index=False)
        ]
        raise DataError(
            f"{path} holds {len(different)} kinds of accuracies; choose one, "
            f"{_CHOOSE}: {'; '.join(some)}"
        )
