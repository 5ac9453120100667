"""The weight-sharing network of a search space, on the NAS-Bench-201 skeleton."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import NONE, Architecture, Edge, live_edges
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.operations import (
    Builder,
    FeatureMap,
    Reduction,
    Statistics,
    batch_norm,
    build_operation,
)

_STAGES = 3
_Plan = tuple[tuple[int, int, int, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The fixed part of a NAS-Bench-201 network: stem, 3 stages of cells, 2 reductions, head.

    Parameters
    ----------
    channels
        Channels of the first stage; each reduction doubles them.
    cells
        Cells in each stage (the benchmark: 16 channels, 5 cells).
    image_shape
        Channels, height and width of the input images.
    classes
        Number of classes.
    affine
        Whether batch norm has a learnt scale and shift.
    statistics
        ``"batch"`` for supernets; ``"running"`` only for a network trained alone.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    channels: int = 16
    cells: int = 5
    image_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    affine: bool = False
    statistics: Statistics = "batch"

    def __post_init__(self) -> None:
        numbers = (self.channels, self.cells, self.classes, *self.image_shape)
        if min(numbers) < 1:
            raise ConfigError(f"a skeleton needs positive numbers, got {self}")

    @property
    def stages(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width inside each of the three stages."""
        _, height, width = self.image_shape
        shapes = []
        for stage in range(_STAGES):
            shapes.append((self.channels * 2**stage, height, width))
            height, width = (height + 1) // 2, (width + 1) // 2
        return tuple(shapes)

    @property
    def map_size(self) -> int:
        """Numbers in the features of one image inside the first stage, the largest."""
        return math.prod(self.stages[0])


@lru_cache(maxsize=65536)
def _plan(edges: tuple[Edge, ...], chosen: tuple[tuple[str, ...], ...]) -> _Plan:
    """List ``(edge, source, target, operations)`` of all that has to be computed, in order."""
    live = live_edges(edges, chosen)
    return tuple(
        (index, *edges[index], tuple(o for o in chosen[index] if o != NONE))
        for index in range(len(edges))
        if live[index]
    )


class Cell(nn.Module):
    """One cell: on every edge a choice of operations, summed where edges meet."""

    def __init__(self, output: int, operations: Sequence[dict[str, nn.Module]]) -> None:
        super().__init__()
        self.output = output
        self.edges = nn.ModuleList(nn.ModuleDict(choices) for choices in operations)

    def operation(self, edge: int, name: str) -> nn.Module:
        """Return the module of one operation on one edge."""
        choices = self.edges[edge]
        assert isinstance(choices, nn.ModuleDict)  # noqa: S101 - for the type checker
        return choices[name]

    def view(self, space: SearchSpace) -> "Cell":
        """Return a cell of the same operation modules, only those that ``space`` allows."""
        chosen = [
            {name: self.operation(edge, name) for name in names}
            for edge, names in enumerate(space.allowed)
        ]
        return Cell(self.output, chosen)

    def forward(self, images: FeatureMap, plan: _Plan) -> FeatureMap:
        """Compute the edges of the plan; without a path to the output the result is zero."""
        nodes = {0: images}
        for edge, source, target, operations in plan:
            for name in operations:
                result = self.operation(edge, name)(nodes[source])
                nodes[target] = nodes[target] + result if target in nodes else result
        return nodes[self.output] if plan else torch.zeros_like(images)


