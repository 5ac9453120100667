"""Trivial scores that need no network: what every method has to beat."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    OPERATIONS,
    convolution_depth,
    format_architecture,
    parse_architecture,
)
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton


def convolution_count(architectures: Iterable[Architecture], skeleton: Skeleton) -> pd.Series:
    """Score by the number of convolutions on the deepest path, ties by parameters.

    Kendall's tau with the 200-epoch CIFAR-10 accuracy over all of NAS-Bench-201 is 0.616.

    Returns
    -------
    pandas.Series
        By architecture string; the whole part is the number of convolutions.
    """
    chosen = list(architectures)
    codes = np.array([[OPERATIONS.index(o) for o in a.operations] for a in chosen])
    depth = convolution_depth(codes.reshape(len(chosen), -1)).clip(min=0)
    parameters = parameter_count(chosen, skeleton)
    tie_break = parameters / (parameters.max() + 1)
    return pd.Series(depth + tie_break.to_numpy(), index=parameters.index)


def parameter_count(architectures: Iterable[Architecture], skeleton: Skeleton) -> pd.Series:
    """Score by the number of parameters.

    Returns
    -------
    pandas.Series
        Parameters by architecture string.
    """
    counts = {format_architecture(a): count_cost(a, skeleton).parameters for a in architectures}
    return pd.Series(counts, dtype=float)


def flop_count(architectures: Iterable[Architecture], skeleton: Skeleton) -> pd.Series:
    """Score by the FLOPs of one image, as :class:`~naslid_toolkit.supernet.cost.Cost` has them.

    Returns
    -------
    pandas.Series
        FLOPs by architecture string.
    """
    counts = {format_architecture(a): count_cost(a, skeleton).flops for a in architectures}
    return pd.Series(counts, dtype=float)


def trivial_scores(names: Iterable[str], skeleton: Skeleton) -> pd.DataFrame:
    """Return all scores of this module for official architecture strings, one column each.

    Raises
    ------
    SpaceError
        If a string is no architecture of NAS-Bench-201.
    """
    chosen = [parse_architecture(name) for name in names]
    columns = {
        "convolution_count": convolution_count(chosen, skeleton),
        "parameter_count": parameter_count(chosen, skeleton),
        "flop_count": flop_count(chosen, skeleton),
    }
    return pd.DataFrame(columns)
