"""From the official benchmark files to one plain table."""

import bz2
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import SEEK_END, BufferedIOBase
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import DataError, SpaceError, printable
from naslid_toolkit.evaluation.unpickling import (
    OnArchitecture,
    Trial,
    most_unpacked,
    read_records,
)
from naslid_toolkit.runtime import OnEvent, WorkDone, check_output, ignore_event, replacing
from naslid_toolkit.space.nasbench201 import parse_architecture

_ROWS_AT_ONCE: Final = 50_000
_MEGA: Final = 1_000_000
_ALL: Final = 100 + 1e-4  # per cent, rounded in 32 bits
_TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C  # what a file of torch before 1.6 starts with,
_TORCH_PICKLES: Final = 3  # and the pickles that follow; the last one is the data
_MEMBER: Final = re.compile(r"(\d{6})(-FULL)?\.(pickle\.pbz2|pth)")
_SIZES: Final = re.compile(r"\d+(:\d+){4}")  # channels, as the size search space writes them
_EXPECTED: Final = (
    "expected NAS-Bench-201-*.pth, NATS-*.pickle.pbz2, or the unpacked folder of either"
)
_SCHEMA: Final = pa.schema(
    [
        ("architecture", pa.dictionary(pa.int32(), pa.string())),
        ("dataset", pa.dictionary(pa.int32(), pa.string())),
        ("split", pa.dictionary(pa.int32(), pa.string())),
        ("epochs", pa.int32()),
        ("seed", pa.int32()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("parameters", pa.float64()),
        ("flops", pa.float64()),
        ("seconds", pa.float64()),
    ]
)

_BROKEN: Final = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,  # what an encrypted archive or one of an unknown kind raises
    MemoryError,
    struct.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found: numbers of architectures, trainings and rows."""

    architectures: int
    trainings: int
    rows: int


def import_benchmark(
    source: str | Path, target: str | Path, *, on_event: OnEvent = ignore_event
) -> Imported:
    """Turn an official file of NAS-Bench-201 or NATS-Bench into one Parquet table.

    The file is read as a stream: memory stays bounded by a few architectures (the official way
    needs up to 28 GB), and nothing in it is executed.

    Parameters
    ----------
    source
        ``NAS-Bench-201-v1_*.pth``, ``NATS-tss-v1_0-*.pickle.pbz2`` (topology),
        ``NATS-sss-v1_0-*.pickle.pbz2`` (size), or the unpacked folder.
    target
        The Parquet file to write: one row for each architecture, data set, split, number of
        epochs and seed, with ``accuracy`` in [0, 1] and ``loss`` after the last epoch,
        ``parameters``, ``flops`` and ``seconds`` of training.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone` by megabytes or files read.

    Returns
    -------
    Imported
        What was found.

    Raises
    ------
    DataError
        If the source is missing, truncated, of another kind, or names anything but data. The
        target is then left as it was.
    ConfigError
        If the target is the source or lies in it.

    References
    ----------
    .. [1] X. Dong and Y. Yang, "NAS-Bench-201", ICLR 2020.
    .. [2] X. Dong et al., "NATS-Bench", TPAMI 2021.
    """
    source, target = Path(source), Path(target)
    if not source.is_file() and not source.is_dir():
        if source.exists():
            raise DataError(f"{source} is a pipe or device; {_EXPECTED}")
        raise DataError(f"no file or folder {source}; {_EXPECTED}")
    check_output(target, [source])
    metadata = {"source": printable(source.name), "table": "one row for each training"}
    with replacing(target) as temporary:
        with (
            temporary.open("wb") as file,
            pq.ParquetWriter(file, _SCHEMA.with_metadata(metadata), compression="zstd") as writer,
        ):
            rows = _Rows(writer)
            try:
                read = _read_folder if source.is_dir() else _read_file
                read(source, rows, on_event)
            except DataError as error:
                error.add_note(f"while reading {source}; {_EXPECTED}")
                raise
            rows.flush()
        if not rows.found.architectures:
            raise DataError(f"{source} holds no results of architectures; {_EXPECTED}")
    return rows.found


class _Rows:
    """Rows on their way to the file."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        self._architectures: set[str] = set()
        self._trainings = self._written = 0

    @property
    def found(self) -> Imported:
        """What was read so far."""
        return Imported(len(self._architectures), self._trainings, self._written)

    def add(self, architecture: str, trials: Mapping[tuple[str, int], Trial]) -> None:
        """Take over the trainings of one architecture with one schedule."""
        _check_name(architecture)
        for (dataset, _), trial in trials.items():
            for split, (accuracy, loss) in sorted(trial.results.items()):
                if accuracy < 0 or accuracy > _ALL:  # NaN is neither, and stands for no value
                    raise DataError(f"{architecture} has an accuracy of {accuracy:g} per cent")
                row = (
                    architecture,
                    dataset,
                    split,
                    trial.epochs,
                    trial.seed,
                    accuracy / 100,
                    loss,
                    round(trial.parameters * _MEGA),
                    round(trial.flops * _MEGA),
                    trial.seconds,
                )
                for column, value in zip(self._columns.values(), row, strict=True):
                    column.append(value)
        self._architectures.add(architecture)
        self._trainings += len(trials)
        if len(self._columns["seed"]) >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        self._written += len(self._columns["seed"])
        try:
            table = pa.table(self._columns, schema=_SCHEMA)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"a result has a value of another kind ({error})") from error
        self._writer.write_table(table)
        for column in self._columns.values():
            column.clear()


def _check_name(architecture: str) -> None:
    """Refuse what is neither a cell of NAS-Bench-201 nor a network of the size search space."""
    if not isinstance(architecture, str):
        raise DataError("a record names its architecture by no text")
    try:
        if not _SIZES.fullmatch(architecture):
            parse_architecture(architecture)
    except SpaceError as error:
        raise DataError(f"{architecture!r} is no architecture of NAS-Bench-201") from error


def _read_file(path: Path, rows: _Rows, on_event: OnEvent) -> None:
    """Read one file with all architectures."""
    size = path.stat().st_size
    with path.open("rb") as raw:

        def add(architecture: str, trials: Mapping[tuple[str, int], Trial]) -> None:
            rows.add(architecture, trials)
            on_event(WorkDone("reading", raw.tell() // _MEGA, size // _MEGA, "MB"))

        _read_data(raw, add)


def _read_folder(folder: Path, rows: _Rows, on_event: OnEvent) -> None:
    """Read an unpacked folder: one file for each architecture."""
    members = _members(folder)
    if strange := [path.name for path in members if not path.is_file()]:
        raise DataError(f"{strange[0]} in {folder} is no file")
    for number, path in enumerate(members, start=1):
        with path.open("rb") as file:
            try:
                _read_data(file, rows.add)
            except DataError as error:
                error.add_note(f"in {path.name}")
                raise
        on_event(WorkDone("reading", number, len(members), "files"))


def _members(folder: Path) -> list[Path]:
    """Return the files of a folder, or of the only folder in it that has some."""
    members = sorted(path for path in folder.iterdir() if _MEMBER.fullmatch(path.name))
    if members:
        return members
    inside = sorted({path.parent for path in folder.rglob("*") if _MEMBER.fullmatch(path.name)})
    if len(inside) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in inside)
        raise DataError(f"{folder} holds several unpacked benchmarks, name one: {names}")
    return _members(inside[0]) if inside else []


def _read_data(raw: BufferedIOBase, add: OnArchitecture) -> None:
    """Find out how a file is packed, and read its records."""
    head = raw.read(4)
    size = raw.seek(0, SEEK_END)
    raw.seek(0)
    try:
        if head.startswith(b"BZh"):
            with bz2.open(raw) as file:
                read_records(file, add, most_bytes=most_unpacked(size))
        elif head.startswith(b"PK"):
            with zipfile.ZipFile(raw) as archive, archive.open(_pickle_in(archive)) as member:
                inside = cast("BufferedIOBase", member)
                read_records(inside, add, most_bytes=most_unpacked(size))
        elif head.startswith(b"\x80"):
            if read_records(raw, add) == _TORCH_MAGIC:
                for _ in range(_TORCH_PICKLES):
                    read_records(raw, add)
        else:
            foreign = f"it starts with {head!r} and is neither bz2, zip nor a pickle"
            raise DataError(foreign)  # noqa: TRY301 - with the other faults of a file
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"the packed data is truncated or damaged ({error})") from error


def _pickle_in(archive: zipfile.ZipFile) -> str:
    """Return the member of a torch archive that holds the data."""
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise DataError("the zip archive was not written by torch: it has no single data.pkl")
    return names[0]
