"""The building blocks of NAS-Bench-201 networks."""

from collections.abc import Callable, Mapping
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


def _convolution(kernel: int) -> Callable[[int, bool, Statistics], nn.Module]:
    def build(channels: int, affine: bool, statistics: Statistics) -> nn.Module:  # noqa: FBT001
        return ReLUConvBN(
            channels, channels, kernel=kernel, stride=1, affine=affine, statistics=statistics
        )

    return build


_BUILDERS: Final[Mapping[str, Callable[[int, bool, Statistics], nn.Module]]] = {
    NONE: lambda *_: Zero(),
    SKIP: lambda *_: nn.Identity(),
    CONV1: _convolution(1),
    CONV3: _convolution(3),
    POOL: lambda *_: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


def build_operation(name: str, channels: int, *, affine: bool, statistics: Statistics) -> nn.Module:
    """Return a new operation that keeps the shape of its input.

    Parameters
    ----------
    name
        An operation of NAS-Bench-201.
    channels
        Channels of input and output.
    affine, statistics
        Settings of its batch norm, if it has one.

    Raises
    ------
    SpaceError
        If there is no operation of that name.
    """
    if name not in _BUILDERS:
        raise SpaceError(f"no module for operation {name!r}; {nearest_name(name, _BUILDERS)}")
    return _BUILDERS[name](channels, affine, statistics)
