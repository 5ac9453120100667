"""Criteria against each other: equal optimiser steps, the same architectures, several seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError, nearest_name
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import BENCHMARK
from naslid_toolkit.evaluation.ranking import dense_ranks, tau_b
from naslid_toolkit.lid.bootstrap import holm
from naslid_toolkit.partition.similarity import SIMILARITIES, cosine_similarity
from naslid_toolkit.partition.stability import context_stability, similarity_variances
from naslid_toolkit.runtime import Event, OnEvent, WorkDone, ignore_event
from naslid_toolkit.search.config import RunConfig, merged, mode_settings
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import FewShotRun, load_run
from naslid_toolkit.search.reuse import FEW_SHOT

TOPS: Final = (1.0, 0.1, 0.01)
FIRST_ARM: Final = "lid"
# The pick of an arm is the best of the sample, so nothing else is searched.
_QUICK: Final = {"evolution": {"evaluations": 2, "population": 2, "tournament": 1}}


def _by(criterion: str, mode: str, **settings: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the settings of an arm: the criterion with its own rules, the same training."""
    return {"criterion": criterion, "split": mode_settings(mode)["split"], **settings}


ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    FIRST_ARM: _by("lid", "default"),
    "lid (paper)": _by("lid", "paper"),
    "lid (official code)": {"criterion": "lid", **mode_settings("official_code")},
    "gradient": _by("gradient", "gradient_matching"),
    "convolution count": _by("convolution_count", "convolution_count"),
    "exhaustive": _by("exhaustive", "exhaustive", levels=1),
    "random": _by("random", "default"),
    # Without a level nothing is split, so the criterion of the last two has no part.
    "decomposed": {"criterion": "random", "levels": 0, "network": {"copies": 3}},
    "single supernet": {"criterion": "random", "levels": 0},
}


