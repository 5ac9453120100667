"""Scores of architectures: validation accuracy with the weights of their leaf."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import SpaceError
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import OnEvent, WorkDone, ignore_event
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.training import accuracy

Score = Callable[[Architecture], float]


@dataclass(frozen=True, slots=True, eq=False)
class LeafScore:
    """Validation accuracy with inherited weights, from the leaf that holds the architecture.

    Parameters
    ----------
    tree
        The split tree; a tree of one node scores with a single supernet.
    supernets
        The trained sub-supernet of each leaf, by its name.
    images
        Validation images, on the device of the supernets.

    Raises
    ------
    SpaceError
        If a leaf has no supernet.
    """

    tree: SplitTree
    supernets: Mapping[str, Supernet]
    images: Images

    def __post_init__(self) -> None:
        missing = [leaf.name for leaf in self.tree.leaves if leaf.name not in self.supernets]
        if missing:
            raise SpaceError(f"no supernet for leaf {missing[0]!r} of the tree")

    def __call__(self, architecture: Architecture) -> float:
        """Return the accuracy in [0, 1]."""
        leaf = self.tree.leaf_of(architecture)
        return accuracy(self.supernets[leaf.name], self.images, architecture)


def score_architectures(
    architectures: Iterable[Architecture],
    score: Score,
    *,
    task: str = "scoring",
    on_event: OnEvent = ignore_event,
) -> pd.Series:
    """Score architectures one after the other.

    Parameters
    ----------
    architectures
        Architectures of NAS-Bench-201.
    score
        Turns one into a number.
    task
        What events call this work.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    pandas.Series
        Scores by architecture string, in the order given.
    """
    chosen = list(architectures)
    scores: dict[str, float] = {}
    for number, architecture in enumerate(chosen, start=1):
        scores[format_architecture(architecture)] = score(architecture)
        on_event(WorkDone(task, number, len(chosen), "architectures"))
    return pd.Series(scores, dtype=float)
