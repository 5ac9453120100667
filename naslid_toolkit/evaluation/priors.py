"""Declared combinations of a score with priors: nothing is ever mixed in silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.errors import ConfigError, DataError, nearest_name
from naslid_toolkit.evaluation.ranking import Values, aligned, dense_ranks, tau_b

_GRID: Final = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # weights of a prior against the score's 1
_MOST_PRIORS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """A combined score, and what it was combined from.

    Parameters
    ----------
    scores
        By architecture; larger is better.
    weights
        Of every part; of a cross-fitted combination the mean over the folds.
    declaration
        One sentence to print beside every figure made from it.
    """

    scores: pd.Series
    weights: Mapping[str, float]
    declaration: str


def combine(scores: pd.DataFrame, weights: Mapping[str, float | int]) -> Combination:
    """Add up the ranks of several scores with fixed weights.

    Parameters
    ----------
    scores
        One row an architecture, one column a score, larger is better. Ranks are among all
        rows, ties share their mean rank.
    weights
        The weight of every column that takes part.

    Returns
    -------
    Combination
        Weighted sums of ranks, scaled to [0, 1].

    Raises
    ------
    ConfigError
        If no weight is given, one is negative or of no column, or all are zero.
    DataError
        If a score is NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"score": [0.1, 0.2, 0.3], "convolutions": [3, 1, 2]}, list("abc"))
    >>> combine(frame, {"score": 1.0, "convolutions": 1.0}).scores.round(2).to_dict()
    {'a': 0.5, 'b': 0.25, 'c': 0.75}
    """
    for name, weight in weights.items():
        if name not in scores:
            hint = nearest_name(name, [str(column) for column in scores])
            raise ConfigError(f"no score {name!r} to weigh; {hint}")
        if not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weights must be finite and not negative, got {weight} of {name!r}")
    if sum(weights.values()) <= 0:
        raise ConfigError("at least one weight must be positive")
    ranks = _shares(scores[list(weights)])
    total = sum(weights.values())
    combined = sum(ranks[name] * (weight / total) for name, weight in weights.items())
    parts = " + ".join(f"{weight:g} x {name}" for name, weight in weights.items())
    return Combination(
        pd.Series(combined, scores.index),
        {name: float(w) for name, w in weights.items()},
        f"rank sum, fixed: {parts}",
    )


def cross_fit(
    scores: pd.DataFrame, reference: Values, *, priors: Sequence[str], folds: int = 2, seed: int
) -> Combination:
    """Choose the weights of priors on some architectures and apply them to the others.

    In turn each fold gets the weights with the largest tau-b on the other folds, so no
    architecture's label has a part in its own score. It still uses reference accuracies, which
    a search does not have: an analysis of what a prior could give, not a method.

    Parameters
    ----------
    scores
        One row an architecture; the column that is no prior is the score, of weight 1.
    reference
        Reference accuracies by architecture.
    priors
        Names of the columns whose weights are chosen, from 0, 1/8, 1/4, 1/2, 1, 2 and 4.
    folds
        Parts of the architectures.
    seed
        Seed of the division into folds.

    Raises
    ------
    ConfigError
        If not exactly one column is left beside the priors, or there are more than three.
    DataError
        As :func:`combine`.
    """
    main = [str(name) for name in scores if name not in priors]
    if len(main) != 1 or not 0 < len(priors) <= _MOST_PRIORS or len(scores.columns) < len(priors):
        raise ConfigError(
            f"cross-fitting needs one score and 1 to {_MOST_PRIORS} priors, got the columns "
            f"{list(scores)} with the priors {list(priors)}"
        )
    frame = aligned({str(name): scores[name] for name in scores}, reference)
    if not 2 <= folds <= len(frame) // 3:
        raise ConfigError(f"{folds} folds of {len(frame)} architectures; each needs at least 3")
    ranks = _shares(frame.drop(columns="reference"))[[*main, *priors]].to_numpy()
    labels = frame["reference"].to_numpy()
    fold = np.random.default_rng(seed).permutation(len(frame)) % folds
    combined, chosen = np.empty(len(frame)), []
    for number in range(folds):
        weights = _best_weights(ranks[fold != number], labels[fold != number])
        combined[fold == number] = ranks[fold == number] @ weights
        chosen.append(weights)
    mean = dict(zip([*main, *priors], np.mean(chosen, axis=0).tolist(), strict=True))
    parts = " + ".join(f"{weight:.2f} x {name}" for name, weight in mean.items())
    return Combination(
        pd.Series(combined, frame.index),
        mean,
        f"rank sum, weights cross-fitted on the labels of the other {folds - 1} of {folds} folds: "
        f"{parts} (mean)",
    )


def _shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Return ranks as shares in [0, 1], ties at their mean."""
    missing = scores.isna().sum()
    if missing.any():
        raise DataError(f"{int(missing.sum())} scores are NaN, in {missing.idxmax()!r} first")
    return (scores.rank(method="average") - 1) / max(len(scores) - 1, 1)


def _best_weights(ranks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the weights, summing to 1, with the largest tau-b."""
    order = np.argsort(labels, kind="stable")
    ranks, labels = ranks[order], dense_ranks(labels[order])
    best, best_tau = np.ones(1), -np.inf
    for some in product(_GRID, repeat=ranks.shape[1] - 1):
        weights = np.array([1.0, *some]) / (1 + sum(some))
        tau = tau_b(dense_ranks(ranks @ weights), labels)
        if tau > best_tau:
            best, best_tau = weights, tau
    return best
