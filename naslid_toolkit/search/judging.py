"""What a study of criteria says: rankings with paired tests, separability, memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import BENCHMARK
from naslid_toolkit.evaluation.ranking import dense_ranks, tau_b
from naslid_toolkit.lid.bootstrap import holm
from naslid_toolkit.partition.cost import sweep_cost
from naslid_toolkit.partition.similarity import SIMILARITIES, cosine_similarity
from naslid_toolkit.partition.stability import context_stability, similarity_variances
from naslid_toolkit.search.config import load_task
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.search.study import (
    ARMS,
    FIRST_ARM,
    Study,
    check_arms,
    finished_folders,
    read_table,
)

TOPS: Final = (1.0, 0.1, 0.01)
SEPARABILITY: Final = ("variances.parquet", "stabilities.parquet")


def separability(
    out: str | Path, *, arms: Sequence[str] = (FIRST_ARM, "gradient"), seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say how clearly criteria told the operations of the whole space apart, in a study.

    The arms measured the same warmed-up supernet of each seed on the same images and paths.

    Parameters
    ----------
    out
        The folder of the study; one that ships holds the answer for the default arms and seed
        as two tables.
    arms
        Arms whose criterion measures a supernet.
    seed
        Seed of the resamples of contexts.

    Returns
    -------
    tuple of pandas.DataFrame
        Variances of the pairwise similarities, one row an arm, seed and edge: ``arm``,
        ``seed``, ``edge``, ``cosine`` (comparable between arms) and ``own`` (by the arm's own
        similarity); and one row an arm and seed: ``arm``, ``seed``, ``edge`` (that is split),
        ``same_edge``, ``same_groups``, ``same_split``, shares of 200 resamples of the contexts.
    """
    if (Path(out) / SEPARABILITY[0]).exists():
        first, second = (read_table(Path(out) / name) for name in SEPARABILITY)
        check_arms(Path(out), first["arm"].unique().tolist(), arms)
        return first[first["arm"].isin(arms)], second[second["arm"].isin(arms)]
    variances, stabilities = [], []
    for (arm, number), folder in finished_folders(out, arms).items():
        run = load_run(folder)
        settings, evidence = run.config.split, run.evidence["root"]
        own = SIMILARITIES[settings.similarity]
        columns = {
            "cosine": similarity_variances(evidence, cosine_similarity),
            "own": similarity_variances(evidence, own),
        }
        frame = pd.DataFrame(columns).rename_axis("edge").reset_index()
        frame["edge"] = frame["edge"].map(run.tree.space.edge_name)
        variances.append(frame.assign(arm=arm, seed=number))
        found = context_stability(evidence, similarity=own, grouping=settings.grouping, seed=seed)
        stabilities.append(
            {
                "arm": arm,
                "seed": number,
                "edge": run.tree.space.edge_name(found.split.edge),
                "same_edge": found.same_edge,
                "same_groups": found.same_groups,
                "same_split": found.same_split,
            }
        )
    return pd.concat(variances, ignore_index=True), pd.DataFrame(stabilities)


def splitting_memory(out: str | Path, *, arms: Sequence[str] = tuple(ARMS)) -> dict[str, float]:
    """Measure how much memory the criteria of a study take while they measure edges.

    Parameters
    ----------
    out
        The folder of the study.
    arms
        Arms of the study.

    Returns
    -------
    dict
        Megabytes by arm, as :func:`~naslid_toolkit.partition.cost.sweep_cost` measures them on
        the study's network and probe batches; 0 where no network is measured.
    """
    folders = finished_folders(out, arms)
    measured: dict[str, float] = {}
    memory = {}
    for arm in arms:
        config = RunStore.open(
            next(path for (name, _), path in folders.items() if name == arm)
        ).config
        kind = config.criterion if config.levels else ""
        if kind in {"lid", "gradient"} and kind not in measured:
            measured[kind] = sweep_cost(
                config.search_space(),
                config.skeleton(load_task(config)),
                others=config.split.others,
                batch=config.split.probe_points,
                criterion=kind,
            ).megabytes
        memory[arm] = measured.get(kind, 0.0)
    return memory


