"""The whole method: grow a split tree of supernets, train its leaves, score, search."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, WorkerError
from naslid_toolkit.evaluation.baselines import convolution_count, parameter_count
from naslid_toolkit.evaluation.scores import Score, score_architectures
from naslid_toolkit.evaluation.truth import connected_sample
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import (
    WORK_CLOCK,
    Event,
    OnEvent,
    WorkDone,
    derive_seed,
    generator,
    ignore_event,
)
from naslid_toolkit.search.config import RunConfig, load_task
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.evolution import evolve
from naslid_toolkit.search.memory import RememberedScore
from naslid_toolkit.search.result import FewShotRun, read_history, read_run
from naslid_toolkit.search.reuse import FEW_SHOT, SINGLE, Chain, Donors
from naslid_toolkit.search.steps import (
    Place,
    Steps,
    SupernetTrained,
    measure_task,
    resolve_device,
    score_task,
    threads_of,
    train_task,
)
from naslid_toolkit.search.storage import FEW_SHOT_SEARCH, RunStore
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture, parse_architecture

_SHARD: Final = 50  # architectures that one task scores


@dataclass(frozen=True, slots=True)
class SpaceSplit(Event):
    """A node was split: on which edge, into which groups, with which score."""

    node: str
    edge: str
    groups: list[list[str]]
    score: float
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
    task: ImageTask | None = None,
    *,
    architectures: Iterable[str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    executor: Executor | None = None,
    donors: Sequence[str | Path] = (),
    on_event: OnEvent = ignore_event,
) -> FewShotRun:
    """Run the whole method: train, split, fine-tune, score, search.

    Parameters
    ----------
    config
        The settings.
    task
        The images; None loads those of the settings
        (:func:`~naslid_toolkit.search.config.load_task`).
    architectures
        Official strings of the architectures to score, of which a sample of ``config.sample``
        is taken; those of a reference table, for instance. None takes a sample of all connected
        architectures.
    out
        The folder of the run; None keeps nothing.
    resume
        Continue the run in ``out``; the result is that of an uninterrupted run, on the
        architectures it began with. A finished run is returned as it is, whatever else is asked
        for.
    device
        ``"auto"`` takes CUDA where there is one, else the CPU.
    executor
        Where to train nodes, measure edges and score architectures; None does so here, one
        after the other. The result is the same. Workers read and write the folder of the run,
        so they must see it; with ``task=None`` no images travel either.
    donors
        Folders of other runs whose weights and scores are taken over where they are equal.
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
    WorkerError
        If a worker of the executor dies; the run can be resumed.

    References
    ----------
    .. [1] X. He et al., "NAS-LID", AAAI 2023, algorithm 1. Deviations: sub-supernets inherit
       all weights, and one cosine schedule runs from the root to each leaf.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return few_shot_search(
                config,
                task,
                architectures=architectures,
                out=Path(folder) / "run",
                device=device,
                executor=executor,
                donors=donors,
                on_event=on_event,
            )
    given, task = task, load_task(config, on_event=on_event) if task is None else task
    store = _open(out, config, task) if resume else create_store(out, config, task=task)
    folders = tuple(Path(donor).resolve() for donor in donors)
    place = Place(store.folder.resolve(), device, given, folders)
    where = resolve_device(device)
    steps = Steps(store, config, task.to(where), where, Donors(folders), on_event)
    with store.control.locked(), threads_of(store):
        return _run(_Search(steps, place, executor), architectures)


def _open(out: str | Path, config: RunConfig, task: ImageTask) -> RunStore:
    """Open a folder to resume, and check that it is the same run."""
    store = RunStore.open(out)
    if store.config != config:
        raise ConfigError(f"the run in {out} has other settings; its own are in config.toml")
    if store.search not in ({}, FEW_SHOT_SEARCH):
        raise ConfigError(f"the run in {out} is of another kind: {store.search['method']} search")
    store.check_images(task)
    return store


def _run(search: "_Search", architectures: Iterable[str] | None) -> FewShotRun:
    config, store = search.steps.config, search.steps.store
    if store.is_finished:
        return read_run(store)
    sample = _kept_sample(store, config, architectures)
    tree = search.grow_tree()
    search.steps.donors.give_scores(store, tree)
    score = search.score_sample(FEW_SHOT, tree, sample)
    search.evolve(score)
    methods = [FEW_SHOT]
    if config.single:
        root = SplitTree.root(config.search_space())
        search.train({SINGLE: None})
        search.score_sample(SINGLE, root, sample)
        methods.append(SINGLE)
    names = [format_architecture(architecture) for architecture in sample]
    columns = {m: pd.Series(store.load_scores(m), dtype=float)[names] for m in methods}
    skeleton = config.skeleton(search.steps.task)
    columns["convolution_count"] = convolution_count(sample, skeleton)
    columns["parameter_count"] = parameter_count(sample, skeleton)
    store.save_frame("scores.parquet", pd.DataFrame(columns))
    return read_run(store)


def _kept_sample(
    store: RunStore, config: RunConfig, architectures: Iterable[str] | None
) -> tuple[Architecture, ...]:
    """Return the architectures to score: those the run began with, if it has begun."""
    kept = store.load_sample()
    if kept is not None:
        return tuple(parse_architecture(name) for name in kept)
    sample = _sample(config, architectures)
    store.save_sample([format_architecture(architecture) for architecture in sample])
    return sample


