"""Pictures: whatever Pillow reads, as red, green and blue, or as grey floats."""

import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from naslid_toolkit.errors import DataError

# These formats are no pictures of their own, or are drawn by another program.
_FOREIGN: Final = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
# Recognised in files of any name; others begin like much that is no picture.
_UNMISTAKABLE: Final = frozenset({"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "WEBP"})
Pixels = np.ndarray[Any, np.dtype[np.float32]]
_TOO_LARGE: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_BROKEN: Final = (
    OSError,
    ValueError,
    SyntaxError,  # what Pillow raises for a broken PNG file
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
    *_TOO_LARGE,
)
_ORIENTATION: Final = 0x0112  # tags of EXIF and TIFF
_BITS: Final = 258
_SAMPLE_FORMAT: Final = 339
_SIGNED: Final = 2
_START: Final = 200  # bytes of what is no picture that are looked at
_NAMED: Final = 3  # examples in a line about several things

ALPHA: Final = "images with transparency, laid on white"
FRAMES: Final = "images of several frames, of which the first is used"
TURNED: Final = "images turned as their EXIF orientation says"
UNTURNED: Final = "images with damaged EXIF data, not turned"
DEEP: Final = "images of more than 8 bits, scaled by their bit depth"
NUMBERS: Final = "images of whole numbers, taken as 8 bits"
FLOATS: Final = "images of floats, taken as 0 (black) to 1 (white)"


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Parameters
    ----------
    image
        In mode ``RGB``, or in mode ``F`` with grey values in [0, 1].
    remarks
        What had to be decided to read it, as it is said of many pictures.
    """

    image: Image.Image
    remarks: tuple[str, ...]

    def pixels(self) -> Pixels:
        """Return the pixels, shape ``(3, height, width)``, in [0, 1]."""
        values = np.array(self.image, dtype=np.float32)
        if values.ndim == 2:
            return np.repeat(values[None], 3, axis=0)
        return np.ascontiguousarray(values.transpose(2, 0, 1)) / np.float32(255)


@dataclass(slots=True)
class Tally:
    """Counts of what happened to many files or pictures, with the names of the first."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= _NAMED:
            self.names.setdefault(kind, []).append(name)

    def lines(self) -> list[str]:
        """Say every kind in a line.

        Examples
        --------
        >>> tally = Tally()
        >>> for number in range(5):
        ...     tally.add("left out", f"{number}.txt")
        >>> tally.lines()
        ['left out: 5 (0.txt, 1.txt, 2.txt, ...)']
        """
        lines = []
        for kind, count in self.counts.items():
            more = ", ..." if count > len(self.names[kind]) else ""
            lines.append(f"{kind}: {count:,} ({', '.join(self.names[kind])}{more})")
        return lines


def is_picture(path: Path) -> bool:
    """Say whether a file is taken for a picture: by the ending of its name, or by its content.

    A file that ends like a picture is one, damaged or not, so that none gets lost silently.
    """
    if path.suffix.lower() in _endings():
        return True
    try:
        with _unwarned(), Image.open(path, formats=sorted(_UNMISTAKABLE & set(_formats()))):
            return True
    except _TOO_LARGE:
        return True
    except _BROKEN:
        return False


def read_picture(source: Path | bytes, name: str) -> Picture:
    """Decode one picture.

    The first frame of several; turned as its EXIF orientation says; transparent parts on white;
    palettes, CMYK and the like as red, green and blue. Grey values of more than 8 bits and
    floats keep their precision: whole numbers are divided by the largest of their bit depth,
    floats must lie in [0, 1].

    Parameters
    ----------
    source
        A file, or its content.
    name
        What an error calls it.

    Raises
    ------
    DataError
        If it cannot be decoded, has more pixels than Pillow thinks safe, or a range that does
        not say what is white.
    """
    content = io.BytesIO(source) if isinstance(source, bytes) else source
    suffix = "" if isinstance(source, bytes) else source.suffix.lower()
    try:
        with _unwarned(), Image.open(content, formats=_formats(suffix)) as image:
            return _decoded(image)
    except _BROKEN as error:
        what = "decoded" if isinstance(source, bytes) else "read as an image"
        raise DataError(f"{name} cannot be {what}: {_what_it_is(source, error)}") from error


def picture_bytes(cell: Any, name: str) -> bytes:  # noqa: ANN401 - a cell
    """Return the content of a picture from a cell: bytes, or ``{bytes, path}``.

    Raises
    ------
    DataError
        If there is none; names the picture.
    """
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    path = cell.get("path") if isinstance(cell, dict) else None
    if isinstance(content, bytes):
        return content
    path = content if isinstance(content, str) else path
    if path:
        raise DataError(
            f"{name} is only the path {path!r}, not the image itself; collect the files in a "
            f"folder for each class and pack them with 'naslid pack'"
        )
    raise DataError(f"{name} is null; leave this row out of the file")


def number_pixels(rows: Any, kind: str, name: str) -> tuple[Pixels, tuple[str, ...]]:  # noqa: ANN401
    """Return the pixels of an image that is stored as nested lists of numbers.

    Parameters
    ----------
    rows
        Shape ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)``
        with 1 or 3 channels.
    kind
        Type of the numbers, ``"uint8"`` for instance. Floats must lie in [0, 1], numbers of
        ``uint16`` are divided by 65,535, other whole numbers are taken as 8 bits.
    name
        What an error calls it.

    Returns
    -------
    tuple
        Pixels as of :meth:`Picture.pixels`, and what had to be decided.

    Raises
    ------
    DataError
        If the shape or the range of the numbers is another.
    """
    remark, largest = NUMBERS, 255
    if kind == "uint16":
        remark, largest = DEEP, 2**16 - 1
    elif "int" not in kind:
        remark, largest = FLOATS, 1
    try:
        values = _scaled(np.array(rows, dtype=np.float64), largest)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} cannot be decoded: {error}") from error
    if values.ndim == 2:
        values = values[None]
    elif values.ndim == 3 and values.shape[-1] in {1, 3}:
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or len(values) not in {1, 3}:
        raise DataError(f"{name} has the shape {np.shape(rows)}; 1 or 3 channels are needed")
    return np.ascontiguousarray(
        np.broadcast_to(values, (3, *values.shape[1:]))
    ), () if kind == "uint8" else (remark,)


def fitted(pixels: Tensor, size: int | None, *, square: bool = False) -> Tensor:
    """Bring an image to a height.

    Parameters
    ----------
    pixels
        Shape ``(channels, height, width)``.
    size
        The height; the width follows in proportion. A larger image is averaged over areas of
        equal size, squares of pixels where these fill it; a smaller one is put into the middle
        of one at least ``size`` wide, whose border repeats its own. None leaves it.
    square
        Whether to take the largest square in the middle first.

    Returns
    -------
    Tensor
        Shape ``(channels, size, new width)``.
    """
    if square:
        side = min(pixels.shape[1:])
        top, left = ((length - side) // 2 for length in pixels.shape[1:])
        pixels = pixels[:, top : top + side, left : left + side]
    height, width = pixels.shape[1:]
    if size is None or size == height:
        return pixels
    if size > height:
        more = size - height, max(size - width, 0)
        (top, left) = (one // 2 for one in more)
        border = (left, more[1] - left, top, more[0] - top)
        return nn.functional.pad(pixels[None], border, mode="replicate")[0]
    side, rest = divmod(height, size)
    if not rest and not width % side:
        return nn.functional.avg_pool2d(pixels, side)
    columns = max(round(width * size / height), 1)
    return _areas(height, size) @ pixels @ _areas(width, columns).T


def _areas(length: int, count: int) -> Float[Tensor, "count length"]:
    """Return the weights of pixels in the means over ``count`` equal stretches of a side."""
    edges = torch.arange(count + 1) * (length / count)
    starts = torch.arange(length)
    inside = torch.minimum(edges[1:, None], starts + 1) - torch.maximum(edges[:-1, None], starts)
    return inside.clamp_min(0) * (count / length)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Turn Pillow's warning of too many pixels into an error; others name no file, leave them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@cache
def _formats(suffix: str = "") -> tuple[str, ...]:
    """Return Pillow's formats; those that any content passes for only with their own ending."""
    Image.init()
    own = Image.registered_extensions().get(suffix)
    known = [
        name
        for name, (_, recognises) in Image.OPEN.items()
        if name not in _FOREIGN and (recognises is not None or name == own)
    ]
    return tuple(sorted(known, key=lambda name: name not in {"JPEG", "PNG"}))  # tried in order


@cache
def _endings() -> frozenset[str]:
    Image.init()
    readable = (Image.OPEN.keys() | {"MPO"}) - _FOREIGN
    extensions = Image.registered_extensions()
    return frozenset(ending for ending, name in extensions.items() if name in readable)


def _what_it_is(source: Path | bytes, error: Exception) -> str:
    """Say why something is no picture."""
    if not isinstance(error, UnidentifiedImageError):
        return str(error)
    start = source[:_START] if isinstance(source, bytes) else _beginning(source)
    if not start:
        return "it is empty"
    if start.isascii():
        return f"it is text that begins with {start[:20].decode()!r}"
    return "its format is not known"


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_START)


def _decoded(image: Image.Image) -> Picture:
    remarks = [FRAMES] if getattr(image, "is_animated", False) else []
    try:
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            remarks.append(TURNED)
    except _BROKEN:
        remarks.append(UNTURNED)
    largest = _largest(image)
    image.load()  # turns a TIFF file itself
    upright = ImageOps.exif_transpose(image) if TURNED in remarks else image
    if largest is not None:
        remarks.append(FLOATS if largest == 1 else DEEP)
        grey = Image.fromarray(_scaled(np.asarray(upright), largest))
        return Picture(grey, tuple(remarks))
    if "transparency" in upright.info or upright.mode in {"LA", "La", "PA", "RGBA", "RGBa"}:
        whole = upright.convert("RGBA")
        if whole.getchannel("A").getextrema() != (255, 255):
            remarks.append(ALPHA)
            white = Image.new("RGBA", whole.size, "white")
            white.alpha_composite(whole)
            whole = white
        return Picture(whole.convert("RGB"), tuple(remarks))
    return Picture(upright.convert("RGB"), tuple(remarks))


def _largest(image: Image.Image) -> int | None:
    """Return the value that is white in a picture of deep grey values; None for others."""
    if image.mode == "F":
        return 1
    if not image.mode.startswith("I"):
        return None
    tags: Any = getattr(image, "tag_v2", {})  # of TIFF files
    if _BITS in tags:
        signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
        return int(2 ** (tags[_BITS][0] - signed)) - 1
    deep = image.mode == "I" and image.format not in {"PNG", "PPM"}
    return 2**31 - 1 if deep else 2**16 - 1


def _scaled(values: np.ndarray[Any, np.dtype[Any]], largest: int) -> Pixels:
    """Bring numbers to [0, 1].

    Raises
    ------
    ValueError
        If their range does not fit what would be white.
    """
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= largest):
        kind = "floats" if largest == 1 else "whole numbers"
        raise ValueError(
            f"it holds {kind} from {low:g} to {high:g}, expected 0 to {largest:,}; scale them"
        )
    if largest >= 2**31 - 1 and 0 < high < 2**16:
        raise ValueError(
            f"it holds whole numbers of 32 bits from {low:g} to {high:g}, all but black by that "
            f"depth; save them as 8 or 16 bits, or as floats in 0 to 1"
        )
    return (values / np.float32(largest)).astype(np.float32)
