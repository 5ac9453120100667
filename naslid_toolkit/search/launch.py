"""A search in a process of its own, which outlives the notebook that started it."""

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from naslid_toolkit.runtime import open_regular
from naslid_toolkit.search.config import RunConfig, load_task
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.storage import RunStore

LOG: Final = "search.log"
_TAIL: Final = 12  # lines of the log that are worth showing
_STARTED: Final[list["subprocess.Popen[bytes]"]] = []  # a search may outlive who started it


@dataclass(frozen=True, slots=True)
class SearchProcess:
    """A search that was started in a process of its own.

    Parameters
    ----------
    folder
        The folder of the run; what the process says is in ``search.log`` there.
    process
        The process.
    """

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def exit_status(self) -> int | None:
        """None while the process lives; 0: finished, 130: cancelled, else it failed."""
        return self.process.poll()


def create_run(config: RunConfig, folder: str | Path) -> RunStore:
    """Start the folder of a run without beginning the search; see :func:`start_search`.

    Raises
    ------
    ConfigError
        If the folder is in use.
    DataError
        If the images of the settings cannot be read.
    """
    return create_store(folder, config, task=load_task(config))


def start_search(folder: str | Path, *, device: str = "auto", workers: int = 1) -> SearchProcess:
    """Begin or continue the run of a folder in a process of its own.

    The process is followed by :class:`~naslid_toolkit.search.following.RunFollower` and paused or
    ended by requests (:class:`~naslid_toolkit.search.control.RunControl`). It goes on when the
    notebook's kernel ends.

    Parameters
    ----------
    folder
        The folder of a run.
    device, workers
        As of ``naslid search``.

    Raises
    ------
    DataError
        If it is not the folder of a run.
    """
    store = RunStore.open(folder)
    # -P: a file called naslid_toolkit.py in the notebook's folder is not what is meant
    command = [sys.executable, "-P", "-m", "naslid_toolkit", "search", "--resume", "--quiet"]
    command += ["--out", str(store.folder.resolve()), "--device", device]
    command += ["--workers", str(workers)]
    with open_regular(store.folder / LOG, "wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    _STARTED[:] = [each for each in _STARTED if each.poll() is None] + [process]
    return SearchProcess(store.folder, process)


def free_folder(parent: Path, pattern: str) -> Path:
    """Return the first folder that does not exist, its number put into ``pattern``.

    Examples
    --------
    >>> free_folder(Path("nowhere"), "search-{:03d}").name
    'search-001'
    """
    names = (parent / pattern.format(number) for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def last_words(folder: str | Path) -> str:
    """Return the end of what the last process in a folder said."""
    path = Path(folder) / LOG
    if not path.exists():
        return ""
    with open_regular(path, "rb") as log:
        lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-_TAIL:])
