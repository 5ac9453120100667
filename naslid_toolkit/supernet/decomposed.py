"""One supernet whose later cells exist several times, for cells of few and of many convolutions."""

import bisect
import copy
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from torch import nn

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import OPERATIONS, convolution_depth
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Cell, Skeleton, Supernet

_MOST: Final = 3  # convolutions on a path through one cell
_ROUNDING: Final = 1e-9
# Shares of the largest number of convolutions at which the next copy begins; for 5 cells a stage
# they are the published thresholds 20 of 45, and 15 and 20 of 45.
_BOUNDS: Final = {2: (20 / 45,), 3: (15 / 45, 20 / 45), 4: (10 / 45, 20 / 45, 30 / 45)}


class DecomposedSupernet(Supernet):
    """A supernet split by the number of convolutions, within one network.

    The stem, the first stage, the reductions and the head are shared. Every later cell exists
    in several copies; a path takes the copy for the number of convolutions it has passed: those
    on the longest path through its cell, times the cells so far. Architectures with few and with
    many convolutions thus share fewer weights, at the memory of one path in training.

    Parameters
    ----------
    space, skeleton, seed
        As of :class:`~naslid_toolkit.supernet.network.Supernet`. All copies start from the same
        weights.
    copies
        2, 3 or 4.

    Raises
    ------
    ConfigError
        If there are other than 2 to 4 copies.

    References
    ----------
    .. [1] Y. Oh et al., "Efficient Few-Shot Neural Architecture Search by Counting the Number of
       Nonlinear Functions", AAAI 2025. There channels are reduced so that all copies together
       have about the parameters of one supernet; here that is the skeleton's matter.
    """

    def __init__(
        self, space: SearchSpace, skeleton: Skeleton, *, seed: int, copies: int = 3
    ) -> None:
        if copies not in _BOUNDS:
            raise ConfigError(f"a supernet is decomposed into 2, 3 or 4 copies, got {copies}")
        super().__init__(space, skeleton, seed=seed)
        self.bounds = _BOUNDS[copies]
        self._order = tuple(name for name, _ in self.named_children())
        for name in self._later_cells:
            for number in range(1, copies):
                self.add_module(_copy_name(name, number), copy.deepcopy(self.get_submodule(name)))

    @property
    def _later_cells(self) -> list[str]:
        """Names of the cells behind the first stage."""
        return [
            name
            for name in self._order
            if isinstance(self.get_submodule(name), Cell) and not name.startswith("stage1_")
        ]

    def copy_of(self, architecture: Architecture, cell: int) -> int:
        """Return which copy of a cell a path takes; cells count from 1, over all stages."""
        cells = 3 * self.skeleton.cells
        passed = convolutions_of(architecture) * cell
        return bisect.bisect_right(self.bounds, passed / (_MOST * cells) + _ROUNDING)

    def blocks(self, choice: Architecture | SearchSpace | None) -> Iterator[nn.Module]:
        """Go through the blocks of a path, each later cell in the copy it takes.

        Raises
        ------
        SpaceError
            If the choice is no architecture: a sum of operations has no number of convolutions.
        """
        if not isinstance(choice, Architecture):
            raise SpaceError("a decomposed supernet runs one architecture at a time")
        later, passed = set(self._later_cells), 0
        for name in self._order:
            passed += isinstance(self.get_submodule(name), Cell)
            number = self.copy_of(choice, passed) if name in later else 0
            yield self.get_submodule(_copy_name(name, number))

    def view(self, space: SearchSpace) -> Supernet:
        """Refuse: parts of this network are no supernets of their own.

        Raises
        ------
        SpaceError
            Always.
        """
        raise SpaceError(f"a decomposed supernet has no view of a sub-space of {len(space)}")


def _copy_name(name: str, number: int) -> str:
    return f"{name}_copy{number}" if number else name


@lru_cache(maxsize=1 << 15)
def convolutions_of(architecture: Architecture) -> int:
    """Return the convolutions on the longest path through the cell; 0 if disconnected."""
    codes = [OPERATIONS.index(o) for o in architecture.operations]
    return max(int(convolution_depth(np.array([codes]))[0]), 0)
