"""Look at the outputs of chosen layers during forward passes, and leave no trace."""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from naslid_toolkit.errors import ShapeError, nearest_name

Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]]
Select = Callable[[str, object], Tensor]


def select_layers(network: nn.Module, layers: Layers) -> dict[str, bool]:
    """Find submodules by name, pattern or type.

    Parameters
    ----------
    network
        Any module.
    layers
        One of these, or several: a name as in ``network.named_modules()``; a pattern, in which
        ``*`` stands for any part of a name without a dot, ``**`` for any part, ``?`` for one
        character (``"*"``: the direct children; ``"layer3.*.conv2"``); a module class.

    Returns
    -------
    dict
        Names in the order of the network, and whether each was asked for by its own name, so
        that it has to run.

    Raises
    ------
    ShapeError
        If one of them matches nothing; names the nearest.
    """
    wanted = [layers] if isinstance(layers, str | type) else list(layers)
    modules = {name: module for name, module in network.named_modules() if name}
    found: dict[str, bool] = {}
    for want in wanted:
        matches = _matches(modules, want)
        if not matches:
            label = repr(want) if isinstance(want, str) else f"of type {want.__name__}"
            hint = nearest_name(want if isinstance(want, str) else "", modules)
            raise ShapeError(f"the network has no layer {label}; {hint}")
        for name in matches:
            found[name] = found.get(name, False) or name == want
    return {name: found[name] for name in modules if name in found}


def _matches(modules: Mapping[str, nn.Module], want: str | type[nn.Module]) -> list[str]:
    if isinstance(want, type):
        return [name for name, module in modules.items() if isinstance(module, want)]
    if want in modules:
        return [want]
    pattern = re.escape(want).replace(r"\*\*", ".*").replace(r"\*", "[^.]*").replace(r"\?", "[^.]")
    return [name for name in modules if re.fullmatch(pattern, name)]


def first_tensor(name: str, output: object) -> Tensor:
    """Return a layer's output, or the first tensor within it if it is a tuple, list or mapping.

    Raises
    ------
    ShapeError
        If there is none.
    """
    if isinstance(output, Tensor):
        return output
    parts: Sequence[object] = ()
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = output
    for part in parts:
        try:
            return first_tensor(name, part)
        except ShapeError:
            continue
    raise ShapeError(f"layer {name!r} gives no tensor but a {type(output).__name__}")


@contextmanager
def watch_layers(
    network: nn.Module, layers: Sequence[str], look: Callable[[str, object], None]
) -> Iterator[None]:
    """Call ``look(name, output)`` as soon as a layer has computed its output.

    The output is not kept. Hooks are removed at the end, also after an exception.

    Parameters
    ----------
    network
        Any module.
    layers
        Names of its submodules.
    look
        Called in the order the layers run, each time they run.
    """
    handles = []
    try:
        for name in layers:
            module = network.get_submodule(name)
            handles.append(module.register_forward_hook(_hook(name, look)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    name: str, look: Callable[[str, object], None]
) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    def hook(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        look(name, output)

    return hook


@contextmanager
def unchanged_state(network: nn.Module) -> Iterator[None]:
    """Give buffers, modes and all random states back at the end, also after an exception.

    A measurement in training mode uses batch statistics, which moves running averages; this
    puts them back, bit by bit. Random states are those of torch (CPU and CUDA), NumPy and
    Python.

    Raises
    ------
    ShapeError
        If the forward pass writes to a parameter. Keeping a copy of all parameters would cost
        the memory of a second network.
    """
    modules = list(network.modules())
    modes = [(module, module.training) for module in modules]
    buffers = [(m, n, b, b.clone()) for m in modules for n, b in _own_buffers(m)]
    versions = [(n, p, p._version) for n, p in network.named_parameters()]  # noqa: SLF001
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - the network may draw from it
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer.copy_(before)  # noqa: SLF001
    for name, parameter, version in versions:
        if parameter._version != version:  # noqa: SLF001 - the only trace of a write
            raise ShapeError(f"the forward pass writes to parameter {name!r}; measure a deepcopy")


def _own_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, buffer in module._buffers.items():  # noqa: SLF001 - those that are replaced, too
        if buffer is not None:
            yield name, buffer
