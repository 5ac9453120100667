"""How often other images would have led to the same split."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from naslid_toolkit.lid.bootstrap import bootstrap_lids
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.grouping import ExhaustiveGrouping, GroupingRule
from naslid_toolkit.partition.similarity import Similarity, log_similarity
from naslid_toolkit.partition.split import Split, split_by
from naslid_toolkit.partition.store import NeighbourStore


@dataclass(frozen=True, slots=True, eq=False)
class SplitStability:
    """The split of all images, and how resamples of the images agree with it.

    Parameters
    ----------
    split
        The split that all images give.
    same_edge
        Share of resamples that choose the same edge, in [0, 1].
    same_groups
        Share that group the operations of that edge alike, whichever edge they choose.
    same_split
        Share that do both.
    edges
        One row an edge: ``edge``, ``score``, ``chosen`` (share of resamples that choose it) and
        ``same_groups`` (share that group it alike).
    replicates
        Number of resamples.
    """

    split: Split
    same_edge: float
    same_groups: float
    same_split: float
    edges: pd.DataFrame
    replicates: int


def split_stability(
    store: NeighbourStore,
    *,
    k: int = 20,
    estimator: MaximumLikelihood = MaximumLikelihood(),
    similarity: Similarity = log_similarity,
    grouping: GroupingRule = ExhaustiveGrouping(),
    replicates: int = 50,
    seed: int,
) -> SplitStability:
    """Resample the images of a split, the same for all operations, and split anew each time.

    Takes no forward pass; see :func:`~naslid_toolkit.lid.bootstrap.bootstrap_profile` for the
    resamples.

    Parameters
    ----------
    store
        The distances of the split.
    k, estimator, similarity, grouping
        As of the split.
    replicates
        Resamples.
    seed
        Seed of the resamples.

    Returns
    -------
    SplitStability
        It speaks of the images alone: the contexts (the sampled paths) are the same in all
        resamples, as are the weights of the supernet.

    Raises
    ------
    ShapeError
        If there are too few points for ``k``.
    ConfigError
        If there are fewer than two replicates, or the estimator is no maximum likelihood.
    """

    def split_of(evidence: Sequence[EdgeEvidence]) -> Split:
        return split_by(evidence, similarity=similarity, grouping=grouping)

    split = split_of(store.evidence(k=k, estimator=estimator))
    draws = bootstrap_lids(
        store.distances, k=k, estimator=estimator, replicates=replicates, seed=seed
    ).nanmean(dim=2)
    resamples = [split_of(store.evidence_of(draw)) for draw in draws]
    rows = []
    for place, candidate in enumerate(split.candidates):
        alike = [set(r.candidates[place].groups) == set(candidate.groups) for r in resamples]
        chosen = [r.edge == candidate.edge for r in resamples]
        both = [a and c for a, c in zip(alike, chosen, strict=True)]
        rows.append(
            (candidate.edge, candidate.grouping.score, _share(chosen), _share(alike), _share(both))
        )
    edges = pd.DataFrame(rows, columns=["edge", "score", "chosen", "same_groups", "both"])
    own = edges[edges["edge"] == split.edge].iloc[0]
    return SplitStability(
        split=split,
        same_edge=float(own["chosen"]),
        same_groups=float(own["same_groups"]),
        same_split=float(own["both"]),
        edges=edges.drop(columns="both"),
        replicates=replicates,
    )


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)
