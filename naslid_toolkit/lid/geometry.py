"""LID estimators beyond maximum likelihood, all from the distances between the points alone.

Those that equal one of scikit-dimension do so for distinct points. Copies count once here, as one
point; there each is a point, and a neighbour at distance zero. With fewer than ``k + 1`` distinct
points all of them are neighbours, as there. Where neighbours are equally far, which of them are the
``k`` nearest is arbitrary, here and there.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ConfigError, nearest_name
from naslid_toolkit.lid.distances import Distances, check_neighbours
from naslid_toolkit.lid.likelihood import LayerEstimate

Square = Float[Tensor, "points points"]
_TIGHT: Final = 1e-4  # radii below which TLE leaves out a pair
_LARGEST: Final = 1 << 20  # dimension beyond which a skewness says nothing


def moments_estimate(distances: Distances, /, *, k: int) -> LayerEstimate:
    """Estimate by the method of moments: ``m / (r_k - m)``, ``m`` the mean of the ``k`` radii.

    Arithmetic mean over the points; equals scikit-dimension's ``MOM`` for distinct points. Copies
    count once (there they lower the estimate), and a point whose neighbours are all equally far
    is left out and counted (there it adds an infinite or huge value of either sign). About 10 %
    above maximum likelihood at ``k = 20``, since ``r_k`` counts among the radii.

    References
    ----------
    .. [1] L. Amsaleg et al., "Extreme-value-theoretic estimation of local intrinsic
       dimensionality", DMKD 2018.
    """

    def estimate(square: Square, k: int) -> Tensor:
        radii = _nearest(square, k)[0].sqrt()
        mean = radii.mean(dim=1)
        lid: Tensor = mean / (radii[:, -1] - mean)
        return lid

    return _layer_by_layer(distances, k, estimate)


def two_nearest_estimate(distances: Distances, /, *, k: int) -> LayerEstimate:  # noqa: ARG001
    """Estimate from the ratio of the two nearest radii alone (TwoNN); ``k`` is not used.

    The slope of ``-log(1 - F)`` against ``log(r_2 / r_1)``, without the largest tenth of the
    ratios; equals scikit-dimension's ``TwoNN`` for distinct points. Its standard deviation is ten
    times that of maximum likelihood with ``k = 20``.

    Copies count once: one of them stays. There every point that has a copy is dropped, with a
    warning, but two copies may still be both nearest neighbours of another point, a ratio of 1;
    and beyond 25 features rounding keeps some copies apart, whose huge ratios pull the estimate
    towards 0. Where all ratios are 1, as on a grid, it is undefined (there 0).

    References
    ----------
    .. [1] E. Facco et al., "Estimating the intrinsic dimension of datasets by a minimal
       neighborhood information", Scientific Reports 2017.
    """

    def estimate(square: Square, _k: int) -> Tensor:
        squared, _ = _nearest(square, 2)
        logs = (0.5 * (squared[:, 1] / squared[:, 0]).log()).sort().values
        kept = int(len(logs) * 0.9)
        heights = -torch.log1p(-torch.arange(1, kept + 1, dtype=logs.dtype) / len(logs))
        logs, heights = logs[:kept], heights.to(logs.device)
        slope: Tensor = logs @ heights / (logs @ logs)
        return slope[None]

    return _layer_by_layer(distances, 2, estimate)


def tight_locality_estimate(distances: Distances, /, *, k: int) -> LayerEstimate:
    """Estimate from all pairs of neighbours and their mirror images (TLE).

    Arithmetic mean over the points; equals scikit-dimension's ``TLE`` for distinct points, except
    that pairs nearer than 1e-4 are left out in units of the radius, not of the features. Copies
    count once (there they lower the estimate); a point whose neighbours are all equally far may
    be undefined, and is left out and counted then (there it counts as 0).

    References
    ----------
    .. [1] L. Amsaleg et al., "Intrinsic dimensionality estimation within tight localities",
       SDM 2019, equation 14.
    """

    def estimate(square: Square, k: int) -> Tensor:
        squared, index = _nearest(square, k)
        radius = squared[:, -1:]
        own = squared / radius
        between = square[index[:, :, None], index[:, None, :]] / radius[..., None]
        first, second = own[:, :, None], own[:, None, :]
        mirrored = 2 * first + 2 * second - between
        seen = _tight_distance(first, second, between)
        mirror = _tight_distance(first, second, mirrored)
        pair = (seen >= _TIGHT) & (mirror >= _TIGHT)
        pair &= ~torch.eye(k, dtype=torch.bool, device=square.device)
        logs = (seen * mirror).where(pair, 1.0).log().sum(dim=(1, 2))
        counted = k + pair.sum(dim=(1, 2))
        lid: Tensor = -2 * counted / (logs + own.log().sum(dim=1))
        return lid

    return _layer_by_layer(distances, k, estimate)


def _tight_distance(first: Tensor, second: Tensor, between: Tensor) -> Tensor:
    """Return the radius of the ball that touches both neighbours and the unit ball."""
    lean = first + between - second
    root = (lean.square() + 4 * between * (1 - first)).clamp_min(0).sqrt()
    return 2 * between / (root + lean)


def skewness_estimate(distances: Distances, /, *, k: int) -> LayerEstimate:
    """Estimate from the angles between neighbours, by expected simplex skewness (ESS).

    Arithmetic mean over the points; equals scikit-dimension's ``ESS`` for distinct points, while
    ``k`` neighbours have at most 5,000 pairs, at a thousandth of its time for wide features.
    Copies count once (there two of them are a pair with an angle of 0, which lowers the
    estimate). It is the least
    biased of all at 128 points for flat data of 10 to 50 dimensions, but counts curvature:
    bent data look higher-dimensional.

    References
    ----------
    .. [1] K. Johnsson et al., "Low bias local intrinsic dimension estimation from expected
       simplex skewness", TPAMI 2015.
    """

    def estimate(square: Square, k: int) -> Tensor:
        _, index = _nearest(square, k)
        gram = _centred_gram(square[index[:, :, None], index[:, None, :]])
        norms = gram.diagonal(dim1=1, dim2=2)
        products = norms[:, :, None] * norms[:, None, :]
        areas = (products - gram.square()).clamp_min(0).sqrt()
        areas.diagonal(dim1=1, dim2=2).zero_()
        lengths = products.clamp_min(0).sqrt()
        lengths.diagonal(dim1=1, dim2=2).zero_()
        return _dimension_of_skewness(areas.sum(dim=(1, 2)) / lengths.sum(dim=(1, 2)))

    return _layer_by_layer(distances, k, estimate)


def _dimension_of_skewness(skewness: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """Invert the mean of ``|sin|`` of the angle of random directions, linear in between."""
    top = float(skewness.nan_to_num(nan=0.0).amax())
    count = _LARGEST if top >= 1 else min(_LARGEST, 8 + int(1 / (1 - top)))
    squares = torch.arange(1, count, dtype=torch.float64, device=skewness.device).square()
    steps = torch.ones(count, dtype=torch.float64, device=skewness.device)
    steps[1], steps[2] = 2 / torch.pi, torch.pi / 4
    steps[3:] = squares[1 : count - 2] / (squares[1 : count - 2] - 1)
    means = steps.clone()
    means[0] = 0.0
    means[1::2], means[2::2] = steps[1::2].cumprod(dim=0), steps[2::2].cumprod(dim=0)
    place = torch.searchsorted(means, skewness.contiguous(), right=True).clamp(1, count - 1)
    low, high = means[place - 1], means[place]
    dimension = place + (skewness - low) / (high - low)
    return dimension.where(skewness < means[-1], torch.inf)


def participation_ratio(distances: Distances, /, *, k: int) -> LayerEstimate:  # noqa: ARG001
    """Return ``(sum of eigenvalues)^2 / sum of their squares`` of the covariance; no ``k``.

    A global, linear dimension, over all points, copies included; equals scikit-dimension's
    ``lPCA(ver="participation_ratio")``, with copies too.
    """
    gram = _centred_gram(distances.square().double())
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    ratio = trace.square() / gram.square().sum(dim=(-2, -1))
    constant = (distances.pairs == 0).all(dim=-1)
    lid = ratio.masked_fill(constant, 0.0)
    missing = constant | lid.isnan()
    return LayerEstimate(lid, missing.long() * distances.points)


@dataclass(frozen=True, slots=True)
class ScikitDimension:
    """Any estimator of scikit-dimension, from the stored distances.

    The distinct points are laid out in as many dimensions as they need, with the distances
    they have (classical scaling); every estimator that depends on distances and angles alone
    gives there what it gives on the features. For reference and curiosity: the estimators
    above are the fast ones.

    Parameters
    ----------
    name
        Class in ``skdim.id``, such as ``"DANCo"`` or ``"FisherS"``.
    options
        Its arguments. Those whose ``fit`` takes ``n_neighbors`` get ``k``.

    Raises
    ------
    ConfigError
        If scikit-dimension is not installed or has no such estimator.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._estimator()

    def _estimator(self) -> Any:  # noqa: ANN401 - scikit-dimension has no types
        try:
            from skdim import id as estimators  # noqa: PLC0415 - optional, and slow to import
        except ImportError as error:
            raise ConfigError(
                "this needs scikit-dimension: pip install scikit-dimension"
            ) from error
        if not hasattr(estimators, self.name):
            known = [n for n in dir(estimators) if n[0].isalpha() and n != "DANCoFit"]
            raise ConfigError(f"no estimator {self.name!r}; {nearest_name(self.name, known)}")
        return getattr(estimators, self.name)(**self.options)

    def __call__(self, distances: Distances, /, *, k: int) -> LayerEstimate:
        """Return the LID of each layer; slow, one layer after another."""

        def estimate(square: Square, k: int) -> Tensor:
            estimator = self._estimator()
            takes_k = "n_neighbors" in inspect.signature(estimator.fit).parameters
            options = {"n_neighbors": k} if takes_k else {}
            points = _laid_out(square).cpu().numpy()
            dimension = float(estimator.fit(points, **options).dimension_)
            return torch.tensor([dimension], dtype=torch.float64)

        return _layer_by_layer(distances, k, estimate)


