"""How often other images would have led to the same split."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.lid.bootstrap import bootstrap_lids
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.grouping import ExhaustiveGrouping, GroupingRule
from naslid_toolkit.partition.similarity import Similarity, log_similarity
from naslid_toolkit.partition.split import Split, split_by, split_matrices
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.runtime import generator


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
    resamples. The shares are of the weights that were measured: another training may split
    otherwise, however stable this one is.

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
    return _stability(split, resamples)


def context_stability(
    evidence: Sequence[EdgeEvidence],
    *,
    similarity: Similarity = log_similarity,
    grouping: GroupingRule = ExhaustiveGrouping(),
    replicates: int = 200,
    seed: int,
) -> SplitStability:
    """Resample the contexts (sampled paths and batches) of any criterion, and split anew.

    The shares are of the weights that were measured, as those of :func:`split_stability`.

    Parameters
    ----------
    evidence
        What was measured of each edge, all in the same contexts.
    similarity, grouping
        As of the split.
    replicates
        Resamples.
    seed
        Seed of the resamples.

    Returns
    -------
    SplitStability
        It speaks of the contexts alone, and the same way of every criterion; of one context
        nothing can be said, then every share is 1.

    Raises
    ------
    ConfigError
        If there are fewer than two replicates.
    """
    if replicates < 2:
        raise ConfigError(f"at least 2 replicates are needed, got {replicates}")
    matrices = {
        item.edge: torch.stack([similarity(vectors) for vectors in item.vectors])
        for item in evidence
    }

    def split_of(chosen: Tensor) -> Split:
        means = [matrices[item.edge][chosen].mean(dim=0) for item in evidence]
        return split_matrices(evidence, means, grouping)

    count = len(evidence[0].contexts)
    draw = generator(seed, "contexts of a split")
    resamples = [
        split_of(torch.randint(count, (count,), generator=draw)) for _ in range(replicates)
    ]
    return _stability(split_of(torch.arange(count)), resamples)


def similarity_variances(evidence: Sequence[EdgeEvidence], similarity: Similarity) -> pd.Series:
    """Return the variance of the similarities of all pairs of operations, by edge.

    The paper's measure of how well a criterion separates operations (section 4): the larger,
    the more clearly some pairs are more alike than others. Compare criteria by the same
    similarity only.
    """
    variances = {}
    for item in evidence:
        matrix = item.mean_similarity(similarity)
        rows, columns = torch.triu_indices(len(matrix), len(matrix), offset=1)
        variances[item.edge] = float(matrix[rows, columns].var(correction=0))
    return pd.Series(variances, name="variance")


def _stability(split: Split, resamples: Sequence[Split]) -> SplitStability:
    """Count how resamples agree with a split."""
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
        replicates=len(resamples),
    )


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)
