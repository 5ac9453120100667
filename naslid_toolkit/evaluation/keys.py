"""Which column of a table holds the names of the architectures."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import DataError, nearest_name
from naslid_toolkit.evaluation.columns import is_missing, numbers
from naslid_toolkit.evaluation.notations import looks_like_names

_CERTAIN: Final = ("architecture", "arch", "archstr", "architecturestring", "archstring")
_LIKELY: Final = ("genotype", "cell", "network", "net", "model", "modelname", "name", "config", "")
_COUNTERS: Final = ("archindex", "archid", "index", "id", "idx", "i", "")
NAMELESS: Final = "the column without a name"
_CELLS: Final = 15_625


def name_of(value: object) -> str:
    """Return a name as text, whatever it is in the file."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str)
    return "" if is_missing(value) else str(value).strip()


def _plain_name(name: str) -> str:
    plain = "".join(letter for letter in str(name).lower() if letter.isalnum())
    return "" if re.fullmatch(r"unnamed\d*", plain) else plain  # pandas calls it "Unnamed: 0"


def find_key(path: Path, frame: pd.DataFrame, key: str | None) -> str:
    """Return the column of a table that holds the names of the architectures.

    Parameters
    ----------
    path
        The file, for messages.
    frame
        The table.
    key
        The column asked for; None takes ``architecture``, ``arch`` and their like, then a column
        of cells of NAS-Bench-201, then any column of names.

    Raises
    ------
    DataError
        If there is none, or several that say different things.
    """
    columns = [str(name) for name in frame]
    if key is not None:
        if key in columns:
            return key
        raise DataError(f"{path} has no column {key!r} of names; {nearest_name(key, columns)}")
    plain = {name: _plain_name(name) for name in columns}
    cells = [name for name in columns if _holds_cells(frame[name])]
    certain = [name for name in columns if plain[name] in _CERTAIN]
    likely = [name for name in columns if plain[name] in _LIKELY and not _counts(frame[name])]
    counters = [name for name in columns if plain[name] in _COUNTERS]
    indices = [name for name in counters if not _counts(frame[name]) and _are_whole(frame[name])]
    for found in ([c for c in certain if c in cells], certain, cells, likely, indices):
        if found:
            return _single(path, frame, found)
    texts = [name for name in columns if _tells_apart(frame[name])]
    if len(texts) == 1:
        return texts[0]
    if counters:
        raise DataError(
            f"{path} has no column of names: {counters[0] or NAMELESS!r} only "
            f"counts the rows; name another with --key"
        )
    raise DataError(
        f"{path} has no column 'architecture' or 'arch', only {columns}; name one with --key"
    )


def _single(path: Path, frame: pd.DataFrame, found: Sequence[str]) -> str:
    """Return the first of columns that say the same, or the first by its name."""
    first = frame[found[0]].map(name_of)
    named = _plain_name(found[0]) in (*_CERTAIN, *_LIKELY)
    if named or all(frame[name].map(name_of).equals(first) for name in found):
        return found[0]
    raise DataError(f"{path} has several columns of names, name one with --key: {', '.join(found)}")


def _holds_cells(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and looks_like_names(
        column.head(20).map(name_of)
    )


def _are_whole(column: pd.Series) -> bool:
    return bool(column.map(name_of).str.fullmatch(r"\d+(\.0)?").all())


def _counts(column: pd.Series) -> bool:
    """Say whether a column only numbers the rows; a whole benchmark may be in its own order."""
    texts = column.map(name_of).tolist()
    count = len(texts)
    starts = [[str(n) for n in range(first, first + count)] for first in (0, 1)]
    return texts in starts and count < _CELLS


def _tells_apart(column: pd.Series) -> bool:
    """Say whether a column of text has another text in every row."""
    return bool(numbers(column).problem.startswith("text")) and column.map(name_of).is_unique
