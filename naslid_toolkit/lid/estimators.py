"""The LID estimators by name."""

from collections.abc import Mapping
from typing import Final

from naslid_toolkit.lid.geometry import (
    moments_estimate,
    participation_ratio,
    skewness_estimate,
    tight_locality_estimate,
    two_nearest_estimate,
)
from naslid_toolkit.lid.likelihood import LIDEstimator, MaximumLikelihood, official_estimate

ESTIMATORS: Final[Mapping[str, LIDEstimator]] = {
    "harmonic": MaximumLikelihood(),
    "arithmetic": MaximumLikelihood("k-1", "arithmetic"),
    "unbiased": MaximumLikelihood("k-2", "arithmetic"),
    "geometric": MaximumLikelihood("digamma", "geometric"),
    "median": MaximumLikelihood("k-1", "median"),
    "paper": MaximumLikelihood("k", "arithmetic"),
    "official_code": official_estimate,
    "mom": moments_estimate,
    "twonn": two_nearest_estimate,
    "tle": tight_locality_estimate,
    "ess": skewness_estimate,
    "participation_ratio": participation_ratio,
}
