"""Images: the embedded digits, and image files in Parquet."""

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from naslid_toolkit.errors import ConfigError, DataError, ShapeError
from naslid_toolkit.runtime import generator

_DIGIT: Final = 8  # pixels
_PIECE: Final = 4
_DIGITS_TRAIN: Final = 900
_DIGITS_VALID: Final = 400  # the remaining 497 digits are the test images


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images with their labels.

    Parameters
    ----------
    pixels
        Shape ``(images, channels, height, width)``, float32, standardised by channel.
    labels
        Shape ``(images,)``, class numbers from 0.
    """

    pixels: Float[Tensor, "images channels height width"]
    labels: Int[Tensor, " labels"]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or len(self.pixels) != len(self.labels):
            raise ShapeError(
                f"pixels of shape {tuple(self.pixels.shape)} do not fit {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> "Images":
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device | str) -> "Images":
        """Return the images on another device."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class ImageTask:
    """A classification task: disjoint training, validation and test images.

    ``name`` says how the task was made; two tasks with the same name are the same images.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    valid: Images
    test: Images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "ImageTask":
        """Return the task with all images on another device."""
        moved = (images.to(device) for images in (self.train, self.valid, self.test))
        return ImageTask(self.name, self.classes, *moved)

    def probe(self, *, batches: int, points: int, seed: int) -> tuple[Tensor, ...]:
        """Draw fixed probe batches for LID: the pixels of :meth:`labelled_probe`."""
        drawn = self.labelled_probe(batches=batches, points=points, seed=seed)
        return tuple(images.pixels for images in drawn)

    def labelled_probe(self, *, batches: int, points: int, seed: int) -> tuple[Images, ...]:
        """Draw fixed probe batches from the training images.

        Parameters
        ----------
        batches, points
            Number of batches, and of images in each; no image is drawn twice.
        seed
            Seed of the draw; the same for every criterion, operation, edge and sub-space.

        Raises
        ------
        ConfigError
            If there are fewer than ``batches * points`` training images.
        """
        if batches * points > len(self.train):
            raise ConfigError(
                f"{batches} probe batches of {points} images need {batches * points} "
                f"training images, there are {len(self.train)}"
            )
        order = torch.randperm(len(self.train), generator=generator(seed, "probe"))
        chosen = order[: batches * points].to(self.train.pixels.device)
        parts = torch.split(chosen, points)
        return tuple(Images(self.train.pixels[p], self.train.labels[p]) for p in parts)


def load_digits(
    *,
    canvas: int = 8,
    noise: float = 0.05,
    distortion: float = 1.0,
    clutter: int = 2,
    copies: int = 4,
    seed: int = 0,
) -> ImageTask:
    """Load the embedded task: 1,797 real handwritten digits, distorted, cluttered and noisy.

    The 8 x 8 digits of scikit-learn (Alpaydin and Kaynak, UCI) are turned, scaled, sheared and
    moved, pieces of other digits are laid over them and noise is added, so that networks differ
    in more than the last per cent. Every digit belongs to one part only: 900 digits for training,
    400 for validation, 497 for test; the copies of a digit differ in all of this. The defaults
    are the task of the benchmark NB201-digits.

    Parameters
    ----------
    canvas
        Height and width in pixels, at least 8; digits keep their size.
    noise
        Standard deviation of the Gaussian noise, in units of the full grey range.
    distortion
        1 turns by up to 20 degrees, scales height and width by up to 15 %, shears by up to 0.1
        and moves by up to 0.6 pixels beside what the canvas leaves; other values in proportion,
        0 only moves within the canvas.
    clutter
        Pieces of 4 x 4 pixels of other digits laid over each image.
    copies
        Images made from each digit.
    seed
        Seed of the split into parts and of everything random in the images.

    Returns
    -------
    ImageTask
        One channel, ten classes, standardised with the training images' mean and deviation.

    Raises
    ------
    ConfigError
        If the canvas is smaller than a digit, or another number is out of range.
    """
    if canvas < _DIGIT or min(noise, distortion, clutter) < 0 or copies < 1:
        raise ConfigError(
            f"digits need canvas >= {_DIGIT}, noise, distortion and clutter >= 0, copies >= 1, "
            f"got {canvas}, {noise}, {distortion}, {clutter}, {copies}"
        )
    from sklearn.datasets import load_digits as load_sklearn_digits  # noqa: PLC0415 - slow import

    raw = load_sklearn_digits()
    grey = torch.tensor(raw.images, dtype=torch.float32) / 16
    labels = torch.tensor(raw.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=generator(seed, "digits", "parts"))
    bounds = (0, _DIGITS_TRAIN, _DIGITS_TRAIN + _DIGITS_VALID, len(labels))
    parts = []
    for name, start, stop in zip(("train", "valid", "test"), bounds, bounds[1:], strict=False):
        chosen = order[start:stop].repeat(copies)
        draw = generator(seed, "digits", name)
        images = _distorted(grey[chosen], canvas, distortion, draw)
        for _ in range(clutter):
            _lay_over(images, grey[chosen], draw)
        images += torch.randn(images.shape, generator=draw) * noise
        parts.append(Images(images, labels[chosen]))
    task_name = (
        f"digits(canvas={canvas}, noise={noise:g}, distortion={distortion:g}, clutter={clutter}, "
        f"copies={copies}, seed={seed})"
    )
    return _standardised(task_name, tuple(str(digit) for digit in range(10)), parts)


def _distorted(
    grey: Float[Tensor, "images 8 8"], canvas: int, strength: float, draw: torch.Generator
) -> Float[Tensor, "images 1 canvas canvas"]:
    """Put each small image on a canvas by a random affine map of its own."""
    count = len(grey)

    def within(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(count, *shape, generator=draw) - 1) * limit

    angle = within(math.radians(20) * strength)
    sizes = torch.exp(within(0.15 * strength, 2))
    shear = within(0.1 * strength)
    rows = [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    stretch = torch.diag_embed(1 / sizes)
    stretch[:, 0, 1] = shear
    onto = stretch @ turn * (canvas / _DIGIT)  # from places on the canvas to places in the digit
    centre = within(1 - _DIGIT / canvas + 0.15 * strength, 2, 1)
    grid = nn.functional.affine_grid(
        torch.cat([onto, -onto @ centre], 2), [count, 1, canvas, canvas], align_corners=False
    )
    return nn.functional.grid_sample(grey[:, None], grid, align_corners=False)


def _lay_over(images: Tensor, grey: Float[Tensor, "images 8 8"], draw: torch.Generator) -> None:
    """Lay a piece of another digit over each image, at a random place; brighter pixels stay."""
    count, canvas = len(images), images.shape[-1]
    other = grey[torch.randint(count, (count,), generator=draw)]
    source = torch.randint(_DIGIT - _PIECE + 1, (count, 2), generator=draw)
    target = torch.randint(canvas - _PIECE + 1, (count, 2), generator=draw)
    step, which = torch.arange(_PIECE), torch.arange(count)[:, None, None]

    def place(corner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return which, (corner[:, :1] + step)[:, :, None], (corner[:, 1:] + step)[:, None, :]

    piece, at = other[place(source)], place(target)
    view = images[:, 0]
    view[at] = torch.maximum(view[at], piece)


def load_image_parquet(
    path: str | Path,
    *,
    valid: int | float = 0.2,
    test: int | float = 0.2,
    limit: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> ImageTask:
    """Load images in the Hugging Face layout: an image column ``{bytes, path}`` and a label.

    Parameters
    ----------
    path
        A Parquet file; CIFAR-10 in this layout is one such file. Images are decoded with
        Pillow and must all have the same size.
    valid, test
        Validation and test images: a number, or a share of all images.
    limit
        Use only this many images, drawn at random; None uses all.
    size
        Reduce the images to this height by averaging squares of pixels; None leaves them.
    seed
        Seed of the draw and of the split into parts.

    Returns
    -------
    ImageTask
        Standardised with the training images' mean and deviation of each channel.

    Raises
    ------
    DataError
        If the file is missing, not Parquet, truncated, or not in this layout; the message
        names the file and what was expected.
    ConfigError
        If no training images would be left, or the images cannot be divided into squares that
        give this size.
    """
    path = Path(path)
    image_column, label_column, names = _image_schema(path)
    table = _read_parquet(path, [image_column, label_column])
    order = torch.randperm(table.num_rows, generator=generator(seed, "parquet", "parts"))[:limit]
    counts = [_count(share, len(order)) for share in (valid, test)]
    if sum(counts) >= len(order):
        raise ConfigError(f"{valid} validation and {test} test images leave none of {len(order)}")
    table = table.take(order.numpy())
    pixels = _reduced(_decode(path, table[image_column]), size)
    labels = torch.from_numpy(table[label_column].to_numpy().astype(np.int64))
    classes = names or tuple(str(label) for label in range(int(labels.max()) + 1))
    bounds = (0, len(order) - sum(counts), len(order) - counts[1], len(order))
    parts = [Images(pixels[a:b], labels[a:b]) for a, b in itertools.pairwise(bounds)]
    sizes = ", ".join(str(len(part)) for part in parts)
    shape = "" if size is None else f", size={size}"
    return _standardised(f"{path.name}(images={sizes}{shape}, seed={seed})", classes, parts)


def _image_schema(path: Path) -> tuple[str, str, tuple[str, ...]]:
    """Find the image column, the label column and the class names of a Parquet file."""
    expected = "expected a Parquet file with an image column {bytes, path} and an integer label"
    if not path.is_file():
        raise DataError(f"no file {path}; {expected}")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is damaged or not a Parquet file; {expected}") from error
    images = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    labels = [field.name for field in schema if pa.types.is_integer(field.type)]
    if not images or not labels:
        raise DataError(f"{path} has the columns {schema.names}; {expected}")
    label = "label" if "label" in labels else labels[0]
    return images[0], label, _class_names(schema, label)


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Read the class names from the schema's ``huggingface`` metadata, if it holds any."""
    import json  # noqa: PLC0415 - only for files that carry metadata

    raw = (schema.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(raw)["info"]["features"][label]["names"] if raw else ()
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(str(name) for name in names)


def _read_parquet(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is damaged: its columns {columns} cannot be read") from error


def _decode(path: Path, column: pa.ChunkedArray) -> Tensor:
    """Decode all images into ``(images, 3, height, width)`` float32 in [0, 1]."""
    decoded: list[np.ndarray[Any, Any]] = []
    for row, cell in enumerate(column.to_pylist()):
        try:
            decoded.append(np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")))
        except (UnidentifiedImageError, OSError, TypeError) as error:
            raise DataError(f"image {row} of {path} cannot be decoded") from error
        if decoded[-1].shape != decoded[0].shape:
            sizes = f"{decoded[0].shape[:2]} and {decoded[-1].shape[:2]}"
            raise DataError(f"the images of {path} have different sizes: {sizes}")
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float().div_(255).contiguous()


def _reduced(pixels: Tensor, size: int | None) -> Tensor:
    """Average squares of pixels, so that the images have this height."""
    if size is None:
        return pixels
    height, width = pixels.shape[-2:]
    side = height // max(size, 1)
    if size < 1 or height % size or width % side:
        raise ConfigError(
            f"images of {height} x {width} cannot be reduced to a height of {size}: take a divisor "
            f"of {height}, or images.size = 0 to keep them"
        )
    return nn.functional.avg_pool2d(pixels, side)


def _count(share: int | float, total: int) -> int:
    return round(share * total) if isinstance(share, float) else share


def _standardised(name: str, classes: tuple[str, ...], parts: Sequence[Images]) -> ImageTask:
    train = parts[0].pixels
    mean = train.mean(dim=(0, 2, 3), keepdim=True)
    deviation = train.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    scaled = [replace(part, pixels=(part.pixels - mean) / deviation) for part in parts]
    return ImageTask(name, classes, *scaled)
