"""A folder of images, one folder a class, packed into one Parquet file."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, DataError, ShapeError
from naslid_toolkit.runtime import OnEvent, WorkDone, ignore_event, replacing

_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


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
        folders are the names of the classes, in alphabetical order. Hidden folders are left out.
    out
        The file to write; one that exists is not overwritten.
    size
        Height and width of the packed images in pixels: the largest square in the middle of an
        image is scaled to it. None keeps images as they are, and wants all of the same size.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    Path
        The file: columns ``image`` (PNG bytes and the path below ``folder``) and ``label``, and
        the class names in its metadata, the layout of Hugging Face's image data sets.

    Raises
    ------
    DataError
        If the folder holds fewer than two classes with images, or an image cannot be read.
    ConfigError
        If the file exists, or ``size`` is less than 4.
    """
    folder, out = Path(folder), Path(out)
    if out.exists():
        raise ConfigError(f"{out} exists already; name another file or remove it")
    if size is not None and size < 4:
        raise ConfigError(f"images need at least 4 x 4 pixels, got size={size}")
    classes = _classes(folder)
    chosen = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    images: list[dict[str, bytes | str]] = []
    expected: tuple[int, int] | None = None
    for number, (path, _) in enumerate(chosen, start=1):
        image = _read(path, size)
        expected = expected or image.size
        if image.size != expected:
            raise DataError(
                f"{path} has {image.size[0]} x {image.size[1]} pixels, others "
                f"{expected[0]} x {expected[1]}; give a size to scale all of them to"
            )
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        images.append({"bytes": buffer.getvalue(), "path": path.relative_to(folder).as_posix()})
        on_event(WorkDone("packing", number, len(chosen), "images"))
    table = pa.table({"image": images, "label": pa.array([label for _, label in chosen])})
    features = {"label": {"names": list(classes), "_type": "ClassLabel"}}
    described = json.dumps({"info": {"features": features}})
    with replacing(out) as temporary:
        pq.write_table(table.replace_schema_metadata({"huggingface": described}), temporary)
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


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each class."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; expected one with a folder of images for each class")
    found = {
        place.name: sorted(p for p in place.rglob("*") if p.suffix.lower() in _ENDINGS)
        for place in sorted(folder.iterdir())
        if place.is_dir() and not place.name.startswith(".")
    }
    classes = {name: paths for name, paths in found.items() if paths}
    if len(classes) < 2:
        raise DataError(
            f"{folder} holds images of {len(classes)} class(es): {', '.join(classes) or 'none'}; "
            f"expected at least two folders with images, one for each class"
        )
    return classes


def _read(path: Path, size: int | None) -> Image.Image:
    try:
        with Image.open(path) as image:
            whole = image.convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    return whole if size is None else ImageOps.fit(whole, (size, size))
