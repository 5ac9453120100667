"""How well scores rank architectures: correlations with intervals, and comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from naslid_toolkit.errors import ConfigError, DataError

Values = Mapping[str, float] | pd.Series
_PAIRED: Final = 1000  # architectures up to which all their pairs are quicker than sorting


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Rank agreement of scores with reference accuracies.

    Parameters
    ----------
    tau
        Kendall's tau-b.
    low, high
        95 % bootstrap interval of tau over architectures (percentiles).
    p_value
        Of the test that tau is zero.
    spearman
        Spearman's rho.
    architectures
        Number of architectures compared.
    """

    tau: float
    low: float
    high: float
    p_value: float
    spearman: float
    architectures: int


def kendall_tau(
    scores: Values, reference: Values, *, seed: int, resamples: int = 1000
) -> RankCorrelation:
    """Compare scores with reference accuracies over the architectures that have both.

    Parameters
    ----------
    scores, reference
        Numbers by architecture string.
    seed
        Seed of the bootstrap.
    resamples
        Bootstrap resamples over architectures.

    Returns
    -------
    RankCorrelation
        Kendall's tau-b with its interval, and Spearman's rho. The interval covers the choice
        of architectures only, not the seeds of training.

    Raises
    ------
    DataError
        If fewer than 3 architectures have both, or a value is NaN.

    Examples
    --------
    >>> scores, reference = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.1, "b": 0.3, "c": 0.2}
    >>> round(kendall_tau(scores, reference, seed=0).tau, 3)
    0.333
    """
    frame = aligned({"scores": scores}, reference)
    taus = bootstrap_taus(frame, seed=seed, resamples=resamples)["scores"]
    return _correlation(frame["scores"], frame["reference"], taus)


def compare_rankings(
    scores: Mapping[str, Values], reference: Values, *, seed: int, resamples: int = 1000
) -> pd.DataFrame:
    """Compare several methods on the same architectures.

    Parameters
    ----------
    scores
        For each method, numbers by architecture string.
    reference
        Reference accuracies in [0, 1] by architecture string.
    seed, resamples
        Of the bootstrap; all methods share the resamples.

    Returns
    -------
    pandas.DataFrame
        One row a method, in order: ``method``, the fields of :class:`RankCorrelation`, the
        reference accuracy of the architecture with the largest score (``pick``, the mean over
        ties), and how far the best architecture is above it (``regret``).

    Raises
    ------
    DataError
        As :func:`kendall_tau`.
    """
    frame = aligned(scores, reference)
    taus = bootstrap_taus(frame, seed=seed, resamples=resamples)
    rows = []
    for method in scores:
        values = frame[method]
        correlation = _correlation(values, frame["reference"], taus[method])
        pick = float(frame["reference"][values == values.max()].mean())
        row = {name: getattr(correlation, name) for name in RankCorrelation.__dataclass_fields__}
        rows.append(
            {"method": method, **row, "pick": pick, "regret": frame["reference"].max() - pick}
        )
    return pd.DataFrame(rows)


def tau_difference(
    first: Values, second: Values, reference: Values, *, seed: int, resamples: int = 1000
) -> tuple[float, float, float]:
    """Return tau of the first method minus tau of the second, with a paired 95 % interval.

    Returns
    -------
    tuple
        Difference, lower and upper end; both methods are resampled together.
    """
    frame = aligned({"first": first, "second": second}, reference)
    taus = bootstrap_taus(frame, seed=seed, resamples=resamples)
    low, high = np.percentile(taus["first"] - taus["second"], [2.5, 97.5])
    both = [tau_b(frame[name], frame["reference"]) for name in ("first", "second")]
    return both[0] - both[1], float(low), float(high)