class Supernet(nn.Module):
    """The weight-sharing network of a search space.

    Called with images alone it sums all operations the space allows; called with an
    architecture too, it runs that path. A space of one architecture gives the network of that
    architecture, so a network trained alone is a supernet as well. Batch norm uses the
    statistics of the batch unless the skeleton says otherwise. Edges that carry no signal are
    not computed, and a convolution behind them adds nothing, whatever its batch norm's shift.

    Parameters
    ----------
    space
        The search space.
    skeleton
        Channels, cells, input and classes.
    seed
        Seed of the weights. Every weight has its own named stream, so that the same operation
        starts from the same numbers in every sub-space.
    operations
        What builds operations that are not of NAS-Bench-201, by name: called with channels,
        whether batch norm is affine, and its statistics, each returns a module that keeps the
        shape of its input, such as
        :func:`~naslid_toolkit.supernet.operations.convolution` makes.

    References
    ----------
    .. [1] X. Dong and Y. Yang, "NAS-Bench-201", ICLR 2020, section 2.
    .. [2] Z. Guo et al., "Single Path One-Shot NAS with Uniform Sampling", ECCV 2020.
    """

    def __init__(
        self,
        space: SearchSpace,
        skeleton: Skeleton,
        *,
        seed: int,
        operations: Mapping[str, Builder] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        with torch.device("meta"):  # no weights are drawn from the global generator
            self._assemble(space, skeleton, dict(_new_blocks(space, skeleton, operations)))
        self.to_empty(device="cpu")
        _initialise(self, seed)

    def _assemble(
        self, space: SearchSpace, skeleton: Skeleton, blocks: dict[str, nn.Module]
    ) -> None:
        self.space = space
        self.skeleton = skeleton
        for name, block in blocks.items():
            self.add_module(name, block)
        self.stem = blocks["stem"]
        self.layer_names = tuple(
            name for name, block in blocks.items() if isinstance(block, Cell | Reduction)
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def forward(
        self, images: FeatureMap, choice: Architecture | SearchSpace | None = None
    ) -> Float[Tensor, "images classes"]:
        """Return the logits of one path, or of the sum of several operations.

        Parameters
        ----------
        images
            Shape ``(images, channels, height, width)``.
        choice
            An architecture for a single path; a sub-space for the sum of its operations on
            every edge; None for the sum of all operations of the supernet's own space.

        Returns
        -------
        Tensor
            Shape ``(images, classes)``. Of a disconnected architecture the logits do not
            depend on the images.

        Raises
        ------
        SpaceError
            If the choice is outside the supernet's space.
        """
        plan = _plan(self.space.edges, self._chosen(choice))
        for block in self.blocks(choice):
            images = block(images, plan) if isinstance(block, Cell) else block(images)
            if block is self.stem and images.device.type == "cpu":  # pooling 3x faster there
                images = images.contiguous(memory_format=torch.channels_last)
        return images

    def blocks(self, _choice: Architecture | SearchSpace | None) -> Iterator[nn.Module]:
        """Go through the blocks that a choice runs, in order."""
        return self.children()

    def _chosen(self, choice: Architecture | SearchSpace | None) -> tuple[tuple[str, ...], ...]:
        if choice is None:
            return self.space.allowed
        if isinstance(choice, Architecture):
            return tuple((o,) for o in self.space.check(choice).operations)
        _check_sub_space(choice, self.space)
        return choice.allowed

    def view(self, space: SearchSpace) -> "Supernet":
        """Return the supernet of a sub-space that shares its weights with this one.

        Raises
        ------
        SpaceError
            If ``space`` is not a sub-space of this supernet's space.
        """
        _check_sub_space(space, self.space)
        network = Supernet.__new__(Supernet)
        nn.Module.__init__(network)
        blocks = {
            name: block.view(space) if isinstance(block, Cell) else block
            for name, block in self.named_children()
        }
        network._assemble(space, self.skeleton, blocks)  # noqa: SLF001 - one of its own
        network.training = self.training
        return network

    def path(self, architecture: Architecture) -> "Supernet":
        """Return the network of one architecture, with weights shared with this supernet."""
        return self.view(self.space.only(architecture))

    def restrict(self, space: SearchSpace) -> "Supernet":
        """Return a sub-supernet of its own that starts from this supernet's weights."""
        return copy.deepcopy(self.view(space))

    def inherit(self, parent: "Supernet") -> "Supernet":
        """Copy every weight from a supernet whose space contains this one's; return self.

        Raises
        ------
        SpaceError
            If the parent lacks a weight or has it in another shape.
        """
        theirs = parent.state_dict()
        for name, own in self.state_dict().items():
            if name not in theirs or theirs[name].shape != own.shape:
                raise SpaceError(f"cannot inherit: the parent has no {name} of {tuple(own.shape)}")
        self.load_state_dict({name: theirs[name] for name in self.state_dict()})
        return self


def _check_sub_space(part: SearchSpace, whole: SearchSpace) -> None:
    """Raise where ``part`` allows an operation that ``whole`` does not."""
    if part.edges != whole.edges:
        raise SpaceError(f"a space of {len(part.edges)} edges is no part of this supernet's")
    for edge, (some, allowed) in enumerate(zip(part.allowed, whole.allowed, strict=True)):
        extra = [operation for operation in some if operation not in allowed]
        if extra:
            raise SpaceError(
                f"operation {extra[0]!r} on edge {edge} ({whole.edge_name(edge)}) is outside "
                f"this supernet, which allows {', '.join(allowed)}"
            )


def _new_blocks(
    space: SearchSpace, skeleton: Skeleton, more: Mapping[str, Builder]
) -> Iterator[tuple[str, nn.Module]]:
    """Build stem, cells, reductions and head, in the order they run."""
    affine, statistics = skeleton.affine, skeleton.statistics
    build = partial(build_operation, affine=affine, statistics=statistics, more=more)
    stem = nn.Conv2d(skeleton.image_shape[0], skeleton.channels, 3, padding=1, bias=False)
    norm = batch_norm(skeleton.channels, affine=affine, statistics=statistics)
    yield "stem", nn.Sequential(stem, norm)
    output = max(target for _, target in space.edges)
    previous = skeleton.channels
    for stage, (channels, _, _) in enumerate(skeleton.stages, start=1):
        if stage > 1:
            reduction = Reduction(previous, channels, affine=affine, statistics=statistics)
            yield f"reduction{stage - 1}", reduction
        for index in range(1, skeleton.cells + 1):
            operations = [
                {name: build(name, channels) for name in allowed} for allowed in space.allowed
            ]
            yield f"stage{stage}_cell{index}", Cell(output, operations)
        previous = channels
    yield (
        "head",
        nn.Sequential(
            batch_norm(previous, affine=affine, statistics=statistics),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(previous, skeleton.classes),
        ),
    )


def _initialise(network: nn.Module, seed: int) -> None:
    """Draw every weight uniformly within ``1/sqrt(inputs)`` from a stream of its own name."""
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            for kind, parameter in module.named_parameters(recurse=False):
                draw = generator(seed, "weights", name, kind)
                nn.init.uniform_(parameter, -bound, bound, generator=draw)
