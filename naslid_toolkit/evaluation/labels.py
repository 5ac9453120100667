"""How good the labels are: noise of training seeds, and how far a perfect score could get."""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.ranking import dense_ranks, tau_b

_NEIGHBOURS: Final = 101  # architectures of similar accuracy that share one noise estimate
_LEAST: Final = 3  # architectures that can be ranked


@dataclass(frozen=True, slots=True)
class Reliability:
    """Agreement of a table with a second one made the same way.

    Parameters
    ----------
    seeds
        Trainings of every architecture.
    half
        Mean tau-b between the means of disjoint halves of the seeds.
    full
        The same between two full means, extrapolated from ``half``.
    ceiling
        Expected tau-b of the true expected accuracies with the full means.
    """

    seeds: int
    half: float
    full: float
    ceiling: float


def reliability(seeds: pd.DataFrame) -> Reliability:
    """Estimate how well a table of means over seeds would be reproduced.

    All ways to take two disjoint halves (of ``S // 2`` seeds each) are averaged. Tau is turned
    into a correlation by Greiner's relation ``r = sin(pi tau / 2)``, extrapolated to all seeds
    by the Spearman-Brown formula, and turned back; both are exact for normal accuracies and
    noise, an approximation otherwise.

    Parameters
    ----------
    seeds
        Accuracies, one row an architecture, one column a seed, at least two; rows with NaN are
        left out.

    Raises
    ------
    DataError
        If there are fewer than two seeds or three complete architectures.

    References
    ----------
    .. [1] W. Brown, "Some experimental results in the correlation of mental abilities", 1910.
    """
    values = _complete(seeds)
    count = values.shape[1]
    size = count // 2
    taus = []
    for first in combinations(range(count), size):
        rest = [seed for seed in range(count) if seed not in first]
        for second in combinations(rest, size):
            if first < second:
                halves = values[:, first].mean(1), values[:, second].mean(1)
                taus.append(tau_b(*map(dense_ranks, halves)))
    half = float(np.mean(taus))
    correlation = max(np.sin(np.pi / 2 * half), 0.0)
    times = count / size
    full = times * correlation / (1 + (times - 1) * correlation)
    back = [float(2 / np.pi * np.arcsin(r)) for r in (full, np.sqrt(full))]
    return Reliability(seeds=count, half=half, full=back[0], ceiling=back[1])


def noisy_labels(seeds: pd.DataFrame, *, seed: int, draws: int) -> tuple[pd.Series, pd.DataFrame]:
    """Draw tables such as this one from a model of its truth and its noise.

    The truth of the model is the table's means, pulled together so that their variance is that
    of the means less that of the noise; the noise is normal, with the variance that
    architectures of similar accuracy have between seeds (one sample of the truth, an
    assumption where accuracies are far from normal).

    Parameters
    ----------
    seeds
        As :func:`reliability`.
    seed
        Seed of the draws.
    draws
        Number of tables.

    Returns
    -------
    tuple
        The model's truth, and the means over seeds of the drawn tables, one column each.
    """
    values = _complete(seeds)
    complete = seeds.index[seeds.notna().all(axis=1)]
    means, variances = values.mean(1), values.var(1, ddof=1)
    order = np.argsort(means, kind="stable")
    width = min(_NEIGHBOURS, len(means))
    local = pd.Series(variances[order]).rolling(width, center=True, min_periods=1).mean()
    noise = np.empty_like(means)
    noise[order] = np.sqrt(local.to_numpy() / values.shape[1])
    spread = means.var(ddof=1)
    pull = np.sqrt(max(spread - (noise**2).mean(), 0.0) / spread) if spread > 0 else 0.0
    truth = means.mean() + pull * (means - means.mean())
    draw = np.random.default_rng(seed)
    tables = truth[:, None] + noise[:, None] * draw.standard_normal((len(means), draws))
    return pd.Series(truth, complete), pd.DataFrame(tables, complete)


@dataclass(frozen=True, slots=True)
class Separation:
    """Whether the best architectures are better by more than chance.

    Parameters
    ----------
    best
        Number of architectures chosen by all seeds but one.
    gain
        Their mean accuracy with the seed left out, less that of the best tenth chosen the same
        way; averaged over the seeds left out.
    error
        Standard error of one architecture's mean over seeds, within the best tenth.
    """

    best: int
    gain: float
    error: float


def separation(seeds: pd.DataFrame, *, fraction: float = 0.01) -> Separation:
    """Measure, free of the winner's curse, how far the best architectures stand out.

    Raises
    ------
    DataError
        As :func:`reliability`.
    """
    values = _complete(seeds)
    count = values.shape[1]
    best, tenth = (max(_LEAST, int(part * len(values))) for part in (fraction, 0.1))
    gains = []
    for left_out in range(count):
        others = np.delete(values, left_out, axis=1).mean(1)
        order = np.argsort(-others, kind="stable")
        held = values[order, left_out]
        gains.append(held[:best].mean() - held[best:tenth].mean())
    top = np.argsort(-values.mean(1), kind="stable")[:tenth]
    error = float(np.sqrt(values[top].var(1, ddof=1).mean() / count))
    return Separation(best, float(np.mean(gains)), error)


def column_agreement(columns: pd.DataFrame) -> pd.DataFrame:
    """Return Kendall's tau-b between all pairs of columns of a table.

    Says what a cheaper label is worth: 12 against 200 epochs, one data set against another.

    Parameters
    ----------
    columns
        Accuracies, one row an architecture; a pair is compared where both are given.

    Returns
    -------
    pandas.DataFrame
        ``first``, ``second``, ``tau``, ``top_tau`` (within the best tenth by the second) and
        ``architectures``.
    """
    rows = []
    for first, second in combinations(map(str, columns), 2):
        both = columns[[first, second]].dropna()
        top = both.nlargest(max(_LEAST, len(both) // 10), second)
        rows.append(
            {
                "first": first,
                "second": second,
                "tau": tau_b(both[first], both[second]),
                "top_tau": tau_b(top[first], top[second]),
                "architectures": len(both),
            }
        )
    return pd.DataFrame(rows)


def _complete(seeds: pd.DataFrame) -> np.ndarray:
    values = seeds.dropna().to_numpy(dtype=float)
    if values.shape[1] < 2 or len(values) < _LEAST:
        raise DataError(
            f"{values.shape[1]} seeds of {len(values)} completely trained architectures; "
            f"the noise of labels needs at least 2 seeds of {_LEAST}"
        )
    return values
