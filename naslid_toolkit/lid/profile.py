"""The LID of the layers of a network, and the distances it follows from."""

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import LIDEstimator, MaximumLikelihood


@dataclass(frozen=True, slots=True, eq=False)
class LIDProfile:
    """LID of every layer, measured on several probe batches.

    Parameters
    ----------
    layers
        Names of the layers, in the order they run.
    by_batch
        LID of each layer on each batch, shape ``(batches, layers)``, float64. 0 for a layer
        with fewer than three distinct points, such as one behind a disconnected cell; NaN
        where no point defines one.
    undefined
        Points without a defined LID, summed over the batches, shape ``(layers,)``.
    status
        What is to be known of each batch and layer, ``status[batch][layer]``: ``"ok"``, or any
        of ``"duplicates(n)"`` (``n`` points equal others and count once), ``"tied(n)"`` (``n``
        points have ``k`` equally far neighbours), ``"unresolved(n)"`` (the nearest neighbour of
        ``n`` points is within the rounding of the features), ``"k=m"`` (only so many
        neighbours exist), ``"degenerate"`` (fewer than three distinct points), ``"nonfinite"``.
    bound
        The certificate: bound on the relative numerical error of the LID, the largest over the
        batches, shape ``(layers,)``; see :func:`~naslid_toolkit.lid.gram.pairwise_distances`.
    points
        Images in one batch.
    k
        Neighbours asked for.
    """

    layers: tuple[str, ...]
    by_batch: Float[Tensor, "batches layers"]
    undefined: Int[Tensor, " layers"]
    status: tuple[tuple[str, ...], ...]
    bound: Float[Tensor, " layers"]
    points: int
    k: int

    @property
    def lid(self) -> Float[Tensor, " layers"]:
        """Mean LID of each layer over the batches that define it, dimensionless."""
        return self.by_batch.nanmean(dim=0)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each batch and layer: batch, layer, lid, undefined, status, bound."""
        batches, layers = self.by_batch.shape
        return pd.DataFrame(
            {
                "batch": torch.arange(batches).repeat_interleave(layers).numpy(),
                "layer": list(self.layers) * batches,
                "lid": self.by_batch.flatten().numpy(),
                "undefined": self.undefined.repeat(batches).numpy(),
                "status": [word for row in self.status for word in row],
                "bound": self.bound.repeat(batches).numpy(),
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class LayerDistances:
    """The distances between the points of every layer, from which profiles follow.

    ``distances`` has the shape ``(batches, layers)`` and lives on the CPU.
    """

    layers: tuple[str, ...]
    distances: Distances

    def profile(
        self, *, k: int = 20, estimator: LIDEstimator = ESTIMATORS["harmonic"]
    ) -> LIDProfile:
        """Return the LID profile with any ``k`` and estimator, without a forward pass.

        Raises
        ------
        ShapeError
            If there are too few points for ``k``.
        """
        estimate = estimator(self.distances, k=k)
        likelihood = isinstance(estimator, MaximumLikelihood)
        tied = estimate if likelihood else MaximumLikelihood()(self.distances, k=k)
        return LIDProfile(
            layers=self.layers,
            by_batch=estimate.lid,
            undefined=estimate.undefined.sum(dim=0),
            status=layer_status(self.distances, tied.undefined, k=k),
            bound=self.distances.lid_bound(estimate.lid).amax(dim=0),
            points=self.distances.points,
            k=k,
        )


def layer_status(
    distances: Distances, tied: Int[Tensor, "batches layers"], *, k: int
) -> tuple[tuple[str, ...], ...]:
    """Say what is to be known of the layers of each batch; see :class:`LIDProfile`."""
    copies = distances.copies()
    duplicates = torch.zeros_like(tied) if copies is None else copies.sum(dim=-1)
    counts = torch.stack([duplicates, tied, distances.unresolved], dim=-1).tolist()
    finite = distances.finite.tolist()
    return tuple(
        tuple(
            _words(*values, points=distances.points, k=k) if good else "nonfinite"
            for values, good in zip(row, goods, strict=True)
        )
        for row, goods in zip(counts, finite, strict=True)
    )


def _words(duplicates: int, tied: int, unresolved: int, *, points: int, k: int) -> str:
    distinct = points - duplicates
    if distinct < 3:
        return "degenerate"
    counts = {"duplicates": duplicates, "tied": tied, "unresolved": unresolved}
    words = [f"{word}({count})" for word, count in counts.items() if count]
    if distinct <= k:
        words.append(f"k={distinct - 1}")
    return ", ".join(words) or "ok"
