"""Exact parameter and FLOP counts of an architecture on a skeleton."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import CONV1, CONV3, OPERATIONS
from naslid_toolkit.supernet.network import Skeleton

_KERNELS: Final[Mapping[str, int]] = {CONV1: 1, CONV3: 3}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Parameters
    ----------
    parameters
        Learnt numbers.
    flops
        For one image, by the benchmark's convention: multiply-accumulates of the convolutions
        and of the linear layer, and one addition for each bias of the linear layer, so one for
        each class. Batch norm, pooling, ReLU and sums count nothing.
    """

    parameters: int
    flops: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def count_cost(architecture: Architecture, skeleton: Skeleton) -> Cost:
    """Count the parameters and FLOPs of an architecture, exactly as the benchmark's files do.

    A convolution counts wherever it stands, also on an edge that carries no signal.

    Raises
    ------
    SpaceError
        If an operation is not of NAS-Bench-201.

    Examples
    --------
    >>> count_cost(Architecture(("nor_conv_3x3",) * 6), Skeleton(affine=True))
    Cost(parameters=1531546, flops=220119690)
    """
    total = _fixed_cost(skeleton)
    for operation in architecture.operations:
        total += _operation_cost(operation, skeleton)
    return total


def _convolution(inputs: int, outputs: int, kernel: int, area: int, *, norm: int) -> Cost:
    """Cost of a convolution onto ``area`` pixels, and of ``norm`` numbers per output channel."""
    weights = inputs * outputs * kernel**2
    return Cost(weights + norm * outputs, weights * area)


@lru_cache(maxsize=256)
def _operation_cost(operation: str, skeleton: Skeleton) -> Cost:
    """Cost of one operation on one edge of all cells."""
    if operation not in OPERATIONS:
        raise SpaceError(
            f"parameters and FLOPs are counted for {', '.join(OPERATIONS)}, not for {operation!r}"
        )
    kernel = _KERNELS.get(operation)
    total = Cost(0, 0)
    if kernel is not None:
        norm = 2 if skeleton.affine else 0
        for channels, height, width in skeleton.stages:
            one = _convolution(channels, channels, kernel, height * width, norm=norm)
            total += Cost(skeleton.cells * one.parameters, skeleton.cells * one.flops)
    return total


@lru_cache(maxsize=64)
def _fixed_cost(skeleton: Skeleton) -> Cost:
    """Cost of stem, reductions and head."""
    norm = 2 if skeleton.affine else 0
    stages = skeleton.stages
    first, height, width = stages[0]
    total = _convolution(skeleton.image_shape[0], first, 3, height * width, norm=norm)
    for (inputs, _, _), (outputs, high, wide) in itertools.pairwise(stages):
        area = high * wide
        total += _convolution(inputs, outputs, 3, area, norm=norm)
        total += _convolution(outputs, outputs, 3, area, norm=norm)
        total += _convolution(inputs, outputs, 1, area, norm=0)
    last = stages[-1][0]
    linear = (last + 1) * skeleton.classes  # weights and biases
    return total + Cost(linear + norm * last, linear)
