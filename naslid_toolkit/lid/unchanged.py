"""Give a network's state, and the random states, back after forward passes."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from naslid_toolkit.errors import ShapeError

Restore = Callable[[], object]
Item = TypeVar("Item")

_OWN: Final = frozenset({"training", "_parameters", "_buffers", "_modules"})
_HOOKS: Final = frozenset(nn.Module().__dict__) - _OWN


class Outside:
    """The random states as they are outside of a measurement."""

    def __init__(self) -> None:
        self._restore = _random_states()

    def restore(self) -> None:
        """Return to them."""
        self._restore()

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Go through an iterable that draws from the random states outside, not from within."""
        iterator = iter(items)
        while True:
            within = _random_states()
            self._restore()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._restore = _random_states()
                within()
            yield item


@contextmanager
def unchanged_state(network: nn.Module) -> Iterator[Outside]:
    """Give buffers, modes, attributes and all random states back, also after an exception.

    A measurement in training mode uses batch statistics, which moves running averages; this
    puts them back, bit by bit. So are what modules keep as plain attributes from one pass to the
    next (hidden states, caches, counters): tensors, random generators, the entries of dicts,
    lists and sets, and whatever is replaced. Random states are those of torch (CPU and CUDA),
    NumPy and Python.

    Yields
    ------
    Outside
        Lets an iterable draw from the random states meanwhile.

    Raises
    ------
    ShapeError
        If the forward pass writes to a parameter. Keeping a copy of all parameters would cost
        the memory of a second network.
    """
    restores = [restore for module in network.modules() for restore in _mementos(module)]
    # Tensors made in inference mode have no version, and refuse to be written to outside it.
    parameters = [(n, p) for n, p in network.named_parameters() if not p.is_inference()]
    versions = [(n, p, p._version) for n, p in parameters]  # noqa: SLF001
    outside = Outside()
    try:
        yield outside
    finally:
        outside.restore()
        with torch.no_grad():
            for restore in restores:
                restore()
    for name, parameter, version in versions:
        if parameter._version != version:  # noqa: SLF001 - the only trace of a write
            raise ShapeError(f"the forward pass writes to parameter {name!r}; measure a deepcopy")


def _random_states() -> Restore:
    """Return what brings the random states back to what they are now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002

    def restore() -> None:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - the network may draw from it
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    return restore


def _mementos(module: nn.Module) -> Iterator[Restore]:
    """Return what brings a module's own attributes back, and what they hold."""
    if isinstance(module, torch.jit.ScriptModule):
        mode = module.training
        yield lambda: module.train(mode)
        return
    own = vars(module)
    before = {name: value for name, value in own.items() if name not in _HOOKS}

    def attributes() -> None:
        for name in own.keys() - before.keys() - _HOOKS:
            del own[name]
        own.update(before)

    yield attributes
    for value in (*before.values(), *module._buffers.values()):  # noqa: SLF001 - replaced ones
        restore = _memento(value)
        if restore is not None:
            yield restore


def _memento(value: object) -> Restore | None:
    """Return what brings back the content of an object that can be written to; None for others."""
    if isinstance(value, Tensor):
        return None if value.is_inference() or value.is_meta else _tensor(value)
    if isinstance(value, dict | set | list | deque):
        return _entries(value)
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, np.random.Generator):
        return _numpy_generator(value)
    return None


def _tensor(tensor: Tensor) -> Restore:
    """Return what writes to a tensor if it differs; else a graph that holds it would be spoilt."""
    before = tensor.detach().clone()

    def restore() -> None:
        if tensor.shape != before.shape:
            tensor.data = before
        elif tensor.layout != torch.strided or not torch.equal(tensor, before):
            tensor.copy_(before)

    return restore


def _entries(container: "dict[Any, Any] | set[Any] | list[Any] | deque[Any]") -> Restore:
    before = list(container.items() if isinstance(container, dict) else container)

    def restore() -> None:
        container.clear()
        if isinstance(container, dict | set):
            container.update(before)
        else:
            container.extend(before)

    return restore


def _numpy_generator(draw: np.random.Generator) -> Restore:
    state = draw.bit_generator.state

    def restore() -> None:
        draw.bit_generator.state = state

    return restore
