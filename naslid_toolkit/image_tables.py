"""Parquet files of labelled images: files, classes and parts, and the images one by one."""

import bisect
import glob
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.image_columns import (
    EXPECTED,
    Columns,
    Labels,
    Numbers,
    check_name,
    choose_columns,
    distinct_values,
    is_text,
    nesting,
    plain,
)
from naslid_toolkit.pictures import number_pixels, picture_bytes, read_picture

Files = str | Path | Sequence[str | Path]
PARTS: Final = ("train", "valid", "test")
SPLIT: Final = "split"  # the column of a file that holds several parts

_PART_WORDS: Final = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "valset"), "valid"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
_FILLERS: Final = frozenset({"set", "data", "images", "split", "part"})
_DAMAGED: Final = (pa.ArrowException, OSError, ValueError)
_MOST_ROWS: Final = 200_000_000  # of a file
_BATCH: Final = 32  # rows read at a time
_BUFFER: Final = 1 << 20  # bytes read at a time
_TRAIN, _TEST = PARTS.index("train"), PARTS.index("test")
_NO_PART: Final = -1
_HOW: Final = "for instance train-*, validation-* and test-*"


@dataclass(frozen=True, slots=True, eq=False)
class ImageTable:
    """The labelled rows of one or more Parquet files.

    Parameters
    ----------
    files, columns
        What is read.
    starts
        The row, counted through all files, at which each file starts; then that behind the last.
    classes
        Names of the classes.
    rows
        Shape ``(labelled,)``: the rows that have a label, counted through all files.
    labels
        Shape ``(labelled,)``: their class numbers.
    parts
        Shape ``(labelled,)``: places in :data:`PARTS`; None where the files are not divided.
    renumbered
        Whether class numbers are others than the numbers in the files.
    notes
        What was chosen, renumbered and left out, in sentences.
    """

    files: tuple[Path, ...]
    columns: Columns
    starts: tuple[int, ...]
    classes: tuple[str, ...]
    rows: Numbers
    labels: Numbers
    parts: Numbers | None
    renumbered: bool
    notes: tuple[str, ...]

    def pictures(self, wanted: Numbers) -> Iterator[tuple[int, Numbers, tuple[str, ...]]]:
        """Decode images one by one, in the order of the files.

        Parameters
        ----------
        wanted
            Shape ``(rows of all files,)``: whether to decode an image.

        Yields
        ------
        tuple
            Row, counted through all files; pixels ``(3, height, width)`` in [0, 1], float32; and
            the remarks of :class:`~naslid_toolkit.pictures.Picture`.

        Raises
        ------
        DataError
            For an image that is missing or cannot be decoded; names file and row.
        """
        for path, (start, stop) in zip(self.files, itertools.pairwise(self.starts), strict=True):
            kind = pq.read_schema(path).field(self.columns.image).type
            for row, cell in _cells(path, self.columns.image, wanted[start:stop]):
                name = f"image {row} of {path}"
                if cell is None:
                    raise DataError(f"{name} is null; leave this row out of the file")
                if nesting(kind):
                    pixels, remarks = number_pixels(cell, _number_type(kind), name)
                else:
                    picture = read_picture(picture_bytes(cell, name), name)
                    pixels, remarks = picture.pixels(), picture.remarks
                yield start + row, pixels, remarks

    def name(self, row: int) -> str:
        """Return the name of an image for people: its row and its file."""
        file = bisect.bisect_right(self.starts, row) - 1
        return f"image {row - self.starts[file]} of {self.files[file].name}"

    def divided(
        self, order: Numbers, shares: Sequence[int | float]
    ) -> tuple[list[Numbers], tuple[str, ...]]:
        """Divide rows into parts: as they are stored, and what is not stored by shares.

        Parameters
        ----------
        order
            Places in ``rows`` of those to use, in random order.
        shares
            Numbers or shares of validation and test images, taken from the end of the others.

        Returns
        -------
        tuple
            Places of the training, validation and test images; and what was done, if parts are
            stored.

        Raises
        ------
        ConfigError
            If a part that is stored, or the training part, would be empty.
        """
        parts = np.zeros(len(self.rows)) if self.parts is None else self.parts
        stored = [number for number in (1, 2) if number in parts]
        chosen = {number: order[parts[order] == number] for number in (0, *stored)}
        for number, places in chosen.items():
            if not len(places):
                raise ConfigError(
                    f"none of {len(order)} images drawn is of the part {PARTS[number]!r}"
                )
        sizes = [round(s * len(chosen[0])) if isinstance(s, float) else s for s in shares]
        counts = {n: size for n, size in enumerate(sizes, 1) if n not in stored}
        rest, left = chosen[0], len(chosen[0]) - sum(counts.values())
        if left < 1:
            raise ConfigError(
                f"{shares[0]} validation and {shares[1]} test images leave none of {len(rest)}"
            )
        chosen[0] = rest[:left]
        for number, count in counts.items():
            chosen[number], left = rest[left : left + count], left + count
        notes = [f"no training image of {name!r}" for name in self._unseen(chosen)]
        if self.parts is not None:
            how = [
                "as stored",
                *("as stored" if n in stored else "of the training part" for n in (1, 2)),
            ]
            said = [f"{PARTS[n]} {len(chosen[n]):,} ({how[n]})" for n in (0, 1, 2)]
            notes.insert(0, f"parts: {', '.join(said)}")
        return [chosen[n] for n in (0, 1, 2)], tuple(notes)

    def _unseen(self, chosen: Mapping[int, Numbers]) -> list[str]:
        """Return the classes that occur, but not among the training images."""
        trained = set(self.labels[chosen[0]].tolist())
        others = {*self.labels[chosen[1]].tolist(), *self.labels[chosen[2]].tolist()}
        return [self.classes[label] for label in sorted(others - trained)]


