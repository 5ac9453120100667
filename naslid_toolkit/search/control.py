"""Who works on a run, and what is asked of them, by files in its folder: from any process."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from naslid_toolkit.errors import ConfigError, SearchCancelledError
from naslid_toolkit.runtime import UNFINISHED, WORK_CLOCK, open_regular

Request = Literal["pause", "cancel"]
REQUESTS: Final[tuple[Request, ...]] = ("pause", "cancel")
_LOCK_TRIES: Final = 10
_LOOK_EVERY: Final = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class RunControl:
    """The lock of a run's folder, and requests to whoever holds it.

    A request is a file in the folder, so it reaches a search in another process, in the workers
    of an executor, or on another machine. It is obeyed at the next step of the work.
    """

    folder: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from continuing the run meanwhile; begin without requests.

        Raises
        ------
        ConfigError
            If another process works on the run.
        """
        with open_regular(self._lock_file, "ab") as handle:
            for left in reversed(range(_LOCK_TRIES)):
                if _locks(handle):
                    break
                if not left:
                    raise ConfigError(f"another process works on the run in {self.folder}")
                time.sleep(_LOOK_EVERY)  # someone may only be looking, as is_running does
            for request in REQUESTS:
                self.withdraw(request)
            for left_over in self.folder.rglob(f".*{UNFINISHED}"):
                left_over.unlink(missing_ok=True)  # of processes that were killed
            yield

    @property
    def is_running(self) -> bool:
        """Whether some process works on the run at present."""
        if not self._lock_file.exists():
            return False
        with open_regular(self._lock_file, "rb") as handle:
            return not _locks(handle)

    @property
    def _lock_file(self) -> Path:
        return self.folder / ".lock"

    def request(self, what: Request) -> None:
        """Ask whoever works on the run to pause, or to end, at the next step."""
        open_regular(self.folder / f".{what}", "ab").close()

    def withdraw(self, what: Request) -> None:
        """Take a request back; of one to pause, so that the work goes on."""
        (self.folder / f".{what}").unlink(missing_ok=True)

    def is_requested(self, what: Request) -> bool:
        """Whether a request stands."""
        return (self.folder / f".{what}").exists()

    def obey(self) -> None:
        """Do what is asked; wait, with the clock of work standing, while the run is to pause.

        Raises
        ------
        SearchCancelledError
            If it is to end.
        """
        if self.is_requested("pause"):
            with WORK_CLOCK.standing():
                while self.is_requested("pause") and not self.is_requested("cancel"):
                    time.sleep(_LOOK_EVERY)
        if self.is_requested("cancel"):
            raise SearchCancelledError(f"the run in {self.folder} was asked to end")


def _locks(handle: IO[bytes]) -> bool:
    """Lock a file until it is closed; say whether nobody else had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
