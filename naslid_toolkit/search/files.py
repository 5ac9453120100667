"""The files of a run: written whole, listed with their hashes, and checked when they are read."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from naslid_toolkit.errors import DataError
from naslid_toolkit.runtime import replacing
from naslid_toolkit.search.journal import Journal, Mark

MANIFEST: Final = "manifest.jsonl"
JOURNALS: Final = ("events.jsonl", "evaluations/*.jsonl")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TRIES: Final = 5  # a file may be replaced by another process while it is looked at


@dataclass(slots=True)
class Listed:
    """What the manifest says of one file.

    Parameters
    ----------
    written
        Hash of the content that was written last; None if there should be no file.
    begun
        Hash of another content it may have: a process that began to put it in place, or to
        remove it, did not report that it was done.
    """

    written: str | None = None
    begun: str | None = None


@dataclass(slots=True)
class Listing:
    """The manifest, read: every file by name, and how far each journal had come."""

    files: dict[str, Listed] = field(default_factory=dict)
    journals: dict[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files below a run's folder, each known by the hash of its content.

    ``manifest.jsonl`` gets a line before a file takes its place and one afterwards, so that a
    kill at any moment leaves either content in order. Names are checked, links are refused, and
    what is read is what was written, or an error says which file is not.

    Parameters
    ----------
    folder
        The folder.
    listed
        False for a run of the time before there was a manifest, whose files are read unchecked.
    """

    folder: Path
    listed: bool = True

    def path(self, name: str) -> Path:
        """Return the place of a file.

        Raises
        ------
        DataError
            If the name leads out of the folder, or a part of it is a link.
        """
        place = self.folder
        for part in name.split("/"):
            if not _PART.fullmatch(part):
                raise DataError(f"{name!r} cannot be the name of a file in {self.folder}")
            place = place / part
            if place.is_symlink():
                raise DataError(f"{place} is a link; a run has only files of its own, remove it")
        return place

    def exists(self, name: str) -> bool:
        """Whether a file is there.

        Raises
        ------
        DataError
            If it was written and is gone.
        """
        if self.path(name).exists():
            return True
        if self.listed and self.listing().files.get(name, Listed()).written is not None:
            raise DataError(f"{self.folder / name} is gone; {self._remedy()}")
        return False

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a temporary file to write, which takes its place, and is listed, when complete.

        Raises
        ------
        DataError
            If it cannot be written; names it.
        """
        digest = ""
        with replacing(self.path(name)) as temporary:
            yield temporary
            if self.listed:
                digest = file_hash(temporary)
                self._note({"begun": name, "sha256": digest})
        if self.listed:
            self._note({"written": name, "sha256": digest, "journals": self._journals()})

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        path = self.path(name)
        if not path.exists():
            return
        if self.listed:
            self._note({"removed": name})
        path.unlink(missing_ok=True)

    def checked(self, name: str) -> Path:
        """Return the place of a file that holds what was written to it.

        Raises
        ------
        DataError
            If it is missing, damaged, or belongs somewhere else.
        """
        path = self.path(name)
        if not self.listed:
            if not path.is_file():  # a pipe would wait for ever
                raise DataError(f"{path} is missing or no file")
            return path
        for _ in range(_TRIES):
            found = file_hash(path) if path.is_file() else None
            known = self.listing().files.get(name, Listed())
            if found is not None and found in {known.written, known.begun}:
                return path
        if found is None:
            raise DataError(f"{path} is missing or no file; {self._remedy()}")
        if known.written is None:
            raise DataError(f"{path} is not on the run's {MANIFEST}; {self._remedy()}")
        raise DataError(f"{path} is not what the run wrote: its hash differs; {self._remedy()}")

    def append(self, name: str, data: Mapping[str, Any]) -> None:
        """Append a line to a journal.

        Raises
        ------
        DataError
            If it cannot be written; names it.
        """
        journal = self.journal(name)
        journal.path.parent.mkdir(parents=True, exist_ok=True)
        journal.append(data)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return all lines of a journal.

        Raises
        ------
        DataError
            If one is damaged or missing.
        """
        through = self.listing().journals.get(name, Mark()) if self.listed else Mark()
        return self.journal(name).read(through=through)[0]

    def journal(self, name: str) -> Journal:
        """Return a journal of the run."""
        return Journal(self.path(name), chained=self.listed)

    def listing(self) -> Listing:
        """Read the manifest, unless it is what it was when it was last read."""
        path = self._manifest.path
        found = path.stat() if path.exists() else None
        return _listing(path, None if found is None else (found.st_mtime_ns, found.st_size))

    def forget(self, name: str) -> None:
        """Delete a file or journal, whatever is in its place, and take it off the manifest."""
        self._note({"removed": name})
        (self.folder / name).unlink(missing_ok=True)

    @property
    def _manifest(self) -> Journal:
        return Journal(self.folder / MANIFEST)

    def _note(self, row: dict[str, Any]) -> None:
        self._manifest.append(row)

    def _journals(self) -> dict[str, list[Any]]:
        """Say how far each journal has come."""
        paths = [path for pattern in JOURNALS for path in sorted(self.folder.glob(pattern))]
        ends = {p.relative_to(self.folder).as_posix(): Journal(p).end() for p in paths}
        return {name: [mark.size, mark.chain] for name, mark in ends.items()}

    def _remedy(self) -> str:
        return f"'naslid check {self.folder}' says what can be made again"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, as ``sha256sum`` prints it."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=32)
def _listing(path: Path, _version: tuple[int, int] | None) -> Listing:
    """Read a manifest; nobody changes what is returned."""
    listing = Listing()
    for row in Journal(path).read()[0]:
        for name, (size, chain) in row.get("journals", {}).items():
            if size >= listing.journals.get(name, Mark()).size:
                listing.journals[name] = Mark(int(size), str(chain))
        if "begun" in row:
            listing.files.setdefault(row["begun"], Listed()).begun = row["sha256"]
        elif "written" in row:
            listing.files[row["written"]] = Listed(row["sha256"])
        elif "removed" in row:
            before = listing.files.pop(row["removed"], Listed())
            listing.files[row["removed"]] = Listed(None, before.written or before.begun)
            listing.journals.pop(row["removed"], None)
    return listing