def aligned(scores: Mapping[str, Values], reference: Values) -> pd.DataFrame:
    """Return a frame of the methods' scores and ``reference``, for architectures with all.

    Raises
    ------
    DataError
        If fewer than 3 architectures have all values, or one is NaN; or if a method is called
        ``"reference"``.
    """
    if "reference" in scores:
        raise DataError("a method cannot be called 'reference'")
    columns = {name: pd.Series(values, dtype=float) for name, values in scores.items()}
    columns["reference"] = pd.Series(reference, dtype=float)
    frame = pd.concat(columns, axis=1, join="inner")
    if len(frame) < 3:
        raise DataError(f"{len(frame)} architectures have a score and a reference, at least 3 must")
    missing = frame.isna().sum()
    if missing.any():
        raise DataError(f"{int(missing.sum())} values are NaN, in {missing.idxmax()!r} first")
    return frame.sort_index()


def bootstrap_taus(frame: pd.DataFrame, *, seed: int, resamples: int) -> pd.DataFrame:
    """Return tau-b with ``reference`` of every other column, one row a resample of the rows."""
    if resamples < 2:
        raise ConfigError(f"at least 2 resamples are needed, got {resamples}")
    draw = np.random.default_rng(seed)
    methods = [name for name in frame.columns if name != "reference"]
    ordered = frame.sort_values("reference", kind="stable")
    reference = dense_ranks(ordered["reference"])
    values = [dense_ranks(ordered[name]) for name in methods]
    drawn = (draw.integers(len(frame), size=len(frame)) for _ in range(resamples))
    if len(frame) <= _PAIRED:
        times = np.stack([np.bincount(chosen, minlength=len(frame)) for chosen in drawn])
        taus = _taus_of_counts(values, reference, times.astype(float))
    else:
        rows = map(np.sort, drawn)
        taus = np.array([[tau_b(column[row], reference[row]) for column in values] for row in rows])
    return pd.DataFrame(taus, columns=methods)


def _taus_of_counts(
    values: list[np.ndarray], reference: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Return what ``tau_b`` gives, to the last bit, where a row says how often each is drawn.

    All pairs of all rows are looked at in one product: their numbers are whole, hence exact.
    """

    def pairs(signs: np.ndarray) -> np.ndarray:
        found: np.ndarray = ((times @ signs) * times).sum(1) / 2
        return found

    order = _signs(reference)
    untied = np.sqrt(pairs(np.abs(order)))
    taus = []
    for signs in map(_signs, values):
        with np.errstate(invalid="ignore"):  # 0 / 0: one side is constant
            tau = pairs(signs * order) / np.sqrt(pairs(np.abs(signs))) / untied
        taus.append(np.nan_to_num(tau.clip(-1, 1), nan=0.0))
    return np.stack(taus, axis=1)


def _signs(values: np.ndarray) -> np.ndarray:
    """Return for each two values whether the first is larger (1), equal (0) or smaller (-1)."""
    signs: np.ndarray = np.sign(np.subtract.outer(values.astype(float), values.astype(float)))
    return signs


def dense_ranks(values: pd.Series | np.ndarray) -> np.ndarray:
    """Return ranks from 0 as the smallest fitting integers, which sort several times faster."""
    ranks = np.unique(np.asarray(values), return_inverse=True)[1]
    return ranks.astype(np.min_scalar_type(int(ranks.max(initial=0))))


def tau_b(values: np.ndarray | pd.Series, reference: np.ndarray | pd.Series) -> float:
    """Return Kendall's tau-b in O(n log n); 0 where one side is constant, since it ranks nothing.

    Quickest where ``reference`` ascends and both are :func:`dense_ranks`.
    """
    tau = float(stats.kendalltau(values, reference).statistic)
    return 0.0 if np.isnan(tau) else tau


def _correlation(values: pd.Series, reference: pd.Series, taus: pd.Series) -> RankCorrelation:
    low, high = np.percentile(taus, [2.5, 97.5])
    if values.nunique() == 1 or reference.nunique() == 1:
        return RankCorrelation(0.0, float(low), float(high), 1.0, 0.0, len(values))
    tau = stats.kendalltau(values, reference)
    rho = stats.spearmanr(values, reference)
    return RankCorrelation(
        tau=float(tau.statistic),
        low=float(low),
        high=float(high),
        p_value=float(tau.pvalue),
        spearman=float(rho.statistic),
        architectures=len(values),
    )
