"""Shared fixtures: one thread, a tiny supernet, tiny images, the shared data files."""

import os
from pathlib import Path

import pytest
import torch

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
def tiny_folder(tmp_path_factory, tiny_config: RunConfig) -> Path:
    """The folder of a finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    few_shot_search(tiny_config, load_digits(), out=folder)
    return folder


def shared_file(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"needs {name} in the shared data folder beside the project")
    return path
