"""Tables in pickles: plain containers, numbers and texts, of bounded depth and size."""

from collections.abc import Mapping
from io import BufferedIOBase
from typing import Any, Final

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.unpickling import Trial, read_records

_CONTAINERS: Final = (dict, list, tuple)
_DEEPEST: Final = 64  # containers within each other
_SHARED_ALIKE: Final = 8  # times that all of a table may be repeated by sharing its pieces
_SMALL: Final = 1_000_000  # entries of a table that need no such limit


class TrainingsError(DataError):
    """A file that holds trainings of a benchmark and no plain table."""


def read_plain(file: BufferedIOBase, *, most_bytes: int | None = None) -> Any:  # noqa: ANN401 - whatever the file holds
    """Interpret the pickles of a file that hold a table: plain containers, numbers and texts.

    Parameters
    ----------
    file
        Stands at the start of one pickle, or of several one after the other.
    most_bytes
        As :func:`~naslid_toolkit.evaluation.unpickling.read_records`.

    Returns
    -------
    object
        What the pickle holds; of several a list.

    Raises
    ------
    TrainingsError
        At the first training of an official benchmark file, which is no table.
    DataError
        As :func:`~naslid_toolkit.evaluation.unpickling.read_records`, or if it is nested too
        deeply or its pieces repeat without bound.
    """
    found = []
    start = file.tell()
    while file.read(1):
        file.seek(start)
        found.append(
            read_records(file, _refuse_architecture, on_trial=_refuse_trial, most_bytes=most_bytes)
        )
        _check_size(found[-1])
        start = file.tell()
    return found[0] if len(found) == 1 else found


def _check_size(data: object) -> None:
    """Refuse what is nested without end, or grows without bound when it is written out."""
    sizes: dict[int, int] = {}
    entries = 0

    def size(value: Any, depth: int) -> int:  # noqa: ANN401 - plain data
        nonlocal entries
        if id(value) in sizes:
            return sizes[id(value)]
        if depth > _DEEPEST:
            raise DataError(f"the pickle nests more than {_DEEPEST} containers, or one in itself")
        inside = value.values() if isinstance(value, dict) else value
        entries += len(value)
        own = [size(one, depth + 1) for one in inside if isinstance(one, _CONTAINERS)]
        sizes[id(value)] = len(value) + sum(own)
        return sizes[id(value)]

    whole = size(data, 0) if isinstance(data, _CONTAINERS) else 1
    if whole > max(_SMALL, _SHARED_ALIKE * entries):
        raise DataError(f"the pickle's {entries} entries unfold to {whole}; it was not unfolded")


def _refuse_trial(_record: Mapping[str, Any]) -> Trial:
    raise TrainingsError(
        "the file holds trainings of a benchmark; make a table of it with 'naslid truth import'"
    )


def _refuse_architecture(_name: str, trials: Mapping[tuple[str, int], Trial]) -> None:
    _refuse_trial(trials)  # type: ignore[arg-type]  # whatever it holds, it is refused
