"""What a study of criteria says: rankings with tests over seeds, separability, memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from naslid_toolkit.errors import DataError, nearest_name
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import BENCHMARK
from naslid_toolkit.evaluation.ranking import bootstrap_taus, dense_ranks, tau_b
from naslid_toolkit.evaluation.verdicts import over_seeds, shared_variance
from naslid_toolkit.lid.bootstrap import holm
from naslid_toolkit.partition.cost import sweep_cost
from naslid_toolkit.partition.similarity import SIMILARITIES, cosine_similarity
from naslid_toolkit.partition.stability import context_stability, similarity_variances
from naslid_toolkit.search.config import RunConfig, load_task
from naslid_toolkit.search.contents import STABILITIES, VARIANCES, check_columns
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.search.study import (
    ARMS,
    FIRST_ARM,
    Study,
    arm_config,
    check_arms,
    finished_folders,
    holds_tables,
    read_table,
)

TOPS: Final = (1.0, 0.1, 0.01)
_LEAST: Final = 3  # architectures that can be ranked
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
        for frame, kinds, name in zip(
            (first, second), (VARIANCES, STABILITIES), SEPARABILITY, strict=True
        ):
            check_columns(frame, kinds, str(Path(out) / name))
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


def splitting_memory(
    out: str | Path, *, arms: Sequence[str] = tuple(ARMS), base: RunConfig | None = None
) -> dict[str, float]:
    """Measure how much memory the criteria of a study take while they measure edges.

    Parameters
    ----------
    out
        The folder of the study.
    arms
        Arms of the study.
    base
        The settings of the study, for a folder that holds tables and no runs.

    Returns
    -------
    dict
        Megabytes by arm, as :func:`~naslid_toolkit.partition.cost.sweep_cost` measures them on
        the study's network and probe batches; 0 where no network is measured.
    """
    measured: dict[str, float] = {}
    memory = {}
    for arm, config in study_configs(out, arms, base).items():
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


def study_configs(
    out: str | Path, arms: Sequence[str], base: RunConfig | None = None
) -> dict[str, RunConfig]:
    """Return the settings of every arm of a study.

    Parameters
    ----------
    out, arms, base
        As of :func:`splitting_memory`; where there are runs, their own settings count.

    Raises
    ------
    DataError
        If there are neither runs nor tables with ``base``.
    """
    if holds_tables(out) and base is not None:
        return {arm: arm_config(base, arm, 0) for arm in arms}
    folders = finished_folders(out, arms)
    firsts = {arm: next(path for (name, _), path in folders.items() if name == arm) for arm in arms}
    return {arm: RunStore.open(path).config for arm, path in firsts.items()}


def judge_study(
    study: Study,
    reference: ReferenceTable,
    *,
    first: str = FIRST_ARM,
    tops: Sequence[float] = TOPS,
    resamples: int = 1000,
    seed: int,
) -> pd.DataFrame:
    """Compare the arms' rankings: tests over seeds, paired by seed.

    A seed is one training of every arm, so a difference of two arms is a number a seed, and
    :func:`~naslid_toolkit.evaluation.verdicts.over_seeds` tests these. Intervals also hold what
    another choice of architectures would change for all seeds alike, which is estimated by
    resampling the architectures. Of one seed there is no test.

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
        Of the architectures.

    Returns
    -------
    pandas.DataFrame
        One row an arm and top fraction: ``arm``, ``top``, ``architectures``, ``seeds``, ``tau``
        (mean over seeds), ``low``, ``high`` (95 %, over seeds and architectures; of one seed
        over architectures, for its weights), ``sd`` (between seeds); ``first``, and for the
        difference of ``first`` to the arm ``difference``, ``difference_low``,
        ``difference_high``, ``difference_sd`` (between seeds), ``p_value`` and ``p_holm``
        (adjusted for the number of arms), all but the first NaN of one seed. Untrained
        baselines are arms that do not depend on the seed.

    Raises
    ------
    DataError
        If fewer than three architectures have a reference, an arm lacks a seed of another one,
        there is no arm ``first``, or a score is NaN.
    """
    arms = list(dict.fromkeys(arm for arm, _ in _keys(study.scores)))
    if first not in arms:
        raise DataError(f"the study has no arm {first!r}; {nearest_name(first, arms)}")
    accuracy = reference.accuracy.reindex(study.scores.index).dropna()
    if len(accuracy) < _LEAST:
        raise DataError(
            f"{len(accuracy)} architectures of the study have a reference, at least 3 must"
        )
    accuracy = accuracy.sort_values(kind="stable")
    scores = _with_trivial(study.scores.loc[accuracy.index])
    tables = []
    for top in tops:
        count = max(_LEAST, int(top * len(accuracy) + 1e-9))
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
    seeds = sorted({number for _, number in _keys(scores)})
    own, drawn = _taus(_complete(scores, arms, seeds), labels, resamples, seed)
    own = own.reshape(len(arms), len(seeds))
    drawn = drawn.reshape(resamples, len(arms), len(seeds))
    at = arms.index(first)
    rows = []
    for place in range(len(arms)):
        change = own[at] - own[place], drawn[:, at] - drawn[:, place]
        rows.append(_tau_of(own[place], drawn[:, place]) | _difference_of(*change))
    table = pd.DataFrame(rows)
    table.insert(0, "arm", arms)
    table.insert(1, "architectures", len(labels))
    table.insert(2, "seeds", len(seeds))
    table["first"] = first
    others = table["arm"] != first
    table.loc[~others, [name for name in table if str(name).startswith("difference_")]] = np.nan
    table.loc[~others, "p_value"] = np.nan
    chances = torch.tensor(table.loc[others, "p_value"].to_numpy(), dtype=torch.float64)
    table["p_holm"] = np.nan
    if len(seeds) > 1:
        table.loc[others, "p_holm"] = holm(chances).numpy()
    return table


def _complete(scores: pd.DataFrame, arms: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Return the scores of every arm with every seed, in order."""
    keys = set(_keys(scores))
    for key in ((arm, number) for arm in arms for number in seeds):
        if key not in keys:
            raise DataError(f"a test over seeds needs the same ones of all arms; {key} is missing")
        missing = int(scores[key].isna().sum())
        if missing:
            raise DataError(f"{missing} scores of {key[0]!r}, seed {key[1]}, are NaN")
    return scores[[(arm, number) for arm in arms for number in seeds]]


def _taus(
    scores: pd.DataFrame, labels: pd.Series, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return tau of every column, and those of resamples; equal columns are computed once."""
    distinct, which = np.unique(scores.to_numpy(), axis=1, return_inverse=True)
    frame = pd.DataFrame(distinct, index=scores.index).assign(reference=labels)
    drawn = bootstrap_taus(frame, seed=seed, resamples=resamples).to_numpy()
    reference = dense_ranks(labels)
    own = np.array([tau_b(dense_ranks(column), reference) for column in distinct.T])
    return own[which], drawn[:, which]


def _tau_of(own: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Return an arm's mean tau; of one seed its interval is over architectures alone."""
    found = over_seeds(own, shared=shared_variance(drawn))
    low, high = max(found.low, -1.0), min(found.high, 1.0)
    if found.seeds == 1:
        low, high = np.percentile(drawn, [2.5, 97.5])
    return {"tau": found.mean, "low": float(low), "high": float(high), "sd": found.sd}


def _difference_of(own: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    found = over_seeds(own, shared=shared_variance(drawn))
    return {
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "difference_sd": found.sd,
        "p_value": found.p_value,
    }