def _laid_out(square: Square) -> Float[Tensor, "points dimensions"]:
    """Return points with these squared distances, by classical scaling."""
    values, vectors = torch.linalg.eigh(_centred_gram(square))
    points: Tensor = vectors[:, 1:] * values[1:].clamp_min(0).sqrt()
    return points


def _centred_gram(
    squared: Float[Tensor, "*layers points points"],
) -> Float[Tensor, "*layers points points"]:
    """Return inner products about the mean from squared distances."""
    rows = squared.mean(dim=-1, keepdim=True)
    return (rows + rows.mT - squared - rows.mean(dim=-2, keepdim=True)) / 2


def _nearest(square: Square, k: int) -> tuple[Tensor, Tensor]:
    """Return squared distances and indices of the ``k`` nearest other points."""
    values, indices = square.clone().fill_diagonal_(torch.inf).topk(k, dim=1, largest=False)
    return values, indices


def _layer_by_layer(
    distances: Distances, k: int, estimate: Callable[[Square, int], Tensor]
) -> LayerEstimate:
    """Apply an estimator to the distinct points of each layer; mean over the finite values.

    ``estimate`` takes the squared distances, in the features' unit, and ``k``, lessened where
    there are too few points; it returns a value for each point, or one alone.
    """
    check_neighbours(k, distances.points)
    copies = distances.copies()
    shape, points = distances.exponent.shape, distances.points
    squares = distances.square().double().reshape(-1, points, points)
    scales = torch.exp2(distances.exponent.double()).reshape(-1)
    dropped = None if copies is None else copies.reshape(-1, points)
    values, undefined = [], []
    for i, square in enumerate(squares):
        part = square if dropped is None else square[~dropped[i]][:, ~dropped[i]]
        count = len(part)
        lid, missing = (0.0, points) if count < 3 else (float("nan"), points)
        if count >= 3 and not bool(part[0].isnan().any()):
            found = estimate(part * scales[i], min(k, count - 1))
            finite = found.isfinite()
            if bool(finite.any()):
                lid, missing = float(found[finite].mean()), int((~finite).sum())
        values.append(lid)
        undefined.append(missing)
    place = distances.pairs.device
    return LayerEstimate(
        torch.tensor(values, dtype=torch.float64, device=place).reshape(shape),
        torch.tensor(undefined, device=place).reshape(shape),
    )