def _sample(config: RunConfig, architectures: Iterable[str] | None) -> tuple[Architecture, ...]:
    """Choose the architectures to score."""
    if architectures is None:
        return connected_sample(config.sample, seed=derive_seed(config.seed, "sample"))
    names = sorted(set(architectures))
    draw = generator(config.seed, "sample")
    chosen = torch.randperm(len(names), generator=draw)[: config.sample].tolist()
    return tuple(parse_architecture(names[i]) for i in sorted(chosen))


@dataclass(frozen=True, slots=True)
class _Search:
    """One search under way: which step comes when, and where it runs."""

    steps: Steps
    place: Place
    executor: Executor | None

    def grow_tree(self) -> SplitTree:
        """Train and split level by level; return the tree, all of whose nodes are trained."""
        store, levels = self.steps.store, self.steps.config.levels
        tree = store.load_tree()
        level = [tree.name]
        while level:
            self.train({name: tree.chain(name) for name in level})
            if tree.node(level[0]).level < levels:
                for name in level:
                    if tree.node(name).split is None:
                        tree = self.split(tree, tree.node(name))
            level = [child.name for name in level for child in tree.node(name).children]
        return tree

    def train(self, chains: Mapping[str, Chain | None]) -> None:
        """Train supernets that do not depend on each other."""
        if self.executor is None:
            for name, chain in chains.items():
                self.steps.train(name, chain)
            return
        missing = {n: c for n, c in chains.items() if not self.steps.store.has_weights(n)}
        work = {name: (train_task, self.place, name, chain) for name, chain in missing.items()}
        for name, _ in finished(self.executor, work):
            self.steps.on_event(self.steps.store.last_event(SupernetTrained, name))

    def split(self, tree: SplitTree, node: SplitTree) -> SplitTree:
        """Measure the edges of a node and split it."""
        started = WORK_CLOCK.now()
        steps = self.steps
        settings = steps.config.split
        known = steps.store.load_evidence(node.name)
        evidence = known or self.measure(node)
        similarity = SIMILARITIES[settings.similarity]
        split = split_by(evidence, similarity=similarity, grouping=settings.grouping)
        event = SpaceSplit(
            node=node.name,
            edge=node.space.edge_name(split.edge),
            groups=[list(group) for group in split.chosen.groups],
            score=split.chosen.grouping.score,
            seconds=WORK_CLOCK.now() - started,
        )
        if not known:
            steps.store.record(event)  # first, so that a kill loses nothing of it
            steps.store.save_evidence(node.name, evidence)
        tree = tree.with_split(node.name, split)
        steps.store.save_tree(tree)
        steps.tell(event)
        return tree

    def measure(self, node: SplitTree) -> tuple[EdgeEvidence, ...]:
        """Measure the edges of a node, each a task of its own where there is an executor."""
        edges, name = node.space.unsplit_edges, node.name
        if self.executor is None:
            return self.steps.measure(name, node.space, edges, keep_as=name)
        parts = {edge: f"{name}.edge{edge}" for edge in edges}
        work = {
            edge: (measure_task, self.place, name, node.space, edge, part)
            for edge, part in parts.items()
        }
        found = {}
        for edge, evidence in finished(self.executor, work):
            found[edge] = evidence
            self.steps.on_event(WorkDone(f"measuring {name}", len(found), len(edges), "edges"))
        self.steps.store.join_neighbours(name, list(parts.values()))
        return tuple(found[edge] for edge in edges)

    def score_sample(self, method: str, tree: SplitTree, sample: tuple[Architecture, ...]) -> Score:
        """Score the sample with one method; return the method's score, which remembers."""
        started = WORK_CLOCK.now()
        store = self.steps.store
        if self.executor is not None:
            self._score_shards(self.executor, method, tree, sample)
        score = RememberedScore.of(store, method, self.steps.score_of(tree, method))
        score_architectures(sample, score, task=f"scoring {method}", on_event=self.steps.emit)
        self.steps.emit(Scored(method, len(sample), WORK_CLOCK.now() - started))
        return score

    def _score_shards(
        self, executor: Executor, method: str, tree: SplitTree, sample: tuple[Architecture, ...]
    ) -> None:
        """Let the executor score what has no score yet."""
        known = self.steps.store.load_scores(method)
        names = [name for name in map(format_architecture, sample) if name not in known]
        shards = [names[start : start + _SHARD] for start in range(0, len(names), _SHARD)]
        work = {
            number: (score_task, self.place, tree, method, shard)
            for number, shard in enumerate(shards)
        }
        for number, values in finished(executor, work):
            scores = dict(zip(shards[number], values, strict=True))
            self.steps.store.keep_scores(method, scores)

    def evolve(self, score: Score) -> None:
        """Search the whole space with the leaves' scores, unless that is done."""
        steps = self.steps
        if read_history(steps.store) is not None:
            return
        history = evolve(
            steps.config.search_space(),
            score,
            steps.config.evolution,
            skeleton=steps.config.skeleton(steps.task),
            seed=steps.config.seed,
            on_event=steps.emit,
        )
        event = SearchDone(history.best.architecture, history.best.score)
        steps.store.record(event)
        steps.store.save_frame("history.parquet", history.to_frame())
        steps.tell(event)


def finished(executor: Executor, work: Mapping[Any, tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
    """Run tasks, each a function with its arguments; yield key and result as they finish.

    A task that fails stops the others that have not begun; what is finished is kept in the
    run's folder, so that a resumed run repeats only the rest.
    """
    futures = {executor.submit(*task): key for key, task in work.items()}
    try:
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenExecutor as error:
                raise WorkerError(
                    f"a worker died in the middle of task {futures[future]!r}; what others "
                    f"finished is kept, resume the run to go on"
                ) from error
    finally:
        for future in futures:
            future.cancel()
