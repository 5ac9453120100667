"""Groups of operations that behave alike: exactly for a few operations, by a spectrum for many."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from sklearn.cluster import SpectralClustering

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.partition.similarity import SimilarityMatrix

Objective = Literal["separation", "within", "between", "apart"]
Groups = tuple[tuple[int, ...], ...]
MOST_EXACT: Final = 8  # operations of which every grouping is tried
_SAME: Final = 1e-12  # rounding within which two rows of a similarity matrix are equal
_Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of the operations of one edge.

    Parameters
    ----------
    groups
        Numbers of the operations in each group, in the order of each group's first operation.
        A single group says that nothing tells the operations apart.
    score
        How good the grouping is for the choice of an edge; larger is better, ``-inf`` for a
        single group.
    """

    groups: Groups
    score: float

    @property
    def score_text(self) -> str:
        """The score to three digits; words where there is none."""
        return "no difference" if self.score == -math.inf else f"{self.score:.3g}"


GroupingRule = Callable[[SimilarityMatrix], Grouping]


@dataclass(frozen=True, slots=True)
class ExhaustiveGrouping:
    """The best of all groupings into a number of groups, for at most 8 operations.

    Operations that the matrix does not tell apart (equal rows) are never separated.

    Parameters
    ----------
    objective
        What the best grouping maximises. ``"separation"``: mean similarity of pairs inside a
        group minus mean similarity of pairs across (no pair inside counts as 1: an operation
        is like itself). ``"within"``: sum of the similarities inside the groups.
    edge_score
        What the score reports, by which edges are compared: one of these, ``"between"``, the
        sum of similarities across the groups, or ``"apart"``, minus that sum.
    balanced
        Only groups whose sizes differ as little as possible (2 + 3 of five operations, 10
        groupings); otherwise any sizes (15 groupings).
    groups
        Number of groups; fewer where fewer operations can be told apart.

    Notes
    -----
    The paper chooses the grouping and the edge with the largest similarity inside the groups.
    The published code chooses the same grouping, but the edge with the largest similarity
    *across* the groups, the edge whose groups are most alike (``edge_score="between"``); for
    gradient matching (Hu et al., ICLR 2022), whose code it shares, values are distances and the
    groups of the chosen edge are least alike (``"apart"``).
    Ties go to the grouping that comes first by the sizes of its groups, then by their numbers.
    """

    objective: Objective = "separation"
    edge_score: Objective = "separation"
    balanced: bool = False
    groups: int = 2

    def __post_init__(self) -> None:
        _check_number(self.groups)

    def __call__(self, similarity: SimilarityMatrix, /) -> Grouping:
        """Return the best grouping.

        Raises
        ------
        ShapeError
            If the matrix is not square, has one operation, or holds NaN.
        ConfigError
            If there are more than 8 operations.
        """
        matrix = _checked(similarity)
        if len(matrix) > MOST_EXACT:
            raise ConfigError(
                f"{len(matrix)} operations have too many groupings to try them all (at most "
                f"{MOST_EXACT}); use SpectralGrouping or NormalisedCutGrouping"
            )
        classes = equal_rows(matrix)
        if len(classes) < 2:
            return Grouping(tuple(classes), -math.inf)
        found = [
            groups
            for groups in groupings(len(matrix), min(self.groups, len(classes)))
            if _keeps_together(groups, classes)
        ]
        if self.balanced:
            least = min(map(_imbalance, found))
            found = [groups for groups in found if _imbalance(groups) == least]
        best = max(found, key=lambda groups: value_of(self.objective, matrix, groups))
        return Grouping(best, value_of(self.edge_score, matrix, best))


