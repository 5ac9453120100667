"""What is attacked: folders of runs and studies, tables, images; small, and made in seconds."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import SearchCancelledError
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.packing import pack_images, write_images
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.hierarchical import hierarchical_search
from naslid_toolkit.search.study import load_study, run_study, save_study
from tests.search.folders import unlisted_copy

ARMS = ("lid", "single supernet")


@dataclass(frozen=True, slots=True)
class Victim:
    """A folder, the files of it that are attacked, and whether these are listed with hashes.

    ``kind`` says which commands apply: run, hierarchical, study, table or images.
    """

    name: str
    kind: str
    folder: Path
    listed: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Every file, in order of its name."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        names = (path.relative_to(self.folder).as_posix() for path in found)
        return tuple(name for name in names if not Path(name).name.startswith("."))


def victims(place: Path, *, finished: Path | None = None, only: str = "") -> dict[str, Victim]:
    """Make all victims below a folder, or the one of a name; a finished run may be given."""
    finished = place / "run" if finished is None else finished
    makers: dict[str, tuple[str, Callable[[Path], object]]] = {
        "run": ("run", lambda to: _finished(finished, to)),
        "old": ("run", lambda to: unlisted_copy(_finished(finished, place / "run"), to)),
        "unfinished": ("run", _unfinished),
        "old unfinished": ("run", lambda to: _old_unfinished(_make(place, "unfinished"), to)),
        "hierarchical": ("hierarchical", _hierarchical),
        "study": ("study", _study),
        "study tables": ("study", lambda to: _study_tables(_make(place, "study"), to)),
        "tables": ("table", _tables),
        "images": ("images", _images),
    }

    def _make(place: Path, name: str) -> Path:
        folder = place / name
        if not folder.exists():
            makers[name][1](folder)
        return folder

    chosen = [only] if only else list(makers)
    return {
        name: Victim(name, makers[name][0], _make(place, name), _is_listed(place / name))
        for name in chosen
    }


def _is_listed(folder: Path) -> bool:
    return (folder / "manifest.jsonl").exists()


def _finished(source: Path, to: Path) -> Path:
    if source != to and not to.exists():
        shutil.copytree(source, to)
    elif not to.exists():
        few_shot_search(RunConfig.preset("tiny"), load_digits(), out=to)
    return to


def _small(**settings: object) -> RunConfig:
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), settings))


def _unfinished(to: Path) -> None:
    """A run that was stopped in the middle of a training, so that it holds its state."""

    def stop(event: object) -> None:
        if getattr(event, "task", "") == "training root-1" and hasattr(event, "loss"):
            raise SearchCancelledError("enough")

    config = _small(training={"epochs": 4}, single=False)
    try:
        few_shot_search(config, load_digits(), out=to, on_event=stop)
    except SearchCancelledError:
        return


def _old_unfinished(source: Path, to: Path) -> None:
    """The same of format 1."""
    unlisted_copy(source, to)


def _hierarchical(to: Path) -> None:
    config = _small(levels=0, warmup_epochs=1, split={"contexts": 1}, training={"epochs": 2})
    hierarchical_search(config, load_digits(), out=to / "seed0")


def _study(to: Path) -> None:
    names = sorted(load_reference(digits_truth_path()).accuracy.index)[::700]
    run_study(_small(), names, arms=ARMS, seeds=[0], out=to)


def _study_tables(source: Path, to: Path) -> None:
    save_study(load_study(source, arms=ARMS), to)


def _tables(to: Path) -> None:
    """Scores and references in several dresses, with the same numbers."""
    to.mkdir(parents=True)
    accuracy = load_reference(digits_truth_path()).accuracy[::500]
    frame = pd.DataFrame({"arch": accuracy.index, "accuracy": accuracy.to_numpy()})
    frame["test_accuracy"] = frame["accuracy"].sort_values().to_numpy()
    frame.to_parquet(to / "truth.parquet")
    frame[["arch", "accuracy"]].to_csv(to / "truth.csv", index=False, quoting=csv.QUOTE_MINIMAL)
    scores = dict(zip(frame["arch"], (frame["accuracy"] ** 2).round(6), strict=True))
    (to / "scores.json").write_text(json.dumps(scores))


def _images(to: Path) -> None:
    digits = load_digits(copies=1, canvas=8)
    write_images(digits.valid[:40], to / "folder")
    pack_images(to / "folder", to / "images.parquet")
