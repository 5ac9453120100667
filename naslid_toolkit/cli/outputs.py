"""Files that commands write: checked before any work, and tables as CSV."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.plain_text import for_spreadsheet
from naslid_toolkit.runtime import check_output, replacing


def add_csv_option(parser: argparse.ArgumentParser, text: str = "also write the table") -> None:
    """Declare ``--csv``."""
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help=f"{text}; a text that a spreadsheet would take for a formula gets an apostrophe",
    )


def check_outputs(
    *outputs: str | Path | None,
    inputs: Iterable[str | Path | None] = (),
    folder: str | Path | None = None,
) -> None:
    """Refuse files that cannot be written, or would replace what the command reads.

    Parameters
    ----------
    outputs, inputs
        Names of files or folders; None for options that were not given.
    folder
        A folder that the command makes, whose place none of the files may take.

    Raises
    ------
    ConfigError
        Names the file and what is wrong with it.
    DataError
        If a link, folder, pipe or device is in its place.
    """
    found: list[Path] = []
    read = [Path(one) for one in inputs if one]
    for output in (Path(one) for one in outputs if one):
        check_output(output, read)
        if any(output.absolute() == other.absolute() for other in found):
            raise ConfigError(f"{output} is named twice; every output needs a file of its own")
        if folder is not None and Path(folder).absolute().is_relative_to(output.absolute()):
            raise ConfigError(f"{output} is to be a folder, of --out; name another file")
        found.append(output)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as CSV in which no cell and no heading is a formula."""
    safe = frame.map(for_spreadsheet).set_axis([for_spreadsheet(name) for name in frame], axis=1)
    with replacing(Path(path)) as temporary:
        safe.to_csv(temporary, index=False)
