"""The ``naslid`` command: a thin skin over the functions a notebook calls."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see :func:`naslid_toolkit.cli.commands.run_command`.

    What it needs is loaded here, so that Ctrl-C in the seconds this takes ends it quietly.
    """
    try:
        from naslid_toolkit.cli.commands import run_command  # noqa: PLC0415
    except KeyboardInterrupt:
        print("naslid: stopped at once", file=sys.stderr)  # noqa: T201
        return 130
    return run_command(arguments)
