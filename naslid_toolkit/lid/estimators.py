"""Local intrinsic dimensionality from neighbour distances, by maximum likelihood."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.lid.neighbours import Neighbours

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
        Shape ``(..., points)``, dimensionless. NaN where undefined: a neighbour at distance
        zero, or all ``k`` neighbours equally far.

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
    return numerator / _log_ratio_sums(distances)


def _log_ratio_sums(distances: Float[Tensor, "*batch points k"]) -> Float[Tensor, "*batch points"]:
    """Sum ``log(r_k / r_j)`` over the nearer neighbours; NaN where the estimate is undefined."""
    nearest, farthest = distances[..., :-1], distances[..., -1:]
    sums = (farthest / nearest).log().sum(dim=-1)
    defined = sums.isfinite() & (sums > 0)
    return sums.where(defined, sums.new_tensor(float("nan")))


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """The LID of one layer.

    ``lid`` is dimensionless and NaN if no point defines it; ``undefined`` counts the points
    that were left out.
    """

    lid: float
    undefined: int


@runtime_checkable
class LIDEstimator(Protocol):
    """Turns the neighbour distances of a layer into its LID."""

    def __call__(self, neighbours: Neighbours, /) -> LayerEstimate:
        """Return the estimate."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class MaximumLikelihood:
    """Maximum-likelihood LID of a layer: a numerator, and a mean over the points.

    The harmonic mean of the ``k - 1`` estimates pools the points' log-ratio sums (MacKay and
    Ghahramani's correction); it is the default, and scikit-dimension's
    ``MLE().fit(X).dimension_``.

    Raises
    ------
    ConfigError
        If the normalisation or the mean is unknown.
    """

    normalisation: str = "k-1"
    mean: str = "harmonic"

    def __post_init__(self) -> None:
        if self.normalisation not in _NUMERATORS:
            raise ConfigError(
                f"unknown normalisation {self.normalisation!r}: {', '.join(_NUMERATORS)}"
            )
        if self.mean not in _MEANS:
            raise ConfigError(f"unknown mean {self.mean!r}: {', '.join(_MEANS)}")

    def __call__(self, neighbours: Neighbours, /) -> LayerEstimate:
        """Return the layer's LID over the points that define one."""
        squared = neighbours.squared
        # distances enter as ratios only, so the estimate is half that of squared distances
        lid = 2 * lid_mle(squared, normalisation=self.normalisation)
        defined = lid[~lid.isnan()]
        undefined = len(lid) - len(defined)
        if not len(defined):
            return LayerEstimate(float("nan"), undefined)
        return LayerEstimate(float(_MEANS[self.mean](defined)), undefined)


def _harmonic(lid: Tensor) -> Tensor:
    return 1 / (1 / lid).mean()


def _geometric(lid: Tensor) -> Tensor:
    return lid.log().mean().exp()


def _median(lid: Tensor) -> Tensor:
    return lid.quantile(0.5)


_MEANS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "harmonic": _harmonic,
    "arithmetic": torch.mean,
    "geometric": _geometric,
    "median": _median,
}


def official_estimate(neighbours: Neighbours, /) -> LayerEstimate:
    """Return what the published code computes from these distances, faults included.

    ``-k / (sum_j log(r_j / (r_k + 1e-6)) + 1e-6)``, arithmetic mean over all points: a point
    with a neighbour at distance zero counts as 0, and ties give huge or negative numbers. Only
    for ``mode = "official_code"``; it does not repeat the code's inexact distances.
    """
    distances = neighbours.squared.sqrt().float()
    k = distances.shape[-1]
    sums = (distances / (distances[:, -1:] + 1e-6)).log().sum(dim=-1)
    lid = (-k / (sums + 1e-6)).double()
    undefined = int((~_log_ratio_sums(neighbours.squared).isfinite()).sum())
    return LayerEstimate(float(lid.mean()), undefined)


ESTIMATORS: Final[Mapping[str, LIDEstimator]] = {
    "harmonic": MaximumLikelihood(),
    "arithmetic": MaximumLikelihood("k-1", "arithmetic"),
    "unbiased": MaximumLikelihood("k-2", "arithmetic"),
    "geometric": MaximumLikelihood("k-1", "geometric"),
    "median": MaximumLikelihood("k-1", "median"),
    "paper": MaximumLikelihood("k", "arithmetic"),
    "official_code": official_estimate,
}
