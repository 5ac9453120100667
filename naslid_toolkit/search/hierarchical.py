"""Hierarchical splitting: the edges into one node are split together, the best part is kept."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.criteria import connected_paths
from naslid_toolkit.partition.grouping import ExhaustiveGrouping
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.runtime import Event, OnEvent, derive_seed, ignore_event
from naslid_toolkit.search.config import RunConfig, load_task
from naslid_toolkit.search.contents import SPLITS, check_columns
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.reuse import Donors
from naslid_toolkit.search.steps import Steps, build_criterion, resolve_device, threads_of
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.architecture import live_edges
from naslid_toolkit.space.nasbench201 import format_architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.accuracy import accuracy
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.siblings import train_siblings

_SPLITS: Final = "splits.parquet"
_GROUPING: Final = ExhaustiveGrouping(balanced=True)  # halves, so that every edge ends decided


@dataclass(frozen=True, slots=True)
class HierarchySplit(Event):
    """The edges into a node were split: parts tried, the operations kept, their mean score."""

    node: int
    parts: int
    kept: list[list[str]]
    score: float
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class HierarchicalRun:
    """The result of a hierarchical search.

    Parameters
    ----------
    architecture
        The architecture that is left when every edge is decided.
    steps
        Optimiser steps of all supernets together.
    splits
        One row a split: ``node``, ``parts``, ``kept``, ``score``, ``steps``.
    """

    architecture: str
    steps: int
    splits: pd.DataFrame


def hierarchical_search(
    config: RunConfig,
    task: ImageTask | None = None,
    *,
    distillation: float = 1.0,
    sibling_epochs: int = 1,
    samples: int = 16,
    out: str | Path,
    device: str = "auto",
    on_event: OnEvent = ignore_event,
) -> HierarchicalRun:
    """Narrow the space node by node until one architecture is left.

    After warm-up, the edges into one node are split together: the criterion of ``config`` puts
    the operations of each edge into two groups, and every combination of groups gives one
    sub-supernet. They start from their parent's weights and train on the same batches with
    mutual distillation. The one whose sampled architectures validate best on average is kept;
    the others are dropped. Nodes are gone through in order, again and again, until every edge
    is decided.

    Parameters
    ----------
    config
        Network, criterion, training; ``warmup_epochs`` before the first split. The learning rate
        follows ``training.epochs``, at its end it stays.
    task
        The images; None loads those of the settings.
    distillation
        Weight of the siblings' predictions; 0 trains each by itself.
    sibling_epochs
        Epochs of every sub-supernet after each split.
    samples
        Connected architectures of each part that are scored.
    out
        A folder that is new, or that of the same search, which is continued.
    device, on_event
        As of :func:`~naslid_toolkit.search.few_shot.few_shot_search`.

    Returns
    -------
    HierarchicalRun
        The architecture, and how it was found.

    Raises
    ------
    ConfigError
        If a number is not positive, or the folder belongs to another search.

    References
    ----------
    .. [1] HEP-NAS, arXiv 2412.10723: splitting by the edges that share an end node, keeping the
       most promising sub-supernet, mutual distillation. How combinations are grouped and the
       weight of the distillation were not to be had; grouping each edge by the criterion and
       taking all combinations of groups, and the weight 1, are choices of this toolkit.
    """
    if min(sibling_epochs, samples) < 1:
        raise ConfigError("sibling_epochs and samples must be at least 1")
    task = load_task(config, on_event=on_event) if task is None else task
    settings = replace(config, levels=0, single=False)
    search = {
        "method": "hierarchical",
        "distillation": float(distillation),
        "sibling_epochs": sibling_epochs,
        "samples": samples,
    }
    store = _store(Path(out), settings, task, search)
    place = resolve_device(device)
    steps = Steps(store, settings, task.to(place), place, Donors(), on_event)
    with store.control.locked(), threads_of(store):
        return _Narrowing(steps, distillation, sibling_epochs, samples).run()


def hierarchies(space: SearchSpace) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Go through the nodes and the edges into each that still have a choice.

    Examples
    --------
    >>> from naslid_toolkit.space.nasbench201 import nasbench201
    >>> list(hierarchies(nasbench201()))
    [(1, (0,)), (2, (1, 2)), (3, (3, 4, 5))]
    """
    for node in sorted({target for _, target in space.edges}):
        edges = tuple(
            edge
            for edge, (_, target) in enumerate(space.edges)
            if target == node and len(space.allowed[edge]) > 1
        )
        if edges:
            yield node, edges


def _store(out: Path, config: RunConfig, task: ImageTask, search: Mapping[str, Any]) -> RunStore:
    if not (out / "config.toml").exists():
        return create_store(out, config, task=task, search=search)
    store = RunStore.open(out)
    if store.config != config:
        raise ConfigError(f"the run in {out} has other settings; its own are in config.toml")
    if store.search not in ({}, search):
        raise ConfigError(f"the search in {out} is {store.search}, not {dict(search)}")
    store.check_images(task)
    return store


