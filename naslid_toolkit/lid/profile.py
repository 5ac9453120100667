"""The LID of the layers of a network, and the distances it follows from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

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
    left_out
        Layers (or runs of them) that were to be measured and could not be, and why: a layer that
        did not run, whose output does not follow the images or is no floating-point tensor, or
        where it cannot be told which rows belong to which image. They are in no other field.
    """

    layers: tuple[str, ...]
    by_batch: Float[Tensor, "batches layers"]
    undefined: Int[Tensor, " layers"]
    status: tuple[tuple[str, ...], ...]
    bound: Float[Tensor, " layers"]
    points: int
    k: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def lid(self) -> Float[Tensor, " layers"]:
        """Mean LID of each layer over the batches that define it, dimensionless."""
        return self.by_batch.nanmean(dim=0)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each batch and layer: batch, layer, lid, undefined, status, bound.

        Layers that were left out have rows, too, with NaN and the status ``"left out: why"``.
        """
        batches, out = len(self.by_batch), len(self.left_out)
        unknown = self.by_batch.new_full((batches, out), math.nan)
        undefined = self.undefined.new_full((out,), batches * self.points)
        reasons = [f"left out: {reason}" for reason in self.left_out.values()]
        return pd.DataFrame(
            {
                "batch": torch.arange(batches).repeat_interleave(len(self.layers) + out).numpy(),
                "layer": [*self.layers, *self.left_out] * batches,
                "lid": torch.cat([self.by_batch, unknown], dim=1).flatten().numpy(),
                "undefined": torch.cat([self.undefined, undefined]).repeat(batches).numpy(),
                "status": [word for row in self.status for word in (*row, *reasons)],
                "bound": torch.cat([self.bound, unknown[0]]).repeat(batches).numpy(),
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class LayerDistances:
    """The distances between the points of every layer, from which profiles follow.

    ``distances`` has the shape ``(batches, layers)`` and lives on the CPU; ``left_out`` is that of
    :class:`LIDProfile`.
    """

    layers: tuple[str, ...]
    distances: Distances
    left_out: Mapping[str, str] = field(default_factory=dict)

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
            left_out=self.left_out,
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
