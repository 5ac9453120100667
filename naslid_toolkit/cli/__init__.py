"""The ``naslid`` command: a thin skin over the functions a notebook calls."""

from naslid_toolkit.cli.main import main

__all__ = ["main"]
