"""Images: the embedded digits, and image files in Parquet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from naslid_toolkit.errors import ConfigError, DataError, ShapeError
from naslid_toolkit.image_columns import Numbers
from naslid_toolkit.image_tables import PARTS, Files, ImageTable, open_image_table
from naslid_toolkit.pictures import ALPHA, DEEP, FLOATS, TURNED, Tally, fitted
from naslid_toolkit.runtime import generator

_DIGIT: Final = 8  # pixels
_PIECE: Final = 4
_DIGITS_TRAIN: Final = 900
_DIGITS_VALID: Final = 400  # the remaining 497 digits are the test images
_FILES_NAMED: Final = 3  # in the name of a task
# Conversions that change pixels, as the name of a task says them.
_IN_NAME: Final = {ALPHA: "alpha", DEEP: "deep", FLOATS: "floats", TURNED: "turned"}


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
    ``notes`` say in sentences what was chosen, converted and left out when they were read.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    valid: Images
    test: Images
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "ImageTask":
        """Return the task with all images on another device."""
        parts = {name: getattr(self, name).to(device) for name in PARTS}
        return replace(self, **parts)

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
    path: Files,
    *,
    valid: int | float = 0.2,
    test: int | float = 0.2,
    limit: int | None = None,
    size: int | None = None,
    seed: int = 0,
    image_column: str = "",
    label_column: str = "",
    test_data: Files = (),
    drop_unlabelled: bool = False,
) -> ImageTask:
    """Load images in the Hugging Face layout: an image column ``{bytes, path}`` and a label.

    Parameters
    ----------
    path
        A Parquet file; or several of one kind, as a list, a pattern (``train-*.parquet``) or a
        folder. CIFAR-10 in this layout is one such file. Images are whatever Pillow decodes
        (:func:`~naslid_toolkit.pictures.read_picture`), or nested lists of numbers; all must
        have the same size unless ``size`` is given. A column ``split``, or the names of several
        files, that say ``train``, ``validation`` and ``test`` are followed.
    valid, test
        Validation and test images, of a part that the files do not give: a number, or a share
        of all images that are to be divided.
    limit
        Use only this many images, drawn at random; None uses all.
    size
        Bring the images to this height: by averaging over areas of pixels, or by repeating the
        border of smaller ones. Of images of different sizes the largest square in the middle is
        taken. None leaves them.
    seed
        Seed of the draw and of the split into parts.
    image_column, label_column
        The columns; empty for those that the file declares, else by name, else the only ones of
        their type. Labels are whole numbers or texts.
    test_data
        Files of test images, named as in ``path``.
    drop_unlabelled
        Leave out rows whose label is missing, negative or beyond the names of the classes.

    Returns
    -------
    ImageTask
        Standardised with the training images' mean and deviation of each channel. Its ``notes``
        say what was chosen, converted and left out.

    Raises
    ------
    DataError
        If a file is missing, not Parquet, truncated, or not in this layout, if a column cannot
        be told, or a row has no label; the message names the file, and what to do.
    ConfigError
        If a part would be without images, or ``size`` is less than 1.
    """
    if size is not None and size < 1:
        raise ConfigError(f"images cannot be brought to a height of {size}")
    table = open_image_table(
        path,
        test_data=test_data,
        image_column=image_column,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
    )
    order = torch.randperm(len(table.rows), generator=generator(seed, "parquet", "parts"))
    chosen, division = table.divided(order[:limit].numpy(), (valid, test))
    pixels, tally, sizes = _decoded(table, chosen, size)
    labels = [torch.from_numpy(table.labels[part]) for part in chosen]
    parts = [Images(*pair) for pair in zip(pixels, labels, strict=True)]
    name = _task_name(table, parts, tally.counts, size=size, seed=seed)
    notes = (*table.notes, *division, *sizes, *tally.lines())
    return _standardised(name, table.classes, parts, notes)


def _task_name(
    table: ImageTable, parts: Sequence[Images], remarks: Mapping[str, int], **settings: int | None
) -> str:
    """Say how a task was made: its parts, and whatever is not as usual."""
    names = [path.name for path in table.files]
    said: dict[str, object] = {"images": ", ".join(str(len(part)) for part in parts)}
    if len(names) > _FILES_NAMED:
        said["files"] = len(names)
        names[1:-1] = ["..."]
    if not table.columns.usual:
        said["columns"] = f"{table.columns.image} {table.columns.label}"
    if table.renumbered:
        said["classes"] = len(table.classes)
    if table.parts is not None:
        said["parts"] = "stored"
    if table.starts[-1] > len(table.rows):
        said["unlabelled"] = table.starts[-1] - len(table.rows)
    said |= {_IN_NAME[kind]: count for kind, count in remarks.items() if kind in _IN_NAME}
    said |= {key: value for key, value in settings.items() if value is not None}
    return f"{'+'.join(names)}({', '.join(f'{key}={value}' for key, value in said.items())})"


def _decoded(
    table: ImageTable, chosen: Sequence[Numbers], size: int | None
) -> tuple[list[Tensor], Tally, tuple[str, ...]]:
    """Decode the rows chosen for each part; return pixels, remarks, and what became of sizes."""
    decoded = _kept(table, chosen, size, square=False)
    return decoded or _kept(table, chosen, size, square=True)  # type: ignore[return-value] # never


def _kept(
    table: ImageTable, chosen: Sequence[Numbers], size: int | None, *, square: bool
) -> tuple[list[Tensor], Tally, tuple[str, ...]] | None:
    """Decode, fit and keep image by image; None if sizes differ and ``size`` can mend that."""
    owner, place = np.full((2, table.starts[-1]), -1)
    for number, part in enumerate(chosen):
        owner[table.rows[part]], place[table.rows[part]] = number, np.arange(len(part))
    kept: list[Tensor] = []
    tally, first = Tally(), (0, 0)
    for row, pixels, remarks in table.pictures(owner >= 0):
        shape = pixels.shape[1:]
        first = first if kept else shape
        if shape != first and not square:
            if size is not None:
                return None
            raise DataError(
                f"the images have different sizes, {_by(first)} and {_by(shape)} "
                f"({table.name(row)}); bring them to one by size (--set images.size=32)"
            )
        image = fitted(torch.from_numpy(pixels), size, square=square)
        kept = kept or [image.new_empty(len(part), *image.shape) for part in chosen]
        kept[owner[row]][place[row]] = image
        for remark in remarks:
            tally.add(remark, table.name(row))
    last = tuple(kept[0].shape[-2:])
    how = "reduced by averaging" if last < first else "padded by repeating the border"
    note = f"images of {_by(first)} {how} to {_by(last)}"
    if square:
        note = f"images of different sizes: the middle square of each, brought to {_by(last)}"
    return kept, tally, (note,) if square or last != first else ()


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _standardised(
    name: str, classes: tuple[str, ...], parts: Sequence[Images], notes: tuple[str, ...] = ()
) -> ImageTask:
    """Standardise in place: the images are kept once."""
    train, valid, test = parts
    mean = train.pixels.mean(dim=(0, 2, 3), keepdim=True)
    deviation = train.pixels.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    for part in parts:
        part.pixels.sub_(mean).div_(deviation)
    return ImageTask(name, classes, train, valid, test, notes)
