"""Pictures and Parquet files of pictures that were made, or damaged, to break their reader."""

import io
import json
import os
import random
import struct
import zlib
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from naslid_toolkit.datasets import load_image_parquet
from naslid_toolkit.errors import DataError
from naslid_toolkit.packing import pack_images
from naslid_toolkit.pictures import read_picture


def picture(number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def empty_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


PICTURES = [{"bytes": picture(number), "path": "a"} for number in range(12)]
LABELS = [number % 2 for number in range(12)]


def write(path, metadata=None, labels=LABELS, images=PICTURES):
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def load(path):
    return load_image_parquet(path, valid=2, test=2)


def test_a_picture_of_more_pixels_than_memory_holds_is_refused(tmp_path):
    bomb = empty_png(60_000, 60_000)
    path = write(tmp_path / "i.parquet", images=[{"bytes": bomb, "path": "a"}] * 12)

    for read in (lambda: read_picture(bomb, "bomb"), lambda: load(path)):
        with pytest.raises(DataError, match=r"3600000000 pixels"):
            read()


def declared(**label):
    return json.dumps({"info": {"features": {"label": label}}}).encode()


BROKEN = [b"{", b"\xff", b"[]", b"null", b"[" * 100_000]
ODD = [
    declared(_type=[], names=["0", "1"]),
    declared(_type={}, names=None),
    declared(_type="ClassLabel", names=5),
    declared(_type="ClassLabel", names=["a", None]),
    b'{"info": null}',
    b'{"info": {"features": []}}',
]


@pytest.mark.parametrize("metadata", BROKEN + ODD)
def test_damaged_declarations_of_columns_are_not_used(tmp_path, metadata):
    path = write(tmp_path / "i.parquet", {b"huggingface": metadata, b"pandas": metadata})

    task = load(path)

    assert task.classes == ("0", "1")
    assert ("is damaged and was not used" in task.notes[0]) == (metadata in BROKEN)


def test_a_class_that_is_declared_twice_is_refused(tmp_path):
    names = declared(_type="ClassLabel", names=["a", "a"])

    with pytest.raises(DataError, match="declares the class 'a' twice"):
        load(write(tmp_path / "i.parquet", {b"huggingface": names}))


@pytest.mark.parametrize("label", [-1, None, 10**9, -(2**63)])
def test_a_label_that_no_declared_class_has_is_refused(tmp_path, label):
    names = declared(_type="ClassLabel", names=["a", "b"])
    path = write(tmp_path / "i.parquet", {b"huggingface": names}, [label, *LABELS[1:]])

    with pytest.raises(DataError, match="row 0 of .* has (no )?label"):
        load(path)


def test_a_damaged_file_of_pictures_is_read_or_refused(tmp_path):
    whole, draw = write(tmp_path / "i.parquet").read_bytes(), random.Random(1)

    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 4)):  # near the end, where the columns are described
            changed[-draw.randrange(1, 1500)] = draw.randrange(256)
        (tmp_path / "i.parquet").write_bytes(changed)
        with suppress(DataError):
            load(tmp_path / "i.parquet")


def test_a_column_whose_name_is_no_text_is_refused(tmp_path):
    path = write(tmp_path / "i.parquet")
    path.write_bytes(path.read_bytes().replace(b"label", b"\xff\xfe\xfd\xfc\xfb"))

    with pytest.raises(DataError, match="damaged"):
        load(path)


@pytest.mark.parametrize("name", ["pipe", "folder", "/dev/zero"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    with pytest.raises(DataError):
        load(tmp_path / name)
    with pytest.raises(DataError):
        load([write(tmp_path / "i.parquet"), tmp_path / name])


def test_names_of_pictures_and_files_need_not_be_in_utf_8(tmp_path):
    for folder in (b"a", b"b\xff"):
        (tmp_path / "in" / os.fsdecode(folder)).mkdir(parents=True)
        for number in range(6):
            place = tmp_path / "in" / os.fsdecode(folder) / os.fsdecode(b"%d\xff.png" % number)
            place.write_bytes(picture(number))
    os.mkfifo(tmp_path / "in" / "a" / "pipe.png")
    odd = tmp_path / os.fsdecode(b"o\xff.parquet")

    pack_images(tmp_path / "in", tmp_path / "out.parquet")
    odd.write_bytes((tmp_path / "out.parquet").read_bytes())

    assert load(tmp_path / "out.parquet").classes == ("a", "b\N{REPLACEMENT CHARACTER}")
    for refused in (lambda: load(odd), lambda: pack_images(tmp_path / "in", odd)):
        with pytest.raises(DataError, match=r"o\\xff.parquet: this name is not in UTF-8"):
            refused()
