"""Several paths of a supernet in one pass that computes what they have in common once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.space.architecture import NONE, Architecture, Edge
from naslid_toolkit.supernet.network import Cell, Supernet
from naslid_toolkit.supernet.operations import FeatureMap, ReLUConvBN

# What a node holds: for each edge that carries a signal into it the edge, its operation and what
# its source holds. Nodes that hold the same are computed once.
_Value = tuple[tuple[int, str, Any], ...]
_Use = tuple[int, str]
_NOTHING: Final[_Value] = ()
_INPUT: Final[_Value] = ((-1, "input", _NOTHING),)
_PARAMETERLESS: Final = (nn.Identity, nn.AvgPool2d)


def joint_logits(
    supernet: Supernet, images: FeatureMap, architectures: Sequence[Architecture]
) -> Float[Tensor, "paths images classes"]:
    """Return the logits of several paths for the same images, as separate passes give them.

    The stem runs once, and so does every operation that several paths apply to the same
    features; on features that several operations start from, one convolution computes all
    filters of a size. Results differ from separate passes by rounding only.

    Parameters
    ----------
    supernet
        On the device of the images.
    images
        Shape ``(images, channels, height, width)``.
    architectures
        At least one architecture of the supernet's space.

    Raises
    ------
    ConfigError
        If there is no architecture.
    SpaceError
        If an architecture is outside the supernet's space.
    """
    if not architectures:
        raise ConfigError("at least one architecture is needed")
    space = supernet.space
    routes = [tuple(supernet.blocks(space.check(path))) for path in architectures]
    values = [_value(space.edges, path.operations) for path in architectures]
    maps = {tuple(range(len(values))): images}
    for place, block in enumerate(routes[0]):
        maps = dict(_advanced(maps, [route[place] for route in routes], values))
        if block is supernet.stem and images.device.type == "cpu":  # pooling 3x faster there
            maps = {
                paths: features.contiguous(memory_format=torch.channels_last)
                for paths, features in maps.items()
            }
    row_of = {path: row for row, paths in enumerate(maps) for path in paths}
    logits = torch.stack(list(maps.values()))
    rows = [row_of[path] for path in range(len(values))]
    return logits if rows == list(range(len(logits))) else logits[rows]


def _advanced(
    maps: Mapping[tuple[int, ...], FeatureMap],
    blocks: Sequence[nn.Module],
    values: Sequence[_Value],
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run each path's next block; paths stay together as long as they compute the same."""
    for paths, features in maps.items():
        for block, some in _apart(paths, lambda path: blocks[path]).items():
            if not isinstance(block, Cell):
                yield tuple(some), block(features)
                continue
            wanted = _apart(some, lambda path: values[path])
            results = _cell(block, features, tuple(wanted))
            yield from zip(map(tuple, wanted.values()), results, strict=True)


def _apart(paths: Iterable[int], key: Callable[[int], Any]) -> dict[Any, list[int]]:
    """Group paths by a key, in order."""
    groups: dict[Any, list[int]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return groups


def _cell(cell: Cell, features: FeatureMap, wanted: tuple[_Value, ...]) -> list[FeatureMap]:
    """Return what the output node holds, for several cells of the same input."""
    held = {_INPUT: features, _NOTHING: torch.zeros_like(features)}
    results: dict[tuple[_Value, int, str], Tensor] = {}
    for value, uses in _schedule(wanted):
        if value not in held:
            terms = [results[source, edge, name] for edge, name, source in value]
            held[value] = sum(terms[1:], start=terms[0])
        for (edge, name), result in _operations(cell, held[value], uses):
            results[value, edge, name] = result
    return [held[value] for value in wanted]


def _operations(
    cell: Cell, features: FeatureMap, uses: tuple[_Use, ...]
) -> Iterator[tuple[_Use, FeatureMap]]:
    """Apply operations to one map, convolutions of a size as one."""
    joined: dict[tuple[int, ...], dict[_Use, ReLUConvBN]] = {}
    same: dict[str, Tensor] = {}
    for use in uses:
        module = cell.operation(*use)
        if isinstance(module, ReLUConvBN) and not module.norm.track_running_stats:
            joined.setdefault(module.conv.kernel_size, {})[use] = module
        elif isinstance(module, _PARAMETERLESS):
            name = use[1]
            same[name] = same[name] if name in same else module(features)
            yield use, same[name]
        else:
            yield use, module(features)
    rectified = torch.relu(features) if joined else features
    for modules in joined.values():
        results = _convolved(rectified, list(modules.values()))
        yield from zip(modules, results, strict=True)


def _convolved(rectified: FeatureMap, modules: Sequence[ReLUConvBN]) -> tuple[Tensor, ...]:
    """Apply the convolution and batch norm of several blocks to one rectified map."""
    if len(modules) == 1:
        only = modules[0]
        return (only.norm(only.conv(rectified)),)
    norms = [module.norm for module in modules]
    result = nn.functional.batch_norm(
        nn.functional.conv2d(
            rectified,
            torch.cat([module.conv.weight for module in modules]),
            padding=modules[0].conv.padding,
        ),
        None,
        None,
        torch.cat([norm.weight for norm in norms]) if norms[0].affine else None,
        torch.cat([norm.bias for norm in norms]) if norms[0].affine else None,
        training=True,
        eps=norms[0].eps,
    )
    return torch.split(result, [norm.num_features for norm in norms], dim=1)


@lru_cache(maxsize=1 << 15)
def _value(edges: tuple[Edge, ...], operations: tuple[str, ...]) -> _Value:
    """Return what the output node holds; nothing if no signal reaches it."""
    held: dict[int, _Value] = {0: _INPUT}
    for node in sorted({target for _, target in edges}):
        held[node] = tuple(
            (edge, operations[edge], held[source])
            for edge, (source, target) in enumerate(edges)
            if target == node and operations[edge] != NONE and held[source] != _NOTHING
        )
    return held[max(held)]


@lru_cache(maxsize=1 << 12)
def _schedule(wanted: tuple[_Value, ...]) -> tuple[tuple[_Value, tuple[_Use, ...]], ...]:
    """List everything to be held, sources first, with the operations that start from it."""
    uses: dict[_Value, dict[_Use, None]] = {}

    def visit(value: _Value) -> None:
        uses.setdefault(value, {})
        if value not in (_INPUT, _NOTHING):
            for edge, name, source in value:
                visit(source)
                uses[source][edge, name] = None

    for value in wanted:
        visit(value)
    return tuple((value, tuple(uses[value])) for value in sorted(uses, key=_depth))


def _depth(value: _Value) -> int:
    """Return how many operations lie between the input and this value."""
    if value in (_INPUT, _NOTHING):
        return 0
    return 1 + max(_depth(source) for _, _, source in value)
