"""The steps of a search, each a task of its own: train a supernet, measure edges, score."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError, NaslidError
from naslid_toolkit.evaluation.scores import LeafScore
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.criteria import (
    ConvolutionCountCriterion,
    Criterion,
    LIDCriterion,
    RandomCriterion,
)
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.gradients import GradientCriterion
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import WORK_CLOCK, Event, OnEvent, WorkDone, derive_seed, ignore_event
from naslid_toolkit.search.config import RunConfig, load_task
from naslid_toolkit.search.memory import StoredCheckpoint
from naslid_toolkit.search.reuse import SINGLE, Chain, Donors
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.decomposed import DecomposedSupernet
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.training import EpochDone, train
from naslid_toolkit.supernet.weights import fitting, named_snapshots, snapshots_in


@dataclass(frozen=True, slots=True)
class SupernetTrained(Event):
    """A supernet of the tree, or the single one, is trained: optimiser steps, seconds."""

    node: str
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SupernetReused(Event):
    """A supernet was taken over from another run instead of being trained again."""

    node: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a task needs to find its work, on this machine or another that shares the folder.

    Parameters
    ----------
    folder
        The folder of the run; weights travel as files in it.
    device
        As of :func:`resolve_device`.
    task
        The images; None loads those that the run is configured with, once in each process.
    donors
        Folders of runs whose weights may be taken over.
    """

    folder: Path
    device: str
    task: ImageTask | None
    donors: tuple[Path, ...] = ()

    def steps(self, on_event: OnEvent = ignore_event) -> "Steps":
        """Open the run."""
        store = RunStore.open(self.folder)
        place = resolve_device(self.device)
        task = _configured(store) if self.task is None else self.task
        torch.set_num_threads(store.threads)  # in a worker; here it is what it is already
        return Steps(store, store.config, task.to(place), place, Donors(self.donors), on_event)


@lru_cache(maxsize=1)
def _configured(store: RunStore) -> ImageTask:
    return read_images(store)


def read_images(store: RunStore) -> ImageTask:
    """Return the images that a run was made with.

    Raises
    ------
    ConfigError
        If those of its settings cannot be had, or are others.
    DataError
        If a file of them is missing, damaged or foreign.
    """
    try:
        task = load_task(store.config)
    except NaslidError as error:
        error.add_note(f"while loading the images that {store.folder / 'config.toml'} names")
        raise
    store.check_images(task)
    return task


