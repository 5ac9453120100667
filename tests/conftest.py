"""Shared fixtures: one thread, a tiny supernet, tiny images, trained runs, the shared data files."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from naslid_toolkit.datasets import ImageTask, load_digits
from naslid_toolkit.runtime import generator
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Skeleton, Supernet

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

SHARED = Path(__file__).parents[2] / "shared" / "data"
TINY = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), classes=10)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def draw() -> torch.Generator:
    return generator(0, "test")


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return nasbench201()


@pytest.fixture
def supernet(space: SearchSpace) -> Supernet:
    return Supernet(space, TINY, seed=0)


@pytest.fixture(scope="session")
def digits() -> ImageTask:
    return load_digits(canvas=8, noise=0.1, distortion=0.0, clutter=0, copies=1)


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    return RunConfig.preset("tiny")


@pytest.fixture(scope="session")
def few_digits() -> ImageTask:
    """A quarter of the digits that a run takes by default: for what is trained many times."""
    return load_digits(copies=1)


@pytest.fixture(scope="session")
def once(request, tmp_path_factory):
    """Make a folder the first time that a test of any worker asks for it; nobody changes it."""
    place = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        place = place.parent  # of all workers
    place, given = place / "once", {}
    place.mkdir(exist_ok=True)

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = place / name, place / f"{name}.done"
        with FileLock(place / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                make(folder)
                done.write_text(_fingerprint(folder))
        given[folder] = done.read_text()
        return folder

    yield folder_of
    changed = [folder.name for folder, before in given.items() if _fingerprint(folder) != before]
    assert not changed, f"a test changed what all share: {changed}"


def _fingerprint(folder: Path) -> str:
    """Name and content of every file; a lock is taken anew by everyone who looks."""
    seen = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            seen.update(f"{path.relative_to(folder)}\0".encode())
            seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


@pytest.fixture(scope="session")
def tiny_folder(once, tiny_config: RunConfig) -> Path:
    """The folder of a finished run, not to be changed."""
    return once("tiny", lambda folder: few_shot_search(tiny_config, load_digits(), out=folder))


def shared_file(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"needs {name} in the shared data folder beside the project")
    return path
