"""Plain data out of JSON and pickles as one table, whatever way it is nested."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.notations import looks_like_names

_TRAINING: Final = frozenset({"train_losses", "eval_losses", "train_acc1es", "eval_acc1es"})
_FEW: Final = 8  # names of columns, against names of architectures
_MEGA: Final = 1e6


def frame_of(data: object) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return plain data as a table, and what kind of file it was taken for.

    Understood are names with a number each, names with a record each, lists of records, columns
    by name, and any of these once for each data set. A record inside a record becomes columns;
    what stands under ``score`` in it has the name of the record alone.

    Raises
    ------
    DataError
        If it is none of these.
    """
    if isinstance(data, Mapping):
        if {"columns", "data"} <= data.keys():  # pandas, orient="split"
            data = [dict(zip(data["columns"], row, strict=False)) for row in data["data"]]
        else:
            return _from_mapping({str(key): value for key, value in data.items()})
    if isinstance(data, list | tuple) and data:
        if all(isinstance(one, Mapping) for one in data):
            return pd.DataFrame([_flat(one) for one in data]), ()
        if all(_is_list(one) and len(one) == 2 for one in data):
            return pd.DataFrame([{"": _text(name), "score": score} for name, score in data]), ()
    raise DataError(
        "the file holds no table: expected names with numbers or records, or a list of records"
    )


def _is_list(data: object) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0


def _from_mapping(data: Mapping[str, Any]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    values = list(data.values())
    if not values:
        raise DataError("the file holds an empty object and no table")
    if all(_is_list(v) for v in values) and len({len(v) for v in values}) == 1 and not _named(data):
        return pd.DataFrame({name: [_cell(v) for v in column] for name, column in data.items()}), ()
    if not any(isinstance(value, Mapping) for value in values):
        if any(_is_list(value) for value in values):
            raise DataError("the file holds lists of different lengths and no table")
        return pd.DataFrame({"": list(data), "score": values}), ()
    if not all(isinstance(value, Mapping) for value in values):
        raise DataError("the file holds records and numbers side by side and no table")
    if _named(data) or not all(_nested(value) for value in values):
        return _from_records(data)
    return _by_dataset(data)


def _named(data: Mapping[str, Any]) -> bool:
    """Say whether the keys are architectures."""
    return looks_like_names(pd.Series(list(data)))


def _nested(value: Mapping[str, Any]) -> bool:
    return bool(value) and all(isinstance(inner, Mapping) for inner in value.values())


def _by_dataset(data: Mapping[str, Mapping[str, Any]]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a table for each data set, or records whose members are all records."""
    if not all(_named(value) for value in data.values()):
        return _from_records(data)
    parts = [_from_records(value)[0].assign(dataset=name) for name, value in data.items()]
    return pd.concat(parts, ignore_index=True), ("proxies by data set, as NASLib writes them",)


def _from_records(data: Mapping[str, Mapping[str, Any]]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    first = next(iter(data.values()))
    if all(isinstance(one, Mapping) and one.keys() >= _TRAINING for one in first.values()):
        rows = [row for name, sets in data.items() for row in _trainings(name, sets)]
        return pd.DataFrame(rows), ("trainings by data set, as NASLib keeps them",)
    if _are_columns(data):
        columns = {name: [_cell(v) for v in column.values()] for name, column in data.items()}
        return pd.DataFrame({"": list(first), **columns}), ()
    return pd.DataFrame([{"": name, **_flat(record)} for name, record in data.items()]), ()


def _are_columns(data: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether records are columns by row, as pandas writes a frame."""
    inside = [list(value) for value in data.values()]
    if len(data) > _FEW or _named(data) or any(keys != inside[0] for keys in inside):
        return False
    texts = [pd.Series([_text(cell) for cell in column.values()]) for column in data.values()]
    return len(inside[0]) > len(data) or any(looks_like_names(column) for column in texts)


def _trainings(name: str, sets: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """Yield the last epoch of every training of an architecture."""
    for dataset, record in sets.items():
        cost = record.get("cost_info", {})
        for split in ("train", "eval"):
            accuracies, losses = record[f"{split}_acc1es"], record[f"{split}_losses"]
            if not accuracies:
                raise DataError(f"{name} has no epoch of {split} on {dataset}")
            yield {
                "architecture": name,
                "dataset": str(dataset),
                "split": split,
                "epochs": len(accuracies),
                "accuracy": accuracies[-1] / 100,
                "loss": losses[-1],
                "parameters": cost.get("params", float("nan")) * _MEGA,
                "flops": cost.get("flops", float("nan")) * _MEGA,
                "seconds": cost.get("train_time", float("nan")),
            }


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a record without records in it."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and not _is_cell(value):
            flat |= {_short(key): one for key, one in _flat(value, f"{label}.").items()}
        elif not (isinstance(value, Mapping) and not value):
            flat[label] = _cell(value)
    return flat


def _short(name: str) -> str:
    """Name the score of a proxy after the proxy alone, and measures after themselves."""
    return name.removesuffix(".score").removeprefix("logmeasures.")


def _is_cell(value: Mapping[str, Any]) -> bool:
    return looks_like_names(pd.Series([_text(value)]))


def _cell(value: object) -> object:
    return _text(value) if isinstance(value, list | tuple | Mapping) else value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
