"""One architecture of a cell space, and what its graph says about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from naslid_toolkit.errors import SpaceError

Edge = tuple[int, int]
NONE = "none"
SKIP = "skip_connect"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One operation for every edge of the cell, in the order of the space's edges.

    Examples
    --------
    >>> Architecture(("none", "skip_connect")).replace(0, "avg_pool_3x3").operations
    ('avg_pool_3x3', 'skip_connect')
    """

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.operations:
            raise SpaceError("an architecture needs at least one operation")

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        return "/".join(self.operations)

    def replace(self, edge: int, operation: str) -> "Architecture":
        """Return the architecture with another operation on one edge (counted from 0)."""
        if not 0 <= edge < len(self.operations):
            raise SpaceError(f"edge {edge} is outside 0..{len(self.operations) - 1}")
        return Architecture((*self.operations[:edge], operation, *self.operations[edge + 1 :]))


def live_edges(edges: Sequence[Edge], chosen: Sequence[Sequence[str]]) -> tuple[bool, ...]:
    """Say which edges carry a signal from the cell's input to its output.

    Parameters
    ----------
    edges
        ``(source, target)`` nodes; node 0 is the input, the largest node the output.
    chosen
        The operations in use on each edge: one for an architecture, more for a mixed path.

    Returns
    -------
    tuple of bool
        True where some operation other than ``none`` is in use, the source can be reached from
        the input, and the output can be reached from the target. All False: disconnected.

    Examples
    --------
    >>> live_edges([(0, 1), (0, 2), (1, 2)], [["none"], ["skip_connect"], ["skip_connect"]])
    (False, True, False)
    """
    passes = [any(operation != NONE for operation in operations) for operations in chosen]
    output = max(target for _, target in edges)
    from_input, to_output = {0}, {output}
    for (source, target), open_ in sorted(zip(edges, passes, strict=True)):
        if open_ and source in from_input:
            from_input.add(target)
    for (source, target), open_ in sorted(zip(edges, passes, strict=True), reverse=True):
        if open_ and target in to_output:
            to_output.add(source)
    return tuple(
        open_ and source in from_input and target in to_output
        for (source, target), open_ in zip(edges, passes, strict=True)
    )


def live_part(edges: Sequence[Edge], architecture: Architecture) -> Architecture:
    """Return the architecture with ``none`` on every edge that carries no signal.

    Two architectures with the same live part are the same network, weights included.

    Examples
    --------
    >>> dead = Architecture(("none", "skip_connect", "avg_pool_3x3"))
    >>> live_part([(0, 1), (0, 2), (1, 2)], dead).operations
    ('none', 'skip_connect', 'none')
    """
    live = live_edges(edges, [(operation,) for operation in architecture.operations])
    return Architecture(
        tuple(
            operation if alive else NONE
            for operation, alive in zip(architecture.operations, live, strict=True)
        )
    )
