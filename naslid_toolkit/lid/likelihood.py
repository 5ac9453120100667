"""Local intrinsic dimensionality from neighbour distances: maximum likelihood and relatives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.lid.distances import Distances

_NUMERATORS: Final[Mapping[str, int]] = {"k": 0, "k-1": 1, "k-2": 2}  # what k is lessened by


def lid_mle(
    distances: Float[Tensor, "*batch points k"], *, normalisation: str = "k-1"
) -> Float[Tensor, "*batch points"]:
    r"""Estimate the local intrinsic dimensionality of every point by maximum likelihood.

    .. math:: \hat d_i = (k - 1) \Big/ \sum_{j=1}^{k-1} \log\frac{r_{ik}}{r_{ij}}

    Parameters
    ----------
    distances
        Distances of every point to its ``k`` nearest neighbours, ascending, the point itself
        excluded. Shape ``(..., points, k)``; any unit, the estimate ignores scale.
    normalisation
        The numerator: ``"k-1"`` (Levina and Bickel), ``"k-2"`` (unbiased under the local
        model), or ``"k"`` (NAS-LID, equation 1, whose sum also runs to ``k - 1`` since the
        last logarithm is 0; 11 % above ``"k-2"`` at ``k = 20``).

    Returns
    -------
    Tensor
        Shape ``(..., points)``, dimensionless. Infinite where all ``k`` neighbours are equally
        far; NaN where one is at distance zero.

    Raises
    ------
    ShapeError
        If there are fewer neighbours than the numerator needs.

    References
    ----------
    .. [1] E. Levina and P. Bickel, "Maximum likelihood estimation of intrinsic dimension",
       NIPS 2004, equation 8.
    .. [2] X. He et al., "NAS-LID", AAAI 2023.

    Examples
    --------
    >>> lid_mle(torch.tensor([[1.0, 2.0, 4.0]]))
    tensor([0.9618])
    """
    k = distances.shape[-1]
    numerator = k - _NUMERATORS[normalisation]
    if k < 2 or numerator < 1:
        raise ShapeError(f"the estimate with numerator {normalisation} is undefined for k={k}")
    return numerator / log_ratio_sums(distances.square())[..., -1]


def log_ratio_sums(
    squared: Float[Tensor, "*layers points k"],
) -> Float[Tensor, "*layers points k"]:
    """Sum ``log(r_j / r_i)`` over the neighbours ``i`` nearer than ``j``, for every ``j``.

    Parameters
    ----------
    squared
        Squared distances, ascending. Only their ratios enter, so scale does not matter.

    Returns
    -------
    Tensor
        Entry ``j`` is the sum that an estimate from ``j + 1`` neighbours rests on. NaN if the
        nearest neighbour is at distance zero.
    """
    logs = (squared / squared[..., :1]).log_().mul_(0.5)
    count = torch.arange(1, logs.shape[-1] + 1, dtype=logs.dtype, device=logs.device)
    return (count * logs).sub_(logs.cumsum(dim=-1))


@dataclass(frozen=True, slots=True, eq=False)
class LayerEstimate:
    """The LID of one layer or of many.

    Parameters
    ----------
    lid
        Dimensionless, shape ``(...,)``. 0 for a layer of fewer than three distinct points; NaN
        where no point defines a LID.
    undefined
        Distinct points that define none, of the same shape; all points of a layer whose LID is
        0 or NaN.
    """

    lid: Float[Tensor, "*layers"]
    undefined: Int[Tensor, "*layers"]


@runtime_checkable
class LIDEstimator(Protocol):
    """Turns the distances between the points of layers into the LID of each."""

    def __call__(self, distances: Distances, /, *, k: int) -> LayerEstimate:
        """Return the estimates from ``k`` neighbours."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class MaximumLikelihood:
    """Maximum-likelihood LID of a layer: a numerator, and a mean over the points.

    The harmonic mean of the ``k - 1`` estimates pools the points' log-ratio sums (MacKay and
    Ghahramani's correction); it is the default, and for distinct points scikit-dimension's
    ``MLE().fit(X).dimension_``. Copies count once (there a single one can make the estimate 0),
    and a layer whose points are all equally far has none (there it is infinite). Where a layer
    has fewer than ``k + 1`` distinct points, all of them are neighbours and ``k`` is lessened, as
    there.

    Parameters
    ----------
    normalisation
        ``"k"``, ``"k-1"``, ``"k-2"`` as in :func:`lid_mle`, or ``"digamma"``:
        ``exp(digamma(k - 1))``, which makes the geometric mean unbiased.
    mean
        ``"harmonic"`` and ``"median"`` count a point whose neighbours are all equally far as
        infinite; ``"arithmetic"`` and ``"geometric"`` leave it out.

    Raises
    ------
    ConfigError
        If the normalisation or the mean is unknown.
    """

    normalisation: str = "k-1"
    mean: str = "harmonic"

    def __post_init__(self) -> None:
        known = (*_NUMERATORS, "digamma")
        if self.normalisation not in known:
            raise ConfigError(f"unknown normalisation {self.normalisation!r}: {', '.join(known)}")
        if self.mean not in _MEANS:
            raise ConfigError(f"unknown mean {self.mean!r}: {', '.join(_MEANS)}")

    def __call__(self, distances: Distances, /, *, k: int) -> LayerEstimate:
        """Return the LID of each layer over its distinct points."""
        neighbours = distances.neighbours(k)
        sums = log_ratio_sums(neighbours.squared)
        return self.of_sums(last_found(sums, neighbours.found), neighbours.found)

    def of_sums(
        self,
        sums: Float[Tensor, "*layers points"],
        found: Int[Tensor, "*layers"],
        weights: Float[Tensor, "*#layers points"] | None = None,
    ) -> LayerEstimate:
        """Return the LID of each layer from the log-ratio sums of its points.

        Parameters
        ----------
        sums
            As :func:`log_ratio_sums`; NaN for points that do not count.
        found
            Neighbours behind the sums.
        weights
            Of the points, as in a resample; None weighs them alike.
        """
        counted = ~sums.isnan()
        weights = counted.double() if weights is None else weights * counted
        values = self._numerator(found)[..., None] / sums.double().where(counted, 1.0)
        lid = _MEANS[self.mean](values, weights)
        lid = lid.where(
            lid.isfinite() & (found > _NUMERATORS.get(self.normalisation, 1)), torch.nan
        )
        undefined = (values.isinf() & (weights > 0)).sum(dim=-1)
        return LayerEstimate(*_settled(lid, undefined, found, sums.shape[-1]))

    def _numerator(self, found: Int[Tensor, "*layers"]) -> Float[Tensor, "*layers"]:
        if self.normalisation == "digamma":
            return torch.digamma(found.double() - 1).exp()
        return found.double() - _NUMERATORS[self.normalisation]


