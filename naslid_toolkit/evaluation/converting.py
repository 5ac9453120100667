"""From a table of scores or accuracies in any dress to one plain Parquet file."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from naslid_toolkit.errors import printable
from naslid_toolkit.evaluation.keyed import KeyedTable, Reading, read_table
from naslid_toolkit.runtime import check_output, replacing

_KEY: Final = "architecture"


def convert_table(
    source: str | Path,
    target: str | Path,
    *,
    key: str | None = None,
    notation: str | None = None,
) -> Reading:
    """Write a table in any dress as Parquet, with official strings as names.

    Parameters
    ----------
    source
        As :func:`~naslid_toolkit.evaluation.keyed.read_table` reads it.
    target
        The Parquet file to write: a column ``architecture``, the columns of numbers as they
        stand (shares where they had per cent signs), and those of text.
    key, notation
        As :func:`~naslid_toolkit.evaluation.keyed.read_table`.

    Returns
    -------
    Reading
        What was found.

    Raises
    ------
    DataError
        As :func:`~naslid_toolkit.evaluation.keyed.read_table`. The target is then left as it
        was.
    ConfigError
        If the target is the source.
    """
    check_output(Path(target), [Path(source)])
    table = read_table(source, key=key, notation=notation, every_kind=True)
    frame, left_out = _frame(table)
    title = table.key.partition(", ")[2]
    about = {
        "source": printable(table.path.name),
        "table": "one row as in the source",
        "names": title,
    }
    content = pa.Table.from_pandas(frame, preserve_index=False)
    with replacing(Path(target)) as temporary, temporary.open("wb") as file:
        pq.write_table(content.replace_schema_metadata(about), file, compression="zstd")
    taken = {str(name): "" for name in frame if name != _KEY}
    return Reading(
        source=printable(table.path.name),
        form=table.whole.form,
        key=table.key,
        architectures=table.names.nunique(),
        taken=taken,
        left_out=left_out,
        notes=table.notes,
    )


def _frame(table: KeyedTable) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns to write, and why others are not."""
    columns: dict[str, pd.Series] = {_KEY: table.names}
    left_out = {}
    for name in map(str, table.frame):
        problem = table.problems.get(name, "")
        if name in {"", _KEY}:
            left_out[name or "the column without a name"] = "it has no name of its own"
        elif name in table.columns:
            columns[name] = _whole(table.columns[name].values)
        elif problem.startswith("text"):
            columns[name] = table.frame[name].astype(str)
        else:
            left_out[name] = problem
    return pd.DataFrame(columns), left_out


def _whole(values: pd.Series) -> pd.Series:
    """Return whole numbers as integers, such as seeds."""
    exact = np.isfinite(values).all() and (values == values.round()).all()
    return values.astype("int64") if exact and values.abs().max() < 2**53 else values
