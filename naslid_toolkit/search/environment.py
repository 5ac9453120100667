"""What a reader needs to know to repeat a run: versions, platform, threads, commit, images."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.runtime import generator

_PACKAGES: Final = ("naslid-toolkit", "torch", "numpy", "pandas", "scipy", "safetensors")
_PROJECTIONS: Final = 4
_BLOCK: Final = 4096  # images at a time, since they are widened to float64
_NEAR: Final = 1e-2  # of a projection; rounding moves it by 1e-4, another image by about 10


def environment() -> dict[str, Any]:
    """Collect what a reader needs to repeat the run."""
    return {
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


def image_fingerprint(task: ImageTask) -> tuple[float, ...]:
    """Return a few numbers that change with any image or label of a task.

    Every part is projected on random directions, images by pixels, and labels join in; another
    machine or number of threads, which standardise the same images with other rounding, gives
    nearly the same numbers (:func:`same_images`), where a hash of them would not be equal.
    """
    numbers = []
    for part in ("train", "valid", "test"):
        images = getattr(task, part)
        blocks = images.pixels.flatten(1).split(_BLOCK)
        draw = generator(0, "fingerprint", part)
        directions = torch.randn(blocks[0].shape[1], _PROJECTIONS, generator=draw).double()
        weights = torch.randn(len(images), _PROJECTIONS, generator=draw).double()
        values = torch.cat([block.cpu().double() @ directions for block in blocks])
        values += images.labels.cpu().double()[:, None]
        numbers += (weights * values).sum(0).tolist()
    return tuple(round(number, 6) for number in numbers)


def same_images(one: Sequence[float], other: Sequence[float]) -> bool:
    """Say whether two fingerprints are of the same images, but for rounding."""
    return len(one) == len(other) and all(
        abs(a - b) <= _NEAR for a, b in zip(one, other, strict=True)
    )
