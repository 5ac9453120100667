"""The whole method: grow a split tree of supernets, train its leaves, score, search."""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.baselines import convolution_count, parameter_count
from naslid_toolkit.evaluation.scores import LeafScore, Score, score_architectures
from naslid_toolkit.evaluation.truth import connected_sample
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.criteria import (
    Criterion,
    LIDCriterion,
    RandomCriterion,
)
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import Event, OnEvent, WorkDone, derive_seed, generator, ignore_event
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.evolution import evolve
from naslid_toolkit.search.result import FEW_SHOT, SINGLE, FewShotRun, read_run
from naslid_toolkit.search.storage import RunStore, StoredCheckpoint
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.training import train


@dataclass(frozen=True, slots=True)
class SpaceSplit(Event):
    """A node was split: on which edge, into which groups, with which score."""

    node: str
    edge: str
    groups: list[list[str]]
    score: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SupernetTrained(Event):
    """A supernet of the tree, or the single one, is trained: optimiser steps, seconds."""

    node: str
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Scored(Event):
    """All architectures of the sample have a score of this method."""

    method: str
    architectures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchDone(Event):
    """The search is over: the architecture it picks, and that one's score."""

    architecture: str
    score: float


def few_shot_search(
    config: RunConfig,
    task: ImageTask,
    *,
    architectures: Iterable[str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    on_event: OnEvent = ignore_event,
) -> FewShotRun:
    """Run the whole method: train, split, fine-tune, score, search.

    Parameters
    ----------
    config
        The settings.
    task
        The images, as :func:`~naslid_toolkit.search.config.load_task` gives them.
    architectures
        Official strings of the architectures to score, of which a sample of ``config.sample``
        is taken; those of a reference table, for instance. None takes a sample of all connected
        architectures.
    out
        The folder of the run; None keeps nothing.
    resume
        Continue the run in ``out``; the result is that of an uninterrupted run.
    device
        ``"auto"`` takes CUDA where there is one, else the CPU.
    on_event
        Receives every event; may raise
        :class:`~naslid_toolkit.errors.SearchCancelledError` to stop with everything stored.

    Returns
    -------
    FewShotRun
        The result.

    Raises
    ------
    ConfigError
        If ``out`` is in use, or belongs to a run with other settings or images.
    DivergedError
        If a training diverges.

    References
    ----------
    .. [1] X. He et al., "NAS-LID", AAAI 2023, algorithm 1. Deviations: sub-supernets inherit
       all weights, and one cosine schedule runs from the root to each leaf.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore.create(Path(folder) / "run", config, task=task.name)
            return _run(store, task, architectures=architectures, device=device, on_event=on_event)
    store = _open(out, config, task) if resume else RunStore.create(out, config, task=task.name)
    with store.locked():
        return _run(store, task, architectures=architectures, device=device, on_event=on_event)


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


def _open(out: str | Path, config: RunConfig, task: ImageTask) -> RunStore:
    """Open a folder to resume, and check that it is the same run."""
    store = RunStore.open(out)
    if store.config != config:
        raise ConfigError(f"the run in {out} has other settings; its own are in config.toml")
    if store.environment.get("task") != task.name:
        raise ConfigError(
            f"the run in {out} is on {store.environment.get('task')!r}, not on {task.name!r}"
        )
    return store


def _run(
    store: RunStore,
    task: ImageTask,
    *,
    architectures: Iterable[str] | None,
    device: str,
    on_event: OnEvent,
) -> FewShotRun:
    config = store.config
    place = resolve_device(device)
    work = _Work(store, config, task.to(place), config.skeleton(task), place, on_event)
    tree, leaves = work.grow_tree()
    score = work.score(FEW_SHOT, LeafScore(tree, leaves, work.task.valid))
    sample = _sample(config, architectures)
    columns = {FEW_SHOT: work.score_sample(FEW_SHOT, score, sample)}
    work.search(score)
    if config.single:
        network = work.train(SINGLE, config.search_space(), None, 0)
        root = SplitTree.root(config.search_space())
        single = work.score(SINGLE, LeafScore(root, {"root": network}, work.task.valid))
        columns[SINGLE] = work.score_sample(SINGLE, single, sample)
    columns["convolution_count"] = convolution_count(sample, work.skeleton)
    columns["parameter_count"] = parameter_count(sample, work.skeleton)
    store.save_frame("scores.parquet", pd.DataFrame(columns))
    return read_run(store)


def _sample(config: RunConfig, architectures: Iterable[str] | None) -> tuple[Architecture, ...]:
    """Choose the architectures to score."""
    if architectures is None:
        return connected_sample(config.sample, seed=derive_seed(config.seed, "sample"))
    names = sorted(set(architectures))
    draw = generator(config.seed, "sample")
    chosen = torch.randperm(len(names), generator=draw)[: config.sample].tolist()
    return tuple(parse_architecture(names[i]) for i in sorted(chosen))


@dataclass(frozen=True, slots=True)
class _Work:
    """One search under way; every step first looks whether the store has its result."""

    store: RunStore
    config: RunConfig
    task: ImageTask
    skeleton: Skeleton
    device: torch.device
    on_event: OnEvent

    def emit(self, event: Event) -> None:
        """Store an event, unless it is mere progress, and pass it on."""
        if not isinstance(event, WorkDone):
            self.store.record(event)
        self.on_event(event)

    def grow_tree(self) -> tuple[SplitTree, dict[str, Supernet]]:
        """Train and split level by level; return the tree and the trained leaves."""
        tree = self.store.load_tree()
        leaves: dict[str, Supernet] = {}
        queue = [tree.name]
        for name in queue:
            node = tree.node(name)
            parent = None if node is tree else name.rpartition("-")[0]
            network = self.train(name, node.space, parent, node.level)
            if node.level == self.config.levels:
                leaves[name] = network
                continue
            if node.split is None:
                tree = self.split(tree, node, network)
            queue.extend(child.name for child in tree.node(name).children)
        return tree, leaves

    def train(self, name: str, space: SearchSpace, parent: str | None, level: int) -> Supernet:
        """Return the trained supernet of a node, or the single one."""
        config = self.config
        network = Supernet(space, self.skeleton, seed=config.seed).to(self.device)
        alone = name == SINGLE
        first, last = (0, config.total_epochs) if alone else config.epochs_of(level)
        finished = self.store.load_weights(name)
        if finished is not None:
            network.load_state_dict(finished)
            steps = config.training.steps_per_epoch(self.task.train) * (last - first)
            self.emit(WorkDone(f"training {name}", steps, steps, "steps"))
            return network
        if parent is not None:
            inherited = self.store.load_weights(parent)
            if inherited is None:
                raise DataError(f"the run in {self.store.folder} lacks the weights of {parent!r}")
            network.load_state_dict({key: inherited[key] for key in network.state_dict()})
        checkpoint = StoredCheckpoint(self.store, name)
        started = time.perf_counter()
        history = train(
            network,
            self.task.train,
            config.single_training() if alone else config.training,
            seed=config.seed,
            first_epoch=first,
            last_epoch=last,
            task=f"training {name}",
            checkpoint=checkpoint,
            on_event=self.emit,
        )
        seconds = time.perf_counter() - started
        self.store.record(SupernetTrained(name, history.steps, seconds))
        self.store.save_weights(name, network.state_dict())
        checkpoint.drop()
        self.on_event(SupernetTrained(name, history.steps, seconds))
        return network

    def split(self, tree: SplitTree, node: SplitTree, network: Supernet) -> SplitTree:
        """Measure the edges of a node and split it."""
        started = time.perf_counter()
        settings = self.config.split
        evidence = self.store.load_evidence(node.name)
        if not evidence:
            seed = derive_seed(self.config.seed, "split", node.name)
            evidence = self.measure(node, self.criterion(network), seed)
            self.store.save_evidence(node.name, evidence)
        similarity = SIMILARITIES[settings.similarity]
        split = split_by(evidence, similarity=similarity, grouping=settings.grouping)
        tree = tree.with_split(node.name, split)
        self.store.save_tree(tree)
        chosen = split.chosen
        self.emit(
            SpaceSplit(
                node=node.name,
                edge=node.space.edge_name(split.edge),
                groups=[list(group) for group in chosen.groups],
                score=chosen.grouping.score,
                seconds=time.perf_counter() - started,
            )
        )
        return tree

    def measure(self, node: SplitTree, criterion: Criterion, seed: int) -> tuple[EdgeEvidence, ...]:
        """Measure the edges of a node; keep the distances if the settings say so."""
        edges = node.space.unsplit_edges
        if not (isinstance(criterion, LIDCriterion) and self.config.split.keep_distances):
            return criterion(node.space, edges, seed=seed, on_event=self.emit)
        kept = criterion.measure(node.space, edges, seed=seed, on_event=self.emit)
        self.store.save_neighbours(node.name, kept)
        return kept.evidence(k=criterion.k, estimator=criterion.estimator)

    def criterion(self, network: Supernet) -> Criterion:
        """Return the criterion that measures a supernet's edges."""
        if self.config.criterion == "random":
            return RandomCriterion()
        settings = self.config.split
        probe = self.task.probe(
            batches=settings.probe_batches, points=settings.probe_points, seed=self.config.seed
        )
        return LIDCriterion(
            network,
            probe,
            contexts=settings.contexts,
            k=settings.k,
            estimator=ESTIMATORS[settings.estimator],
            others=settings.others,
        )

    def score(self, method: str, score: Score) -> Score:
        """Return a score that is remembered in the store."""
        return self.store.remembered(method, score)

    def score_sample(
        self, method: str, score: Score, sample: tuple[Architecture, ...]
    ) -> pd.Series:
        """Score the sample with one method."""
        started = time.perf_counter()
        values = score_architectures(sample, score, task=f"scoring {method}", on_event=self.emit)
        self.emit(Scored(method, len(sample), time.perf_counter() - started))
        return values

    def search(self, score: Score) -> None:
        """Search the whole space with the leaves' scores, unless that is done."""
        if self.store.load_frame("history.parquet") is not None:
            return
        history = evolve(
            self.config.search_space(),
            score,
            self.config.evolution,
            skeleton=self.skeleton,
            seed=self.config.seed,
            on_event=self.emit,
        )
        self.store.save_frame("history.parquet", history.to_frame())
        self.emit(SearchDone(history.best.architecture, history.best.score))