@dataclass(frozen=True, slots=True)
class _AffinityGrouping:
    """What groupings by clustering share: operations told apart, and what comes of the labels."""

    groups: int = 2
    edge_score: Objective = "separation"

    def __post_init__(self) -> None:
        _check_number(self.groups)

    def __call__(self, similarity: SimilarityMatrix, /) -> Grouping:
        """Return the grouping; see :meth:`ExhaustiveGrouping.__call__` for errors."""
        matrix = _checked(similarity)
        classes = equal_rows(matrix)
        if len(classes) < 2:
            return Grouping(tuple(classes), -math.inf)
        values = np.asarray(matrix)
        if values.min() < 0:  # correlations: an affinity is not negative
            values = (1 + values / np.abs(values).max()) / 2
        # Equal operations count as one of their summed weight.
        member = np.zeros((len(classes), len(values)))
        for row, members in enumerate(classes):
            member[row, list(members)] = 1
        many = len(classes) > self.groups
        labels = self._labels(member @ values @ member.T) if many else range(len(classes))
        together: dict[int, list[int]] = {}
        for label, members in zip(labels, classes, strict=True):
            together.setdefault(int(label), []).extend(members)
        groups = tuple(sorted(tuple(sorted(group)) for group in together.values()))
        return Grouping(groups, value_of(self.edge_score, matrix, groups))

    def _labels(self, affinity: np.ndarray) -> np.ndarray:
        """Return the number of the group of each row, more rows than groups."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SpectralGrouping(_AffinityGrouping):
    """Spectral clustering of the similarities, for any number of operations.

    Parameters
    ----------
    groups
        Number of groups; fewer where fewer operations can be told apart.
    edge_score
        As of :class:`ExhaustiveGrouping`.

    References
    ----------
    .. [1] A. Ng, M. Jordan, Y. Weiss, "On Spectral Clustering", NeurIPS 2001, with the labels of
       A. Damle, V. Minden, L. Ying, "Simple, direct and efficient multi-way spectral
       clustering", 2018 (``cluster_qr`` of scikit-learn, which needs no random start).
    """

    def _labels(self, affinity: np.ndarray) -> np.ndarray:
        clustering = SpectralClustering(
            self.groups, affinity="precomputed", assign_labels="cluster_qr"
        )
        labels: np.ndarray = clustering.fit_predict(affinity)
        return labels


@dataclass(frozen=True, slots=True)
class NormalisedCutGrouping(_AffinityGrouping):
    """Normalised cuts: halve along the second eigenvector until there are enough groups.

    Every halving takes the threshold of the eigenvector with the smallest normalised cut, and
    the group is halved whose cut is smallest.

    Parameters
    ----------
    groups, edge_score
        As of :class:`SpectralGrouping`.

    References
    ----------
    .. [1] J. Shi and J. Malik, "Normalized Cuts and Image Segmentation", TPAMI 2000, section 3.
    """

    def _labels(self, affinity: np.ndarray) -> np.ndarray:
        parts = [np.arange(len(affinity))]
        while len(parts) < self.groups:
            cuts = [_best_cut(affinity[np.ix_(part, part)]) for part in parts]
            place = int(np.argmin([value for value, _ in cuts]))
            side = cuts[place][1]
            parts[place : place + 1] = [parts[place][side], parts[place][~side]]
        labels = np.empty(len(affinity), dtype=int)
        for number, part in enumerate(parts):
            labels[part] = number
        return labels


def groupings(count: int, number: int) -> Iterator[Groups]:
    """Go through every partition of ``count`` operations into ``number`` groups.

    By the sizes of the groups, then by their numbers; groups in the order of their first
    operation.

    Examples
    --------
    >>> len(list(groupings(5, 2))), len(list(groupings(5, 3))), len(list(groupings(8, 4)))
    (15, 25, 1701)
    """
    if not 1 <= number <= count:
        raise ConfigError(f"{count} operations cannot form {number} groups")
    yield from _groupings(count, number)


@lru_cache(maxsize=64)
def _groupings(count: int, number: int) -> tuple[Groups, ...]:
    found = [tuple(map(tuple, groups)) for groups in _partitions(count) if len(groups) == number]
    return tuple(sorted(found, key=lambda groups: (tuple(map(len, groups)), groups)))


def equal_rows(matrix: Sequence[Sequence[float]]) -> list[tuple[int, ...]]:
    """Return the classes of operations that a similarity matrix does not tell apart.

    Examples
    --------
    >>> equal_rows([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]])
    [(0, 2), (1,)]
    """
    values = np.asarray(matrix, dtype=float)
    close = _SAME * max(float(np.abs(values).max()), 1e-300)
    classes: list[list[int]] = []
    for row in range(len(values)):
        for members in classes:
            if np.abs(values[row] - values[members[0]]).max() <= close:
                members.append(row)
                break
        else:
            classes.append([row])
    return [tuple(members) for members in classes]


def value_of(objective: Objective, matrix: Sequence[Sequence[float]], groups: Groups) -> float:
    """Return what a grouping is worth; see :class:`ExhaustiveGrouping`."""
    within = [matrix[i][j] for group in groups for i, j in itertools.combinations(group, 2)]
    between = [
        matrix[i][j]
        for first, second in itertools.combinations(groups, 2)
        for i in first
        for j in second
    ]
    if objective == "within":
        return float(sum(within))
    if objective in {"between", "apart"}:
        return float(sum(between) if objective == "between" else -sum(between))
    inside = sum(within) / len(within) if within else 1.0
    return inside - sum(between) / len(between)


def _check_number(groups: int) -> None:
    if groups < 2:
        raise ConfigError(f"at least 2 groups are needed, got {groups}")


def _checked(similarity: SimilarityMatrix) -> _Matrix:
    count = len(similarity)
    if similarity.shape != (count, count) or count < 2:
        raise ShapeError(f"a similarity matrix of {tuple(similarity.shape)} has no 2 groups")
    matrix: _Matrix = similarity.tolist()
    if any(math.isnan(value) for row in matrix for value in row):
        raise ShapeError("the similarity matrix holds NaN")
    return matrix


def _partitions(count: int) -> Iterator[list[list[int]]]:
    """Go through all partitions of ``range(count)``: each number joins a group or starts one."""
    if count == 0:
        yield []
        return
    for groups in _partitions(count - 1):
        for place in range(len(groups)):
            yield [[*group, count - 1] if i == place else group for i, group in enumerate(groups)]
        yield [*groups, [count - 1]]


def _keeps_together(groups: Groups, classes: Sequence[tuple[int, ...]]) -> bool:
    return all(any(set(members) <= set(group) for group in groups) for members in classes)


def _imbalance(groups: Groups) -> int:
    sizes = [len(group) for group in groups]
    return max(sizes) - min(sizes)


def _best_cut(affinity: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the smallest normalised cut along the second eigenvector, and its first side."""
    if len(affinity) < 2:
        return math.inf, np.ones(len(affinity), dtype=bool)
    degrees = np.maximum(affinity.sum(1), 1e-300)
    scale = 1 / np.sqrt(degrees)
    laplacian = np.eye(len(affinity)) - scale[:, None] * affinity * scale
    vector = scale * np.linalg.eigh(laplacian)[1][:, 1]
    order = np.argsort(vector, kind="stable")
    best, best_side = math.inf, np.zeros(len(affinity), dtype=bool)
    for count in range(1, len(order)):
        side = np.zeros(len(affinity), dtype=bool)
        side[order[:count]] = True
        cut = affinity[side][:, ~side].sum()
        value = cut / degrees[side].sum() + cut / degrees[~side].sum()
        if value < best:
            best, best_side = value, side
    return best, best_side