def _settled(lid: Tensor, undefined: Tensor, found: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Set what a layer without an estimate has: 0 if it has one point or two, else NaN."""
    degenerate = found < 2
    undefined = undefined.masked_fill(degenerate | lid.isnan(), points)
    return lid.masked_fill(degenerate & ~lid.isinf(), 0.0), undefined


def last_found(
    values: Float[Tensor, "*layers points k"], found: Int[Tensor, "*layers"]
) -> Float[Tensor, "*layers points"]:
    """Return of every point the value of its last neighbour that exists."""
    index = (found - 1).clamp_min(0)[..., None, None].expand(*values.shape[:-1], 1)
    return values.gather(-1, index).squeeze(-1)


def _harmonic(values: Tensor, weights: Tensor) -> Tensor:
    return weights.sum(dim=-1) / (weights / values).sum(dim=-1)


def _arithmetic(values: Tensor, weights: Tensor) -> Tensor:
    finite = values.isfinite()
    weights = weights * finite
    return (weights * values.where(finite, 0.0)).sum(dim=-1) / weights.sum(dim=-1)


def _geometric(values: Tensor, weights: Tensor) -> Tensor:
    return _arithmetic(values.log(), weights).exp()


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the value, or the mean of the two, at half of the total weight."""
    values, order = values.where(weights > 0, torch.inf).sort(dim=-1)
    reached = weights.gather(-1, order).cumsum(dim=-1)
    half = reached[..., -1:] / 2
    lower = (reached < half).sum(dim=-1, keepdim=True)
    upper = (reached <= half).sum(dim=-1, keepdim=True).clamp_max(values.shape[-1] - 1)
    return (values.gather(-1, lower) + values.gather(-1, upper)).squeeze(-1) / 2


_MEANS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "harmonic": _harmonic,
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "median": _median,
}


def official_estimate(distances: Distances, /, *, k: int) -> LayerEstimate:
    """Return what the published code computes from these distances, faults included.

    ``-k / (sum_j log(r_j / (r_k + 1e-6)) + 1e-6)``, arithmetic mean over all points: a point
    with a neighbour at distance zero counts as 0, and ties give huge or negative numbers. Only
    for ``mode = "official_code"``; it does not repeat the code's inexact distances.
    """
    neighbours = distances.neighbours(k, distinct=False)
    scale = torch.exp2(distances.exponent.double() / 2)[..., None, None]
    radii = (neighbours.squared.sqrt() * scale).float()
    sums = (radii / (radii[..., -1:] + 1e-6)).log().sum(dim=-1)
    lid = (-k / (sums + 1e-6)).double()
    exact = log_ratio_sums(neighbours.squared)[..., -1]
    return LayerEstimate(lid.mean(dim=-1), (~exact.isfinite() | (exact == 0)).sum(dim=-1))
