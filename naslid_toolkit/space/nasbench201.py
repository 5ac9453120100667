"""NAS-Bench-201 as plain data: its cell, architecture strings, index order and isomorphisms."""

import random
import re
from functools import lru_cache
from typing import Final

import numpy as np

from naslid_toolkit.errors import SpaceError, nearest_name
from naslid_toolkit.space.architecture import NONE, SKIP, Architecture, Edge, live_edges
from naslid_toolkit.space.search_space import SearchSpace

CONV1: Final = "nor_conv_1x1"
CONV3: Final = "nor_conv_3x3"
POOL: Final = "avg_pool_3x3"
OPERATIONS: Final = (NONE, SKIP, CONV1, CONV3, POOL)
EDGES: Final[tuple[Edge, ...]] = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
CONVOLUTIONS: Final = frozenset({CONV1, CONV3})

_BENCHMARK_SHUFFLE_SEED: Final = 88  # the benchmark's authors shuffled their list with it
_TOKEN: Final = re.compile(r"([^~|+]+)~(\d+)")


def nasbench201() -> SearchSpace:
    """Return the search space of NAS-Bench-201: 6 edges, 5 operations, 15,625 architectures.

    References
    ----------
    .. [1] X. Dong and Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural
       Architecture Search", ICLR 2020.

    Examples
    --------
    >>> len(nasbench201())
    15625
    """
    return SearchSpace(EDGES, OPERATIONS, (OPERATIONS,) * len(EDGES))


def parse_architecture(text: str, space: SearchSpace | None = None) -> Architecture:
    """Read an architecture string, as the benchmark writes them.

    Parameters
    ----------
    text
        For instance ``"|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"``.
    space
        The space whose cell and operations are meant; None: NAS-Bench-201, with its edges
        0→1, 0→2, 1→2, 0→3, 1→3, 2→3.

    Returns
    -------
    Architecture
        Its operations in the order of the edges.

    Raises
    ------
    SpaceError
        Says at which character the string leaves the space, and what was expected there.

    Examples
    --------
    >>> parse_architecture("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|").operations
    ('none', 'none', 'none', 'skip_connect', 'none', 'none')
    """
    edges, vocabulary = (EDGES, OPERATIONS) if space is None else (space.edges, space.vocabulary)
    operations: list[str] = []
    at, node = 0, -1
    for source, target in edges:
        if target != node:
            at = _expect(text, at, "+|" if operations else "|", f"start of node {target}")
            node = target
        match = _TOKEN.match(text, at)
        if match is None:
            raise SpaceError(
                f"expected 'operation~{source}' for edge {source}→{target} at character {at} "
                f"of {text!r}, found {text[at : at + 12]!r}"
            )
        operation, start = match.groups()
        if operation not in vocabulary:
            hint = nearest_name(operation, vocabulary)
            raise SpaceError(
                f"unknown operation {operation!r} at character {at} of {text!r}; {hint}"
            )
        if int(start) != source:
            raise SpaceError(
                f"edge {source}→{target} must start at node {source}, "
                f"found node {start} at character {at} of {text!r}"
            )
        operations.append(operation)
        at = _expect(text, match.end(), "|", f"edge {source}→{target}")
    if at != len(text):
        raise SpaceError(f"unexpected text {text[at:]!r} at character {at} of {text!r}")
    return Architecture(tuple(operations))


def _expect(text: str, at: int, token: str, place: str) -> int:
    """Step over ``token`` or say that it is missing."""
    if not text.startswith(token, at):
        found = repr(text[at]) if at < len(text) else "the end"
        raise SpaceError(
            f"expected {token!r} at character {at} of {text!r} ({place}), found {found}"
        )
    return at + len(token)


def format_architecture(architecture: Architecture, space: SearchSpace | None = None) -> str:
    """Write an architecture as the official string; the inverse of :func:`parse_architecture`.

    Raises
    ------
    SpaceError
        If the architecture is not one of the space (None: NAS-Bench-201).
    """
    space = nasbench201() if space is None else space
    space.check(architecture)
    nodes: dict[int, list[str]] = {}
    for (source, target), operation in zip(space.edges, architecture.operations, strict=True):
        nodes.setdefault(target, []).append(f"{operation}~{source}")
    return "+".join(f"|{'|'.join(tokens)}|" for tokens in nodes.values())


