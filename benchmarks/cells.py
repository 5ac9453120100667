"""The cells of NAS-Bench-201 in two fixed halves: one to choose settings by, one to report."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from naslid_toolkit.space.architecture import live_edges
from naslid_toolkit.space.nasbench201 import EDGES, canonical_cell, parse_architecture

_ON_CURVE: Final = 150  # cells of each half behind a point of a curve


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that are scored, by the half of the benchmark they are in."""

    selection: tuple[str, ...]
    reported: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.selection + self.reported

    def on_curve(self) -> "Cells":
        """Return a part of each half; the order of the cells is one of chance already."""
        return Cells(self.selection[:_ON_CURVE], self.reported[:_ON_CURVE])


def half_of(name: str) -> int:
    """Return 0 for a cell of the selection half, 1 for one of the reported half.

    Isomorphic cells are in the same half; the disconnected, all one class, are divided.
    """
    architecture = parse_architecture(name)
    connected = any(live_edges(EDGES, [(operation,) for operation in architecture.operations]))
    key = canonical_cell(architecture) if connected else name
    return hashlib.sha256(key.encode()).digest()[-1] % 2


def choose_cells(accuracy: pd.Series, count: int) -> Cells:
    """Draw ``count`` cells of each half (0: all of them), always the same.

    Disconnected cells take part, as they do in the figures of others.
    """
    shuffled = np.random.default_rng(0).permutation(accuracy.index.to_numpy())
    halves: tuple[list[str], list[str]] = ([], [])
    for name in map(str, shuffled):
        halves[half_of(name)].append(name)
    chosen = (tuple(half[:count] if count else half) for half in halves)
    return Cells(*chosen)
