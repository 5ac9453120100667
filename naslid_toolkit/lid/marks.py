"""What a forward pass may leave on weights: found out where no version of a tensor tells."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from naslid_toolkit.errors import ShapeError

# Hooks, modes and random states belong to all threads, so only one measures at a time.
MEASURING: Final = threading.RLock()
_TOGETHER: Final = 1 << 18  # numbers of small parameters that are copied side by side
_BLOCKS: Final = 64  # sums of a fingerprint, so that numbers that change places show
_WIDE: Final = 8  # bytes of a whole number

Named = tuple[str, Tensor]
Restore = Callable[[], object]


_guarded: Final[set[int]] = set()  # parameters that somebody watches already


@contextmanager
def watched(network: nn.Module) -> Iterator[None]:
    """Say that the parameters of a network are watched: measuring them needs no watch of its own.

    The caller holds :data:`MEASURING`.
    """
    before = set(_guarded)
    _guarded.update(map(id, network.parameters()))
    try:
        yield
    finally:
        _guarded.intersection_update(before)


def is_watched(network: nn.Module) -> bool:
    """Whether all parameters of a network are, and it has some."""
    if not _guarded:
        return False
    found = [id(parameter) in _guarded for parameter in network.parameters()]
    return bool(found) and all(found)


@contextmanager
def unwritten(network: nn.Module) -> Iterator[None]:
    """Refuse a forward pass that writes into parameters.

    Writing to ``parameter.data`` changes no version. Sums over the bits of the parameters tell
    it, for less than a thousandth of their memory, and 2 MB to put small ones side by side.

    Raises
    ------
    ShapeError
        If a parameter was written to; it has changed then.
    """
    if is_watched(network):
        yield
        return
    # Tensors made in inference mode have no version, and refuse to be written to outside it.
    parameters = [(n, p) for n, p in network.named_parameters() if not p.is_inference()]
    versions = [p._version for _, p in parameters]  # noqa: SLF001
    groups = list(_groups(parameters))
    before = [_fingerprint(group) for group in groups]
    yield
    for (name, parameter), version in zip(parameters, versions, strict=True):
        if parameter._version != version:  # noqa: SLF001
            raise ShapeError(f"the forward pass writes to parameter {name!r}; measure a deepcopy")
    for group, sums in zip(groups, before, strict=True):
        if not all(map(torch.equal, sums, _fingerprint(group))):
            first, last = group[0][0], group[-1][0]
            what = f"parameter {first!r}" if len(group) == 1 else f"one of {first!r} to {last!r}"
            raise ShapeError(
                f"the forward pass writes to the data of {what}, which has changed; measure a "
                f"deepcopy"
            )


def _groups(parameters: Sequence[tuple[str, nn.Parameter]]) -> Iterator[Sequence[Named]]:
    """Return the data of plain parameters: large ones alone, small ones of a kind side by side."""
    waiting: dict[object, list[Named]] = {}
    sizes: dict[object, int] = {}
    for name, parameter in parameters:
        if type(parameter) is not nn.Parameter or parameter.layout != torch.strided:
            continue
        if parameter.numel() >= _TOGETHER:
            yield [(name, parameter.detach())]
            continue
        kind = parameter.dtype, parameter.device
        if sizes.get(kind, 0) + parameter.numel() > _TOGETHER:
            yield waiting.pop(kind)
            sizes[kind] = 0
        waiting.setdefault(kind, []).append((name, parameter.detach()))
        sizes[kind] = sizes.get(kind, 0) + parameter.numel()
    yield from waiting.values()


def _fingerprint(group: Sequence[Named]) -> tuple[Tensor, ...]:
    """Return sums over the bits of parameters, as whole numbers, and the last few bits."""
    with torch.no_grad():
        parts = [data.reshape(-1) for _, data in group]
        flat = torch.cat(parts) if len(parts) > 1 else parts[0]
        aligned = flat.storage_offset() * flat.element_size() % _WIDE == 0
        words = (flat if aligned else flat.clone()).view(torch.uint8)
        whole = len(words) // (_WIDE * _BLOCKS) * (_WIDE * _BLOCKS)
        sums = words[:whole].view(torch.int64).view(_BLOCKS, -1).sum(dim=1)
        return sums, words[whole:].clone()


def parameter_mementos(network: nn.Module) -> Iterator[Restore]:
    """Return what brings back where parameters keep their data, their gradients and hooks."""
    for parameter in network.parameters():
        if not parameter.is_inference() and parameter.is_leaf:
            yield _memento(parameter)


def _memento(parameter: nn.Parameter) -> Restore:
    data, place = parameter.detach(), parameter.data_ptr()
    wanted, gradient = parameter.requires_grad, parameter.grad
    hooks = parameter._backward_hooks  # noqa: SLF001 - the only way to see them
    kept = dict(hooks) if hooks else {}

    def restore() -> None:
        if parameter.data_ptr() != place or parameter.shape != data.shape:
            parameter.data = data
        if parameter.requires_grad != wanted:
            parameter.requires_grad_(wanted)
        if parameter.grad is not gradient:
            parameter.grad = gradient
        now = parameter._backward_hooks  # noqa: SLF001
        if now and now != kept:  # the caller's own dictionary, which removing a hook needs
            now.clear()
            now.update(kept)

    return restore
