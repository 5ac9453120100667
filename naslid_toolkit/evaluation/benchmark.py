"""Tables of reference accuracy by architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import DataError, nearest_name
from naslid_toolkit.shipped import shipped

_NAMES: Final = ("architecture", "arch")
_PERCENT: Final = 1.5  # a largest accuracy above this can only be a percentage
_LISTED: Final = 8  # choices that an error message lists
# Columns that tell the trainings of one architecture apart, beside the seed.
_KINDS: Final = ("dataset", "split", "epochs")

Where = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTable:
    """Reference accuracies, and where they come from.

    Parameters
    ----------
    accuracy
        In [0, 1], by official architecture string; the mean over its seeds.
    seeds
        The accuracies behind it, a column for each seed; NaN where an architecture was not
        trained with one. A single column where the table has means only.
    validation
        Validation accuracies of the same architectures in [0, 1], mean over seeds; None where
        the table has none.
    column
        The column they were read from, and the rows chosen.
    source
        File name.
    task
        Name of the image task, or an empty string where the file does not say.
    one_per_cell
        Whether one architecture stands for all isomorphic ones.
    """

    accuracy: pd.Series
    seeds: pd.DataFrame
    validation: pd.Series | None
    column: str
    source: str
    task: str = ""
    one_per_cell: bool = False

    @property
    def rows(self) -> int:
        """Seeds averaged for every architecture, at least."""
        return int(self.seeds.notna().sum(axis=1).min())


def load_reference(
    path: str | Path,
    *,
    column: str | None = None,
    validation: str | None = None,
    where: Where | None = None,
) -> ReferenceTable:
    """Read reference accuracies from a Parquet or CSV table.

    Parameters
    ----------
    path
        A table with a column ``architecture`` or ``arch`` of official strings and accuracies
        in per cent or in [0, 1]. Rows of the same architecture are seeds.
    column
        The column of accuracies; None takes ``test_accuracy``, ``accuracy``, or the only one
        that fits.
    validation
        The column of validation accuracies; None takes ``valid_accuracy`` if there is one, or
        the rows of the split ``x-valid`` of an imported benchmark.
    where
        Rows to take, such as ``{"dataset": "cifar10", "split": "ori-test", "epochs": 200}``;
        needed where a table holds several kinds of trainings.

    Returns
    -------
    ReferenceTable
        Accuracies in [0, 1].

    Raises
    ------
    DataError
        If the file is missing, damaged or has no such columns or rows, or if it is not clear
        which accuracy is meant; names the file and the choices.
    """
    path = Path(path)
    frame, metadata = _read(path)
    column = _accuracy_column(path, frame, column)
    where = dict(where or {})
    rows = _rows(path, frame, where)
    seeds = _by_seed(path, rows, column)
    scale = 0.01 if np.nanmax(seeds.to_numpy(dtype=float)) > _PERCENT else 1.0
    chosen = ", ".join(f"{name}={value}" for name, value in where.items())
    return ReferenceTable(
        accuracy=seeds.mean(axis=1).rename(column) * scale,
        seeds=seeds * scale,
        validation=_validation(path, frame, validation, where),
        column=f"{column} ({chosen})" if chosen else column,
        source=path.name,
        task=metadata.get("task", ""),
        one_per_cell=metadata.get("cells", "").startswith("one for each class"),
    )


def digits_truth_path() -> Path:
    """Return where the table of NB201-digits is; ``naslid truth build`` makes it.

    Raises
    ------
    DataError
        If it is in neither place, the package or the project's ``data`` folder.
    """
    return shipped("data/nb201_digits.parquet")


def read_columns(path: str | Path, *, where: Where | None = None) -> pd.DataFrame:
    """Read every column of accuracies of a table, by architecture, mean over rows.

    Returns
    -------
    pandas.DataFrame
        Indexed by architecture string; accuracies as they stand in the file.

    Raises
    ------
    DataError
        As :func:`load_reference`.
    """
    path = Path(path)
    frame, _ = _read(path)
    rows = _rows(path, frame, dict(where or {}))
    return rows.groupby("architecture", observed=True)[_floats(rows)].mean()


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table and its text metadata; its architectures stand in ``architecture``."""
    frame, metadata = _read_file(path)
    key = next((name for name in _NAMES if name in frame), None)
    if key is None:
        raise DataError(f"{path} has no column 'architecture' or 'arch', only {list(frame)}")
    return frame.rename(columns={key: "architecture"}), metadata


