"""The range of every number among the settings of a run."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from naslid_toolkit.errors import ConfigError

_MANY: Final = 10**6
# Both ends are legal. Far beyond what makes sense, and short of what hangs or overflows.
LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "levels": (0, 6),
    "warmup_epochs": (0, _MANY),
    "sample": (3, _MANY),
    "seed": (0, 2**63 - 1),
    "network.channels": (1, 4096),
    "network.cells": (1, 100),
    "network.copies": (1, 4),
    "images.limit": (0, 10**9),
    "images.valid": (0, 1),
    "images.test": (0, 1),
    "images.size": (0, 4096),
    "training.epochs": (1, _MANY),
    "training.batch_size": (1, _MANY),
    "training.learning_rate": (0, 1000),
    "training.minimum_learning_rate": (0, 1000),
    "training.momentum": (0, 0.9999),
    "training.weight_decay": (0, 10),
    "training.gradient_clip": (0, 1e9),
    "training.paths_per_step": (1, 1000),
    "training.snapshots": (1, 1000),
    "split.contexts": (1, _MANY),
    "split.probe_batches": (1, _MANY),
    "split.probe_points": (3, _MANY),
    "split.k": (2, _MANY),
    "split.groups": (1, 5),
    "evolution.evaluations": (1, _MANY),
    "evolution.population": (1, _MANY),
    "evolution.tournament": (1, _MANY),
    "evolution.max_flops": (0, 10**18),
    "evolution.max_parameters": (0, 10**18),
}


def check_limits(settings: Mapping[str, Any]) -> None:
    """Check every number of nested settings.

    Raises
    ------
    ConfigError
        If one is out of its range, infinite or no number; names the setting and the range.
    """
    for name, value in _numbers(settings, ""):
        low, high = LIMITS[name]
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(f"{name} must lie between {low:g} and {high:g}, got {value}")


def _numbers(settings: Mapping[str, Any], section: str) -> Iterator[tuple[str, int | float]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{section}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{section}{key}", value
