"""Files of tables as people have them: Parquet, separated text, JSON, plain pickles."""

import bz2
import csv
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.plain_pickles import read_plain
from naslid_toolkit.evaluation.records import frame_of
from naslid_toolkit.evaluation.unpickling import most_unpacked

EXPECTED: Final = "expected a Parquet or CSV table"
_LARGEST: Final = 1 << 29  # bytes of a table as text
_SURELY: Final = 1 << 26  # bytes that any packed text may have: cells in order pack very well
_MOST_ROWS: Final = 50_000_000  # of a Parquet file, where few bytes may stand for many rows
_SAMPLE: Final = 50  # lines that tell how a text is separated
_SEPARATORS: Final[Mapping[str, str]] = {"\t": "tabs", ";": "';'", ",": "','", " ": "blanks"}
_PACKED: Final[Mapping[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_FOREIGN: Final[Mapping[bytes, str]] = {
    b"PK": "a zip archive, such as an Excel workbook or a file of NumPy or torch (one of "
    "NAS-Bench-201 becomes a table by 'naslid truth import')",
    b"\x93NUMPY": "an array of NumPy",
    b"SQLite": "a database",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"<": "a web page",
}

_DAMAGED: Final = (  # what a reader may raise for content that is not what it looks like
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    csv.Error,
    lzma.LZMAError,
    zlib.error,
)


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """A table as its file has it.

    Parameters
    ----------
    frame
        Its columns; from text all of them are text. A column without a name is called ``""``.
    form
        How the file is written, such as ``"text separated by ';'"``.
    metadata
        Texts that a Parquet file has about itself.
    notes
        What was odd about it.
    """

    frame: pd.DataFrame
    form: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_raw(path: Path) -> RawTable:
    """Read a table from a file, by its content; the name of the file decides nothing.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged or no table; says what it is and what to do.
    """
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; {EXPECTED}, or make one of the folder with 'naslid truth import'"
        )
    if not path.is_file():
        if path.exists():
            raise DataError(f"{path} is a pipe or device; {EXPECTED} in a file")
        raise DataError(f"no file {path}; {EXPECTED} of accuracies")
    try:
        return _read_file(path)
    except DataError as error:
        raise type(error)(f"{path}: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply for a table") from error
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged or not a Parquet or CSV table ({error})") from error


def _read_file(path: Path) -> RawTable:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PAR1"):
        return _read_parquet(path)
    unpack = next((f for magic, f in _PACKED.items() if head.startswith(magic)), None)
    if unpack is None:
        with path.open("rb") as file:
            return _read_content(file, None)
    with unpack(path, "rb") as file:
        return _read_content(file, most_unpacked(path.stat().st_size))


def _read_parquet(path: Path) -> RawTable:
    with path.open("rb") as file:  # whose name need not be in UTF-8
        rows = pq.read_metadata(file).num_rows
        if rows > _MOST_ROWS:
            raise DataError(f"it has {rows:,} rows, more than {_MOST_ROWS:,}, which no table needs")
        table = pq.read_table(file)
    raw = table.schema.metadata or {}
    frame, notes = _frame(table)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=[str(n or "") for n in frame.index.names])
    metadata = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in raw.items()}
    return RawTable(frame.rename(columns=str), "Parquet", metadata, notes)