def open_image_table(
    data: Files,
    *,
    test_data: Files = (),
    image_column: str = "",
    label_column: str = "",
    drop_unlabelled: bool = False,
) -> ImageTable:
    """Find files, columns, classes and parts; no image is decoded.

    Parameters are those of :func:`~naslid_toolkit.datasets.load_image_parquet`.

    Raises
    ------
    DataError
        If a file is missing, damaged or foreign, a column cannot be told, a row has no label, or
        the files are divided in a way that cannot be followed.
    """
    main, held = find_files(data), find_files(test_data) if test_data else ()
    files = (*main, *held)
    _check_different(files)
    schemas = [_read_schema(path) for path in files]
    columns = choose_columns(schemas[0], files[0], image=image_column, label=label_column)
    for path, schema in zip(files[1:], schemas[1:], strict=True):
        names = choose_columns(schema, path, image=columns.image, label=columns.label).classes
        if names != columns.classes:
            raise DataError(f"{path} names the classes {names}, {files[0]} {columns.classes}")
    tables = [_read_columns(*pair, columns.label) for pair in zip(files, schemas, strict=True)]
    starts = tuple(itertools.accumulate((table.num_rows for table in tables), initial=0))
    read = Labels.of(files, [table[columns.label] for table in tables], columns.classes)
    if columns.guessed and 2 * len(read.classes) > starts[-1]:
        raise DataError(
            f"column {columns.label!r} of {files[0]} has {len(read.classes)} different values in "
            f"{starts[-1]} rows, too many for classes; name the labels by label_column "
            f"(--label-column) or, if it is them, name this column"
        )
    kept = np.flatnonzero(read.codes >= 0)
    notes = [columns.note, read.note()]
    if len(kept) < len(read.codes):
        if not drop_unlabelled or not len(kept):
            raise DataError(read.complaint())
        notes.append(read.missing())
    if len(present := np.unique(read.codes[kept])) < 2:
        raise DataError(
            f"{files[0]} holds images of {len(present)} class(es) in column {columns.label!r}; "
            f"expected at least two"
        )
    parts = _parts(main, held, tables)
    if parts is None and any(map(_has_split, tables)):
        notes.append(f"column {SPLIT!r} does not name several parts; it divides nothing")
    return ImageTable(
        files=files,
        columns=columns,
        starts=starts,
        classes=read.classes,
        rows=kept,
        labels=read.codes[kept],
        parts=None if parts is None else parts[kept],
        renumbered=read.renumbered,
        notes=tuple(notes),
    )


def part_of(name: str) -> str | None:
    """Say which part a name means that says nothing else; None if it means none.

    Examples
    --------
    >>> part_of("val2017"), part_of("Test_images"), part_of("train"), part_of("test_tube")
    ('valid', 'test', 'train', None)
    """
    words = set(re.findall("[a-z]+", name.lower())) - _FILLERS
    parts = {_PART_WORDS.get(word) for word in words}
    return parts.pop() if len(parts) == 1 else None


def find_files(data: Files) -> tuple[Path, ...]:
    """Return the Parquet files that a file, a pattern such as ``train-*``, or a folder names.

    Parameters
    ----------
    data
        One of these, or several.

    Raises
    ------
    DataError
        If there are none.
    """
    found: list[Path] = []
    for source in [data] if isinstance(data, str | Path) else data:
        path, hint = Path(source), EXPECTED
        inside = [path]
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*.parquet")) if p.name[0] not in "._"]
            hint = f"'naslid pack {path} FILE.parquet' makes one of a folder of images"
        elif not path.exists() and glob.has_magic(str(source)):
            inside = [Path(name) for name in sorted(glob.glob(str(source)))]  # noqa: PTH207
        if not inside:
            raise DataError(f"no Parquet file is found by {source}; {hint}")
        found += inside
    if not found:
        raise DataError(f"no file of images is named; {EXPECTED}")
    return tuple(found)


