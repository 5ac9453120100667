"""What may be said of two rankings: of one training's weights, or over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import optimize, special

from naslid_toolkit.errors import ConfigError, DataError

ON_THESE_WEIGHTS: Final = "on these weights"
RESERVATION: Final = "another seed may turn it: compare seeds with 'naslid compare'"
LEVEL: Final = 0.05  # of significance, and of what an interval leaves out
_ROUNDING: Final = 1e-12
_SMALLEST: Final = -300.0  # logarithm of a p-value, far from overflow


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """A mean over seeds, with what other seeds (and architectures) might have given.

    Parameters
    ----------
    mean
        Mean over the seeds.
    low, high
        95 % interval; NaN of one seed, or where nothing varies.
    sd
        Standard deviation between the seeds; NaN of one seed.
    p_value
        Of the two-sided test that the mean is zero; NaN where the interval is.
    seeds
        Number of seeds.
    """

    mean: float
    low: float
    high: float
    sd: float
    p_value: float
    seeds: int


def over_seeds(
    values: Sequence[float] | np.ndarray | pd.Series, *, shared: float = 0.0
) -> OverSeeds:
    r"""Test over seeds: Student's t, with a part of the uncertainty that all seeds share.

    Parameters
    ----------
    values
        One number a seed; to compare two methods, the differences paired by seed.
    shared
        Variance that is the same draw for every seed and no repetition averages out: that of
        the architectures on which all were judged. 0: the statement is of these architectures.

    Raises
    ------
    DataError
        If there is no value, or one is not finite.
    ConfigError
        If ``shared`` is negative or not finite.

    Notes
    -----
    With :math:`S` seeds of standard deviation :math:`s` the interval reaches
    :math:`\sqrt{t_{S-1}^2 s^2 / S + z^2 v}` to either side, :math:`v` being ``shared``: the
    half-widths of two independent parts add in quadrature (Zou and Donner, 2008), and the test
    is the level at which it touches zero. Without a shared part this is the t test. Its level
    was measured: ``python -m benchmarks.verdicts``.

    Examples
    --------
    >>> found = over_seeds([0.02, 0.01, 0.03])
    >>> round(found.p_value, 3), round(found.low, 3), round(found.high, 3)
    (0.074, -0.005, 0.045)
    """
    each = np.asarray(values, dtype=float)
    if each.ndim != 1 or not len(each) or not np.isfinite(each).all():
        raise DataError(f"a test over seeds needs finite numbers, one a seed, got {each.tolist()}")
    if not 0 <= shared < float("inf"):
        raise ConfigError(f"the shared variance must be at least 0 and finite, got {shared}")
    mean, seeds, nothing = float(each.mean()), len(each), float("nan")
    if seeds == 1:
        return OverSeeds(mean, nothing, nothing, nothing, nothing, 1)
    sd = float(each.std(ddof=1))
    if sd <= _ROUNDING * abs(mean) and not shared and mean:  # equal numbers show no chance at all
        return OverSeeds(mean, nothing, nothing, sd, nothing, seeds)
    half = math.sqrt(_reach(LEVEL, sd**2 / seeds, shared, seeds - 1))
    chance = _chance(mean, sd**2 / seeds, shared, seeds - 1)
    return OverSeeds(mean, mean - half, mean + half, sd, chance, seeds)


def shared_variance(resampled: np.ndarray) -> float:
    """Return how much of the variance over resamples of the architectures all seeds share.

    It is the mean covariance between different seeds, at least 0; what is a seed's own comes
    back in the spread between seeds, and would count twice.

    Parameters
    ----------
    resampled
        Shape ``(resamples, seeds)``; a row is of the same resample for every seed.
    """
    seeds = int(resampled.shape[1])
    if seeds == 1:
        return float(resampled.var(ddof=1))
    table = np.cov(resampled.T)
    return max(0.0, float(table.sum() - table.trace()) / (seeds * (seeds - 1)))


def difference_text(first: str, second: str, change: float, low: float, high: float) -> str:
    """Say how two rankings of one training each differ, and for what the interval is."""
    return (
        f"{first} minus {second}: {change:+.3f} in tau {ON_THESE_WEIGHTS}, paired 95 % interval "
        f"over architectures [{low:+.3f}, {high:+.3f}]"
    )


def name_of_test(seeds: int) -> str:
    """Return what a test over so many seeds is called in tables and figures."""
    return f"paired t, S = {seeds}; Holm" if seeds > 1 else "no test, S = 1"


def _reach(chance: float, own: float, shared: float, freedom: int) -> float:
    """Return the squared half-width of the interval that leaves out ``chance``."""
    each, common = special.stdtrit(freedom, chance / 2), special.ndtri(chance / 2)
    return float(each**2 * own + common**2 * shared)


def _chance(mean: float, own: float, shared: float, freedom: int) -> float:
    """Return what the interval leaves out when it ends at zero."""

    def beyond(logarithm: float) -> float:
        return _reach(math.exp(logarithm), own, shared, freedom) - mean**2

    if mean == 0 or beyond(_SMALLEST) <= 0:
        return 1.0 if mean == 0 else 0.0
    return math.exp(optimize.brentq(beyond, _SMALLEST, 0.0))
