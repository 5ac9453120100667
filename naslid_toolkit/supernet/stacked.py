"""Many small networks of the same skeleton, trained side by side in one pass."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.runtime import OnEvent, WorkDone, ignore_event
from naslid_toolkit.space.architecture import NONE, SKIP, Architecture, live_edges
from naslid_toolkit.space.nasbench201 import POOL
from naslid_toolkit.supernet.accuracy import evaluating, evaluation_parts
from naslid_toolkit.supernet.network import Cell, Supernet
from naslid_toolkit.supernet.operations import Reduction, ReLUConvBN
from naslid_toolkit.supernet.training import TrainingConfig, epoch_batches

# The networks come first and the images third: choosing networks, 1x1 convolutions and batch
# norm then work on contiguous rows.
Maps = Float[Tensor, "networks channels images height width"]
Changed = Float[Tensor, "networks outputs images high wide"]
_HALVING, _SMOOTHING = 2, 3  # kernels of the two average poolings


class StackedNetworks(nn.Module):
    """Networks of different architectures on one skeleton, each with its own weights.

    One pass over the images computes all of them: the same operation of several networks is one
    grouped convolution, or one batched product. The networks do not influence each other, and
    each computes what its path of the supernet computes.

    Parameters
    ----------
    supernet
        Where the weights start from; every network gets a copy. Unchanged.
    architectures
        The architectures, all of the supernet's space. Edges that carry no signal get no
        weights.

    Raises
    ------
    ConfigError
        If there is no architecture.
    SpaceError
        If an architecture is outside the supernet's space.
    """

    def __init__(self, supernet: Supernet, architectures: Sequence[Architecture]) -> None:
        super().__init__()
        if not architectures:
            raise ConfigError("at least one architecture is needed")
        self.architectures = tuple(supernet.space.check(a) for a in architectures)
        everyone = torch.arange(len(architectures))
        self.blocks = nn.ModuleDict()
        for name, block in supernet.named_children():
            if isinstance(block, Cell):
                self.blocks[name] = _Cell(block, supernet, self.architectures)
            elif isinstance(block, Reduction):
                self.blocks[name] = _Reduction(block, everyone)
            elif block is supernet.stem:
                self.blocks[name] = _Stem(block, everyone)
            else:
                self.blocks[name] = _Head(block, everyone)

    def forward(
        self, images: Float[Tensor, "images inputs rows columns"]
    ) -> Float[Tensor, "networks images classes"]:
        """Return the logits of every network for the same images."""
        maps = images
        for block in self.blocks.values():
            maps = block(maps)
        return maps

    def weights(self) -> list[tuple[Int[Tensor, " owners"], nn.Parameter]]:
        """List all weights; row ``i`` of one belongs to network ``owners[i]``."""
        return [
            (module.owners, weight)
            for module in self.modules()
            if isinstance(module, _Owned)
            for weight in module.parameters(recurse=False)
        ]


class _Owned(nn.Module):
    """Something with one row of weights for each of its owners."""

    owners: Tensor

    def __init__(self, owners: Tensor) -> None:
        super().__init__()
        self.register_buffer("owners", owners, persistent=False)

    def copies(self, weight: Tensor) -> nn.Parameter:
        """Return one copy of a weight for every owner."""
        return nn.Parameter(weight.detach().expand(len(self.owners), *weight.shape).clone())


class _Convolution(_Owned):
    """A convolution without bias."""

    def __init__(self, source: nn.Conv2d, owners: Tensor) -> None:
        super().__init__(owners)
        self.weight = self.copies(source.weight)
        self.stride = source.stride

    def forward(self, maps: Maps) -> Changed:
        networks, outputs, _, kernel, _ = self.weight.shape
        if kernel == 1:
            flat = self.weight.flatten(2).bmm(maps.flatten(2))
            return flat.view(networks, outputs, *maps.shape[2:])
        result = nn.functional.conv2d(
            maps.permute(2, 0, 1, 3, 4).flatten(1, 2),
            self.weight.flatten(0, 1),
            stride=self.stride,
            padding=kernel // 2,
            groups=networks,
        )
        apart = result.view(len(result), networks, outputs, *result.shape[2:])
        return apart.permute(1, 2, 0, 3, 4).contiguous()


class _Norm(_Owned):
    """Batch norm."""

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(self, source: nn.BatchNorm2d, owners: Tensor) -> None:
        super().__init__(owners)
        self.momentum, self.eps = source.momentum or 0.0, source.eps
        self.weight = self.copies(source.weight) if source.affine else None
        self.bias = self.copies(source.bias) if source.affine else None
        self.running = source.track_running_stats
        for name in ("running_mean", "running_var"):
            value = getattr(source, name)
            self.register_buffer(name, value.repeat(len(owners)) if self.running else None)

    def forward(self, maps: Maps) -> Maps:
        rows = maps.reshape(1, maps.shape[0] * maps.shape[1], -1)
        result = nn.functional.batch_norm(
            rows,
            self.running_mean,
            self.running_var,
            None if self.weight is None else self.weight.flatten(),
            None if self.bias is None else self.bias.flatten(),
            training=self.training or not self.running,
            momentum=self.momentum,
            eps=self.eps,
        )
        return result.view(maps.shape)


class _ReLUConvBN(nn.Module):
    def __init__(self, source: ReLUConvBN, owners: Tensor) -> None:
        super().__init__()
        self.conv = _Convolution(source.conv, owners)
        self.norm = _Norm(source.norm, owners)

    def forward(self, maps: Maps) -> Changed:
        result: Tensor = self.norm(self.conv(torch.relu(maps)))
        return result


class _Stem(nn.Module):
    """A convolution of the images, which all networks share, and batch norm."""

    def __init__(self, source: nn.Module, owners: Tensor) -> None:
        super().__init__()
        convolution, norm = source.children()
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - for the type checker
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101
        self.conv, self.norm = _Convolution(convolution, owners), _Norm(norm, owners)

    def forward(self, images: Float[Tensor, "images inputs rows columns"]) -> Maps:
        weight = self.conv.weight
        windows = nn.functional.unfold(images, weight.shape[-1], padding=weight.shape[-1] // 2)
        rows = weight.flatten(0, 1).flatten(1) @ windows.transpose(0, 1).flatten(1)
        result: Tensor = self.norm(rows.view(*weight.shape[:2], len(images), *images.shape[2:]))
        return result


class _Reduction(nn.Module):
    def __init__(self, source: Reduction, owners: Tensor) -> None:
        super().__init__()
        self.halve = _ReLUConvBN(source.halve, owners)
        self.refine = _ReLUConvBN(source.refine, owners)
        shortcut = source.shortcut[1]
        assert isinstance(shortcut, nn.Conv2d)  # noqa: S101 - for the type checker
        self.shortcut = _Convolution(shortcut, owners)

    def forward(self, maps: Maps) -> Changed:
        result: Tensor = self.shortcut(_pooled(maps, _HALVING)) + self.refine(self.halve(maps))
        return result


class _Head(nn.Module):
    def __init__(self, source: nn.Module, owners: Tensor) -> None:
        super().__init__()
        norm, *_, linear = source.children()
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - for the type checker
        assert isinstance(linear, nn.Linear)  # noqa: S101
        self.norm, self.linear = _Norm(norm, owners), _Linear(linear, owners)

    def forward(self, maps: Maps) -> Float[Tensor, "networks images classes"]:
        features = torch.relu(self.norm(maps)).mean((3, 4)).transpose(1, 2)
        result: Tensor = self.linear(features)
        return result


class _Linear(_Owned):
    def __init__(self, source: nn.Linear, owners: Tensor) -> None:
        super().__init__(owners)
        self.weight, self.bias = self.copies(source.weight), self.copies(source.bias)

    def forward(
        self, features: Float[Tensor, "networks images channels"]
    ) -> Float[Tensor, "networks images classes"]:
        return torch.baddbmm(self.bias[:, None], features, self.weight.transpose(1, 2))


class _Operation(nn.Module):
    """One operation on one edge, for the networks that have it there."""

    owners: Tensor

    def __init__(self, name: str, source: nn.Module, owners: Tensor) -> None:
        super().__init__()
        self.register_buffer("owners", owners, persistent=False)
        self.name = name
        if isinstance(source, ReLUConvBN):
            self.block = _ReLUConvBN(source, owners)

    def forward(self, maps: Maps) -> Maps:
        if self.name == SKIP:
            return maps
        result: Tensor = _pooled(maps, _SMOOTHING) if self.name == POOL else self.block(maps)
        return result


class _Node(nn.Module):
    """The operations that start at one node: their inputs are chosen in one go."""

    chosen: Tensor

    def __init__(self, steps: Sequence[tuple[int, _Operation]]) -> None:
        super().__init__()
        self.ends = [end for end, _ in steps]
        self.operations = nn.ModuleList(operation for _, operation in steps)
        self.sizes = [len(operation.owners) for _, operation in steps]
        owners = torch.cat([operation.owners for _, operation in steps])
        self.register_buffer("chosen", owners, persistent=False)

    def forward(self, maps: Maps, nodes: dict[int, Maps]) -> None:
        """Add every result to the node where it ends."""
        inputs = torch.split(maps.index_select(0, self.chosen), self.sizes)
        for end, operation, some in zip(self.ends, self.operations, inputs, strict=True):
            owners: Tensor = operation.owners  # type: ignore[assignment]  # a buffer
            nodes[end].index_add_(0, owners, operation(some))


class _Cell(nn.Module):
    """One cell of every network."""

    def __init__(self, source: Cell, supernet: Supernet, chosen: Sequence[Architecture]) -> None:
        super().__init__()
        space = supernet.space
        self.output = source.output
        live = [live_edges(space.edges, [(o,) for o in a.operations]) for a in chosen]
        steps: dict[int, list[tuple[int, _Operation]]] = {}
        for edge, (start, end) in enumerate(space.edges):
            for name in space.allowed[edge]:
                users = [
                    number
                    for number, architecture in enumerate(chosen)
                    if name != NONE and live[number][edge] and architecture.operations[edge] == name
                ]
                if users:
                    module = source.operation(edge, name)
                    step = end, _Operation(name, module, torch.tensor(users))
                    steps.setdefault(start, []).append(step)
        self.starts = sorted(steps)
        self.nodes = nn.ModuleList(_Node(steps[start]) for start in self.starts)

    def forward(self, maps: Maps) -> Maps:
        nodes = {node: torch.zeros_like(maps) for node in range(1, self.output + 1)}
        nodes[0] = maps
        for start, node in zip(self.starts, self.nodes, strict=True):
            node(nodes[start], nodes)
        return nodes[self.output]


def _pooled(maps: Maps, kernel: int) -> Changed:
    """Average pooling as a product with a small matrix, which is faster on small maps."""
    height, width = maps.shape[-2:]
    matrix, shape = _pooling(kernel, height, width)
    rows = maps.reshape(-1, height * width) @ matrix.to(maps.device)
    return rows.view(*maps.shape[:-2], *shape)


@lru_cache(maxsize=32)
def _pooling(kernel: int, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
    """Return the matrix of an average pooling of flattened maps, and the new height and width."""
    units = torch.eye(height * width).view(-1, 1, height, width)
    if kernel == _HALVING:
        pooled = nn.functional.avg_pool2d(units, 2, stride=2, ceil_mode=True)
    else:
        pooled = nn.functional.avg_pool2d(units, 3, stride=1, padding=1, count_include_pad=False)
    return pooled.flatten(1).contiguous(), (pooled.shape[-2], pooled.shape[-1])


def train_stacked(
    networks: StackedNetworks,
    images: Images,
    config: TrainingConfig,
    *,
    seed: int,
    task: str = "training together",
    on_event: OnEvent = ignore_event,
) -> None:
    """Train every network as :func:`~naslid_toolkit.supernet.training.train` would train it alone.

    All see the same batches; each has its own gradient clipping and optimiser state. A network
    whose loss diverges keeps weights that are not finite and leaves the others as they are.

    Parameters
    ----------
    networks
        Trained in place, on their own device.
    images
        Training images on the same device.
    config
        Schedule and optimiser; the sampler does not matter.
    seed
        Seed of the batches and the augmentation.
    task
        What events call this training.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone` after every epoch.
    """
    owned = networks.weights()
    optimiser = config.optimiser([weight for _, weight in owned])
    count = len(networks.architectures)
    networks.train()
    for epoch in range(config.epochs):
        for batch in epoch_batches(images, config, optimiser, epoch=epoch, seed=seed):
            optimiser.zero_grad()
            labels = batch.labels.repeat(count)
            loss = nn.functional.cross_entropy(networks(batch.pixels).flatten(0, 1), labels)
            (loss * count).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _clip_each(owned, count, config.gradient_clip)
            optimiser.step()
        on_event(WorkDone(task, epoch + 1, config.epochs, "epochs"))


@torch.no_grad()
def _clip_each(owned: list[tuple[Tensor, nn.Parameter]], count: int, limit: float) -> None:
    """Clip the norm of each network's own gradient."""
    squares = owned[0][1].new_zeros(count)
    gradients = [(owners, weight.grad) for owners, weight in owned if weight.grad is not None]
    for owners, gradient in gradients:
        squares.index_add_(0, owners, gradient.flatten(1).square().sum(1))
    scale = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for owners, gradient in gradients:
        gradient.mul_(scale[owners].view(-1, *[1] * (gradient.ndim - 1)))


def evaluate_stacked(
    networks: StackedNetworks, images: Images
) -> tuple[Float[Tensor, " networks"], Float[Tensor, " networks"]]:
    """Return every network's accuracy in [0, 1] and mean cross-entropy in nats."""
    count = len(networks.architectures)
    hits = images.pixels.new_zeros(count)
    losses = images.pixels.new_zeros(count)
    with evaluating(networks), torch.inference_mode():
        for part in evaluation_parts(images):
            logits = networks(part.pixels)
            hits += (logits.argmax(2) == part.labels).sum(1)
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), part.labels.repeat(count), reduction="none"
            )
            losses += loss.view(count, -1).sum(1)
    return hits / len(images), losses / len(images)