@dataclass(frozen=True, slots=True)
class _Narrowing:
    """One hierarchical search under way; every split is stored when it is made."""

    steps: Steps
    distillation: float
    sibling_epochs: int
    samples: int

    def run(self) -> HierarchicalRun:
        """Warm up, and split until one architecture is left."""
        steps, warmup = self.steps, self.steps.config.warmup_epochs
        done = warmup * steps.config.training.steps_per_epoch(steps.task.train)
        network = self._warm(warmup)
        rows = _restored(steps.store)
        if rows:
            network = steps.trained(_name(len(rows)), _space(network.space, rows[-1]["kept"]))
        while len(network.space) > 1:
            node, edges = _next(network.space, rows[-1]["node"] if rows else 0)
            epoch = warmup + len(rows) * self.sibling_epochs
            network, row = self._split(network, node, edges, epoch, number=len(rows) + 1)
            rows.append(row)
            steps.store.save_weights(_name(len(rows)), network.state_dict())
            steps.store.save_frame(_SPLITS, pd.DataFrame(rows))
            steps.on_event(HierarchySplit(**row))
        (architecture,) = network.space
        table = pd.DataFrame(rows)
        total = done + int(table["steps"].sum())
        return HierarchicalRun(format_architecture(architecture), total, table)

    def _warm(self, epochs: int) -> Supernet:
        """Return the warmed-up supernet of the whole space."""
        steps, space = self.steps, self.steps.config.search_space()
        if not steps.store.has_weights("root"):
            network = steps.supernet(space)
            self._train([network], 0, epochs, "training root")
            steps.store.save_weights("root", network.state_dict())
        return steps.trained("root", space)

    def _train(self, networks: list[Supernet], first: int, last: int, task: str) -> int:
        return train_siblings(
            networks,
            self.steps.task.train,
            self.steps.config.training,
            seed=self.steps.config.seed,
            first_epoch=first,
            last_epoch=last,
            distillation=self.distillation,
            task=task,
            on_event=self.steps.on_event,
        )

    def _split(
        self, network: Supernet, node: int, edges: tuple[int, ...], epoch: int, *, number: int
    ) -> tuple[Supernet, dict[str, Any]]:
        """Split the edges into a node; return the part that is kept, and what was done."""
        parts = self._parts(network, edges, number)
        siblings = [network.restrict(part) for part in parts]
        task = f"training {len(parts)} parts of node {node}"
        taken = self._train(siblings, epoch, epoch + self.sibling_epochs, task)
        scores = [self._score(sibling, number) for sibling in siblings]
        best = max(range(len(parts)), key=lambda place: scores[place])
        row = {
            "node": node,
            "parts": len(parts),
            "kept": [list(operations) for operations in parts[best].allowed],
            "score": scores[best],
            "steps": taken,
        }
        return siblings[best], row

    def _parts(
        self, network: Supernet, edges: tuple[int, ...], number: int
    ) -> tuple[SearchSpace, ...]:
        """Return every combination of the edges' groups that connects input and output."""
        config, space = self.steps.config, network.space
        criterion = build_criterion(config, self.steps.task, network)
        seed = derive_seed(config.seed, "hierarchy", number)
        evidence = criterion(space, edges, seed=seed, on_event=self.steps.on_event)
        similarity = SIMILARITIES[config.split.similarity]
        groups = []
        for item in evidence:
            found = _GROUPING(item.mean_similarity(similarity)).groups
            # Operations that nothing tells apart are the same network: the first one stands.
            places = found if len(found) > 1 else ((0,),)
            groups.append([tuple(item.operations[i] for i in group) for group in places])
        parts = []
        for choice in itertools.product(*groups):
            part = space
            for edge, operations in zip(edges, choice, strict=True):
                part = part.with_allowed(edge, operations)
            if any(live_edges(part.edges, part.allowed)):
                parts.append(part)
        return tuple(parts)

    def _score(self, network: Supernet, number: int) -> float:
        """Return the mean validation accuracy of sampled architectures."""
        seed = derive_seed(self.steps.config.seed, "hierarchy sample", number)
        paths = connected_paths(network.space, self.samples, seed=seed)
        valid = self.steps.task.valid
        return sum(accuracy(network, valid, path) for path in paths) / len(paths)


def _restored(store: RunStore) -> list[dict[str, Any]]:
    """Return the splits that a run has stored, as they were made.

    Raises
    ------
    DataError
        If the table is damaged.
    """
    stored = store.load_frame(_SPLITS)
    if stored is None:
        return []
    with store.reading(_SPLITS, "a table of splits"):
        kept = [[list(group) for group in row] for row in stored["kept"]]
        stored = stored.assign(kept=pd.Series(kept, index=stored.index))
        check_columns(stored, SPLITS, "the table")
        return [{str(name): row[name] for name in row} for row in stored.to_dict("records")]


def _name(number: int) -> str:
    return f"split{number}"


def _space(space: SearchSpace, allowed: Sequence[Sequence[str]]) -> SearchSpace:
    """Return the part of a space with these operations."""
    for edge, operations in enumerate(allowed):
        space = space.with_allowed(edge, tuple(operations))
    return space


def _next(space: SearchSpace, last: int) -> tuple[int, tuple[int, ...]]:
    """Return the next node with a choice behind the last one, going round."""
    left = list(hierarchies(space))
    return next((item for item in left if item[0] > last), left[0])
