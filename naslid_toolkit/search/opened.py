"""A run opened for looking: what its folder holds, each part read when first asked for."""

import threading
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.partition.criteria import LIDCriterion
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import ignore_event
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.result import FewShotRun, read_run, read_scores, read_truth
from naslid_toolkit.search.reuse import FEW_SHOT, SINGLE, Donors
from naslid_toolkit.search.steps import Steps, read_images
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.accuracy import accuracy
from naslid_toolkit.supernet.cost import Cost, count_cost
from naslid_toolkit.supernet.network import Supernet


class OpenRun:
    """The folder of a run, finished or not, opened for looking at it.

    Nothing is written. What was read once is kept, so that several views of a run share it; ask
    again with a new ``OpenRun`` after the run has gone on.

    Parameters
    ----------
    folder
        The folder of the run.

    Raises
    ------
    DataError
        If it is not the folder of a run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.store = RunStore.open(folder)
        self._lock = threading.RLock()
        self._neighbours: dict[str, NeighbourStore | None] = {}
        self._evidence: dict[str, tuple[EdgeEvidence, ...]] = {}
        self._supernets: dict[str, Supernet] = {}
        self._criteria: dict[str, LIDCriterion] = {}
        self._measured: dict[tuple[str, Architecture], LayerDistances] = {}

    @classmethod
    def of(cls, source: "OpenRun | str | Path") -> "OpenRun":
        """Return a run that is open already as it is, or open a folder."""
        return source if isinstance(source, OpenRun) else cls(source)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.store.folder.resolve().name

    @cached_property
    def config(self) -> RunConfig:
        """The settings."""
        return self.store.config

    @cached_property
    def tree(self) -> SplitTree:
        """The split tree, as far as it is grown."""
        return self.store.load_tree()

    @cached_property
    def images(self) -> ImageTask:
        """The images the run was made with.

        Raises
        ------
        ConfigError
            If they are not those that the run was made with.
        """
        return read_images(self.store)

    @cached_property
    def reference(self) -> ReferenceTable | None:
        """The reference accuracies of the settings, if there are any.

        Raises
        ------
        DataError
            If the table is not the one it was when the run began.
        """
        return read_truth(self.store)

    @cached_property
    def result(self) -> FewShotRun | None:
        """The result; None while the run is not finished."""
        return read_run(self.store) if self.store.is_finished else None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The scores there are, indexed by architecture string; those of the sample if finished."""
        finished = read_scores(self.store)
        if finished is not None:
            return finished
        known = self.evaluated.items()
        columns = {m: pd.Series(values, dtype=float) for m, values in known if values}
        return pd.DataFrame(columns)

    @cached_property
    def evaluated(self) -> dict[str, dict[str, float]]:
        """Every score there is by method, those of the search among them."""
        return {method: self.store.load_scores(method) for method in (FEW_SHOT, SINGLE)}

    def evidence(self, node: str) -> tuple[EdgeEvidence, ...]:
        """Return what was measured at a node, with the settings' ``k`` and estimator."""
        with self._lock:
            if node not in self._evidence:
                self._evidence[node] = self.store.load_evidence(node)
            return self._evidence[node]

    def neighbours(self, node: str) -> NeighbourStore | None:
        """Return the distances kept at a node; None if there are none."""
        with self._lock:
            if node not in self._neighbours:
                self._neighbours[node] = self.store.load_neighbours(node)
            return self._neighbours[node]

    def measure(self, architecture: Architecture, node: str = "root") -> LayerDistances:
        """Measure one architecture on the run's probe with the supernet of a node.

        Raises
        ------
        SpaceError
            If the architecture is outside the node's space.
        DataError
            If the run lacks the images or the weights.
        """
        with self._lock:
            key = node, self.tree.node(node).space.check(architecture)
            if key not in self._measured:
                criterion = self._criterion(node)
                self._measured[key] = criterion.distances(architecture, dtype=torch.float32)
            return self._measured[key]

    def score(self, architecture: Architecture) -> float:
        """Return the validation accuracy of an architecture with its leaf's weights.

        Raises
        ------
        DataError
            If the run lacks the images or the weights.
        """
        with self._lock:
            leaf = self.tree.leaf_of(architecture)
            return accuracy(self._supernet(leaf.name), self.images.valid, architecture)

    def cost(self, architecture: Architecture) -> Cost:
        """Return parameters and FLOPs of an architecture in this run's network."""
        return count_cost(architecture, self.config.skeleton(self.images))

    def _criterion(self, node: str) -> LIDCriterion:
        """Return what measures with a node's supernet as the run did."""
        if node not in self._criteria:
            config, settings = self.config, self.config.split
            probe = self.images.probe(
                batches=settings.probe_batches, points=settings.probe_points, seed=config.seed
            )
            self._criteria[node] = LIDCriterion(
                self._supernet(node),
                probe,
                k=settings.k,
                estimator=ESTIMATORS[settings.estimator],
            )
        return self._criteria[node]

    def _supernet(self, node: str) -> Supernet:
        """Return the trained supernet of a node."""
        if node not in self._supernets:
            place = torch.device("cpu")
            steps = Steps(self.store, self.config, self.images, place, Donors(), ignore_event)
            self._supernets[node] = steps.trained(node, self.tree.node(node).space)
        return self._supernets[node]
