"""The folder of a new run, which appears as a whole or not at all."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import tomli_w

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, DataError, NaslidError
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.environment import environment, image_fingerprint
from naslid_toolkit.search.files import file_hash
from naslid_toolkit.search.storage import FEW_SHOT_SEARCH, FORMAT, RunStore

_CLAIM: Final = ".making"  # where a run is put together in a folder that exists


def create_store(
    folder: str | Path,
    config: RunConfig,
    *,
    task: ImageTask,
    search: Mapping[str, Any] = FEW_SHOT_SEARCH,
) -> RunStore:
    """Start the folder of a new run.

    Parameters
    ----------
    folder
        A folder that does not exist, or is empty.
    config
        The settings.
    task
        The images; the run knows them again.
    search
        What else the numbers of the run depend on: the method and its own settings.

    Raises
    ------
    ConfigError
        If the folder holds anything already; nothing is overwritten.
    DataError
        If it cannot be written.
    """
    with building_store(folder, config, {**images_of(task), "search": dict(search)}):
        pass
    return RunStore.open(folder)


def images_of(task: ImageTask) -> dict[str, Any]:
    """Return what was decided about the images, and by what a run knows them again."""
    notes = {"images": list(task.notes)} if task.notes else {}
    return {"task": task.name, **notes, "fingerprint": list(image_fingerprint(task))}


@contextmanager
def building_store(
    folder: str | Path, config: RunConfig, about: Mapping[str, Any]
) -> Iterator[RunStore]:
    """Give a run to fill, which appears as ``folder`` at the end.

    Parameters
    ----------
    folder
        A folder that does not exist, or is empty.
    config
        The settings.
    about
        Goes into ``environment.json``: the images and the search.

    Raises
    ------
    ConfigError
        If the folder holds anything already, also if another process was quicker.
    DataError
        If it cannot be written.
    """
    folder = Path(folder)
    _check_free(folder)
    here = folder.exists()  # somebody may stand in it, so it stays what it is
    staging = folder / _CLAIM if here else folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise _refusal(folder, error) from error
    try:
        store = RunStore(staging)
        about = {"format": FORMAT, **environment(), "truth": _truth_hash(config), **about}
        store.write_json("environment.json", about)
        store.write_text("config.toml", tomli_w.dumps(config.to_dict()))
        yield store
        if here:
            for part in sorted(staging.iterdir()):
                part.replace(folder / part.name)
        else:
            staging.replace(folder)
    except NaslidError:
        raise
    except OSError as error:
        raise _refusal(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refusal(folder: Path, error: OSError) -> NaslidError:
    """Return the error for a folder that another process was quicker to fill, or that fails."""
    try:
        _check_free(folder)
    except ConfigError as taken:
        return taken
    return DataError(f"cannot write {folder}: {error.strerror or error}")


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is not empty and is left as it is; choose another folder, "
            f"or continue the run in it with --resume"
        )


def _truth_hash(config: RunConfig) -> str:
    """Return the hash of the reference table, if there is one in a file of its own."""
    return file_hash(Path(config.truth)) if Path(config.truth).is_file() else ""