def _frame(table: pa.Table) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of pandas; without what pandas noted about it where that is damaged."""
    try:
        return table.to_pandas(), ()
    except (*_DAMAGED, RecursionError):
        note = "what pandas noted in the file is damaged and was not used"
        return table.replace_schema_metadata(None).to_pandas(), (note,)


def _read_content(file: BufferedIOBase, most: int | None) -> RawTable:
    """Find out what a file holds, and read at most so much of it; it stands at its start."""
    head = file.read(8)
    if head.startswith(b"\x80"):
        file.seek(0)
        return _plain(read_plain(file, most_bytes=most), "plain pickle")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(
                f"it is damaged or not a Parquet or CSV table: it is {what}; save its table as CSV"
            )
    limit = _LARGEST if most is None else min(max(most, _SURELY), _LARGEST)
    content = head + file.read(limit)
    if len(content) > limit:
        raise DataError(f"it holds more than {limit >> 20} MiB of text, which no table needs")
    text = _text(content)
    if not text.strip():
        raise DataError(f"the file is empty; {EXPECTED}")
    if text.lstrip().startswith(("{", "[{", "[[")):
        return _read_json(text)
    return _read_text(text)


def _plain(data: object, form: str) -> RawTable:
    frame, notes = frame_of(data)
    return RawTable(frame, form, notes=notes)


def _text(content: bytes) -> str:
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"it is no text in UTF-8 ({error}); {EXPECTED}") from error
    if "\0" in text:
        raise DataError("it is damaged or not a Parquet or CSV table: it is no text")
    return text


def _read_json(text: str) -> RawTable:
    """Read JSON, or one JSON object a line."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            seen: set[str] = set()
            twice = [name for name, _ in pairs if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # set.add returns None
            raise DataError(f"it has {twice[0]!r} twice in one JSON object")
        return data

    try:
        return _plain(json.loads(text, object_pairs_hook=unique), "JSON")
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or error.lineno != 2:
            raise DataError(f"it is damaged JSON ({error})") from error
    return _plain([json.loads(line, object_pairs_hook=unique) for line in lines], "JSON lines")


def _read_text(text: str) -> RawTable:
    """Read separated text; every cell stays text."""
    lines = text.splitlines(keepends=True)
    separator, form = _separator(lines)
    skipped = 0
    while skipped < len(lines) - 1 and lines[skipped].startswith("#"):
        skipped += 1
    try:
        rows = list(csv.reader(lines[skipped:], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"it is damaged or not a Parquet or CSV table ({error})") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if skipped:  # the names of the columns may themselves stand behind a '#'
        names = next(csv.reader([lines[skipped - 1].lstrip("# ")], delimiter=separator), [])
        rows = [names, *rows] if rows and len(names) == len(rows[0]) and _is_data(rows[0]) else rows
    header, body, notes = _header(rows)
    _check_shape(header, body)
    if body and len(body[0]) == len(header) + 1:
        if all(not row[-1].strip() for row in body):
            body = [row[:-1] for row in body]
        else:
            header = ["", *header]  # R names the rows and not the column of their names
    return RawTable(pd.DataFrame(body, columns=_unique(header), dtype=object), form, notes=notes)


def _separator(lines: Sequence[str]) -> tuple[str, str]:
    """Return what separates the cells: what makes all lines equally long."""
    sample = [line for line in lines[: 2 * _SAMPLE] if line.strip() and not line.startswith("#")]
    for slack in (0, 1):
        for separator in _SEPARATORS:
            rows = csv.reader(sample[:_SAMPLE], delimiter=separator, skipinitialspace=True)
            lengths = [len(row) for row in rows]
            first, rest = lengths[0], set(lengths[1:]) or {lengths[0] + slack}
            if rest == {first + slack} and first + slack > 1:
                return separator, f"text separated by {_SEPARATORS[separator]}"
    return ",", "text"


def _is_data(row: Sequence[str]) -> bool:
    """Say whether a line is one of values: column names are no numbers."""
    number = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?%?|nan|[+-]?inf", re.IGNORECASE)
    return any(number.fullmatch(cell.strip()) for cell in row[1:])


def _header(rows: list[list[str]]) -> tuple[list[str], list[list[str]], tuple[str, ...]]:
    """Return names, rows, and a note where the file has no names."""
    if rows and _is_data(rows[0]):
        names = [f"column {number}" for number in range(1, len(rows[0]) + 1)]
        return names, rows, ("no line with the names of the columns",)
    return [cell.strip() for cell in rows[0]] if rows else [], rows[1:], ()


def _check_shape(header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    if not body:
        raise DataError(f"the file has no rows; {EXPECTED}")
    usual = len(body[0])
    if usual not in (len(header), len(header) + 1):
        raise DataError(f"row 1 has {usual} cells, its header {len(header)}")
    odd = next((n for n, row in enumerate(body, start=1) if len(row) != usual), None)
    if odd is not None:
        raise DataError(
            f"row {odd} has {len(body[odd - 1])} cells, the others {usual}; quote cells "
            f"that hold the separator"
        )


def _unique(header: list[str]) -> list[str]:
    twice = [name for number, name in enumerate(header) if name in header[:number]]
    if twice:
        raise DataError(f"it has two columns called {twice[0]!r}")
    return header