@dataclass(frozen=True, slots=True)
class ArmDone(Event):
    """One arm of a study is finished with one seed."""

    arm: str
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Arms of a study, finished with every seed.

    Parameters
    ----------
    scores
        One row an architecture; columns ``(arm, seed)``.
    costs
        One row an arm and seed: ``arm``, ``seed``, ``steps``, ``train_seconds``,
        ``split_seconds``, ``pick`` (the architecture with the largest score), ``leaves``.
    splits
        One row a split: ``arm``, ``seed``, ``node``, ``edge``, ``groups``, ``score``.
    """

    scores: pd.DataFrame
    costs: pd.DataFrame
    splits: pd.DataFrame


def arm_config(base: RunConfig, arm: str, seed: int) -> RunConfig:
    """Return the settings of an arm with exactly the optimiser steps of ``base``.

    Parameters
    ----------
    base
        The few-shot search whose budget counts: warm-up, all levels and leaves together.
    arm
        A name of :data:`ARMS`.
    seed
        Seed of the arm.

    Raises
    ------
    ConfigError
        If there is no such arm, or the budget is too small for it.
    """
    if arm not in ARMS:
        raise ConfigError(f"no arm {arm!r}; {nearest_name(arm, ARMS)}")
    settings = {"single": False, "seed": seed, **ARMS[arm]}
    budget = base.total_epochs
    if settings.get("levels") == 0:
        settings = merged(settings, {"training": {"epochs": budget}})
    elif arm == "exhaustive":
        each = max((budget - base.warmup_epochs) // 5, 1)
        warmup = budget - 5 * each
        if warmup < 1:
            raise ConfigError(f"5 sub-supernets need a budget of 6 epochs, there are {budget}")
        settings = merged(
            settings, {"warmup_epochs": warmup, "training": {"epochs": warmup + each}}
        )
    config = RunConfig.from_dict(merged(base.to_dict(), settings))
    if config.total_epochs != budget:
        raise ConfigError(f"{arm!r} would take {config.total_epochs} epochs instead of {budget}")
    return config


def run_study(
    base: RunConfig,
    architectures: Iterable[str],
    *,
    arms: Sequence[str] = tuple(ARMS),
    seeds: Sequence[int],
    out: str | Path,
    task: ImageTask | None = None,
    device: str = "auto",
    on_event: OnEvent = ignore_event,
) -> Study:
    """Run every arm with every seed, and score the same architectures with each.

    Each run has its folder below ``out``; the same call continues a stopped study. Supernets
    that are equal in two arms, such as the warmed-up root, are trained once and count in both.

    Parameters
    ----------
    base
        Settings and budget; see :func:`arm_config`.
    architectures
        Official strings of the architectures to score.
    arms, seeds
        What to run.
    out
        The folder of the study.
    task
        The images; None loads those of the settings.
    device, on_event
        As of :func:`~naslid_toolkit.search.few_shot.few_shot_search`; also :class:`ArmDone`.

    Returns
    -------
    Study
        Scores, costs and splits.
    """
    names = sorted(set(architectures))
    out = Path(out)
    folders: list[Path] = []
    runs: dict[tuple[str, int], FewShotRun] = {}
    for seed in seeds:
        for arm in arms:
            settings = merged(
                arm_config(base, arm, seed).to_dict(), {**_QUICK, "sample": len(names)}
            )
            config = RunConfig.from_dict(settings)
            folder = out / f"{_file_name(arm)}-seed{seed}"
            if not (folder / "scores.parquet").exists():
                few_shot_search(
                    config,
                    task,
                    architectures=names,
                    out=folder,
                    resume=(folder / "config.toml").exists(),
                    device=device,
                    donors=folders,
                    on_event=on_event,
                )
            runs[arm, seed] = load_run(folder)
            folders.append(folder)
            on_event(ArmDone(arm, seed))
            on_event(WorkDone("study", len(runs), len(arms) * len(seeds), "runs"))
    return _collected(runs)


def _file_name(arm: str) -> str:
    return "".join(letter for letter in arm.replace(" ", "_") if letter not in "()")


def load_study(out: str | Path, *, arms: Sequence[str] = tuple(ARMS)) -> Study:
    """Return a study from its folder: all seeds that are finished for every arm.

    Raises
    ------
    DataError
        If there is no such seed, or a file is damaged.
    """
    return _collected({key: load_run(path) for key, path in _folders(out, arms).items()})


def _folders(out: str | Path, arms: Sequence[str]) -> dict[tuple[str, int], Path]:
    """Return the finished runs of the seeds that are finished for every arm."""
    found: dict[tuple[str, int], Path] = {}
    for arm in arms:
        prefix = f"{_file_name(arm)}-seed"
        for folder in sorted(Path(out).glob(f"{prefix}*")):
            if (folder / "scores.parquet").exists():
                found[arm, int(folder.name.removeprefix(prefix))] = folder
    seeds = {seed for _, seed in found if all((arm, seed) in found for arm in arms)}
    if not seeds:
        raise DataError(f"{out} holds no seed that is finished for all of {', '.join(arms)}")
    return {key: folder for key, folder in found.items() if key[1] in seeds}


def _collected(runs: Mapping[tuple[str, int], FewShotRun]) -> Study:
    arms = list(dict.fromkeys(arm for arm, _ in runs))
    runs = {key: runs[key] for key in sorted(runs, key=lambda key: (arms.index(key[0]), key[1]))}
    scores = {key: run.scores[FEW_SHOT] for key, run in runs.items()}
    costs, splits = [], []
    for (arm, seed), run in runs.items():
        cost: dict[Any, Any] = run.costs.loc[FEW_SHOT].to_dict()
        costs.append(
            {
                "arm": arm,
                "seed": seed,
                "steps": int(cost["steps"]),
                "train_seconds": float(cost["seconds"]),
                "split_seconds": run.split_seconds,
                "pick": str(run.scores[FEW_SHOT].idxmax()),
                "leaves": len(run.tree.leaves),
            }
        )
        frame = run.tree.to_frame().query("edge != ''")
        splits.append(frame.assign(arm=arm, seed=seed))
    whole = pd.concat(splits, ignore_index=True)[["arm", "seed", "node", "edge", "groups", "score"]]
    return Study(pd.DataFrame(scores), pd.DataFrame(costs), whole)


def separability(
    out: str | Path, *, arms: Sequence[str] = (FIRST_ARM, "gradient"), seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say how clearly criteria told the operations of the whole space apart, in a study.

    The arms measured the same warmed-up supernet of each seed on the same images and paths.

    Parameters
    ----------
    out
        The folder of the study.
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
    variances, stabilities = [], []
    for (arm, number), folder in _folders(out, arms).items():
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


def judge_study(
    study: Study,
    reference: ReferenceTable,
    *,
    first: str = FIRST_ARM,
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
    for top in TOPS:
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
