"""Whether a run's folder holds what the run wrote, and what can be made again if not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.search.files import JOURNALS, RunFiles
from naslid_toolkit.search.storage import RunStore

State = Literal["in order", "damaged", "gone", "not of this run", "unchecked"]
_SCORES: Final = "scores.parquet"  # without it a run is not finished, so it can be resumed
_TREE: Final = "tree.json"
# What is taken away with a damaged file, so that a resumed run makes it again with equal numbers.
_WITH_IT: Final[Mapping[str, tuple[str, ...]]] = {
    r"weights/.*": (_SCORES,),
    r"evaluations/.*": (_SCORES,),
    r"(profiles|distances)/.*": (_TREE, _SCORES),
    r"tree\.json|sample\.json": (_SCORES,),
    r"scores\.parquet|history\.parquet": (),
    r"splits\.parquet": (),
}
_OF_THE_TREE: Final = re.compile(r"(profiles|distances)/.*|tree\.json")
_NEVER: Final = "cannot be made again"
_OUTPUTS: Final = {"report.html", "search.log"}  # written for people, never read


@dataclass(frozen=True, slots=True)
class FileState:
    """What is to be said of one file of a run.

    Parameters
    ----------
    name
        Path below the folder.
    state
        ``"in order"``: its hash is the one that was written; ``"damaged"``; ``"gone"``;
        ``"not of this run"``: nobody reads it; ``"unchecked"``: of a run of the time before
        files had hashes.
    remedy
        What can be done; empty where nothing has to be.
    """

    name: str
    state: State
    remedy: str = ""


def check_run(folder: str | Path) -> tuple[FileState, ...]:
    """Check every file of a run against the hash that was noted when it was written.

    Raises
    ------
    DataError
        If the folder is not a run's, or its settings or manifest are damaged: then nothing of it
        can be trusted.
    """
    store = RunStore.open(folder)
    if not store.listed:
        return tuple(FileState(name, "unchecked") for name in _names(store.folder))
    derived = bool(store.environment.get("derived"))
    states = [_state(store.files, name) for name in _listed(store.files)]
    known = {state.name for state in states}
    strangers = [name for name in _names(store.folder) if name not in known]
    states += [FileState(name, "not of this run", "nobody reads it") for name in strangers]
    fine = {"in order", "not of this run"}
    return tuple(s if s.state in fine else _advised(s, derived=derived) for s in states)


def repair_run(folder: str | Path) -> tuple[str, ...]:
    """Take away what is damaged and can be made again, so that a resumed run makes it.

    Returns
    -------
    tuple of str
        The files that were taken away, with those that have to be made again with them.

    Raises
    ------
    ConfigError
        If another process works on the run, or a damaged file cannot be made again; then
        nothing is taken away.
    DataError
        As :func:`check_run`.
    """
    store = RunStore.open(folder)
    with store.control.locked():
        wrong = [state for state in check_run(folder) if state.state in {"damaged", "gone"}]
        lost = [state for state in wrong if state.remedy.startswith(_NEVER)]
        if lost:
            raise ConfigError(
                f"{store.folder / lost[0].name} is {lost[0].state} and {lost[0].remedy}"
            )
        names = {state.name for state in wrong}
        names |= {name for state in wrong for name in _companions(state.name) or ()}
        if any(state.name == "splits.parquet" for state in wrong):
            names |= {name for name in _listed(store.files) if name.startswith("weights/split")}
        for name in sorted(names):
            store.files.forget(name)
    return tuple(sorted(names))


def files_of_run(folder: str | Path) -> tuple[Path, ...]:
    """Return the files that a run wrote; of one without a manifest all there are.

    Raises
    ------
    DataError
        If the folder is not a run's, or its manifest is damaged.
    """
    store = RunStore.open(folder)
    names = _listed(store.files) if store.listed else _names(store.folder)
    return tuple(store.folder / name for name in (*names, "manifest.jsonl"))


def _listed(files: RunFiles) -> list[str]:
    """Return the files that the manifest says there are."""
    listing = files.listing()
    names = {name for name, entry in listing.files.items() if entry.written is not None}
    return sorted(names | set(listing.journals))


def _names(folder: Path) -> list[str]:
    """Return the files there are, without those that every run may have."""
    names = (
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    )
    hidden = re.compile(r"\.[^/]*")
    return [
        name
        for name in names
        if name not in {*_OUTPUTS, "manifest.jsonl"} and not hidden.fullmatch(name)
    ]


def _state(files: RunFiles, name: str) -> FileState:
    try:
        if _is_journal(name):
            files.rows(name)
        else:
            files.checked(name)
    except DataError:
        return FileState(name, "damaged" if (files.folder / name).exists() else "gone")
    return FileState(name, "in order")


def _is_journal(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in JOURNALS)


def _companions(name: str) -> tuple[str, ...] | None:
    """Return what goes with a file when it is made again; None if it cannot be."""
    return next((rest for pattern, rest in _WITH_IT.items() if re.fullmatch(pattern, name)), None)


def _advised(state: FileState, *, derived: bool) -> FileState:
    if _companions(state.name) is None:
        return FileState(state.name, state.state, f"{_NEVER}: begin a new run")
    if derived and _OF_THE_TREE.fullmatch(state.name):
        return FileState(state.name, state.state, f"{_NEVER}: edit the first run's tree again")
    return FileState(state.name, state.state, "--repair, then search --resume, makes it again")
