"""Give a network's state, and the random states, back after forward passes."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from naslid_toolkit.lid.marks import (
    MEASURING,
    Restore,
    is_watched,
    parameter_mementos,
    unwritten,
    watched,
)

Item = TypeVar("Item")

_OWN: Final = frozenset({"training", "_parameters", "_buffers", "_modules"})
_HOOKS: Final = frozenset(nn.Module().__dict__) - _OWN
_HOOK_DICTS: Final = tuple(k for k, v in vars(nn.Module()).items() if k in _HOOKS and v == {})
_hook_dicts: Final = itemgetter(*_HOOK_DICTS)


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
    lists and sets, and whatever is replaced: also parameters and their data, which may be new
    ones, and hooks. Random states are those of torch (CPU and CUDA), NumPy and Python.

    Yields
    ------
    Outside
        Lets an iterable draw from the random states meanwhile.

    See Also
    --------
    naslid_toolkit.lid.marks.unwritten : refuses writes to parameters. Keeping a copy of all
        would cost the memory of a second network.
    """
    outside = Outside()
    if is_watched(network):
        try:
            yield outside
        finally:
            outside.restore()
        return
    restores = [restore for module in network.modules() for restore in _mementos(module)]
    restores += parameter_mementos(network)
    try:
        yield outside
    finally:
        with torch.no_grad():
            for restore in restores:
                restore()
        outside.restore()


@contextmanager
def left_unchanged(network: nn.Module) -> Iterator[None]:
    """Give a network's state back after many measurements of it or of views that share its weights.

    Each of them then saves the look at every module and weight, a fifth of the time for small
    networks; only the random states are given back after each.

    Raises
    ------
    ShapeError
        If a forward pass writes to a parameter.
    """
    with MEASURING, unchanged_state(network), unwritten(network), watched(network):
        yield


def _random_states() -> Restore:
    """Return what brings the random states back to what they are now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    numpy = np.random.get_state()  # noqa: NPY002 - the network may draw from it
    return partial(_set_random_states, torch.get_rng_state(), cuda, numpy, random.getstate())


def _set_random_states(state: Tensor, cuda: Any, numpy: Any, own: Any) -> None:  # noqa: ANN401
    # A type checker of containers would draw from the random state that was just set.
    torch.set_rng_state(state)
    np.random.set_state(numpy)  # noqa: NPY002
    random.setstate(own)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


def _mementos(module: nn.Module) -> Iterator[Restore]:
    """Return what brings a module's own attributes back, and what they hold."""
    if isinstance(module, torch.jit.ScriptModule):
        yield partial(module.train, module.training)
        return
    before = {name: value for name, value in vars(module).items() if name not in _HOOKS}
    yield partial(_set_attributes, module, before)
    yield partial(_set_hooks, module, _hooks(module))
    for value in (*before.values(), *module._buffers.values()):  # noqa: SLF001 - replaced ones
        restore = _memento(value)
        if restore is not None:
            yield restore


def _set_attributes(module: nn.Module, before: Mapping[str, object]) -> None:
    own = vars(module)
    for name in own.keys() - before.keys() - _HOOKS:
        del own[name]
    own.update(before)


def _hooks(module: nn.Module) -> dict[str, dict[Any, Any]]:
    found = _hook_dicts(vars(module))
    if not any(found):  # nearly always
        return {}
    return {name: dict(hooks) for name, hooks in zip(_HOOK_DICTS, found, strict=True) if hooks}


def _set_hooks(module: nn.Module, before: Mapping[str, Mapping[Any, Any]]) -> None:
    after = _hooks(module)
    for name in before.keys() | after.keys() if after != before else ():
        hooks = vars(module)[name]  # the caller's own, which removing a hook needs
        hooks.clear()
        hooks.update(before.get(name, {}))


def _memento(value: object) -> Restore | None:
    """Return what brings back the content of an object that can be written to; None for others."""
    if isinstance(value, Tensor):
        fixed = value.is_inference() or value.is_meta
        return None if fixed else partial(_set_tensor, value, value.detach().clone())
    if isinstance(value, dict):
        return partial(_set_entries, value, value.update, dict(value))
    if isinstance(value, set):
        return partial(_set_entries, value, value.update, set(value))
    if isinstance(value, list | deque):
        return partial(_set_entries, value, value.extend, list(value))
    return _memento_of_draws(value)


def _memento_of_draws(value: object) -> Restore | None:
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, np.random.Generator):
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    return None


def _set_tensor(tensor: Tensor, before: Tensor) -> None:
    """Write to a tensor if it differs; else a graph that holds it would be spoilt."""
    if tensor.shape != before.shape:
        tensor.data = before
    elif tensor.layout != torch.strided or not torch.equal(tensor, before):
        tensor.copy_(before)


def _set_entries(
    container: "dict[Any, Any] | set[Any] | list[Any] | deque[Any]",
    add: Callable[[Any], object],
    before: object,
) -> None:
    container.clear()
    add(before)
