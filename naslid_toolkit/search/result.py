"""The result of a few-shot search, and how it is read back from the folder of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from naslid_toolkit.errors import DataError, SpaceError
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.ranking import compare_rankings
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.search.config import RunConfig, load_truth
from naslid_toolkit.search.contents import HISTORY, check_columns, check_score_table
from naslid_toolkit.search.evolution import Evaluated, SearchHistory
from naslid_toolkit.search.files import file_hash
from naslid_toolkit.search.reuse import FEW_SHOT, SINGLE
from naslid_toolkit.search.storage import EVENTS, RunStore

_OF_COSTS: Final = ("event", "node", "task", "epoch", "steps", "seconds")


@dataclass(frozen=True, slots=True, eq=False)
class FewShotRun:
    """The result of a few-shot search.

    Parameters
    ----------
    config
        The settings.
    task
        Name of the image task.
    tree
        The split tree.
    evidence
        What was measured at each node that was split, by its name.
    scores
        One row an architecture of the sample, indexed by its string: ``few_shot``, ``single``
        (if it was trained), ``convolution_count`` and ``parameter_count``.
    history
        The architectures the search visited.
    costs
        ``steps`` (optimiser steps) and ``seconds`` of training, by method.
    split_seconds
        Seconds of measuring and splitting all nodes.
    """

    config: RunConfig
    task: str
    tree: SplitTree
    evidence: Mapping[str, tuple[EdgeEvidence, ...]]
    scores: pd.DataFrame
    history: SearchHistory
    costs: pd.DataFrame
    split_seconds: float

    def chosen_evidence(self, node: str = "root") -> EdgeEvidence:
        """Return what was measured of the edge on which a node was split.

        Raises
        ------
        SpaceError
            If there is no such node, it is a leaf, or its edge was chosen by hand and never
            measured.
        """
        split = self.tree.node(node).split
        if split is None:
            raise SpaceError(f"node {node!r} is a leaf, nothing was measured there")
        for item in self.evidence[node]:
            if item.edge == split.edge:
                return item
        raise SpaceError(f"node {node!r} was split by hand on an edge that was never measured")

    def compare(self, reference: Mapping[str, float] | pd.Series) -> pd.DataFrame:
        """Compare the methods' rankings with reference accuracies in [0, 1].

        Returns
        -------
        pandas.DataFrame
            As :func:`~naslid_toolkit.evaluation.ranking.compare_rankings`.
        """
        columns = {str(name): self.scores[name] for name in self.scores}
        return compare_rankings(columns, reference, seed=self.config.seed)


def load_run(folder: str | Path) -> FewShotRun:
    """Return the result of a finished run from its folder.

    Raises
    ------
    DataError
        If the folder is not a run's, a file is damaged, or the run is not finished.
    """
    return read_run(RunStore.open(folder))


def load_neighbours(folder: str | Path, node: str = "root") -> NeighbourStore:
    """Return the distances behind the split of a node of a run, finished or not.

    Parameters
    ----------
    folder
        The folder of the run.
    node
        A node that was split, such as ``"root"`` or ``"root-0"``.

    Raises
    ------
    DataError
        If the folder is not a run's, the file is damaged, or nothing was kept for this node.
    """
    kept = RunStore.open(folder).load_neighbours(node)
    if kept is None:
        raise DataError(
            f"the run in {folder} keeps no distances of node {node!r}: it was not split by LID, "
            f"or with split.keep_distances = false"
        )
    return kept


def read_run(store: RunStore) -> FewShotRun:
    """Return the result of a finished run; see :func:`load_run`."""
    tree = store.load_tree()
    scores, history = read_scores(store), read_history(store)
    if scores is None or history is None:
        raise DataError(f"the run in {store.folder} is not finished; continue it with --resume")
    split = [node.name for node in tree.nodes() if node.split is not None]
    events = pd.DataFrame(store.event_rows(), columns=list(_OF_COSTS))
    # Of a split that a kill made the run repeat, the time that had the measuring in it counts.
    splits = events[events["event"] == "SpaceSplit"].groupby("node")["seconds"].max()
    trained = set(events["node"][events["event"] == "SupernetTrained"])
    missing = {node.name for node in tree.nodes()} - trained
    if missing:
        raise DataError(f"{store.folder / EVENTS} lacks the training of {sorted(missing)[0]!r}")
    rows = [{str(k): v for k, v in row.items()} for row in history.to_dict("records")]
    return FewShotRun(
        config=store.config,
        task=store.task,
        tree=tree,
        evidence={name: store.load_evidence(name) for name in split},
        scores=scores,
        history=SearchHistory(tuple(Evaluated(**row) for row in rows)),
        costs=_training_costs(events),
        split_seconds=float(splits.sum()),
    )


def read_scores(store: RunStore) -> pd.DataFrame | None:
    """Return the scores of a run's sample; None while it is not finished.

    Raises
    ------
    DataError
        If the file is damaged, or holds other architectures than the sample.
    """
    frame = store.load_frame("scores.parquet")
    if frame is not None:
        config, where = store.config, str(store.folder / "scores.parquet")
        methods = [FEW_SHOT, SINGLE] if config.single else [FEW_SHOT]
        check_score_table(frame, methods, config.score, where)
        if (store.load_sample() or frame.index.tolist()) != frame.index.tolist():
            raise DataError(f"{where} has other architectures than sample.json")
    return frame


def read_history(store: RunStore) -> pd.DataFrame | None:
    """Return the architectures that the search of a run visited; None while it is not done.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    frame = store.load_frame("history.parquet")
    if frame is not None:
        check_columns(frame, HISTORY, str(store.folder / "history.parquet"))
    return frame


def read_truth(store: RunStore) -> ReferenceTable | None:
    """Return the reference accuracies that a run is configured with, if there are any.

    Raises
    ------
    DataError
        If the table is missing or damaged, or is not the one it was when the run began.
    """
    config, known = store.config, store.environment.get("truth")
    path = Path(config.truth)
    if known and path.is_file() and file_hash(path) != known:
        raise DataError(
            f"{path} is not the table of reference accuracies that the run in {store.folder} "
            f"began with; name the one you mean (--truth, or reference=)"
        )
    return load_truth(config)


def _training_costs(events: pd.DataFrame) -> pd.DataFrame:
    """Sum steps and seconds over the supernets of each method; a repeated epoch counts once."""
    trained = events[events["event"] == "SupernetTrained"].drop_duplicates("node", keep="last")
    epochs = events[events["event"] == "EpochDone"]
    epochs = epochs.drop_duplicates(["task", "epoch"], keep="last")
    seconds = epochs.groupby("task")["seconds"].sum()
    frame = pd.DataFrame(
        {
            "method": trained["node"].map(lambda node: SINGLE if node == SINGLE else FEW_SHOT),
            "steps": trained["steps"].astype(int),
            "seconds": trained["node"].map(lambda node: seconds.get(f"training {node}", 0.0)),
        }
    )
    return frame.groupby("method").sum()
