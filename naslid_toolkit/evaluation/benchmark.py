"""Tables of reference accuracy by architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import DataError, nearest_name

_NAMES: Final = ("architecture", "arch")
_SHIPPED: Final = "digits_truth.parquet"
_PERCENT: Final = 1.5  # a largest accuracy above this can only be a percentage


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTable:
    """Reference accuracies, and where they come from.

    Parameters
    ----------
    accuracy
        In [0, 1], by official architecture string; the mean over its rows in the table.
    column
        The column they were read from.
    source
        File name, and the recipe if the file names one.
    task
        Name of the image task, or an empty string where the file does not say.
    rows
        Rows averaged for an architecture: its seeds, where the table has a row for each.
    """

    accuracy: pd.Series
    column: str
    source: str
    task: str
    rows: int


def load_reference(path: str | Path, *, column: str | None = None) -> ReferenceTable:
    """Read reference accuracies from a Parquet or CSV table.

    Parameters
    ----------
    path
        A table with a column ``architecture`` or ``arch`` of official strings and accuracies
        in per cent or in [0, 1]. Rows of the same architecture are averaged, as seeds.
    column
        The column of accuracies; None takes ``test_accuracy``, or the only one that fits.

    Returns
    -------
    ReferenceTable
        Accuracies in [0, 1].

    Raises
    ------
    DataError
        If the file is missing, damaged or has no such columns; names the file and what was
        expected.
    """
    path = Path(path)
    frame, metadata = _read(path)
    key = next((name for name in _NAMES if name in frame), None)
    if key is None:
        raise DataError(f"{path} has no column 'architecture' or 'arch', only {list(frame)}")
    column = _accuracy_column(path, frame, column)
    grouped = frame.groupby(key)[column]
    accuracy = grouped.mean()
    if accuracy.isna().any():
        raise DataError(f"column {column!r} of {path} lacks {int(accuracy.isna().sum())} values")
    scale = 0.01 if accuracy.max() > _PERCENT else 1.0
    return ReferenceTable(
        accuracy=accuracy * scale,
        column=column,
        source=path.name,
        task=metadata.get("task", ""),
        rows=int(grouped.size().min()),
    )


def digits_truth_path() -> Path:
    """Return where the table of the embedded digits task is.

    Raises
    ------
    DataError
        If it is in neither place, the package or the project's ``data`` folder.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / _SHIPPED).is_file():
            return folder / _SHIPPED
    raise DataError(
        f"{_SHIPPED} is neither in {package / 'data'} nor in {package.parent / 'data'}; "
        f"'naslid truth' makes it"
    )


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table and its text metadata."""
    if not path.is_file():
        raise DataError(f"no file {path}; expected a Parquet or CSV table of accuracies")
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path), {}
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or not a Parquet or CSV table") from error
    raw = table.schema.metadata or {}
    return table.to_pandas(), {k.decode(): v.decode(errors="replace") for k, v in raw.items()}


def _accuracy_column(path: Path, frame: pd.DataFrame, column: str | None) -> str:
    floats = [str(name) for name in frame if pd.api.types.is_float_dtype(frame[name])]
    if column is not None:
        if column in floats:
            return column
        raise DataError(
            f"{path} has no column {column!r} of accuracies; {nearest_name(column, floats)}"
        )
    if "test_accuracy" in floats:
        return "test_accuracy"
    if len(floats) == 1:
        return floats[0]
    raise DataError(f"{path} has several columns of numbers, name one of {', '.join(floats)}")
