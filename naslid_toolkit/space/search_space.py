"""A search space: the operations allowed on every edge of a cell."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from naslid_toolkit.errors import SpaceError, nearest_name
from naslid_toolkit.space.architecture import Architecture, Edge

if TYPE_CHECKING:
    import torch


def cell_space(nodes: int, operations: Sequence[str]) -> "SearchSpace":
    """Return the space of cells in which every node reads all earlier ones.

    Parameters
    ----------
    nodes
        Nodes of the cell, at least 2; node 0 is its input, the last one its output.
    operations
        The operations allowed on every edge; ``"none"`` and ``"skip_connect"`` are no and an
        unchanged signal.

    Raises
    ------
    SpaceError
        If there are fewer nodes, or the operations are as :class:`SearchSpace` refuses them.

    Examples
    --------
    >>> space = cell_space(3, ["none", "skip_connect", "nor_conv_3x3"])
    >>> space.edges, len(space)
    (((0, 1), (0, 2), (1, 2)), 27)
    """
    if nodes < 2:
        raise SpaceError(f"a cell needs an input and an output, got {nodes} node(s)")
    edges = tuple((source, target) for target in range(1, nodes) for source in range(target))
    return SearchSpace(edges, tuple(operations), (tuple(operations),) * len(edges))


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The operations allowed on every edge of one cell; a sub-space allows fewer.

    Parameters
    ----------
    edges
        ``(source, target)`` nodes of the cell, in the order of an architecture's operations.
    vocabulary
        Every operation of the full space, in the benchmark's order; the numbers in
        :meth:`as_array` index it, so that a sub-space keeps the codes of its parent.
    allowed
        The allowed operations of each edge, in the order of the vocabulary.

    Raises
    ------
    SpaceError
        If an edge allows nothing, an unknown or a repeated operation.

    Examples
    --------
    >>> space = SearchSpace(((0, 1),), ("none", "skip_connect"), (("none", "skip_connect"),))
    >>> [str(architecture) for architecture in space]
    ['none', 'skip_connect']
    """

    edges: tuple[Edge, ...]
    vocabulary: tuple[str, ...]
    allowed: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.allowed):
            raise SpaceError(f"{len(self.edges)} edges but operations for {len(self.allowed)}")
        for edge, operations in enumerate(self.allowed):
            if not operations:
                raise SpaceError(f"edge {edge} allows no operation")
            if len(set(operations)) != len(operations):
                raise SpaceError(f"edge {edge} names an operation twice: {operations}")
            for operation in operations:
                self._check_known(operation)

    def _check_known(self, operation: str) -> None:
        if operation not in self.vocabulary:
            hint = nearest_name(operation, self.vocabulary)
            raise SpaceError(f"unknown operation {operation!r}; {hint}")

    def __len__(self) -> int:
        """Return the number of architectures."""
        return math.prod(len(operations) for operations in self.allowed)

    def __iter__(self) -> Iterator[Architecture]:
        """Go through all architectures, the last edge changing fastest."""
        return (Architecture(operations) for operations in itertools.product(*self.allowed))

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and len(architecture) == len(self.edges)
            and all(o in a for o, a in zip(architecture.operations, self.allowed, strict=True))
        )

    @property
    def unsplit_edges(self) -> tuple[int, ...]:
        """Edges that still allow the whole vocabulary."""
        full = set(self.vocabulary)
        return tuple(edge for edge, allowed in enumerate(self.allowed) if set(allowed) == full)

    def edge_name(self, edge: int) -> str:
        """Return an edge as ``"source→target"``."""
        self._check_edge(edge)
        source, target = self.edges[edge]
        return f"{source}→{target}"

    def check(self, architecture: Architecture) -> Architecture:
        """Return the architecture if it lies in the space, else say where it does not.

        Raises
        ------
        SpaceError
            Names the first edge and operation that are not allowed.
        """
        if len(architecture) != len(self.edges):
            raise SpaceError(
                f"the space has {len(self.edges)} edges, the architecture {len(architecture)}"
            )
        for edge, operation in enumerate(architecture.operations):
            if operation not in self.allowed[edge]:
                self._check_known(operation)
                raise SpaceError(
                    f"operation {operation!r} is not allowed on edge {edge} "
                    f"({self.edge_name(edge)}), which allows {', '.join(self.allowed[edge])}"
                )
        return architecture

    def sample(self, *, generator: "torch.Generator") -> Architecture:
        """Draw one architecture, every one equally likely."""
        import torch  # noqa: PLC0415 - names of architectures in tables are read without it

        return Architecture(
            tuple(
                operations[int(torch.randint(len(operations), (), generator=generator))]
                for operations in self.allowed
            )
        )

    def split(self, edge: int, groups: Sequence[Sequence[str]]) -> tuple["SearchSpace", ...]:
        """Split into sub-spaces that allow one group of operations each on ``edge``.

        Parameters
        ----------
        edge
            The edge to split, counted from 0.
        groups
            At least two groups that together hold every allowed operation exactly once.

        Returns
        -------
        tuple of SearchSpace
            One for each group; together they hold every architecture exactly once.

        Raises
        ------
        SpaceError
            If the groups are not a partition of the edge's operations.
        """
        self._check_edge(edge)
        named = sorted(operation for group in groups for operation in group)
        if len(groups) < 2 or not all(groups) or named != sorted(self.allowed[edge]):
            raise SpaceError(
                f"groups {[list(group) for group in groups]} do not partition the operations "
                f"{list(self.allowed[edge])} of edge {edge}"
            )
        return tuple(self.with_allowed(edge, group) for group in groups)

    def with_allowed(self, edge: int, operations: Sequence[str]) -> "SearchSpace":
        """Return the space with exactly these operations on one edge, all others as they are."""
        self._check_edge(edge)
        for operation in operations:
            self._check_known(operation)
        ordered = tuple(operation for operation in self.vocabulary if operation in operations)
        allowed = (*self.allowed[:edge], ordered, *self.allowed[edge + 1 :])
        return SearchSpace(self.edges, self.vocabulary, allowed)

    def only(self, architecture: Architecture) -> "SearchSpace":
        """Return the sub-space that holds this architecture alone."""
        operations = self.check(architecture).operations
        return SearchSpace(self.edges, self.vocabulary, tuple((o,) for o in operations))

    def as_array(self) -> np.ndarray:
        """Return all architectures as ``(architectures, edges)`` int8 codes of the vocabulary.

        The rows are in the order of iteration.
        """
        codes = [[self.vocabulary.index(o) for o in operations] for operations in self.allowed]
        grids = np.meshgrid(*codes, indexing="ij")
        return np.stack([grid.ravel() for grid in grids], axis=1).astype(np.int8)

    def from_codes(self, codes: np.ndarray) -> Architecture:
        """Return the architecture that a row of :meth:`as_array` stands for."""
        return Architecture(tuple(self.vocabulary[int(code)] for code in codes))

    def to_dict(self) -> dict[str, Any]:
        """Return the space as JSON-able data."""
        return {
            "edges": [list(edge) for edge in self.edges],
            "vocabulary": list(self.vocabulary),
            "allowed": [list(operations) for operations in self.allowed],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchSpace":
        """Return the space that :meth:`to_dict` wrote.

        Raises
        ------
        SpaceError
            If operations are not lists of names.
        """
        lists = (data["vocabulary"], *data["allowed"])
        if not all(isinstance(each, list | tuple) for each in lists):
            raise SpaceError("the operations of a space are lists of names")
        return cls(
            edges=tuple((int(source), int(target)) for source, target in data["edges"]),
            vocabulary=tuple(data["vocabulary"]),
            allowed=tuple(tuple(operations) for operations in data["allowed"]),
        )

    def _check_edge(self, edge: int) -> None:
        if not 0 <= edge < len(self.edges):
            raise SpaceError(f"edge {edge} is outside 0..{len(self.edges) - 1}")
