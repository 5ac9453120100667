"""Batch norm on the statistics of one batch, for a while, in any network."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def norms_replaced(
    network: nn.Module, compute: Callable[[nn.Module, Tensor], Tensor]
) -> Iterator[None]:
    """Let another function compute every batch norm for a while."""
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    for module in norms:
        module.forward = partial(compute, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in norms:
            del module.forward  # the class's own comes back


def _normalised(module: Any, inputs: Tensor) -> Tensor:  # noqa: ANN401 - any batch norm
    """Batch norm by the batch's statistics, without touching the running ones."""
    return nn.functional.batch_norm(
        inputs, None, None, module.weight, module.bias, training=True, eps=module.eps
    )


def batch_statistics(network: nn.Module) -> AbstractContextManager[None]:
    """Let every batch norm use the batch's statistics and keep its running ones."""
    return norms_replaced(network, _normalised)


@contextmanager
def frozen_statistics(network: nn.Module, pixels: Tensor) -> Iterator[None]:
    """Fix every batch norm at its statistics on these images."""
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(module: nn.Module, inputs: Tensor) -> Tensor:
        dims = tuple(d for d in range(inputs.ndim) if d != 1)
        statistics[module] = inputs.mean(dims), inputs.var(dims, unbiased=False)
        return _normalised(module, inputs)

    def frozen(module: Any, inputs: Tensor) -> Tensor:  # noqa: ANN401
        mean, variance = statistics[module]
        return nn.functional.batch_norm(
            inputs, mean, variance, module.weight, module.bias, training=False, eps=module.eps
        )

    with norms_replaced(network, record), torch.no_grad():
        network(pixels)
    with norms_replaced(network, frozen):
        yield
