"""The weights of networks as tensors by name: several in one file, checked when they come back."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from naslid_toolkit.errors import DataError
from naslid_toolkit.supernet.network import Supernet


def named_snapshots(snapshots: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weights of several snapshots as tensors of one file."""
    return {
        f"snapshot{number}.{name}": value
        for number, weights in enumerate(snapshots)
        for name, value in weights.items()
    }


def snapshots_in(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the snapshots among the tensors of one file, in order.

    Raises
    ------
    DataError
        If one has no number.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition(".")
        if place.startswith("snapshot"):
            number = place.removeprefix("snapshot")
            if not number.isdecimal():
                raise DataError(f"{key!r} is no tensor of a numbered snapshot")
            found.setdefault(int(number), {})[name] = value
    return [found[number] for number in sorted(found)]


def fitting(
    tensors: Mapping[str, Tensor], supernet: Supernet, prefix: str = ""
) -> dict[str, Tensor]:
    """Return the weights of a network among tensors whose names have a prefix.

    Raises
    ------
    DataError
        If one is missing, or has another shape or number format.
    """
    found = {}
    for name, own in supernet.state_dict().items():
        value = tensors.get(prefix + name)
        if value is None:
            raise DataError(f"there is no tensor {prefix + name!r}")
        if (value.shape, value.dtype) != (own.shape, own.dtype):
            raise DataError(
                f"{prefix + name!r} has the shape {tuple(value.shape)} in {value.dtype}, "
                f"expected {tuple(own.shape)} in {own.dtype}"
            )
        found[name] = value
    return found