@contextmanager
def threads_of(store: RunStore) -> Iterator[None]:
    """Compute with the run's number of threads, on which the rounding of its numbers depends."""
    before = torch.get_num_threads()
    torch.set_num_threads(store.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_device(device: str) -> torch.device:
    """Return the device of that name.

    Raises
    ------
    ConfigError
        If it is unknown or not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {error}") from error
    return torch.device(device)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one run. Each looks first whether the run has its result already."""

    store: RunStore
    config: RunConfig
    task: ImageTask
    device: torch.device
    donors: Donors
    on_event: OnEvent

    def emit(self, event: Event) -> None:
        """Store an event, unless it is mere progress, and pass it on; obey what is asked.

        Raises
        ------
        SearchCancelledError
            If the run is asked to end.
        """
        if not isinstance(event, WorkDone | EpochDone):  # an epoch is stored with its weights
            self.store.record(event)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Pass an event on that is stored; obey what is asked."""
        self.on_event(event)
        self.store.control.obey()

    def supernet(self, space: SearchSpace) -> Supernet:
        """Return an untrained supernet of a space."""
        skeleton, seed = self.config.skeleton(self.task), self.config.seed
        copies = self.config.network.copies
        if copies == 1:
            return Supernet(space, skeleton, seed=seed).to(self.device)
        return DecomposedSupernet(space, skeleton, seed=seed, copies=copies).to(self.device)

    def trained(self, name: str, space: SearchSpace) -> Supernet:
        """Return the trained supernet of that name, as :meth:`snapshots` without earlier ones."""
        return self.snapshots(name, space)[0]

    def snapshots(self, name: str, space: SearchSpace) -> list[Supernet]:
        """Return the trained supernet of that name, and its earlier snapshots.

        Raises
        ------
        DataError
            If the run lacks its weights, or they are those of another network.
        """
        tensors = self.store.load_weights(name)
        if tensors is None:
            raise DataError(f"the run in {self.store.folder} lacks the weights of {name!r}")
        networks = []
        with self.store.reading(f"weights/{name}.safetensors", "weights of this run's network"):
            for weights in (tensors, *snapshots_in(tensors)):
                network = self.supernet(space)
                network.load_state_dict(fitting(weights, network))
                networks.append(network)
        return networks

    def train(self, name: str, chain: Chain | None) -> None:
        """Train a supernet, unless it is trained; its weights go into the run's folder.

        Parameters
        ----------
        name
            The node of the tree, or ``"single"``.
        chain
            The spaces from the root to the node; None for the single supernet.
        """
        config = self.config
        level = 0 if chain is None else len(chain) - 1
        first, last = (0, config.total_epochs) if chain is None else config.epochs_of(level)
        steps = config.training.steps_per_epoch(self.task.train) * (last - first)
        checkpoint = StoredCheckpoint(self.store, name)
        if self.store.has_weights(name) or self._taken_over(name, chain):
            checkpoint.drop()  # a kill may have come before
            self.emit(WorkDone(f"training {name}", steps, steps, "steps"))
            return
        space = config.search_space() if chain is None else chain[-1]
        inherits = level > 0
        parent = name.rpartition("-")[0]
        network = self.trained(parent, space) if inherits else self.supernet(space)
        started = WORK_CLOCK.now()
        history = train(
            network,
            self.task.train,
            config.single_training() if chain is None else config.training,
            seed=config.seed,
            first_epoch=first,
            last_epoch=last,
            task=f"training {name}",
            checkpoint=checkpoint,
            on_event=self.emit,
        )
        done = SupernetTrained(name, history.steps, WORK_CLOCK.now() - started)
        self.store.record(done)
        earlier = named_snapshots(history.snapshots)
        self.store.save_weights(name, {**network.state_dict(), **earlier})
        checkpoint.drop()
        self.on_event(done)

    def _taken_over(self, name: str, chain: Chain | None) -> bool:
        events = self.donors.give_weights(self.store, name, chain)
        for event in events:
            self.store.record_data(event)
        if events:
            self.emit(SupernetReused(name))
        return bool(events)

    def measure(
        self, node: str, space: SearchSpace, edges: Sequence[int], *, keep_as: str
    ) -> tuple[EdgeEvidence, ...]:
        """Measure edges of a node; keep the distances as ``keep_as`` if the settings say so."""
        criterion = build_criterion(self.config, self.task, self.trained(node, space))
        seed = derive_seed(self.config.seed, "split", node)
        if not (isinstance(criterion, LIDCriterion) and self.config.split.keep_distances):
            return criterion(space, edges, seed=seed, on_event=self.emit)
        kept = criterion.measure(space, edges, seed=seed, on_event=self.emit)
        self.store.save_neighbours(keep_as, kept)
        return kept.evidence(k=criterion.k, estimator=criterion.estimator)

    def score_of(self, tree: SplitTree, method: str) -> LeafScore:
        """Return the score of a method: that of the tree's leaves, or of the single supernet."""
        names = {leaf.name: SINGLE if method == SINGLE else leaf.name for leaf in tree.leaves}
        leaves = {leaf.name: self.snapshots(names[leaf.name], leaf.space) for leaf in tree.leaves}
        return LeafScore(tree, leaves, self.task.valid, self.config.score)


def build_criterion(config: RunConfig, task: ImageTask, network: Supernet) -> Criterion:
    """Return the criterion of a run, measuring on the run's probe images.

    Parameters
    ----------
    config
        Names the criterion and its settings.
    task
        The images, on the supernet's device.
    network
        The trained supernet.
    """
    settings = config.split
    if config.criterion in {"random", "exhaustive"}:
        return RandomCriterion()
    if config.criterion == "convolution_count":
        return ConvolutionCountCriterion()
    probe = task.labelled_probe(
        batches=settings.probe_batches, points=settings.probe_points, seed=config.seed
    )
    if config.criterion == "gradient":
        return GradientCriterion(network, probe, contexts=settings.contexts, others=settings.others)
    return LIDCriterion(
        network,
        [images.pixels for images in probe],
        contexts=settings.contexts,
        k=settings.k,
        estimator=ESTIMATORS[settings.estimator],
        others=settings.others,
    )


def train_task(place: Place, name: str, chain: Chain | None) -> None:
    """Train one supernet; the unit of work of an executor."""
    place.steps().train(name, chain)


def measure_task(
    place: Place, node: str, space: SearchSpace, edge: int, keep_as: str
) -> EdgeEvidence:
    """Measure one edge of a node; the unit of work of an executor."""
    (evidence,) = place.steps().measure(node, space, [edge], keep_as=keep_as)
    return evidence


def score_task(place: Place, tree: SplitTree, method: str, names: Sequence[str]) -> list[float]:
    """Score some architectures with one method; the unit of work of an executor."""
    return place.steps().score_of(tree, method).many([parse_architecture(n) for n in names])
