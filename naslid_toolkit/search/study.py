"""Criteria against each other: equal optimiser steps, the same architectures, several seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError, nearest_name
from naslid_toolkit.runtime import Event, OnEvent, WorkDone, ignore_event, replacing
from naslid_toolkit.search.config import RunConfig, merged, mode_settings
from naslid_toolkit.search.contents import (
    COSTS,
    NUMBER,
    STUDY_SPLITS,
    check_cells,
    check_columns,
)
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import FewShotRun, load_run
from naslid_toolkit.search.reuse import FEW_SHOT

FIRST_ARM: Final = "lid"
_TABLES: Final = ("scores.parquet", "costs.parquet", "splits.parquet")
# The pick of an arm is the best of the sample, so nothing else is searched.
_QUICK: Final = {"evolution": {"evaluations": 2, "population": 2, "tournament": 1}}


def _by(criterion: str, mode: str, **settings: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the settings of an arm: the criterion with its own rules, the same training."""
    return {"criterion": criterion, "split": mode_settings(mode)["split"], **settings}


def _unsplit(sampler: str) -> Mapping[str, Any]:
    """Return the settings of a single supernet with other path sampling."""
    return {"criterion": "random", "levels": 0, "training": {"sampler": sampler}}


ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    FIRST_ARM: _by("lid", "default"),
    "lid (paper)": _by("lid", "paper"),
    "lid (official code)": {"criterion": "lid", **mode_settings("official_code")},
    "gradient": _by("gradient", "gradient_matching"),
    "convolution count": _by("convolution_count", "convolution_count"),
    "exhaustive": _by("exhaustive", "exhaustive", levels=1),
    "random": _by("random", "default"),
    # Without a level nothing is split, so the criterion of the following has no part.
    "decomposed": {"criterion": "random", "levels": 0, "network": {"copies": 3}},
    "single supernet": {"criterion": "random", "levels": 0},
    "single (markov paths)": _unsplit("markov"),
    "single (balanced paths)": _unsplit("balanced"),
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
            folder = out / f"{folder_name(arm)}-seed{seed}"
            runs[arm, seed] = few_shot_search(
                config,
                task,
                architectures=names,
                out=folder,
                resume=(folder / "config.toml").exists(),
                device=device,
                donors=folders,
                on_event=on_event,
            )
            folders.append(folder)
            on_event(ArmDone(arm, seed))
            on_event(WorkDone("study", len(runs), len(arms) * len(seeds), "runs"))
    return collected_study(runs)


def folder_name(arm: str) -> str:
    """Return what the folders of an arm begin with."""
    return "".join(letter for letter in arm.replace(" ", "_") if letter not in "()")


def save_study(study: Study, folder: str | Path) -> None:
    """Write the tables of a study into a folder, which is then enough for :func:`load_study`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = ["#".join(map(str, key)) for key in study.scores.columns.tolist()]
    flat = study.scores.set_axis(names, axis=1)
    for name, frame in zip(_TABLES, (flat, study.costs, study.splits), strict=True):
        with replacing(folder / name) as temporary:
            frame.to_parquet(temporary)


def load_study(out: str | Path, *, arms: Sequence[str] | None = None) -> Study:
    """Return a study from its folder: all seeds that are finished for every arm.

    Parameters
    ----------
    out
        The folder of :func:`run_study`, with all runs, or of :func:`save_study`, with tables.
    arms
        Arms to return; None: all of :data:`ARMS`, or all that the tables hold.

    Raises
    ------
    DataError
        If there is no such seed, or a file is damaged.
    """
    if holds_tables(out):
        return _from_tables(Path(out), arms)
    arms = tuple(ARMS) if arms is None else arms
    return collected_study(
        {key: load_run(path) for key, path in finished_folders(out, arms).items()}
    )


def holds_tables(out: str | Path) -> bool:
    """Whether a folder holds a study as tables, without its runs."""
    return (Path(out) / _TABLES[0]).exists()


def read_table(path: Path) -> pd.DataFrame:
    """Return one table of a study.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    if not path.is_file():  # a pipe would wait for ever
        raise DataError(f"{path} is missing or no file")
    try:
        return pd.read_parquet(path)
    except Exception as error:  # libraries raise a dozen kinds
        raise DataError(f"{path} is missing or damaged: {error}") from error


def check_arms(folder: Path, known: Sequence[str], arms: Sequence[str]) -> None:
    """Raise where the tables of a study lack an arm that is asked for."""
    for arm in arms:
        if arm not in known:
            raise DataError(f"{folder} has no arm {arm!r}; {nearest_name(arm, known)}")


def _from_tables(folder: Path, arms: Sequence[str] | None) -> Study:
    scores, costs, splits = (read_table(folder / name) for name in _TABLES)
    keys = _arms_and_seeds(scores, folder / _TABLES[0])
    check_columns(costs, COSTS, str(folder / _TABLES[1]))
    check_columns(splits, STUDY_SPLITS, str(folder / _TABLES[2]), rows=False)
    scores = scores.set_axis(pd.MultiIndex.from_tuples(keys), axis=1)
    if arms is None:
        return Study(scores, costs, splits)
    check_arms(folder, [arm for arm, _ in keys], arms)
    chosen = [key for key in keys if key[0] in arms]
    some = (frame[frame["arm"].isin(arms)] for frame in (costs, splits))
    return Study(scores[chosen], *some)


def _arms_and_seeds(scores: pd.DataFrame, path: Path) -> list[tuple[str, int]]:
    """Return the arm and seed of every column, ``"arm#seed"``; check the scores themselves."""
    keys = []
    for name in scores:
        arm, _, seed = str(name).rpartition("#")
        if not arm or not seed.isdecimal():
            raise DataError(f"{path} has a column {name!r}, expected 'arm#seed'")
        keys.append((arm, int(seed)))
    check_columns(scores, dict.fromkeys(map(str, scores), NUMBER), str(path))
    check_cells(scores, str(path))
    return keys


def finished_folders(out: str | Path, arms: Sequence[str]) -> dict[tuple[str, int], Path]:
    """Return the finished runs of the seeds that are finished for every arm.

    Raises
    ------
    DataError
        If there is no such seed.
    """
    found: dict[tuple[str, int], Path] = {}
    for arm in arms:
        prefix = f"{folder_name(arm)}-seed"
        for folder in sorted(Path(out).glob(f"{prefix}*")):
            seed = folder.name.removeprefix(prefix)
            if seed.isdecimal() and (folder / "scores.parquet").exists():
                found[arm, int(seed)] = folder
    seeds = {seed for _, seed in found if all((arm, seed) in found for arm in arms)}
    if not seeds:
        raise DataError(f"{out} holds no seed that is finished for all of {', '.join(arms)}")
    return {key: folder for key, folder in found.items() if key[1] in seeds}


def collected_study(runs: Mapping[tuple[str, int], FewShotRun]) -> Study:
    """Return the study of finished runs, by arm and seed."""
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
