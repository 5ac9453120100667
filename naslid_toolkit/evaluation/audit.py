"""What a table of accuracies says about the operations of its search space."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.ranking import Values
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    OPERATIONS,
    convolution_depth,
    parse_architecture,
)

_LEAST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """Operation importance in a table.

    Parameters
    ----------
    counts
        ``operation``, ``count`` (edges that carry it), ``architectures``, and ``mean``,
        ``lower``, ``median``, ``upper`` (quartiles) and ``best`` accuracy.
    edges
        ``edge``, ``operation``, ``architectures``, ``mean`` and ``best`` accuracy of those that
        carry it there, and ``effect``, the mean less that of all architectures.
    without
        ``operation``, ``architectures`` that do not use it, their ``best`` accuracy, and
        ``loss``, how far that is below the best of all.
    summary
        ``architectures``, ``best``, ``mean``, ``skewness`` (Fisher-Pearson, of all and of the
        connected architectures), ``depth_tau`` and ``depth_r2``: Kendall's tau-b with, and the
        variance explained by, the number of convolutions on the longest path.
    """

    counts: pd.DataFrame
    edges: pd.DataFrame
    without: pd.DataFrame
    summary: Mapping[str, float]


def audit_operations(accuracy: Values) -> Audit:
    """Say which operations of NAS-Bench-201 decide over the accuracies of a table.

    Parameters
    ----------
    accuracy
        In [0, 1] by official architecture string; best all architectures of the space.

    Returns
    -------
    Audit
        Tables and summary.

    Raises
    ------
    DataError
        If there are fewer than three accuracies, or one is NaN.
    SpaceError
        If a name is no architecture of NAS-Bench-201.

    References
    ----------
    .. [1] V. Lopes, B. Degardin, L. Alexandre, "Are neural architecture search benchmarks well
       designed? A deeper look into operation importance", Information Sciences 650, 2023.
    """
    values = pd.Series(accuracy, dtype=float)
    if len(values) < _LEAST or values.isna().any():
        raise DataError(
            f"an audit needs at least {_LEAST} accuracies without NaN, got {len(values)} with "
            f"{int(values.isna().sum())}"
        )
    architectures = [parse_architecture(str(name)) for name in values.index]
    codes = np.array([[OPERATIONS.index(o) for o in a.operations] for a in architectures])
    numbers = values.to_numpy()
    depth = convolution_depth(codes)
    return Audit(
        counts=_by_count(codes, numbers),
        edges=_by_edge(codes, numbers),
        without=_without(codes, numbers),
        summary=_summary(numbers, depth),
    )


def _by_count(codes: np.ndarray, accuracy: np.ndarray) -> pd.DataFrame:
    rows = []
    for code, operation in enumerate(OPERATIONS):
        uses = (codes == code).sum(1)
        for count in np.unique(uses).tolist():
            some = accuracy[uses == count]
            lower, median, upper = np.percentile(some, [25, 50, 75]).tolist()
            rows.append(
                {
                    "operation": operation,
                    "count": count,
                    "architectures": len(some),
                    "mean": some.mean(),
                    "lower": lower,
                    "median": median,
                    "upper": upper,
                    "best": some.max(),
                }
            )
    return pd.DataFrame(rows)


def _by_edge(codes: np.ndarray, accuracy: np.ndarray) -> pd.DataFrame:
    rows = []
    for edge, (source, target) in enumerate(EDGES):
        for code, operation in enumerate(OPERATIONS):
            some = accuracy[codes[:, edge] == code]
            if len(some):
                rows.append(
                    {
                        "edge": f"{source}→{target}",
                        "operation": operation,
                        "architectures": len(some),
                        "mean": some.mean(),
                        "best": some.max(),
                        "effect": some.mean() - accuracy.mean(),
                    }
                )
    return pd.DataFrame(rows)


def _without(codes: np.ndarray, accuracy: np.ndarray) -> pd.DataFrame:
    rows = []
    for code, operation in enumerate(OPERATIONS):
        some = accuracy[~(codes == code).any(1)]
        best = some.max() if len(some) else np.nan
        rows.append(
            {
                "operation": operation,
                "architectures": len(some),
                "best": best,
                "loss": accuracy.max() - best,
            }
        )
    return pd.DataFrame(rows)


def _summary(accuracy: np.ndarray, depth: np.ndarray) -> dict[str, float]:
    connected = depth >= 0
    varied = len(np.unique(depth)) > 1 and len(np.unique(accuracy)) > 1
    return {
        "architectures": float(len(accuracy)),
        "disconnected": float((~connected).sum()),
        "best": float(accuracy.max()),
        "mean": float(accuracy.mean()),
        "skewness": float(stats.skew(accuracy)),
        "skewness_connected": float(stats.skew(accuracy[connected])),
        "depth_tau": float(stats.kendalltau(depth, accuracy)[0]) if varied else 0.0,
        "depth_r2": float(np.corrcoef(depth, accuracy)[0, 1] ** 2) if varied else 0.0,
    }
