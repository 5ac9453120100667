"""Scores of architectures: with the weights of their leaf, or without any training."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, DataError, SpaceError, nearest_name
from naslid_toolkit.evaluation.proxies import PROXIES
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import (
    OnEvent,
    WorkDone,
    append_json_line,
    ignore_event,
    open_regular,
    read_json_lines,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture, nasbench201
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.accuracy import evaluate_path, evaluate_paths
from naslid_toolkit.supernet.network import Skeleton, Supernet

Score = Callable[[Architecture], float]
Measure = Literal["accuracy", "log_likelihood"]
_KEPT_AS: Final = {"zen": "zen of drawn weights"}  # a cache's "zen" is of the network's own
_BEGINNING: Final = b'{"key": "'  # of every line of a cache
_TOGETHER: Final = 48  # architectures scored in one pass, as many as share most of the first cell


def scores_of(score: Score, architectures: Sequence[Architecture]) -> list[float]:
    """Return the scores of several architectures, in one go if the score has a method ``many``."""
    many = getattr(score, "many", None)
    if many is None or len(architectures) == 1:
        return [score(architecture) for architecture in architectures]
    return list(many(architectures))


@dataclass(frozen=True, slots=True, eq=False)
class LeafScore:
    """How well inherited weights classify, those of the leaf that holds the architecture.

    Parameters
    ----------
    tree
        The split tree; a tree of one node scores with a single supernet.
    supernets
        The trained sub-supernet of each leaf, by its name; several, such as snapshots of a
        training or seeds, give the mean of their scores.
    images
        Validation images, on the device of the supernets.
    measure
        ``"accuracy"`` in [0, 1], or ``"log_likelihood"`` of the labels, its mean over images in
        nats, which counts how sure the network is and so takes fewer images.

    Raises
    ------
    SpaceError
        If a leaf has no supernet.
    """

    tree: SplitTree
    supernets: Mapping[str, Supernet | Sequence[Supernet]]
    images: Images
    measure: Measure = "accuracy"

    def __post_init__(self) -> None:
        missing = [leaf.name for leaf in self.tree.leaves if not self._ensemble(leaf.name)]
        if missing:
            raise SpaceError(f"no supernet for leaf {missing[0]!r} of the tree")

    def __call__(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""
        ensemble = self._ensemble(self.tree.leaf_of(architecture).name)
        both = [evaluate_path(network, self.images, architecture) for network in ensemble]
        return self._mean(both)

    def many(self, architectures: Sequence[Architecture]) -> list[float]:
        """Return the scores of several architectures, those of one leaf in one pass."""
        leaves: dict[str, list[Architecture]] = {}
        for architecture in architectures:
            leaves.setdefault(self.tree.leaf_of(architecture).name, []).append(architecture)
        found: dict[Architecture, float] = {}
        for name, some in leaves.items():
            found_by = [evaluate_paths(n, self.images, some) for n in self._ensemble(name)]
            found.update(zip(some, map(self._mean, zip(*found_by, strict=True)), strict=True))
        return [found[architecture] for architecture in architectures]

    def _ensemble(self, leaf: str) -> Sequence[Supernet]:
        found = self.supernets.get(leaf, ())
        return [found] if isinstance(found, Supernet) else found

    def _mean(self, both: Sequence[tuple[float, float]]) -> float:
        """Return the mean over an ensemble, of pairs of accuracy and cross-entropy."""
        scores = [hits if self.measure == "accuracy" else -loss for hits, loss in both]
        return sum(scores) / len(scores)


def score_architectures(
    architectures: Iterable[Architecture],
    score: Score,
    *,
    space: SearchSpace | None = None,
    task: str = "scoring",
    on_event: OnEvent = ignore_event,
) -> pd.Series:
    """Score architectures, several in one pass where the score has a method ``many``.

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
    names = {architecture: format_architecture(architecture, space) for architecture in chosen}
    scores = dict.fromkeys(names.values(), math.nan)
    together, in_turn = 1, list(names)
    if hasattr(score, "many"):  # those that begin alike share most
        together, in_turn = _TOGETHER, sorted(names, key=lambda a: a.operations)
    for start in range(0, len(in_turn), together):
        some = in_turn[start : start + together]
        scores.update(zip((names[a] for a in some), scores_of(score, some), strict=True))
        on_event(WorkDone(task, start + len(some), len(in_turn), "architectures"))
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
        Seed of the weights; ``zen`` draws its own.
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
        One row an architecture, one column a proxy; larger promises better, ``-inf`` where a
        proxy is not defined. Isomorphic cells differ by the draw of their weights.

    Raises
    ------
    ConfigError
        If there is no proxy of a name.
    DataError
        If the cache is damaged, or no file of scores; names the line.
    """
    names = list(proxies)
    for name in names:
        if name not in PROXIES:
            raise ConfigError(f"no proxy {name!r}; {nearest_name(name, PROXIES)}")
    chosen = list(dict.fromkeys(architectures))
    key = _fingerprint(images, skeleton, seed)
    known = {} if cache is None else _kept_scores(Path(cache), key)
    rows: dict[str, dict[str, float]] = {}
    for number, architecture in enumerate(chosen, start=1):
        text = format_architecture(architecture)
        scores = dict(known.get(text, {}))
        missing = [name for name in names if _KEPT_AS.get(name, name) not in scores]
        if missing:
            network = Supernet(nasbench201().only(architecture), skeleton, seed=seed)
            network.to(images.pixels.device)
            for name in missing:
                value = PROXIES[name](network, images)
                scores[_KEPT_AS.get(name, name)] = value if math.isfinite(value) else None
            if cache is not None:
                append_json_line(Path(cache), {"key": key, "architecture": text, "scores": scores})
        found = {name: scores[_KEPT_AS.get(name, name)] for name in names}
        rows[text] = {n: -math.inf if value is None else value for n, value in found.items()}
        on_event(WorkDone("training-free scores", number, len(chosen), "architectures"))
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def _kept_scores(path: Path, key: str) -> dict[str, dict[str, float | None]]:
    """Read the scores that a cache keeps under a key, by architecture."""
    if path.exists():
        _check_end(path)
    known = {}
    for number, row in enumerate(read_json_lines(path), start=1):
        if not _is_kept(row):
            raise DataError(
                f"line {number} of {path} is no line of scores; name another file as cache, or "
                f"remove the line"
            )
        if row["key"] == key:
            known[row["architecture"]] = row["scores"]
    return known


def _check_end(path: Path) -> None:
    """Refuse a last, unfinished line of somebody else, which would be cut off by the next one."""
    with open_regular(path, "rb") as file:
        lines = file.read().split(b"\n")
    begun = lines[-1][: len(_BEGINNING)]
    if not _BEGINNING.startswith(begun):
        raise DataError(f"line {len(lines)} of {path} is no line of scores; name another file")


def _is_kept(row: object) -> bool:
    """Say whether a line is one that :func:`score_proxies` writes."""
    if not isinstance(row, dict) or row.keys() != {"key", "architecture", "scores"}:
        return False
    texts, scores = (row["key"], row["architecture"]), row["scores"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(scores, dict):
        return False
    return all(value is None or _is_finite(value) for value in scores.values())


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < math.inf


def _fingerprint(images: Images, skeleton: Skeleton, seed: int) -> str:
    """Name everything that scores depend on beside the architecture."""
    digest = hashlib.sha256(repr((skeleton, seed, tuple(images.pixels.shape))).encode())
    digest.update(images.pixels.cpu().numpy().tobytes())
    digest.update(images.labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
