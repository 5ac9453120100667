"""One folder for each run: everything a search has found, safe from kills, without pickle."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
import pyarrow as pa
import tomli_w
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from naslid_toolkit.errors import ConfigError, DataError, NaslidError
from naslid_toolkit.evaluation.scores import Score, scores_of
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import Event, append_json_line, read_json_lines, replacing
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.control import RunControl
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture

TrainingEvent = TypeVar("TrainingEvent", bound=Event)
FORMAT: Final = 1
_PACKAGES: Final = ("naslid-toolkit", "torch", "numpy", "pandas", "scipy", "safetensors")


@dataclass(frozen=True, slots=True)
class RunStore:
    """The folder of a run.

    ``config.toml``, ``environment.json``, ``events.jsonl``, ``tree.json``,
    ``profiles/NODE.parquet``, ``distances/NODE.safetensors``,
    ``evaluations/METHOD.jsonl``, ``scores.parquet``, ``history.parquet``,
    ``weights/NODE.safetensors``. Files appear complete or not at all.
    """

    folder: Path

    @classmethod
    def create(
        cls, folder: str | Path, config: RunConfig, *, task: str, notes: Sequence[str] = ()
    ) -> "RunStore":
        """Start the folder of a new run on a task with that name and those notes.

        Raises
        ------
        ConfigError
            If the folder holds anything already; nothing is overwritten.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"{folder} is not empty and is left as it is; choose another folder, "
                f"or continue the run in it with --resume"
            )
        made = not folder.exists()
        staging = folder.with_name(f".{folder.name}.{os.getpid()}.tmp") if made else folder
        store = cls(staging)
        images = {"images": list(notes)} if notes else {}
        store._write_json("environment.json", {**_environment(), "task": task, **images})
        store._write_text("config.toml", tomli_w.dumps(config.to_dict()))
        if made:
            staging.replace(folder)  # the folder appears as a whole run, or not at all
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "RunStore":
        """Open the folder of a run.

        Raises
        ------
        DataError
            If it is not the folder of a run, or of a later format than this version reads.
        """
        store = cls(Path(folder))
        if not (store.folder / "config.toml").is_file():
            raise DataError(f"{folder} is not the folder of a run: it has no config.toml")
        found = store.environment.get("format")
        if found != FORMAT:
            raise DataError(f"{folder} has format {found}, this version reads format {FORMAT}")
        return store

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return RunConfig.from_toml(self.folder / "config.toml")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, platform, commit, name of the image task, and what was decided about it."""
        return self._read_json("environment.json")

    @property
    def task(self) -> str:
        """Name of the image task."""
        return str(self.environment.get("task", ""))

    @property
    def is_finished(self) -> bool:
        """Whether the run has its scores and its search, which are written last."""
        return all((self.folder / name).exists() for name in ("scores.parquet", "history.parquet"))

    @property
    def control(self) -> RunControl:
        """Who works on the run, and what is asked of them."""
        return RunControl(self.folder)

    # -- events ---------------------------------------------------------------------------

    def record(self, event: Event) -> None:
        """Append an event to ``events.jsonl``."""
        self.record_data(event.to_dict())

    def record_data(self, event: Mapping[str, Any]) -> None:
        """Append an event that is JSON data already."""
        append_json_line(self.folder / "events.jsonl", event)

    def last_event(self, kind: type[TrainingEvent], node: str) -> TrainingEvent:
        """Return the last event of a kind that a node had.

        Raises
        ------
        DataError
            If there is none.
        """
        for data in reversed(read_json_lines(self.folder / "events.jsonl")):
            if data["event"] == kind.__name__ and data.get("node") == node:
                return kind(**{name: value for name, value in data.items() if name != "event"})
        raise DataError(f"the run in {self.folder} has no {kind.__name__} of {node!r}")

    def events(self) -> pd.DataFrame:
        """Return all recorded events, one a row; columns are the fields of all kinds."""
        return pd.DataFrame(read_json_lines(self.folder / "events.jsonl"))

    # -- split tree and evidence ----------------------------------------------------------

    def save_tree(self, tree: SplitTree) -> None:
        """Write the split tree."""
        self._write_json("tree.json", {"format": FORMAT, **tree.to_dict()})

    def load_tree(self) -> SplitTree:
        """Return the split tree; that of the unsplit space if there is none yet."""
        if not (self.folder / "tree.json").exists():
            return SplitTree.root(self.config.search_space())
        data = self._read_json("tree.json")
        with self._damaged("tree.json", "a split tree"):
            return SplitTree.from_dict(data)

    def save_evidence(self, node: str, evidence: tuple[EdgeEvidence, ...]) -> None:
        """Write what was measured at a node of the tree."""
        frame = pd.concat([item.to_frame() for item in evidence], ignore_index=True)
        self.save_frame(f"profiles/{node}.parquet", frame)

    def load_evidence(self, node: str) -> tuple[EdgeEvidence, ...]:
        """Return what was measured at a node; empty if nothing was."""
        frame = self.load_frame(f"profiles/{node}.parquet")
        if frame is None:
            return ()
        with self._damaged(f"profiles/{node}.parquet", "LID profiles"):
            return tuple(EdgeEvidence.from_frame(part) for _, part in frame.groupby("edge"))

    def save_neighbours(self, node: str, kept: NeighbourStore) -> None:
        """Write the distances behind the split of a node."""
        with replacing(self.folder / "distances" / f"{node}.safetensors") as temporary:
            save_file(kept.tensors(), temporary, metadata={"store": kept.description()})

    def join_neighbours(self, node: str, parts: Sequence[str]) -> None:
        """Put distances that were saved in parts into one file for a node."""
        kept = [self.load_neighbours(part) for part in parts]
        found = [part for part in kept if part is not None]
        if found:
            self.save_neighbours(node, NeighbourStore.joined(found))
        for part in parts:
            (self.folder / "distances" / f"{part}.safetensors").unlink(missing_ok=True)

    def load_neighbours(self, node: str) -> NeighbourStore | None:
        """Return the distances behind the split of a node; None if they were not kept.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        name = f"distances/{node}.safetensors"
        if not (self.folder / name).exists():
            return None
        with self._damaged(name, "neighbour distances"):
            with safe_open(self.folder / name, framework="pt") as handle:
                description = (handle.metadata() or {})["store"]
            return NeighbourStore.restored(load_file(self.folder / name), description)

    # -- tables ---------------------------------------------------------------------------

    def save_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table to a Parquet file of that name."""
        with replacing(self.folder / name) as temporary:
            frame.to_parquet(temporary)

    def load_frame(self, name: str) -> pd.DataFrame | None:
        """Return the table of that name, or None.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        path = self.folder / name
        if not path.exists():
            return None
        with self._damaged(name, "a Parquet table"):
            return pd.read_parquet(path)

    def load_scores(self, method: str) -> dict[str, float]:
        """Return the scores of a method that are known, by architecture string."""
        name = f"evaluations/{method}.jsonl"
        with self._damaged(name, "scores"):
            rows = read_json_lines(self.folder / name)
            return {row["architecture"]: float(row["score"]) for row in rows}

    def keep_scores(self, method: str, scores: Mapping[str, float]) -> None:
        """Append scores of a method to ``evaluations/METHOD.jsonl``."""
        path = self.folder / "evaluations" / f"{method}.jsonl"
        path.parent.mkdir(exist_ok=True)
        for name, score in scores.items():
            append_json_line(path, {"architecture": name, "score": score})

    def remembered(self, method: str, score: Score) -> Score:
        """Return the same score, with every value kept."""
        return _RememberedScore(self, method, score, self.load_scores(method))

    # -- weights --------------------------------------------------------------------------

    def save_weights(self, node: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors by name."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with replacing(self.folder / "weights" / f"{node}.safetensors") as temporary:
            save_file(plain, temporary)

    def has_weights(self, node: str) -> bool:
        """Whether the trained weights of a node are there."""
        return (self.folder / "weights" / f"{node}.safetensors").exists()

    def copy_weights(self, other: "RunStore", node: str, name: str) -> None:
        """Take over the weights of a node of another run under a new name."""
        self._copy(other, f"weights/{node}.safetensors", f"weights/{name}.safetensors")

    def copy_evidence(self, other: "RunStore", node: str, name: str) -> None:
        """Take over what another run measured at a node, and its distances, if it kept them."""
        for kind, suffix in (("profiles", "parquet"), ("distances", "safetensors")):
            if (other.folder / kind / f"{node}.{suffix}").exists():
                self._copy(other, f"{kind}/{node}.{suffix}", f"{kind}/{name}.{suffix}")

    def _copy(self, other: "RunStore", source: str, target: str) -> None:
        with replacing(self.folder / target) as temporary:
            shutil.copyfile(other.folder / source, temporary)

    def load_weights(self, node: str) -> dict[str, Tensor] | None:
        """Return the tensors of that name, or None.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        path = self.folder / "weights" / f"{node}.safetensors"
        if not path.exists():
            return None
        with self._damaged(f"weights/{node}.safetensors", "tensors"):
            return load_file(path)

    def drop_weights(self, node: str) -> None:
        """Delete the tensors of that name, if there are any."""
        (self.folder / "weights" / f"{node}.safetensors").unlink(missing_ok=True)

    # -- files ----------------------------------------------------------------------------

    def _write_text(self, name: str, text: str) -> None:
        with replacing(self.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _write_json(self, name: str, data: Mapping[str, Any]) -> None:
        self._write_text(name, json.dumps(data, indent=1, allow_nan=False))

    def _read_json(self, name: str) -> dict[str, Any]:
        with self._damaged(name, "a JSON object"):
            data = json.loads((self.folder / name).read_text(encoding="utf-8"))
            return dict(data)

    @contextmanager
    def _damaged(self, name: str, expected: str) -> Iterator[None]:
        """Turn whatever a damaged file causes into an error that names it."""
        try:
            yield
        except NaslidError as error:
            error.add_note(f"while reading {self.folder / name}")
            raise
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            pa.ArrowException,
            SafetensorError,
        ) as error:
            raise DataError(
                f"{self.folder / name} is missing or damaged; expected {expected}"
            ) from error


@dataclass(frozen=True, slots=True)
class _RememberedScore:
    """A score whose values are kept in a run's folder."""

    store: RunStore
    method: str
    score: Score
    known: dict[str, float]

    def __call__(self, architecture: Architecture) -> float:
        return self.many([architecture])[0]

    def many(self, architectures: Sequence[Architecture]) -> list[float]:
        names = [format_architecture(architecture) for architecture in architectures]
        new = {n: a for n, a in zip(names, architectures, strict=True) if n not in self.known}
        if new:
            found = dict(zip(new, scores_of(self.score, list(new.values())), strict=True))
            self.known.update(found)
            self.store.keep_scores(self.method, found)
        return [self.known[name] for name in names]


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The state of an unfinished training, kept in a run's folder."""

    store: RunStore
    node: str

    def load(self) -> Mapping[str, Tensor] | None:
        """Return the tensors saved last, or None."""
        return self.store.load_weights(f"{self.node}.unfinished")

    def save(self, tensors: Mapping[str, Tensor], /) -> None:
        """Keep these tensors instead of the ones before."""
        self.store.save_weights(f"{self.node}.unfinished", tensors)

    def drop(self) -> None:
        """Forget the state: the training is finished."""
        self.store.drop_weights(f"{self.node}.unfinished")


def _environment() -> dict[str, Any]:
    """Collect what a reader needs to repeat the run."""
    return {
        "format": FORMAT,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda or "",
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit of the toolkit's own checkout, or an empty string."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
