"""Groups of operations that behave alike, by going through every possible grouping."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.partition.similarity import SimilarityMatrix

Objective = Literal["separation", "within", "between"]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of the operations of one edge into two groups.

    Parameters
    ----------
    groups
        Numbers of the operations in each group; the group with operation 0 comes first.
    score
        How good the grouping is for the choice of an edge; larger is better.
    """

    groups: tuple[tuple[int, ...], tuple[int, ...]]
    score: float


@dataclass(frozen=True, slots=True)
class ExhaustiveGrouping:
    """The best of all groupings into two groups.

    Parameters
    ----------
    objective
        What the best grouping maximises. ``"separation"``: mean similarity of pairs inside a
        group minus mean similarity of pairs across (no pair inside counts as 1: an operation
        is like itself). ``"within"``: sum of the similarities inside the groups.
    edge_score
        What the score reports, by which edges are compared: one of these, or ``"between"``, the
        sum of similarities across the groups.
    balanced
        Only groups whose sizes differ by at most one (2 + 3 of five operations, 10 groupings);
        otherwise any sizes (15 groupings).

    Notes
    -----
    The paper chooses the grouping and the edge with the largest similarity inside the groups.
    The published code chooses the same grouping, but the edge with the largest similarity
    *across* the groups, the edge whose groups are most alike (``edge_score="between"``).
    Ties go to the grouping that comes first when group 0 is listed by size, then by number.
    """

    objective: Objective = "separation"
    edge_score: Objective = "separation"
    balanced: bool = False

    def __call__(self, similarity: SimilarityMatrix, /) -> Grouping:
        """Return the best grouping.

        Raises
        ------
        ShapeError
            If the matrix is not square, has one operation, or holds NaN.
        """
        count = len(similarity)
        if similarity.shape != (count, count) or count < 2:
            raise ShapeError(f"a similarity matrix of {tuple(similarity.shape)} has no 2 groups")
        matrix: list[list[float]] = similarity.tolist()
        if any(value != value for row in matrix for value in row):  # noqa: PLR0124 - NaN
            raise ShapeError("the similarity matrix holds NaN")
        best = max(
            two_groups(count, balanced=self.balanced),
            key=lambda groups: _value(self.objective, matrix, groups),
        )
        return Grouping(best, _value(self.edge_score, matrix, best))


def two_groups(count: int, *, balanced: bool) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Go through every partition of ``count`` operations into two groups.

    Examples
    --------
    >>> len(list(two_groups(5, balanced=False))), len(list(two_groups(5, balanced=True)))
    (15, 10)
    """
    if count < 2:
        raise ConfigError(f"{count} operations cannot form two groups")
    for size in range(1, count):
        if balanced and abs(count - 2 * size) > 1:
            continue
        for rest in itertools.combinations(range(1, count), size - 1):
            first = (0, *rest)
            yield first, tuple(o for o in range(count) if o not in first)


def _value(
    objective: Objective,
    matrix: list[list[float]],
    groups: tuple[tuple[int, ...], tuple[int, ...]],
) -> float:
    within = [matrix[i][j] for group in groups for i, j in itertools.combinations(group, 2)]
    between = [matrix[i][j] for i in groups[0] for j in groups[1]]
    if objective == "within":
        return sum(within)
    if objective == "between":
        return sum(between)
    inside = sum(within) / len(within) if within else 1.0
    return inside - sum(between) / len(between)
