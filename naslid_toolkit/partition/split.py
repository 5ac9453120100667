"""The choice of the edge to split, and of the groups of its operations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ConfigError, SpaceError, nearest_name
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.criteria import Criterion
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.grouping import (
    ExhaustiveGrouping,
    Grouping,
    GroupingRule,
    NormalisedCutGrouping,
    Objective,
    SpectralGrouping,
)
from naslid_toolkit.partition.similarity import (
    SIMILARITIES,
    Similarity,
    SimilarityMatrix,
    log_similarity,
)
from naslid_toolkit.runtime import OnEvent, ignore_event
from naslid_toolkit.space.search_space import SearchSpace

Mode = Literal[
    "default", "paper", "official_code", "gradient_matching", "convolution_count", "exhaustive"
]


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """How edges are measured and split.

    Parameters
    ----------
    mode
        Name of the settings this started from: ``"default"``, ``"paper"``,
        ``"official_code"``, or that of another criterion; see :meth:`of_mode`.
    contexts
        Sampled paths in which every operation is measured.
    probe_batches, probe_points
        Number of probe batches, and images in each.
    k
        Neighbours.
    others
        What the other edges hold: the sampled ``"path"``, or the sum of ``"all"`` operations.
    estimator, similarity
        Names of the LID estimator and the similarity.
    keep_distances
        Whether a run keeps the distances behind its splits, to change ``k`` and estimator
        afterwards: 32 KiB for each layer, batch and measured network of 128 points.
    objective, edge_score, balanced, groups
        See :class:`~naslid_toolkit.partition.grouping.ExhaustiveGrouping`.
    rule
        How groups are found: ``"exhaustive"``, or ``"spectral"`` or ``"normalised_cut"``, which
        know no objective and no balance.

    Raises
    ------
    ConfigError
        If a name is unknown or a number too small.
    """

    mode: Mode = "default"
    contexts: int = 8
    probe_batches: int = 4
    probe_points: int = 128
    k: int = 20
    others: Literal["path", "all"] = "path"
    estimator: str = "harmonic"
    similarity: str = "log"
    keep_distances: bool = True
    objective: Objective = "separation"
    edge_score: Objective = "separation"
    balanced: bool = False
    groups: int = 2
    rule: Literal["exhaustive", "spectral", "normalised_cut"] = "exhaustive"

    def __post_init__(self) -> None:
        families: tuple[tuple[str, str, Mapping[str, object]], ...] = (
            ("estimator", self.estimator, ESTIMATORS),
            ("similarity", self.similarity, SIMILARITIES),
            ("mode", self.mode, MODES),
        )
        for name, value, legal in families:
            if value not in legal:
                raise ConfigError(f"unknown {name} {value!r}; {nearest_name(value, legal)}")
        if self.contexts < 1 or self.probe_batches < 1:
            raise ConfigError(
                f"contexts and probe_batches must be at least 1, "
                f"got {self.contexts} and {self.probe_batches}"
            )
        if not 2 <= self.k < self.probe_points:
            raise ConfigError(
                f"k must lie between 2 and probe_points - 1 = {self.probe_points - 1}, got {self.k}"
            )
        _ = self.grouping  # checks the number of groups

    @classmethod
    def of_mode(cls, mode: str, **settings: Any) -> "SplitConfig":  # noqa: ANN401 - any field
        """Return the settings of a mode, some of them replaced.

        ``"paper"``: Euclidean similarity, groups 2 + 3, grouping and edge by the largest
        similarity inside the groups. ``"official_code"``: the published code's estimator and
        cosine, and its edge choice by the largest similarity across the groups (a sign error);
        its path sampling is ``training.sampler = "markov"``. ``"gradient_matching"``: cosine,
        groups 2 + 3 with the least distance inside, the edge with the largest distance across
        (Hu et al., ICLR 2022). ``"convolution_count"``: Euclidean. ``"exhaustive"``: one group
        for each operation of one edge (Zhao et al., ICML 2021).

        Raises
        ------
        ConfigError
            If the mode is unknown.
        """
        if mode not in MODES:
            raise ConfigError(f"unknown mode {mode!r}; {nearest_name(mode, MODES)}")
        return cls(**{"mode": mode, **MODES[mode], **settings})

    @property
    def grouping(self) -> GroupingRule:
        """The rule that groups operations and scores edges."""
        if self.rule == "spectral":
            return SpectralGrouping(self.groups, self.edge_score)
        if self.rule == "normalised_cut":
            return NormalisedCutGrouping(self.groups, self.edge_score)
        return ExhaustiveGrouping(self.objective, self.edge_score, self.balanced, self.groups)


MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "paper": {
        "estimator": "paper",
        "similarity": "euclidean",
        "objective": "within",
        "edge_score": "within",
        "balanced": True,
    },
    "official_code": {
        "estimator": "official_code",
        "similarity": "cosine",
        "objective": "within",
        "edge_score": "between",
        "balanced": True,
    },
    "gradient_matching": {
        "similarity": "cosine",
        "objective": "within",
        "edge_score": "apart",
        "balanced": True,
    },
    "convolution_count": {"similarity": "euclidean"},
    "exhaustive": {"similarity": "euclidean", "groups": 5},
}


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCandidate:
    """An edge that could be split: how alike its operations are, and their best grouping.

    ``similarity`` has the shape ``(operations, operations)``, averaged over the contexts.
    """

    edge: int
    operations: tuple[str, ...]
    similarity: Float[Tensor, "operations operations"]
    grouping: Grouping

    def check(self, space: SearchSpace) -> None:
        """Check that it is about an edge of a space and all its operations.

        Raises
        ------
        SpaceError
            If not.
        """
        name = space.edge_name(self.edge)
        count = len(space.allowed[self.edge])
        if self.operations != space.allowed[self.edge]:
            raise SpaceError(f"edge {name} has other operations than {list(self.operations)}")
        if self.similarity.shape != (count, count):
            raise SpaceError(f"edge {name} has similarities of {tuple(self.similarity.shape)}")
        if sorted(place for group in self.grouping.groups for place in group) != [*range(count)]:
            raise SpaceError(f"the groups of edge {name} are no partition of its operations")

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the operations in each group."""
        return tuple(tuple(self.operations[i] for i in group) for group in self.grouping.groups)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The chosen edge, and every edge that was considered.

    ``candidates`` is in the order of the edges; ``edge`` is the one with the largest score, the
    first of them on a tie. ``by_hand`` says that a person chose edge or groups instead.
    """

    edge: int
    candidates: tuple[EdgeCandidate, ...]
    by_hand: bool = False

    @property
    def chosen(self) -> EdgeCandidate:
        """The candidate of the chosen edge."""
        return next(c for c in self.candidates if c.edge == self.edge)

    @property
    def choice(self) -> tuple[int, frozenset[tuple[str, ...]]]:
        """The edge and its groups in any order: what two splits have in common if they agree."""
        return self.edge, frozenset(self.chosen.groups)

    def check(self, space: SearchSpace) -> None:
        """Check that it can be a split of a space.

        Raises
        ------
        SpaceError
            If there is no candidate of the chosen edge, or one does not fit its edge.
        """
        edges = [candidate.edge for candidate in self.candidates]
        if edges != sorted(set(edges)) or self.edge not in edges:
            raise SpaceError(f"edge {self.edge} cannot be chosen among the edges {edges}")
        for candidate in self.candidates:
            candidate.check(space)

    def to_dict(self) -> dict[str, Any]:
        """Return the split as JSON-able data."""
        return {
            "edge": self.edge,
            "by_hand": self.by_hand,
            "candidates": [
                {
                    "edge": c.edge,
                    "operations": list(c.operations),
                    "similarity": [[_or_none(v) for v in row] for row in c.similarity.tolist()],
                    "groups": [list(group) for group in c.grouping.groups],
                    "score": _or_none(c.grouping.score),
                }
                for c in self.candidates
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Split":
        """Return the split that :meth:`to_dict` wrote.

        Raises
        ------
        SpaceError
            If an edge is no whole number, or a score or similarity no number.
        """
        candidates = []
        for item in data["candidates"]:
            rows = [[_number(v, math.nan) for v in row] for row in item["similarity"]]
            score = _number(item["score"], -math.inf)
            candidates.append(
                EdgeCandidate(
                    edge=_whole(item["edge"]),
                    operations=tuple(item["operations"]),
                    similarity=torch.tensor(rows, dtype=torch.float64),
                    grouping=Grouping(
                        tuple(tuple(map(_whole, group)) for group in item["groups"]), score
                    ),
                )
            )
        by_hand = data.get("by_hand", False)
        if not isinstance(by_hand, bool):
            raise SpaceError(f"by_hand must be true or false, got {by_hand!r}")
        return cls(_whole(data["edge"]), tuple(candidates), by_hand)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpaceError(f"expected a whole number, got {value!r}")
    return value


def _number(value: object, nothing: float) -> float:
    """Return a stored number; JSON has null for what is not finite."""
    if value is None:
        return nothing
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise SpaceError(f"expected a number, got {value!r}")
    return float(value)


def _or_none(value: float) -> float | None:
    """Return a number that JSON knows."""
    return value if math.isfinite(value) else None


def split_by(
    evidence: Sequence[EdgeEvidence],
    *,
    similarity: Similarity = log_similarity,
    grouping: GroupingRule = ExhaustiveGrouping(),
) -> Split:
    """Choose the edge and the groups that stored evidence supports, without a network.

    Parameters
    ----------
    evidence
        What was measured of each edge.
    similarity
        Turns the vectors of one context into a similarity matrix.
    grouping
        Turns the mean matrix of an edge into groups and a score.

    Returns
    -------
    Split
        The edge with the largest score.

    Raises
    ------
    SpaceError
        If there is no evidence, or it tells no two operations of any edge apart.
    """
    if not evidence:
        raise SpaceError("no edge is left to split")
    means = [item.mean_similarity(similarity) for item in evidence]
    return split_matrices(evidence, means, grouping)


def split_matrices(
    evidence: Sequence[EdgeEvidence], matrices: Sequence[SimilarityMatrix], grouping: GroupingRule
) -> Split:
    """Choose the edge and the groups by one similarity matrix for each edge."""
    candidates = [
        EdgeCandidate(item.edge, item.operations, matrix, grouping(matrix))
        for item, matrix in zip(evidence, matrices, strict=True)
    ]
    best = max(candidates, key=lambda candidate: candidate.grouping.score)
    if len(best.grouping.groups) < 2:
        raise SpaceError("nothing can be split: no edge has two operations with other evidence")
    return Split(best.edge, tuple(candidates))


def choose_split(
    space: SearchSpace,
    criterion: Criterion,
    *,
    similarity: Similarity = log_similarity,
    grouping: GroupingRule = ExhaustiveGrouping(),
    seed: int,
    on_event: OnEvent = ignore_event,
) -> Split:
    """Measure every unsplit edge of a space and choose the one with the clearest split.

    Parameters
    ----------
    space
        The space or sub-space to split.
    criterion
        Measures the operations of the edges.
    similarity, grouping
        See :func:`split_by`.
    seed
        Seed of the contexts.
    on_event
        Receives the progress of the criterion.

    Returns
    -------
    Split
        The chosen edge and every candidate.

    Raises
    ------
    SpaceError
        If every edge has been split already.
    """
    evidence = criterion(space, space.unsplit_edges, seed=seed, on_event=on_event)
    return split_by(evidence, similarity=similarity, grouping=grouping)
