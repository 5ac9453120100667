"""Scores of architectures: with the weights of their leaf, or without any training."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, SpaceError, nearest_name
from naslid_toolkit.evaluation.proxies import PROXIES
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import (
    OnEvent,
    WorkDone,
    append_json_line,
    ignore_event,
    read_json_lines,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture, nasbench201
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Skeleton, Supernet
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
    space: SearchSpace | None = None,
    task: str = "scoring",
    on_event: OnEvent = ignore_event,
) -> pd.Series:
    """Score architectures one after the other.

    Parameters
    ----------
    architectures
        What to score.
    score
        Turns one into a number.
    space
        Their space, for the strings; None: NAS-Bench-201.
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
        scores[format_architecture(architecture, space)] = score(architecture)
        on_event(WorkDone(task, number, len(chosen), "architectures"))
    return pd.Series(scores, dtype=float)


def score_proxies(
    architectures: Iterable[Architecture],
    images: Images,
    skeleton: Skeleton,
    *,
    seed: int,
    proxies: Iterable[str] = tuple(PROXIES),
    cache: str | Path | None = None,
    on_event: OnEvent = ignore_event,
) -> pd.DataFrame:
    """Score untrained networks of architectures with several proxies.

    Parameters
    ----------
    architectures
        Architectures of NAS-Bench-201.
    images
        One batch; some dozens of images are usual. Labels are used by ``snip`` and
        ``gradient_norm`` alone.
    skeleton
        The network around the cells.
    seed
        Seed of the weights.
    proxies
        Names of :data:`PROXIES`.
    cache
        A file of JSON lines that keeps every score as soon as it exists; scores that are there
        are not computed again. Scores of other images, skeletons or seeds may share it.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    pandas.DataFrame
        One row an architecture, one column a proxy; ``-inf`` where a proxy is not defined.

    Raises
    ------
    ConfigError
        If there is no proxy of a name.
    DataError
        If the cache is damaged.
    """
    names = list(proxies)
    for name in names:
        if name not in PROXIES:
            raise ConfigError(f"no proxy {name!r}; {nearest_name(name, PROXIES)}")
    chosen = list(dict.fromkeys(architectures))
    key = _fingerprint(images, skeleton, seed)
    kept = [] if cache is None else read_json_lines(Path(cache))
    known = {row["architecture"]: row["scores"] for row in kept if row["key"] == key}
    rows: dict[str, dict[str, float]] = {}
    for number, architecture in enumerate(chosen, start=1):
        text = format_architecture(architecture)
        scores = dict(known.get(text, {}))
        missing = [name for name in names if name not in scores]
        if missing:
            network = Supernet(nasbench201().only(architecture), skeleton, seed=seed)
            network.to(images.pixels.device)
            for name in missing:
                value = PROXIES[name](network, images)
                scores[name] = value if math.isfinite(value) else None
            if cache is not None:
                append_json_line(Path(cache), {"key": key, "architecture": text, "scores": scores})
        rows[text] = {n: -math.inf if scores[n] is None else scores[n] for n in names}
        on_event(WorkDone("training-free scores", number, len(chosen), "architectures"))
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def _fingerprint(images: Images, skeleton: Skeleton, seed: int) -> str:
    """Name everything that scores depend on beside the architecture."""
    digest = hashlib.sha256(repr((skeleton, seed, tuple(images.pixels.shape))).encode())
    digest.update(images.pixels.cpu().numpy().tobytes())
    digest.update(images.labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