def _read_file(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
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


def _floats(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if pd.api.types.is_float_dtype(frame[name])]


def _accuracy_column(path: Path, frame: pd.DataFrame, column: str | None) -> str:
    floats = _floats(frame)
    if column is not None:
        if column in floats:
            return column
        raise DataError(
            f"{path} has no column {column!r} of accuracies; {nearest_name(column, floats)}"
        )
    for usual in ("test_accuracy", "accuracy"):
        if usual in floats:
            return usual
    if len(floats) == 1:
        return floats[0]
    raise DataError(f"{path} has several columns of numbers, name one of {', '.join(floats)}")


def _rows(path: Path, frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """Take the rows asked for; they must all be of one kind."""
    for name, value in where.items():
        if name not in frame:
            hint = nearest_name(name, [str(column) for column in frame])
            raise DataError(f"{path} has no column {name!r} to choose rows by; {hint}")
        chosen = frame[frame[name].astype(str) == str(value)]
        if chosen.empty:
            values = sorted(map(str, frame[name].unique()))[:_LISTED]
            raise DataError(f"{path} has no row with {name}={value}; it has {', '.join(values)}")
        frame = chosen
    kinds = [name for name in _KINDS if name in frame]
    different = frame[kinds].drop_duplicates() if kinds else frame.iloc[:1]
    if len(different) > 1:
        some = [
            " ".join(f"{name}={value}" for name, value in zip(kinds, row, strict=True))
            for row in different.head(_LISTED).itertuples(index=False)
        ]
        raise DataError(
            f"{path} holds {len(different)} kinds of accuracies; choose one, "
            f"for instance with --where: {'; '.join(some)}"
        )
    return frame


def _by_seed(path: Path, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return accuracies by architecture and seed."""
    if rows[column].isna().any():
        raise DataError(
            f"column {column!r} of {path} lacks {int(rows[column].isna().sum())} values"
        )
    names = rows["architecture"].astype(str)
    number = rows["seed"] if "seed" in rows else rows.groupby(names).cumcount()
    keyed = pd.Series(rows[column].to_numpy(dtype=float), [names.to_numpy(), number.to_numpy()])
    twice = keyed.index.duplicated()
    if twice.any():
        name, seed = keyed.index[twice][0]
        raise DataError(f"{path} has architecture {name} twice with seed {seed}")
    return keyed.unstack().rename_axis(index="architecture", columns="seed")


def _validation(
    path: Path, frame: pd.DataFrame, column: str | None, where: Where
) -> pd.Series | None:
    """Return mean validation accuracies, if the table has any."""
    if column is None and "valid_accuracy" in frame:
        column = "valid_accuracy"
    if column is not None:
        rows = _rows(path, frame, where)
        column = _accuracy_column(path, frame, column)
    elif {"dataset", "split"} <= where.keys() and "x-valid" in set(frame["split"]):
        # The benchmark validates CIFAR-10 in a training of its own, on half of the images.
        dataset = f"{where['dataset']}-valid" if where["dataset"] == "cifar10" else where["dataset"]
        column = "accuracy"
        rows = _rows(path, frame, {**where, "dataset": dataset, "split": "x-valid"})
    else:
        return None
    accuracy = _by_seed(path, rows, column).mean(axis=1)
    return accuracy * 0.01 if accuracy.max() > _PERCENT else accuracy
