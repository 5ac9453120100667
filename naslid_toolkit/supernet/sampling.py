"""Which paths a supernet is trained on: replaceable sampling strategies."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import convolution_depth
from naslid_toolkit.space.search_space import SearchSpace

_BALANCED_GROUPS: Final = ((0, 1), (2,), (3,))


@runtime_checkable
class PathSampler(Protocol):
    """Chooses the paths of a range of training steps.

    The result depends on its arguments alone, so that a resumed training continues with the
    same paths.
    """

    def __call__(
        self, space: SearchSpace, first: int, count: int, /, *, seed: int
    ) -> tuple[Architecture, ...]:
        """Return the architectures of paths ``first`` to ``first + count - 1``."""
        ...  # pragma: no cover


def uniform_paths(
    space: SearchSpace, first: int, count: int, /, *, seed: int
) -> tuple[Architecture, ...]:
    """Draw every path independently, all architectures equally likely (SPOS, ECCV 2020)."""
    draw = generator(seed, "uniform", first)
    columns = [
        torch.randint(len(operations), (count,), generator=draw).tolist()
        for operations in space.allowed
    ]
    return _from_columns(space, columns)


def fair_paths(
    space: SearchSpace, first: int, count: int, /, *, seed: int
) -> tuple[Architecture, ...]:
    """Use every operation of every edge equally often: once in each cycle of its edge.

    A cycle of an edge with ``n`` operations is ``n`` paths long and goes through them in random
    order ("strict fairness", FairNAS, ICCV 2021; there the gradients of one cycle are summed
    into one step, which is ``paths_per_step = n`` here).
    """
    columns = []
    for edge, operations in enumerate(space.allowed):
        length = len(operations)
        start, stop = first // length, (first + count - 1) // length + 1
        cycles = [
            torch.randperm(length, generator=generator(seed, "fair", edge, cycle)).tolist()
            for cycle in range(start, stop)
        ]
        picks = [pick for cycle in cycles for pick in cycle]
        skip = first - start * length
        columns.append(picks[skip : skip + count])
    return _from_columns(space, columns)


def balanced_paths(
    space: SearchSpace, first: int, count: int, /, *, seed: int
) -> tuple[Architecture, ...]:
    """Draw a convolution depth first, then a connected architecture of that depth.

    The depths {0, 1}, {2} and {3} are equally likely where the space has them ("supernet-
    balanced sampling", EFS-NAS, AAAI 2025).

    Raises
    ------
    SpaceError
        If the space holds no connected architecture.
    """
    codes, groups = _balanced_groups(space)
    draw = generator(seed, "balanced", first)
    chosen = torch.randint(len(groups), (count,), generator=draw).tolist()
    places = torch.rand(count, generator=draw, dtype=torch.float64).tolist()
    rows = [groups[g][int(u * len(groups[g]))] for g, u in zip(chosen, places, strict=True)]
    return tuple(space.from_codes(codes[row]) for row in rows)


def markov_paths(
    space: SearchSpace, first: int, count: int, /, *, seed: int
) -> tuple[Architecture, ...]:
    """Change the operation of every edge from path to path, as the published code does.

    On an edge with two operations the chain alternates, so two such edges move in lock-step
    and half of their combinations are never trained. Only for ``mode = "official_code"``; here
    an edge with one operation keeps it, where the published code stops with an error.
    """
    columns = []
    for edge, operations in enumerate(space.allowed):
        draw = generator(seed, "markov", edge, first)
        start = torch.randint(len(operations), (1,), generator=draw)
        moves = torch.randint(1, max(len(operations), 2), (count,), generator=draw)
        columns.append(((start + moves.cumsum(0)) % len(operations)).tolist())
    return _from_columns(space, columns)


def _from_columns(space: SearchSpace, columns: list[list[int]]) -> tuple[Architecture, ...]:
    """Turn a column of operation numbers for each edge into architectures."""
    named = (
        [operations[pick] for pick in column]
        for operations, column in zip(space.allowed, columns, strict=True)
    )
    return tuple(Architecture(operations) for operations in zip(*named, strict=True))


@lru_cache(maxsize=64)
def _balanced_groups(space: SearchSpace) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return all architectures' codes and the rows of each non-empty depth group."""
    codes = space.as_array()
    depth = convolution_depth(codes)
    groups = [np.flatnonzero(np.isin(depth, group)) for group in _BALANCED_GROUPS]
    groups = [rows for rows in groups if len(rows)]
    if not groups:
        raise SpaceError("balanced sampling needs a connected architecture, the space has none")
    return codes, groups


SAMPLERS: Final[Mapping[str, PathSampler]] = {
    "uniform": uniform_paths,
    "fair": fair_paths,
    "balanced": balanced_paths,
    "markov": markov_paths,
}
