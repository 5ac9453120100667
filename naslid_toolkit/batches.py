"""Batches of images in random order, moved and mirrored on the images' own device."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError

Augmentation = Literal["none", "shift", "crop_flip"]


def batches(
    images: Images, batch_size: int, *, draw: torch.Generator, augmentation: Augmentation = "none"
) -> Iterator[Images]:
    """Go once through the images in random order; a last, smaller batch is left out.

    Parameters
    ----------
    images
        The images of one epoch.
    batch_size
        Images in a batch, at most ``len(images)``.
    draw
        Generator of the order and the augmentation.
    augmentation
        ``"none"``; ``"shift"`` moves each image by up to an eighth of its width;
        ``"crop_flip"`` also mirrors half of the images.

    Yields
    ------
    Images
        ``len(images) // batch_size`` batches.

    Raises
    ------
    ConfigError
        If there are fewer images than one batch.
    """
    if not 0 < batch_size <= len(images):
        raise ConfigError(f"a batch of {batch_size} needs as many images, there are {len(images)}")
    device, count = images.pixels.device, len(images) // batch_size
    order = torch.randperm(len(images), generator=draw).to(device)
    moves: tuple[Tensor, Tensor] | None = None
    if augmentation != "none":  # drawn before the first batch, so that no batch waits for them
        size = images.pixels.shape[-1]
        drawn = [_moves(batch_size, size, augmentation, draw) for _ in range(count)]
        shifts, mirrored = zip(*drawn, strict=True)
        moves = torch.stack(shifts).to(device), torch.stack(mirrored).to(device)
    for number in range(count):
        batch = images[order[number * batch_size : (number + 1) * batch_size]]
        yield batch if moves is None else _augmented(batch, moves[0][number], moves[1][number])


def _margin(size: int) -> int:
    """Return by how many pixels an image is moved at most."""
    return max(1, size // 8)


def _moves(
    count: int, size: int, augmentation: Augmentation, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw by how much each image of a batch is moved, and which are mirrored."""
    shifts = torch.randint(2 * _margin(size) + 1, (2, count, 1), generator=draw)
    if augmentation == "crop_flip":
        return shifts, torch.rand(count, 1, generator=draw) < 0.5
    return shifts, torch.zeros(count, 1, dtype=torch.bool)


def _augmented(batch: Images, shifts: Tensor, mirrored: Tensor) -> Images:
    """Move every image of a batch by its own amount, and mirror those that are to be."""
    pixels, count, size = batch.pixels, len(batch), batch.pixels.shape[-1]
    padded = nn.functional.pad(pixels, (_margin(size),) * 4)
    rows = torch.arange(pixels.shape[-2], device=pixels.device) + shifts[0]
    columns = torch.arange(size, device=pixels.device) + shifts[1]
    columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(count, device=pixels.device)[:, None, None]
    shifted = padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return Images(shifted.contiguous(), batch.labels)
