"""Work of other runs that can be taken over: the same weights, known by what they depend on."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.creating import building_store
from naslid_toolkit.search.environment import same_images
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.space.search_space import SearchSpace

SINGLE = "single"
FEW_SHOT = "few_shot"
_TRAINING_EVENTS = {"EpochDone": "task", "SupernetTrained": "node"}
Chain = tuple[SearchSpace, ...]


def content_key(config: RunConfig, task: str, chain: Sequence[SearchSpace] | None) -> str:
    """Return a hash of everything the weights of a supernet depend on.

    Parameters
    ----------
    config
        The settings of the run.
    task
        Name of the image task.
    chain
        The spaces from the root down to the supernet's, whose training it continues; None for
        the single supernet of the same budget.

    Returns
    -------
    str
        The same for equal weights, whatever the node is called and whoever chose the split.
        Device and version of torch, which change the rounding, are not part of it.
    """
    if chain is None:
        training, bounds = config.single_training(), [(0, config.total_epochs)]
        chain = [config.search_space()]
    else:
        training = config.training
        bounds = [config.epochs_of(level) for level in range(len(chain))]
    parts = {
        "task": task,
        "network": asdict(config.network),
        "training": asdict(training),
        "seed": config.seed,
        "bounds": bounds,
        "spaces": [space.to_dict() for space in chain],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Donors:
    """Folders of other runs, finished or not, whose weights and scores may be taken over.

    Parameters
    ----------
    folders
        The runs; what is not the folder of a run is left out.
    """

    folders: tuple[Path, ...] = ()

    def give_weights(self, store: RunStore, name: str, chain: Chain | None) -> list[dict[str, Any]]:
        """Copy the weights of an equal supernet into a run as ``name``.

        Returns
        -------
        list of dict
            The events of their training under the new name; empty if no donor has them.
        """
        wanted = content_key(store.config, store.task, chain)
        for donor, theirs, node, key in self._supernets(store):
            if key == wanted:
                store.copy_weights(donor, node, name)
                return [_renamed(event, node, name) for event in theirs if _is_of(event, node)]
        return []

    def give_scores(self, store: RunStore, tree: SplitTree) -> int:
        """Copy scores of architectures whose leaf has the same weights; return their number."""
        own = {
            content_key(store.config, store.task, tree.chain(leaf.name)): leaf
            for leaf in tree.leaves
        }
        known = store.load_scores(FEW_SHOT)
        found: dict[str, float] = {}
        for donor, _, node, key in self._supernets(store):
            if key not in own or node == SINGLE:
                continue
            if donor.config.score != store.config.score:
                continue
            space = own[key].space
            found |= {
                name: score
                for name, score in donor.load_scores(FEW_SHOT).items()
                if name not in known and parse_architecture(name) in space
            }
        store.keep_scores(FEW_SHOT, found)
        return len(found)

    def _supernets(
        self, store: RunStore
    ) -> Iterator[tuple[RunStore, list[dict[str, Any]], str, str]]:
        """Go through the trained supernets that a run may take: run, its events, name, key."""
        for folder in self.folders:
            if not (folder / "config.toml").is_file():
                continue
            donor = RunStore.open(folder)
            if not _computes_alike(donor, store):
                continue
            config, task, tree = donor.config, donor.task, donor.load_tree()
            events = donor.event_rows()
            chains: dict[str, Chain | None] = {n.name: tree.chain(n.name) for n in tree.nodes()}
            for name, chain in {**chains, SINGLE: None}.items():
                if donor.has_weights(name):
                    yield donor, events, name, content_key(config, task, chain)


def derive_run(source: str | Path, tree: SplitTree, out: str | Path) -> RunStore:
    """Start a run with another split tree; ``few_shot_search(..., resume=True)`` finishes it.

    Parameters
    ----------
    source
        The folder of the run to start from; it is not changed.
    tree
        The tree, for instance of :meth:`~naslid_toolkit.partition.tree.SplitTree.override`.
    out
        The folder of the new run.

    Returns
    -------
    RunStore
        The new run. It holds the weights of every supernet that is the same in both trees, so
        that only the others are trained, and the scores of unchanged leaves.

    Raises
    ------
    ConfigError
        If ``out`` is in use or lies in ``source``, or the tree has more levels than the settings.
    DataError
        If ``source`` is not the folder of a run.
    """
    old = RunStore.open(source)
    if Path(out).resolve().is_relative_to(old.folder.resolve()):
        raise ConfigError(f"{out} lies in the run it starts from; choose a folder outside of it")
    config = old.config
    deepest = max(node.level for node in tree.nodes())
    if deepest > config.levels:
        raise ConfigError(
            f"the tree has {deepest} levels, the run's settings {config.levels}; a leaf cannot "
            f"be split further"
        )
    kept = {"task", "images", "fingerprint", "search", "threads"}
    about = {name: value for name, value in old.environment.items() if name in kept}
    with building_store(out, config, {**about, "derived": True}) as store:
        _fill(store, old, tree)
    return RunStore.open(out)


def _fill(store: RunStore, old: RunStore, tree: SplitTree) -> None:
    """Put a tree into a new run, and all of another run that still holds."""
    store.save_tree(tree)
    sample = old.load_sample()
    if sample is not None:
        store.save_sample(sample)
    donors = Donors((old.folder,))
    chains: dict[str, Chain | None] = {node.name: tree.chain(node.name) for node in tree.nodes()}
    for name, chain in {**chains, SINGLE: None}.items():
        for event in donors.give_weights(store, name, chain):
            store.record_data(event)
    donors.give_scores(store, tree)
    store.keep_scores(SINGLE, old.load_scores(SINGLE))
    before = old.load_tree()
    measured = {before.chain(node.name): node.name for node in before.nodes() if node.split}
    for node in tree.nodes():
        theirs = measured.get(tree.chain(node.name))
        if node.split is not None and theirs is not None:
            store.copy_evidence(old, theirs, node.name)


def _computes_alike(donor: RunStore, store: RunStore) -> bool:
    """Whether another run has the same images and rounds as this one does."""
    theirs, own = donor.environment, store.environment
    if donor.folder == store.folder or theirs["threads"] != own["threads"]:
        return False
    before = theirs.get("fingerprint")
    return before is None or same_images(before, own.get("fingerprint", ()))


def _is_of(event: dict[str, Any], node: str) -> bool:
    field = _TRAINING_EVENTS.get(event["event"])
    return field is not None and event[field] in {node, f"training {node}"}


def _renamed(event: dict[str, Any], node: str, name: str) -> dict[str, Any]:
    field = _TRAINING_EVENTS[event["event"]]
    return {**event, field: event[field].removesuffix(node) + name}