def _check_different(files: tuple[Path, ...]) -> None:
    places = [path.resolve() for path in files]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise DataError(f"{files[number]} is given twice; an image belongs to one part only")


def _read_schema(path: Path) -> pa.Schema:
    if not path.is_file():
        raise DataError(f"no file {path}; {EXPECTED}")
    check_name(path)
    try:
        schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
        name, count = Counter([*schema.names, ""]).most_common(1)[0]
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged or not a Parquet file; {EXPECTED}") from error
    if rows > _MOST_ROWS:  # a few bytes may stand for any number of equal labels
        raise DataError(f"{path} has {rows:,} rows, more than {_MOST_ROWS:,}")
    if count > 1:
        raise DataError(f"{path} has {count} columns called {name!r}; give them different names")
    return schema


def _read_columns(path: Path, schema: pa.Schema, label: str) -> pa.Table:
    """Read the labels, and the column of parts where there is one."""
    names = [name for name in schema.names if name in {label, SPLIT}]
    try:
        return pq.read_table(path, columns=names)
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged: its columns {names} cannot be read") from error


def _parts(
    main: tuple[Path, ...], held: tuple[Path, ...], tables: list[pa.Table]
) -> Numbers | None:
    """Return the part of every row; None where all are one part."""
    by_file = [_part_of_file(path) if len(main) > 1 else _NO_PART for path in main]
    codes = list(itertools.starmap(_row_parts, zip(main, tables, by_file, strict=False)))
    present = {int(code) for code in np.unique(np.concatenate(codes))}
    if held and _TEST in present:
        raise DataError(
            f"{main[0]} and its like hold a test part; leave out test_data (--test-data)"
        )
    if len(present) == 1 and held:
        codes, present = [np.full(len(code), _TRAIN) for code in codes], {_TRAIN}
    elif len(present) == 1:
        return None
    if _NO_PART in present:
        lost = [path for path, code in zip(main, codes, strict=True) if _NO_PART in code]
        raise DataError(f"{lost[0]} belongs to no part, others do; name files of one kind, {_HOW}")
    if _TRAIN not in present:
        raise DataError(f"{main[0]} and its like hold no training part; {_HOW}")
    codes += [np.full(table.num_rows, _TEST) for table in tables[len(main) :]]
    return np.concatenate(codes)


def _part_of_file(path: Path) -> int:
    """Return the part that the name of a file or of its folder means."""
    words = {_PART_WORDS.get(word) for word in re.findall("[a-z]+", path.stem.lower())} - {None}
    part = words.pop() if len(words) == 1 else part_of(path.parent.name)
    return _NO_PART if part is None else PARTS.index(part)


def _row_parts(path: Path, table: pa.Table, of_file: int) -> Numbers:
    """Return the part of every row: that of its column, if this names parts, or of its file."""
    if not _has_split(table):
        return np.full(table.num_rows, of_file)
    places, names = distinct_values(table[SPLIT])
    parts = [part_of(name) if name else None for name in names]
    if not any(parts):
        return np.full(table.num_rows, of_file)
    if strange := [str(names[place]) for place in np.unique(places) if parts[place] is None]:
        raise DataError(
            f"column {SPLIT!r} of {path} names parts, but also {', '.join(strange)}; let every row "
            f"be train, validation or test, or call the column otherwise"
        )
    return np.array([PARTS.index(part or "train") for part in parts])[places]


def _has_split(table: pa.Table) -> bool:
    return SPLIT in table.column_names and is_text(table[SPLIT].type)


def _cells(path: Path, column: str, wanted: Numbers) -> Iterator[tuple[int, Any]]:
    """Read the wanted cells of a column; no more than a group of rows is in memory."""
    first = 0
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                stop = first + file.metadata.row_group(group).num_rows
                if wanted[first:stop].any():
                    yield from _cells_of(
                        file, group, column, np.flatnonzero(wanted[first:stop]), first
                    )
                first = stop
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged: its column {column!r} cannot be read") from error


def _cells_of(
    file: pq.ParquetFile, group: int, column: str, rows: Numbers, first: int
) -> Iterator[tuple[int, Any]]:
    start = 0
    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[column], use_threads=False):
        for row in rows[(rows >= start) & (rows < start + len(batch))].tolist():
            yield first + row, batch.column(0)[row - start].as_py()
        start += len(batch)


def _number_type(kind: pa.DataType) -> str:
    """Return the type of the numbers in nested lists."""
    kind = plain(kind)
    while nesting(kind):
        kind = kind.value_type
    return str(kind)
