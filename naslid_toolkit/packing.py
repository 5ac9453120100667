"""A folder of images, one folder a class, packed into one Parquet file."""

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, DataError, ShapeError
from naslid_toolkit.image_columns import check_name
from naslid_toolkit.image_folders import ImageFolder, scan_folder
from naslid_toolkit.image_tables import SPLIT
from naslid_toolkit.pictures import Tally, read_picture
from naslid_toolkit.runtime import (
    OnEvent,
    Remark,
    WorkDone,
    check_output,
    ignore_event,
    replacing,
)

_ROWS: Final = 64  # images written, and later read, at a time
_SPLIT_WORDS: Final = {"train": "train", "valid": "validation", "test": "test"}


def pack_images(
    folder: str | Path,
    out: str | Path,
    *,
    size: int | None = None,
    on_event: OnEvent = ignore_event,
) -> Path:
    """Pack a folder of images into one Parquet file.

    It is what :func:`~naslid_toolkit.datasets.load_image_parquet` reads.

    Parameters
    ----------
    folder
        One folder for each class, with its images, at any depth, below; the names of these
        folders are the names of the classes, in alphabetical order. Or folders ``train``,
        ``val`` and ``test`` that hold such folders each: a search keeps this division. Links
        are followed. Hidden files and those of operating systems are left out.
    out
        The file to write; one that exists is not overwritten.
    size
        Height and width of the packed images in pixels: the largest square in the middle of an
        image is scaled to it. None keeps images as they are, and wants all of the same size.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`, and a
        :class:`~naslid_toolkit.runtime.Remark` on each thing that was decided or left out.

    Returns
    -------
    Path
        The file: columns ``image`` (PNG bytes and the path below ``folder``), ``label``, and,
        if the folder is divided, ``split``; the class names are in its metadata, the layout of
        Hugging Face's image data sets. Grey images of more than 8 bits keep 16.

    Raises
    ------
    DataError
        If the folder holds fewer than two classes with images, is divided in a way that cannot
        be followed, or an image cannot be read.
    ConfigError
        If the file exists or lies in the folder, or ``size`` is less than 4.
    """
    folder, out = Path(folder), Path(out)
    check_name(out)
    if out.exists():
        raise ConfigError(f"{out} exists already; name another file or remove it")
    check_output(out, [folder])
    if size is not None and size < 4:
        raise ConfigError(f"images need at least 4 x 4 pixels, got size={size}")
    found, tally = scan_folder(folder), Tally()
    schema = _schema(found)
    rows = _rows(found, size, tally, on_event)
    for note in found.notes:
        on_event(Remark(note))
    with replacing(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while some := list(itertools.islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema))
    for line in tally.lines():
        on_event(Remark(line))
    return out


def write_images(images: Images, folder: str | Path, *, classes: Sequence[str] = ()) -> Path:
    """Write images as PNG files, one folder for each class: what :func:`pack_images` reads.

    Parameters
    ----------
    images
        One or three channels; the smallest value becomes black, the largest white.
    folder
        A folder that does not exist yet.
    classes
        Names of the classes; those beyond are named by their number.

    Raises
    ------
    ConfigError
        If the folder exists, or the name of a class cannot be that of a folder.
    ShapeError
        If the images have another number of channels.
    """
    folder, channels = Path(folder), images.pixels.shape[1]
    if folder.exists():
        raise ConfigError(f"{folder} exists already; name another folder or remove it")
    if channels not in {1, 3}:
        raise ShapeError(f"images have 1 or 3 channels, got {channels}")
    for name in classes:
        if name in {"", ".", ".."} or Path(name).name != name:
            raise ConfigError(f"a class is called {name!r}, which cannot be the name of a folder")
    low, high = float(images.pixels.min()), float(images.pixels.max())
    grey = ((images.pixels - low) / max(high - low, 1e-12) * 255).round().byte().cpu()
    for number, (pixels, label) in enumerate(zip(grey, images.labels.tolist(), strict=True)):
        name = classes[label] if label < len(classes) else str(label)
        (folder / name).mkdir(parents=True, exist_ok=True)
        array = pixels.permute(1, 2, 0).numpy()
        Image.fromarray(array[..., 0] if channels == 1 else array).save(
            folder / name / f"{number:05d}.png"
        )
    return folder


def _schema(found: ImageFolder) -> pa.Schema:
    """Return the columns, with what Hugging Face's data sets declare of them."""
    features: dict[str, dict[str, Any]] = {
        "image": {"_type": "Image"},
        "label": {"names": list(found.classes), "_type": "ClassLabel"},
    }
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("image", picture), ("label", pa.int64())]
    if found.is_divided:
        features[SPLIT] = {"dtype": "string", "_type": "Value"}
        fields.append((SPLIT, pa.string()))
    info = {"description": "\n".join(found.notes), "features": features}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": info})})


def _rows(
    found: ImageFolder, size: int | None, tally: Tally, on_event: OnEvent
) -> Iterator[dict[str, Any]]:
    """Read image by image; keep count of what had to be decided."""
    expected: tuple[int, int] | None = None
    for number, file in enumerate(found.files, start=1):
        picture = read_picture(file.path, str(file.path))
        image = picture.image if size is None else ImageOps.fit(picture.image, (size, size))
        expected = expected or image.size
        if image.size != expected:
            raise DataError(
                f"{file.path} has {image.size[0]} x {image.size[1]} pixels, others "
                f"{expected[0]} x {expected[1]}; give a size to scale all of them to (--size 32)"
            )
        for remark in picture.remarks:
            tally.add(remark, file.name)
        yield {
            "image": {"bytes": _png(image), "path": file.name},
            "label": file.label,
            SPLIT: _SPLIT_WORDS.get(file.part or ""),
        }
        on_event(WorkDone("packing", number, len(found.files), "images"))


def _png(image: Image.Image) -> bytes:
    """Return a PNG file: 8 bits of each colour, or 16 bits of deep grey values."""
    if image.mode == "F":
        grey = np.asarray(image).clip(0, 1)  # a cubic scaling goes beyond
        image = Image.fromarray((grey * (2**16 - 1)).round().astype(np.uint16))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
