"""Lines of JSON that are appended and never changed, each chained to all lines before it."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from naslid_toolkit.errors import DataError
from naslid_toolkit.runtime import open_regular, parse_json_line

_NEWLINE: Final = b"\n"
_LINK: Final = re.compile(rb'(.*), "chain": "([0-9a-f]{16})"\}', re.DOTALL)
_TAIL: Final = 1 << 16  # bytes; longer lines are looked for in the whole file


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two lines of a journal: bytes before it, and the chain up to there."""

    size: int = 0
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """A file of JSON lines, each with a hash of itself and of all lines before it.

    A line that was changed, left out or moved breaks the chain; a last line that a kill cut
    short is no line yet. Several processes may append to one journal.

    Parameters
    ----------
    path
        The file; a link or anything else that is no regular file is refused.
    chained
        False for a journal of the time before lines were chained, which is read and continued
        as it is.
    """

    path: Path
    chained: bool = True

    def append(self, data: Mapping[str, Any]) -> Mark:
        """Append one line and flush it; return the place behind it.

        Raises
        ------
        DataError
            If the file cannot be written; names it.
        """
        try:
            with open_regular(self.path, "ab+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                before = _end(handle, self.path)
                handle.truncate(before.size)  # what a kill cut short never runs into the next
                line, chain = self._line(data, before.chain)
                handle.write(line)
                handle.flush()  # before the lock goes
                return Mark(before.size + len(line), chain)
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _line(self, data: Mapping[str, Any], before: str) -> tuple[bytes, str]:
        body = json.dumps(data, allow_nan=False).encode()
        if not self.chained:
            return body + _NEWLINE, ""
        chain = _linked(before, body[:-1])
        return body[:-1] + f', "chain": "{chain}"}}'.encode() + _NEWLINE, chain

    def end(self) -> Mark:
        """Return the place behind the last complete line."""
        if not self.path.exists():
            return Mark()
        with open_regular(self.path, "rb") as handle:
            return _end(handle, self.path)

    def read(
        self, start: Mark = Mark(), *, through: Mark = Mark()
    ) -> tuple[list[dict[str, Any]], Mark]:
        """Read the complete lines behind a place.

        Parameters
        ----------
        start
            Where to begin; what is before it is taken to be in order.
        through
            A place that the journal is known to have reached.

        Returns
        -------
        tuple
            The lines, and the place behind the last one.

        Raises
        ------
        DataError
            If a line is damaged, or lines are missing; names the file and the line.
        """
        rows: list[dict[str, Any]] = []
        mark = start
        reached = through.size <= start.size
        for number, line in enumerate(self._lines(start.size), start=1):
            row, chain = self._row(line, mark.chain, number)
            rows.append(row)
            mark = Mark(mark.size + len(line) + 1, chain)
            if mark.size == through.size:
                reached = chain == through.chain
            if mark.size >= through.size and not reached:  # lines of another length, or content
                raise DataError(f"line {number} of {self.path} is not the one that was written")
        if mark.size < through.size:
            raise DataError(
                f"{self.path} ends after {mark.size:,} bytes; {through.size:,} were written"
            )
        return rows, mark

    def _lines(self, start: int) -> list[bytes]:
        if not self.path.exists():
            return []
        with open_regular(self.path, "rb") as handle:
            handle.seek(start)
            return handle.read().split(_NEWLINE)[:-1]

    def _row(self, line: bytes, before: str, number: int) -> tuple[dict[str, Any], str]:
        chain = ""
        if self.chained:
            link = _LINK.fullmatch(line)
            if link is None or _linked(before, link[1]) != link[2].decode():
                raise DataError(
                    f"line {number} of {self.path} is damaged, or one before it is lost"
                )
            line, chain = link[1] + b"}", link[2].decode()
        return parse_json_line(line, number, self.path), chain


def _linked(before: str, body: bytes) -> str:
    """Return the hash of a line's content and all that was before it."""
    return hashlib.blake2b(before.encode() + body, digest_size=8).hexdigest()


def _end(handle: IO[bytes], path: Path) -> Mark:
    """Return the place behind the last complete line of an open file."""
    size = handle.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL)
    handle.seek(start)
    tail = handle.read(size - start)
    if start and tail.count(_NEWLINE) < 2:  # a long line: find where it begins
        tail, start = path.read_bytes()[:size], 0
    stop = tail.rfind(_NEWLINE) + 1
    last = tail[:stop].rstrip(_NEWLINE).rpartition(_NEWLINE)[2]
    link = _LINK.fullmatch(last)
    return Mark(start + stop, link[2].decode() if link else "")