def canonical_cell(architecture: Architecture) -> str:
    """Return the string that isomorphic cells share and different cells do not.

    A skip connection is replaced by its source, everything behind a ``none`` is zero, and the
    inputs of a node are sorted. The 15,625 architectures have 6,466 different strings.

    References
    ----------
    .. [1] X. Dong et al., "NATS-Bench", TPAMI 2021, section on isomorphic cells.

    Examples
    --------
    >>> len({canonical_cell(architecture) for architecture in nasbench201()})
    6466
    """
    nodes = {0: "0"}
    for target in range(1, 4):
        terms = [
            _term(nodes[source], operation)
            for (source, end), operation in zip(EDGES, architecture.operations, strict=True)
            if end == target
        ]
        nodes[target] = "+".join(sorted(terms))
    return nodes[3]


def _term(source: str, operation: str) -> str:
    if operation == NONE or source == "#":
        return "#"
    return source if operation == SKIP else f"({source})@{operation}"


@lru_cache(maxsize=1)
def canonical_architectures() -> tuple[Architecture, ...]:
    """Return one connected architecture for every class of isomorphic cells.

    Of a class the one with the fewest convolutions is taken, then with the fewest operations
    at all, so that none stands where it changes nothing; then the first in the space's order.

    Examples
    --------
    >>> len(canonical_architectures())
    6461
    """
    best: dict[str, tuple[int, int, int, Architecture]] = {}
    for number, architecture in enumerate(nasbench201()):
        operations = architecture.operations
        if not any(live_edges(EDGES, [(operation,) for operation in operations])):
            continue
        convolutions = sum(operation in CONVOLUTIONS for operation in operations)
        used = sum(operation != NONE for operation in operations)
        key = convolutions, used, number, architecture
        cell = canonical_cell(architecture)
        if cell not in best or key[:3] < best[cell][:3]:
            best[cell] = key
    return tuple(architecture for *_, architecture in sorted(best.values(), key=lambda b: b[2]))


def benchmark_order() -> tuple[Architecture, ...]:
    """Return all 15,625 architectures in the order of the benchmark's own index.

    The benchmark's list is the product of the operations, node by node, shuffled with Python's
    generator seeded 88; position ``i`` of the result is architecture ``i`` of the benchmark.

    Examples
    --------
    >>> format_architecture(benchmark_order()[9])
    '|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
    """
    architectures = list(nasbench201())
    random.Random(_BENCHMARK_SHUFFLE_SEED).shuffle(architectures)  # noqa: S311 - not a secret
    return tuple(architectures)


def convolution_depth(codes: np.ndarray) -> np.ndarray:
    """Return the largest number of convolutions on any path from input to output.

    Parameters
    ----------
    codes
        Rows of :meth:`~naslid_toolkit.space.search_space.SearchSpace.as_array`, of shape
        ``(architectures, 6)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(architectures,)``, 0 to 3, and -1 for a disconnected architecture.

    References
    ----------
    .. [1] Y. Oh et al., "Efficient Few-Shot Neural Architecture Search by Counting the Number
       of Nonlinear Functions", AAAI 2025; there a disconnected architecture counts 0.

    Examples
    --------
    >>> np.bincount(convolution_depth(nasbench201().as_array()) + 1).tolist()
    [341, 1642, 7122, 5520, 1000]
    """
    counts = np.isin(codes, [OPERATIONS.index(operation) for operation in CONVOLUTIONS]).astype(int)
    blocked = codes == OPERATIONS.index(NONE)
    depth = np.full((len(codes), 4), -np.inf)
    depth[:, 0] = 0
    for edge, (source, target) in enumerate(EDGES):
        through = np.where(blocked[:, edge], -np.inf, depth[:, source] + counts[:, edge])
        depth[:, target] = np.maximum(depth[:, target], through)
    return np.where(np.isfinite(depth[:, 3]), depth[:, 3], -1).astype(np.int64)
