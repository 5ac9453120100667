"""Look at the outputs of chosen layers during forward passes, and leave no trace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from naslid_toolkit.errors import ShapeError, nearest_name


@contextmanager
def watch_layers(
    network: nn.Module, layers: Sequence[str], look: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call ``look(name, output)`` as soon as a layer has computed its output.

    The output is not kept. Hooks are removed at the end, also after an exception.

    Parameters
    ----------
    network
        Any module.
    layers
        Names of its submodules, as in ``network.named_modules()``.
    look
        Called in the order the layers run.

    Raises
    ------
    ShapeError
        If a layer does not exist (names the nearest), or its output is not a tensor.
    """
    modules = dict(network.named_modules())
    handles = []
    try:
        for name in layers:
            if name not in modules:
                hint = nearest_name(name, filter(None, modules))
                raise ShapeError(f"the network has no layer {name!r}; {hint}")
            handles.append(modules[name].register_forward_hook(_hook(name, look)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    name: str, look: Callable[[str, Tensor], None]
) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    def hook(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            raise ShapeError(f"the output of layer {name!r} is a {type(output).__name__}")
        look(name, output)

    return hook


@contextmanager
def unchanged_state(network: nn.Module) -> Iterator[None]:
    """Give every buffer and the CPU random state back their values at the end.

    A measurement in training mode uses batch statistics, which moves running averages; this
    puts them back, bit by bit.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    random_state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(random_state)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
