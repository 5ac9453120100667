"""Named randomness, events, and files that are never half-written."""

import ctypes
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import torch

from naslid_toolkit.errors import ConfigError, DataError, NaslidError

UNFINISHED: Final = ".tmp"  # ending of files that are not complete
_NEWLINE: Final = b"\n"
# What glibc calls its settings, and the values: trim the heap and map blocks of their own late.
_ALLOCATOR: Final = {-1: 1 << 30, -2: 64 << 20, -3: 32 << 20}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a long piece of work; every field is plain JSON data."""

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON-able data, its class name under ``"event"``."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, slots=True)
class WorkDone(Event):
    """Progress inside one long step; for display only, never stored.

    ``task`` names the step, ``done`` and ``total`` count its ``unit``.
    """

    task: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class Remark(Event):
    """Something people should know about what was read or chosen, in a sentence."""

    text: str


class WorkClock:
    """Seconds of work: a clock that stands still while the work is paused."""

    def __init__(self) -> None:
        self._paused = 0.0

    def now(self) -> float:
        """Return the seconds worked since some moment in the past."""
        return time.perf_counter() - self._paused

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Stop the clock inside the ``with``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - began


WORK_CLOCK: Final = WorkClock()
OnEvent = Callable[[Event], None]


def ignore_event(_event: Event) -> None:
    """Do nothing: the default listener."""


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive the seed of a named child stream.

    Parameters
    ----------
    seed
        The seed of the whole run.
    names
        What the stream is for, from the general to the particular.

    Returns
    -------
    int
        A number in ``[0, 2**63)``; different names give unrelated streams, and the order in
        which streams are asked for does not matter.

    Examples
    --------
    >>> derive_seed(0, "level", 2) == derive_seed(0, "level", 2)
    True
    >>> derive_seed(0, "level", 2) == derive_seed(0, "level", 3)
    False
    """
    digest = hashlib.sha256(repr((int(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a fresh CPU random generator for a named stream.

    Parameters
    ----------
    seed
        The seed of the whole run.
    names
        What the stream is for.

    Returns
    -------
    torch.Generator
        On the CPU, so that numbers do not depend on the device of the work.

    Examples
    --------
    >>> a, b = generator(0, "paths"), generator(0, "paths")
    >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).all())
    True
    """
    return torch.Generator().manual_seed(derive_seed(seed, *names))


@cache
def keep_freed_memory() -> bool:
    """Let this process keep memory it frees, for the next step to use without page faults.

    Tensors of a training step come and go by the million bytes; by default glibc hands such
    blocks back to the system at once, and a third of a step on the CPU goes into faulting them
    in again. The process then holds on to what it needed at its peak, up to 1 GiB of it.

    Returns
    -------
    bool
        Whether the allocator took the settings; False where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return {mallopt(name, value) for name, value in _ALLOCATOR.items()} == {1}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of ``path`` only when complete.

    Whoever reads ``path`` sees the old content or the new one, never a part, also after a kill
    or a power cut.

    Raises
    ------
    DataError
        If the file cannot be written, because the disk is full for instance; names it. A link,
        folder, pipe or device in its place is left alone.
    """
    _check_place(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except NaslidError:
        raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_place(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DataError(f"{path} is a link, folder, pipe or device; name another file")


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse a file to be written, before any work, that could not be or that must not be.

    Parameters
    ----------
    path
        The file to write.
    inputs
        Files and folders that are read for it.

    Raises
    ------
    ConfigError
        If it is one of the inputs or lies inside one, or what should be its folder is a file.
    DataError
        If a link, folder, pipe or device is in its place.
    """
    _check_place(path)
    above = [folder for folder in path.absolute().parents if folder.exists()]
    if above and not above[0].is_dir():
        raise ConfigError(f"{path} cannot be written: {above[0]} is a file, not a folder")
    for given in inputs:
        if not given.exists():
            continue
        if path.exists() and path.samefile(given):
            raise ConfigError(f"{path} is what is read; name another file to write")
        if given.is_dir() and path.resolve().is_relative_to(given.resolve()):
            raise ConfigError(f"{path} lies in {given}, which is read; name a file outside of it")


def open_regular(path: Path, mode: str) -> IO[bytes]:
    """Open a file that is no link, device or pipe, so that nothing lands elsewhere.

    Raises
    ------
    DataError
        If it is something else than a regular file.
    """

    def opener(name: str, flags: int) -> int:
        # without blocking, else a pipe would wait for somebody at its other end
        handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise DataError(f"{path} is not a regular file; remove it")
        return handle

    try:
        return open(path, mode, opener=opener)
    except DataError:
        raise
    except OSError as error:
        if path.is_symlink() or path.is_fifo():
            raise DataError(f"{path} is a link or pipe, not a regular file; remove it") from error
        raise


def append_json_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append one line of JSON to a file and flush it.

    A line that a kill cut short is dropped first, so that it never runs into the next. Several
    processes may append to one file.

    Raises
    ------
    DataError
        If the file cannot be written; names it.
    """
    try:
        with path.open("ab+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = handle.seek(0, os.SEEK_END)
            if size:
                handle.seek(size - 1)
                if handle.read(1) != _NEWLINE:
                    handle.truncate(path.read_bytes().rfind(_NEWLINE) + 1)
            handle.write(json.dumps(data, allow_nan=False).encode() + _NEWLINE)
            handle.flush()  # before the lock goes
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a file; a last line that a kill cut short is left out.

    Raises
    ------
    DataError
        If another line is no JSON object; names the file and the line.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(_NEWLINE)[:-1]
    return [parse_json_line(line, number, path) for number, line in enumerate(lines, start=1)]


def parse_json_line(line: bytes, number: int, path: Path) -> dict[str, Any]:
    """Return the JSON object of one line of a file.

    Raises
    ------
    DataError
        If it is none; names the file and the line.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number} of {path} is not JSON") from error
    if not isinstance(row, dict):
        raise DataError(f"line {number} of {path} is no JSON object")
    return row
