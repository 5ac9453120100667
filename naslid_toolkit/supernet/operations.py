"""The building blocks of NAS-Bench-201 networks."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from naslid_toolkit.errors import SpaceError, nearest_name
from naslid_toolkit.space.architecture import NONE, SKIP
from naslid_toolkit.space.nasbench201 import CONV1, CONV3, POOL

Statistics = Literal["batch", "running"]
FeatureMap = Float[Tensor, "images channels height width"]
Changed = Float[Tensor, "images outputs high wide"]
# Makes a module that keeps the shape of its input, from its channels and the batch norm's settings.
Builder = Callable[[int, bool, Statistics], nn.Module]


def batch_norm(channels: int, *, affine: bool, statistics: Statistics) -> nn.BatchNorm2d:
    """Return batch norm on the statistics of the batch itself, or on running averages.

    A supernet needs ``"batch"``: running averages of a mixture of paths fit no single path.
    """
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=statistics == "running")


class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch norm."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        affine: bool,
        statistics: Statistics,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm = batch_norm(outputs, affine=affine, statistics=statistics)

    def forward(self, images: FeatureMap) -> Changed:
        """Apply the block; a stride of 2 halves height and width, rounding up."""
        result: Tensor = self.norm(self.conv(torch.relu(images)))
        return result


class Zero(nn.Module):
    """The operation ``none``: zeros of the same shape."""

    def forward(self, images: FeatureMap) -> FeatureMap:
        """Return zeros."""
        return torch.zeros_like(images)


class Reduction(nn.Module):
    """The residual block between stages: half the height and width, new channels."""

    def __init__(self, inputs: int, outputs: int, *, affine: bool, statistics: Statistics) -> None:
        super().__init__()
        self.halve = ReLUConvBN(
            inputs, outputs, kernel=3, stride=2, affine=affine, statistics=statistics
        )
        self.refine = ReLUConvBN(
            outputs, outputs, kernel=3, stride=1, affine=affine, statistics=statistics
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, images: FeatureMap) -> Changed:
        """Return the residual sum."""
        result: Tensor = self.shortcut(images) + self.refine(self.halve(images))
        return result


def convolution(kernel: int) -> Builder:
    """Return what builds ReLU, a convolution of ``kernel`` x ``kernel`` and batch norm."""

    def build(channels: int, affine: bool, statistics: Statistics) -> nn.Module:  # noqa: FBT001
        return ReLUConvBN(
            channels, channels, kernel=kernel, stride=1, affine=affine, statistics=statistics
        )

    return build


_BUILDERS: Final[Mapping[str, Builder]] = {
    NONE: lambda *_: Zero(),
    SKIP: lambda *_: nn.Identity(),
    CONV1: convolution(1),
    CONV3: convolution(3),
    POOL: lambda *_: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


def build_operation(
    name: str,
    channels: int,
    *,
    affine: bool,
    statistics: Statistics,
    more: Mapping[str, Builder] = MappingProxyType({}),
) -> nn.Module:
    """Return a new operation that keeps the shape of its input.

    Parameters
    ----------
    name
        An operation of NAS-Bench-201, or of ``more``.
    channels
        Channels of input and output.
    affine, statistics
        Settings of its batch norm, if it has one.
    more
        Further operations by name; they go before those of the benchmark.

    Raises
    ------
    SpaceError
        If there is no operation of that name.
    """
    builders = {**_BUILDERS, **more}
    if name not in builders:
        raise SpaceError(f"no module for operation {name!r}; {nearest_name(name, builders)}")
    return builders[name](channels, affine, statistics)