def judge_study(
    study: Study,
    reference: ReferenceTable,
    *,
    first: str = FIRST_ARM,
    tops: Sequence[float] = TOPS,
    resamples: int = 1000,
    seed: int,
) -> pd.DataFrame:
    """Compare the arms' rankings, with intervals over architectures and seeds together.

    Every resample draws architectures and, for all arms alike, seeds; a difference is that of
    the same architectures and seeds. With few seeds such an interval is too narrow by about
    ``sqrt((S - 1) / S)`` in the seeds' part.

    Parameters
    ----------
    study
        The scores.
    reference
        Reference accuracies.
    first
        The arm that is compared with all others.
    tops
        Shares of the best architectures, in (0, 1], within which rankings are judged.
    resamples, seed
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row an arm and top fraction: ``arm``, ``top``, ``architectures``, ``seeds``, ``tau``
        (mean over seeds), ``low``, ``high`` (95 %), ``sd`` (between seeds), and for the
        difference of ``first`` to the arm ``difference``, ``difference_low``,
        ``difference_high``, ``p_value``, ``p_holm``. Untrained baselines are arms that
        do not depend on the seed.
    """
    scores = _with_trivial(study.scores)
    accuracy = reference.accuracy.reindex(scores.index).dropna()
    accuracy = accuracy.sort_values(kind="stable")
    scores = scores.loc[accuracy.index]
    tables = []
    for top in tops:
        count = max(3, int(top * len(accuracy) + 1e-9))
        part, labels = scores.iloc[-count:], accuracy.iloc[-count:]
        tables.append(_judged(part, labels, first, resamples, seed).assign(top=top))
    return pd.concat(tables, ignore_index=True)


def _with_trivial(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the untrained baselines, the same for every seed."""
    trivial = trivial_scores(map(str, scores.index), BENCHMARK)
    seeds = sorted({seed for _, seed in _keys(scores)})
    columns = {
        (f"{name} (untrained)".replace("_", " "), seed): trivial[name]
        for name in trivial
        for seed in seeds
    }
    return pd.concat([scores, pd.DataFrame(columns)], axis=1)


def _keys(scores: pd.DataFrame) -> list[tuple[str, int]]:
    keys: list[Any] = scores.columns.tolist()
    return [(str(arm), int(seed)) for arm, seed in keys]


def _judged(
    scores: pd.DataFrame, labels: pd.Series, first: str, resamples: int, seed: int
) -> pd.DataFrame:
    """Return tau of every arm and its difference; ``labels`` ascend."""
    arms = list(dict.fromkeys(arm for arm, _ in _keys(scores)))
    seeds = sorted({seed for _, seed in _keys(scores)})
    ranks = {key: dense_ranks(scores[key]) for key in _keys(scores)}
    reference = dense_ranks(labels)
    own = np.array([[tau_b(ranks[arm, s], reference) for s in seeds] for arm in arms])
    draw = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(arms)))
    for row in range(resamples):
        chosen = np.sort(draw.integers(len(labels), size=len(labels)))
        which, times = np.unique(draw.integers(len(seeds), size=len(seeds)), return_counts=True)
        some = reference[chosen]
        for place, arm in enumerate(arms):
            taus = [tau_b(ranks[arm, seeds[i]][chosen], some) for i in which]
            drawn[row, place] = np.average(taus, weights=times)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    against = drawn[:, [arms.index(first)]] - drawn
    below, above = (against <= 0).sum(0), (against >= 0).sum(0)
    chance = np.minimum(1.0, 2 * (1 + np.minimum(below, above)) / (1 + resamples))
    table = pd.DataFrame(
        {
            "arm": arms,
            "architectures": len(labels),
            "seeds": len(seeds),
            "tau": own.mean(1),
            "low": low,
            "high": high,
            "sd": own.std(1, ddof=1) if len(seeds) > 1 else np.nan,
            "difference": own.mean(1)[arms.index(first)] - own.mean(1),
            "difference_low": np.percentile(against, 2.5, axis=0),
            "difference_high": np.percentile(against, 97.5, axis=0),
            "p_value": chance,
        }
    )
    others = table["arm"] != first
    table.loc[~others, ["difference_low", "difference_high", "p_value"]] = np.nan
    adjusted = holm(torch.tensor(table.loc[others, "p_value"].to_numpy(), dtype=torch.float64))
    table.loc[others, "p_holm"] = adjusted.numpy()
    return table
