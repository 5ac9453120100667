"""How well the paths of a supernet classify images, one by one or many in a pass."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.runtime import keep_freed_memory
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.joint import joint_logits
from naslid_toolkit.supernet.network import Supernet

_EVALUATION_BATCH: Final = 256
_EVALUATION_FLOATS: Final = 1 << 26  # of the features of all paths that run in one pass


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to evaluation for a while; every module's mode is restored afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def accuracy(supernet: Supernet, images: Images, architecture: Architecture | None = None) -> float:
    """Return the share of images that a path classifies correctly, in [0, 1].

    Batch statistics are those of equal parts of at most 256 images in the given order, so the
    result does not depend on chance.

    Parameters
    ----------
    supernet
        Unchanged; on the device of the images.
    images
        At least one image with its label.
    architecture
        The path; None for all operations of the supernet's space.
    """
    return evaluate_path(supernet, images, architecture)[0]


def evaluate_path(
    supernet: Supernet, images: Images, architecture: Architecture | None = None
) -> tuple[float, float]:
    """Return accuracy in [0, 1] and mean cross-entropy in nats; see :func:`accuracy`."""
    keep_freed_memory()
    with evaluating(supernet), torch.inference_mode():
        sums = [
            _sums(supernet(part.pixels, architecture)[None], part.labels)
            for part in evaluation_parts(images)
        ]
    ((hits, loss),) = (torch.stack(sums).sum(0) / len(images)).tolist()
    return hits, loss


def evaluate_paths(
    supernet: Supernet, images: Images, architectures: Sequence[Architecture]
) -> list[tuple[float, float]]:
    """Return what :func:`evaluate_path` returns for several paths, which are run in one pass.

    Parameters
    ----------
    supernet, images
        As of :func:`accuracy`.
    architectures
        Paths of the supernet. Those that begin alike share most, so sort them by operations;
        memory stays that of some hundreds of megabytes of features.
    """
    keep_freed_memory()
    images_at_once = len(next(evaluation_parts(images)))
    paths_at_once = max(_EVALUATION_FLOATS // (images_at_once * supernet.skeleton.map_size), 1)
    found: list[tuple[float, float]] = []
    with evaluating(supernet), torch.inference_mode():
        for start in range(0, len(architectures), paths_at_once):
            some = architectures[start : start + paths_at_once]
            sums = [
                _sums(joint_logits(supernet, part.pixels, some), part.labels)
                for part in evaluation_parts(images)
            ]
            means = torch.stack(sums).sum(0) / len(images)
            found += [(hits, loss) for hits, loss in means.tolist()]
    return found


def _sums(logits: Float[Tensor, "paths images classes"], labels: Tensor) -> Tensor:
    """Return hits and cross-entropy of every path, summed over images: ``(paths, 2)``, float64."""
    hits = (logits.argmax(2) == labels).sum(1)
    target = labels.expand(len(logits), -1)
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return torch.stack([hits.double(), losses.sum(1).double()], 1)


def evaluation_parts(images: Images) -> Iterator[Images]:
    """Yield equal parts of at most 256 images, in order."""
    parts = math.ceil(len(images) / _EVALUATION_BATCH)
    chunks = images.pixels.tensor_split(parts), images.labels.tensor_split(parts)
    for pixels, labels in zip(*chunks, strict=True):
        yield Images(pixels, labels)
