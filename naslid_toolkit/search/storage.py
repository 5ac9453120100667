"""One folder for each run: everything a search has found, safe from kills, without pickle."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError, NaslidError
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import Event
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.contents import (
    CELLS,
    ENVIRONMENT,
    LATER,
    PROFILES,
    check_columns,
    check_event,
    check_fields,
    score_of,
)
from naslid_toolkit.search.control import RunControl
from naslid_toolkit.search.environment import image_fingerprint, same_images
from naslid_toolkit.search.files import MANIFEST, RunFiles

TrainingEvent = TypeVar("TrainingEvent", bound=Event)
FORMAT: Final = 2
UNLISTED: Final = 1  # the format before files were listed with their hashes
EVENTS: Final = "events.jsonl"
FEW_SHOT_SEARCH: Final[Mapping[str, Any]] = {"method": "few-shot"}


@dataclass(frozen=True, slots=True)
class RunStore:
    """The folder of a run.

    ``config.toml``, ``environment.json``, ``events.jsonl``, ``tree.json``, ``sample.json``,
    ``profiles/NODE.parquet``, ``distances/NODE.safetensors``,
    ``evaluations/METHOD.jsonl``, ``scores.parquet``, ``history.parquet``,
    ``weights/NODE.safetensors``, and ``manifest.jsonl`` with the hash of each. Files appear
    complete or not at all, and what is read is what was written
    (:class:`~naslid_toolkit.search.files.RunFiles`).
    """

    folder: Path
    listed: bool = True

    @classmethod
    def open(cls, folder: str | Path) -> "RunStore":
        """Open the folder of a run.

        Raises
        ------
        DataError
            If it is not the folder of a run, its settings are damaged, or it is of a later
            format than this version reads.
        """
        store = cls(Path(folder), listed=(Path(folder) / MANIFEST).exists())
        if not (store.folder / "config.toml").is_file():
            raise DataError(f"{folder} is not the folder of a run: it has no config.toml")
        found = store.environment["format"]
        _check_format(found, store.folder)
        if store.listed != (found == FORMAT):
            raise DataError(f"{folder} has lost its {MANIFEST}, so its files cannot be checked")
        store.files.checked("config.toml")
        return store

    @property
    def files(self) -> RunFiles:
        """The files of the run by name, checked when they are read."""
        return RunFiles(self.folder, self.listed)

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return RunConfig.from_toml(self.files.checked("config.toml"))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, platform, threads, commit, and what is known of the images."""
        known = self.read_json("environment.json")
        where = str(self.folder / "environment.json")
        check_fields(known, ENVIRONMENT, where)
        check_fields(known, LATER, where, all_of_them=False)
        return known

    @property
    def task(self) -> str:
        """Name of the image task."""
        return str(self.environment["task"])

    @property
    def search(self) -> dict[str, Any]:
        """The method of the run and the method's own settings; empty where it is not known."""
        return dict(self.environment.get("search", {}))

    @property
    def threads(self) -> int:
        """The number of threads the run computes with, on which the last digits depend."""
        return int(self.environment["threads"])

    def check_images(self, task: ImageTask) -> None:
        """Check that images are those of the run.

        Raises
        ------
        ConfigError
            If they are not.
        """
        known = self.environment
        if known["task"] != task.name:
            raise ConfigError(
                f"the run in {self.folder} is on {known['task']!r}, not on {task.name!r}"
            )
        before = known.get("fingerprint")
        if before is not None and not same_images(before, image_fingerprint(task)):
            raise ConfigError(
                f"the run in {self.folder} was begun with other images of the name {task.name!r}"
            )

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
        self.files.append(EVENTS, event)

    def last_event(self, kind: type[TrainingEvent], node: str) -> TrainingEvent:
        """Return the last event of a kind that a node had.

        Raises
        ------
        DataError
            If there is none.
        """
        for data in reversed(self.event_rows()):
            if data["event"] == kind.__name__ and data.get("node") == node:
                return kind(**{field.name: data[field.name] for field in fields(kind)})
        raise DataError(f"the run in {self.folder} has no {kind.__name__} of {node!r}")

    def events(self) -> pd.DataFrame:
        """Return all recorded events, one a row; columns are the fields of all kinds."""
        return pd.DataFrame(self.event_rows())

    def event_rows(self) -> list[dict[str, Any]]:
        """Return all recorded events as JSON data.

        Raises
        ------
        DataError
            If a line is damaged, or lacks what an event of its kind holds.
        """
        rows = self.files.rows(EVENTS)
        for number, row in enumerate(rows, start=1):
            check_event(row, f"line {number} of {self.folder / EVENTS}")
        return rows

    # -- split tree and evidence ----------------------------------------------------------

    def save_tree(self, tree: SplitTree) -> None:
        """Write the split tree."""
        self.write_json("tree.json", {"format": FORMAT, **tree.to_dict()})

    def load_tree(self) -> SplitTree:
        """Return the split tree; that of the unsplit space if there is none yet."""
        if not self.files.exists("tree.json"):
            return SplitTree.root(self.config.search_space())
        data = self.read_json("tree.json")
        _check_format(data.get("format"), self.folder / "tree.json")
        with self.reading("tree.json", "a split tree"):
            tree = SplitTree.from_dict(data)
        if (tree.name, tree.space) != ("root", self.config.search_space()):
            raise DataError(
                f"{self.folder / 'tree.json'} has the root {tree.name!r} of {len(tree.space)} "
                f"architectures, expected 'root' of the whole search space"
            )
        return tree

    def save_sample(self, names: Sequence[str]) -> None:
        """Write the architectures that are scored."""
        self.write_json("sample.json", {"architectures": list(names)})

    def load_sample(self) -> list[str] | None:
        """Return the architectures that are scored; None if they are not chosen yet."""
        if not self.files.exists("sample.json"):
            return None
        data = self.read_json("sample.json")
        check_fields(data, {"architectures": CELLS}, str(self.folder / "sample.json"))
        return list(data["architectures"])

    def save_evidence(self, node: str, evidence: tuple[EdgeEvidence, ...]) -> None:
        """Write what was measured at a node of the tree."""
        frame = pd.concat([item.to_frame() for item in evidence], ignore_index=True)
        self.save_frame(f"profiles/{node}.parquet", frame)

    def load_evidence(self, node: str) -> tuple[EdgeEvidence, ...]:
        """Return what was measured at a node; empty if nothing was."""
        frame = self.load_frame(f"profiles/{node}.parquet")
        if frame is None:
            return ()
        with self.reading(f"profiles/{node}.parquet", "LID profiles"):
            check_columns(frame, PROFILES, "the table")
            found = tuple(EdgeEvidence.from_frame(part) for _, part in frame.groupby("edge"))
            space = self.config.search_space()
            for item in found:
                item.check(space)
            return found

    def save_neighbours(self, node: str, kept: NeighbourStore) -> None:
        """Write the distances behind the split of a node."""
        with self.files.writing(f"distances/{node}.safetensors") as temporary:
            save_file(kept.tensors(), temporary, metadata={"store": kept.description()})

    def join_neighbours(self, node: str, parts: Sequence[str]) -> None:
        """Put distances that were saved in parts into one file for a node."""
        kept = [self.load_neighbours(part) for part in parts]
        found = [part for part in kept if part is not None]
        if found:
            self.save_neighbours(node, NeighbourStore.joined(found))
        for part in parts:
            self.files.remove(f"distances/{part}.safetensors")

    def load_neighbours(self, node: str) -> NeighbourStore | None:
        """Return the distances behind the split of a node; None if they were not kept.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        name = f"distances/{node}.safetensors"
        if not self.files.exists(name):
            return None
        path = self.files.checked(name)
        with self.reading(name, "neighbour distances"):
            with safe_open(path, framework="pt") as handle:
                description = (handle.metadata() or {})["store"]
            kept = NeighbourStore.restored(load_file(path), description)
            space = self.config.search_space()
            for edge in kept.edges:
                edge.check(space)
            return kept

    # -- tables ---------------------------------------------------------------------------

    def save_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table to a Parquet file of that name."""
        with self.files.writing(name) as temporary:
            frame.to_parquet(temporary)

    def load_frame(self, name: str) -> pd.DataFrame | None:
        """Return the table of that name, or None.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        if not self.files.exists(name):
            return None
        path = self.files.checked(name)
        with self.reading(name, "a Parquet table"):
            return pd.read_parquet(path)

    def load_scores(self, method: str) -> dict[str, float]:
        """Return the scores of a method that are known, by architecture string."""
        name, measure = f"evaluations/{method}.jsonl", self.config.score
        found: dict[str, float] = {}
        for number, row in enumerate(self.files.rows(name), start=1):
            where = f"line {number} of {self.folder / name}"
            architecture, score = score_of(row, measure, where)
            if found.setdefault(architecture, score) != score:
                raise DataError(f"{where} has another score of {architecture} than one before it")
        return found

    def keep_scores(self, method: str, scores: Mapping[str, float]) -> None:
        """Append scores of a method to ``evaluations/METHOD.jsonl``."""
        for name, score in scores.items():
            self.files.append(f"evaluations/{method}.jsonl", {"architecture": name, "score": score})

    # -- weights --------------------------------------------------------------------------

    def save_weights(self, node: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors by name."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with self.files.writing(f"weights/{node}.safetensors") as temporary:
            save_file(plain, temporary)

    def has_weights(self, node: str) -> bool:
        """Whether the trained weights of a node are there."""
        return self.files.exists(f"weights/{node}.safetensors")

    def copy_weights(self, other: "RunStore", node: str, name: str) -> None:
        """Take over the weights of a node of another run under a new name."""
        self._copy(other, f"weights/{node}.safetensors", f"weights/{name}.safetensors")

    def copy_evidence(self, other: "RunStore", node: str, name: str) -> None:
        """Take over what another run measured at a node, and its distances, if it kept them."""
        for kind, suffix in (("profiles", "parquet"), ("distances", "safetensors")):
            if other.files.exists(f"{kind}/{node}.{suffix}"):
                self._copy(other, f"{kind}/{node}.{suffix}", f"{kind}/{name}.{suffix}")

    def _copy(self, other: "RunStore", source: str, target: str) -> None:
        with self.files.writing(target) as temporary:
            shutil.copyfile(other.files.checked(source), temporary)

    def load_weights(self, node: str) -> dict[str, Tensor] | None:
        """Return the tensors of that name, or None.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        name = f"weights/{node}.safetensors"
        if not self.files.exists(name):
            return None
        path = self.files.checked(name)
        with self.reading(name, "tensors"):
            return load_file(path)

    def drop_weights(self, node: str) -> None:
        """Delete the tensors of that name, if there are any."""
        self.files.remove(f"weights/{node}.safetensors")

    # -- files ----------------------------------------------------------------------------

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text."""
        with self.files.writing(name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a JSON object."""
        self.write_text(name, json.dumps(data, indent=1, allow_nan=False))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a JSON object.

        Raises
        ------
        DataError
            If the file is missing or damaged.
        """
        path = self.files.checked(name)
        with self.reading(name, "a JSON object"):
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise TypeError(name)
            return data

    @contextmanager
    def reading(self, name: str, expected: str) -> Iterator[None]:
        """Turn whatever a damaged file causes inside the ``with`` into an error that names it."""
        try:
            yield
        except NaslidError as error:
            error.add_note(f"while reading {self.folder / name}")
            raise
        except Exception as error:  # libraries raise a dozen kinds
            raise DataError(
                f"{self.folder / name} is missing or damaged; expected {expected}"
            ) from error


def _check_format(found: object, place: Path) -> None:
    if found not in (UNLISTED, FORMAT):
        raise DataError(f"{place} has format {found!r}, this version reads format {FORMAT}")
