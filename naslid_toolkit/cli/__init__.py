"""The ``naslid`` command: a thin skin over the functions a notebook calls."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_STOPPED: Final = 130  # exit status, as of any program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`naslid_toolkit.cli.commands.run_command`."""
    with _quiet_end():
        from naslid_toolkit.cli.commands import run_command  # noqa: PLC0415 - takes seconds
    return run_command(arguments)


@contextmanager
def _quiet_end() -> Iterator[None]:
    """Let Ctrl-C end the process at once while it loads what it needs, without a traceback.

    Nothing has begun yet, and an exception in the middle of loading may be lost on its way.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_number: int, _frame: object) -> None:
    os.write(2, b"naslid: stopped at once\n")
    os._exit(_STOPPED)
