"""Folders of images as people have them: parts, links, odd files, odd pictures."""

import io
import os

import numpy as np
import PIL
import pyarrow.parquet as pq
import pytest
from PIL import Image

from naslid_toolkit import load_image_parquet, pack_images
from naslid_toolkit.cli import main
from naslid_toolkit.errors import DataError
from naslid_toolkit.image_tables import part_of
from naslid_toolkit.runtime import Remark


def picture(shade=0, size=(6, 6)):
    return Image.new("RGB", size, (shade, 255 - shade, 40))


def save(image, path, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)
    return path


def fill(folder, *names, count=2):
    for place, name in enumerate(names):
        for number in range(count):
            save(picture(10 * place + number), folder / name / f"{number}.png")
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "images", "cat", "dog")


def pack(folder, **settings):
    """Return what is packed, by path, and what was said."""
    events = []
    file = pack_images(folder, folder.parent / "out.parquet", on_event=events.append, **settings)
    table = pq.read_table(file).to_pylist()
    rows = {row["image"]["path"]: row for row in table}
    assert len(rows) == len(table)
    return rows, "\n".join(event.text for event in events if isinstance(event, Remark))


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))


# -- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TEST")])
def test_parts_stay_parts_from_folder_to_search(tmp_path, names):
    for part, count in zip(names, (4, 3, 2), strict=True):
        fill(tmp_path / "images" / part, "cat", "dog", count=count)

    rows, said = pack(tmp_path / "images")

    assert {row["split"] for row in rows.values()} == {"train", "validation", "test"}
    assert rows[f"{names[1]}/dog/2.png"]["label"] == 1
    assert rows[f"{names[1]}/dog/2.png"]["split"] == "validation"
    assert "parts: train 8, valid 6, test 4" in said
    task = load_image_parquet(tmp_path / "out.parquet", valid=0.5, test=0.3)
    assert [len(part) for part in (task.train, task.valid, task.test)] == [8, 6, 4]
    assert task.classes == ("cat", "dog")
    assert "parts: train 8 (as stored), valid 6 (as stored), test 4 (as stored)" in task.notes


def test_a_part_that_is_not_stored_comes_from_the_training_part(tmp_path):
    fill(tmp_path / "images" / "train", "cat", "dog", count=10)
    fill(tmp_path / "images" / "test", "cat", "dog", count=3)
    pack(tmp_path / "images")

    task = load_image_parquet(tmp_path / "out.parquet", valid=0.2)

    assert [len(part) for part in (task.train, task.valid, task.test)] == [16, 4, 6]
    assert any("valid 4 (of the training part)" in note for note in task.notes)


def test_classes_that_hold_the_parts_are_followed_too(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            fill(tmp_path / "images" / name, part, count=count)

    rows, said = pack(tmp_path / "images")

    assert "2 classes: cat (5), dog (5)" in said
    assert "parts: train 6, test 4" in said
    assert rows["dog/test/0.png"]["split"] == "test"


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        (["train/cat", "train/dog", "test/cat"], "only train holds dog, not test"),
        (["train/cat", "test/dog"], "only test holds dog, not train"),
        (["train/cat", "train/dog", "test"], "test holds no folders of classes"),
        (["train", "val", "test"], "test holds no folders of classes"),
        (["train", "val", "cat"], r"\(train, val\), but cat like classes"),
        (["train/cat", "train/dog", "extra/cat", "extra/dog"], "extra like classes"),
        (["val/cat", "val/dog", "test/cat", "test/dog"], "none like the training part"),
        (["train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b"], "like the same one"),
    ],
)
def test_a_division_that_cannot_be_followed_is_refused_with_its_reason(tmp_path, folders, why):
    fill(tmp_path / "images", *folders)

    with pytest.raises(DataError, match=why):
        pack(tmp_path / "images")
    assert not (tmp_path / "out.parquet").exists()


def test_a_class_without_a_training_image_is_refused(tmp_path):
    fill(tmp_path / "images", "train/cat", "train/owl", "test/cat", "test/dog", "test/owl")
    (tmp_path / "images" / "train" / "dog").mkdir()

    with pytest.raises(DataError, match="the training part holds no image of dog"):
        pack(tmp_path / "images")


def test_a_class_may_be_called_like_a_part(tmp_path):
    rows, _ = pack(fill(tmp_path / "images", "bus", "car", "train"))

    assert {row["label"] for row in rows.values()} == {0, 1, 2}
    assert "split" not in rows["train/0.png"]
    assert part_of("test_tube") is None


@pytest.mark.parametrize("above", ["data", "data/deeper", "train"])
def test_a_single_folder_of_folders_is_entered_and_said(tmp_path, above):
    fill(tmp_path / "images" / above, "cat", "dog")

    rows, said = pack(tmp_path / "images")

    assert "2 classes: cat (2), dog (2)" in said
    assert f"{above} is the only folder; those in it are taken" in said
    assert f"{above}/dog/1.png" in rows


def test_folders_that_all_classes_hold_alike_are_said(tmp_path):
    _, said = pack(fill(tmp_path / "images", "fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"))

    assert "every class holds folders cat, dog, which are packed together" in said


# -- which files are images -------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending", ["jfif", "ppm", "webp", "jpe", "tga", "JPG", "avif", "jp2", "qoi"]
)
def test_whatever_pillow_reads_is_an_image(folder, ending):
    if f".{ending.lower()}" not in Image.registered_extensions():
        pytest.skip(f"Pillow is built without {ending}")
    kind = Image.registered_extensions()[f".{ending.lower()}"]
    try:
        save(picture(7), folder / "cat" / f"x.{ending}", format=kind)
    except (KeyError, OSError):
        pytest.skip(f"Pillow cannot write {ending}")

    rows, said = pack(folder)

    assert f"cat/x.{ending}" in rows
    assert "left out" not in said


def test_an_image_of_any_name_is_known_by_its_content(folder):
    save(picture(), folder / "cat" / "downloaded", format="PNG")
    save(picture(), folder / "dog" / "photo.jpg_large", format="JPEG")

    rows, _ = pack(folder)

    assert {"cat/downloaded", "dog/photo.jpg_large"} < rows.keys()


def test_what_is_left_out_is_counted_and_named(folder):
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / "cat" / name).write_bytes(b"\0\5\x16\7")
    save(picture(), folder / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    save(picture(), folder / "__MACOSX" / "cat" / "x.png")
    save(picture(), folder / "stray.png")
    (folder / "dog" / "notes.txt").write_text("P5 these dogs")
    (folder / "dog" / "data.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (folder / "dog" / "evil.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (folder / "empty").mkdir()
    (folder / "dog" / "gone.png").symlink_to("nowhere.png")

    rows, said = pack(folder)

    assert len(rows) == 4
    assert "left out, hidden or of the operating system: 6 (__MACOSX, cat/.DS_Store, " in said
    assert "left out, images outside of the folders of classes: 1 (stray.png)" in said
    assert "left out, no images: 3 (dog/data.h5, dog/evil.eps, dog/notes.txt)" in said
    assert "left out, links to nothing: 1 (dog/gone.png)" in said
    assert "folders of classes without images: 1 (empty)" in said


def test_links_are_followed_but_never_in_a_circle(folder, tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", "bird")
    (folder / "bird").symlink_to(elsewhere / "bird")
    (folder / "fish").mkdir()
    (folder / "fish" / "inside").symlink_to(elsewhere / "bird")
    (folder / "cat" / "all").symlink_to(folder)

    rows, said = pack(folder)

    assert "4 classes: bird (2), cat (2), dog (2), fish (2)" in said
    assert "fish/inside/0.png" in rows
    assert "left out, links to a folder above: 1 (cat/all)" in said


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"<html>404</html>", "it is text that begins with '<html>404</html>'"),
        (b"\xff\xfe\0\1" * 20, "its format is not known"),
    ],
)
def test_what_only_ends_like_an_image_is_refused_by_name(folder, content, why):
    (folder / "cat" / "download.jpg").write_bytes(content)

    with pytest.raises(DataError, match=f"download.jpg cannot be read as an image: {why}"):
        pack(folder)


def test_a_truncated_image_is_refused_by_name(folder):
    whole = save(picture(size=(64, 64)), folder / "cat" / "t.jpg").read_bytes()
    (folder / "cat" / "t.jpg").write_bytes(whole[:-60])

    with pytest.raises(DataError, match=r"t\.jpg cannot be read as an image: .*truncated"):
        pack(folder)


@pytest.mark.parametrize("times", [1.5, 3])
@pytest.mark.parametrize("name", ["huge.png", "huge"])
def test_an_image_of_too_many_pixels_is_refused_by_name(folder, monkeypatch, times, name):
    save(picture(size=(30, 30)), folder / "cat" / name, format="PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(900 / times))

    with pytest.raises(DataError, match=rf"{name} cannot be read as an image: Image size \(900"):
        pack(folder)


def test_names_in_any_script_stay_and_spellings_of_one_are_one(tmp_path):
    fill(tmp_path / "images", "train/猫 🐈", "train/chie\u0301n", "test/猫 🐈", "test/chi\u00e9n")

    pack(tmp_path / "images")

    assert load_image_parquet(tmp_path / "out.parquet", valid=1).classes == ("chi\u00e9n", "猫 🐈")


def test_a_name_that_is_no_text_is_packed(folder):
    save(picture(), folder / os.fsdecode(b"caf\xe9") / "x.png")

    rows, _ = pack(folder)

    assert rows["caf\N{REPLACEMENT CHARACTER}/x.png"]["label"] == 0


def test_classes_that_differ_only_in_capitals_are_said(tmp_path):
    _, said = pack(fill(tmp_path / "images", "Cat", "cat", "dog"))

    assert "classes that differ only in capitals or spaces: 'Cat' and 'cat'" in said


def test_images_of_one_name_in_two_folders_are_two(folder):
    fill(folder / "cat", "more")

    assert {"cat/0.png", "cat/more/0.png"} < pack(folder)[0].keys()


# -- what the pixels are ----------------------------------------------------------------------


def test_sixteen_bits_are_scaled_not_clipped(folder):
    deep = np.array([[0, 257, 25700, 65535]], dtype=np.uint16).repeat(6, 0).repeat(2, 1)[:, :6]
    save(Image.fromarray(deep), folder / "cat" / "deep.png")

    rows, said = pack(folder)

    found = pixels(rows["cat/deep.png"])
    assert found.dtype.kind in "ui"
    assert np.array_equal(found, deep)
    assert "images of more than 8 bits, scaled by their bit depth: 1 (cat/deep.png)" in said


@pytest.mark.parametrize(
    ("kind", "largest"), [("<u2", 65535), (">u2", 65535), ("<i4", 2**31 - 1), ("<f4", 1)]
)
def test_deep_tiff_files_of_either_byte_order_keep_their_range(folder, kind, largest):
    shares = np.linspace(0, 1, 36).reshape(6, 6)
    deep = (shares * largest).astype(kind)
    if kind == ">u2":  # written by hand: a strip of big-endian values
        save(Image.fromarray(deep.astype("<u2")), folder / "dog" / "x.tif")
        header = b"MM\0*\0\0\0\x08" + _big_endian_tags(6, 6)
        (folder / "dog" / "x.tif").write_bytes(header + deep.tobytes())
    else:
        save(Image.fromarray(deep), folder / "dog" / "x.tif")

    rows, _ = pack(folder)

    assert np.abs(pixels(rows["dog/x.tif"]) / 65535 - shares).max() < 2e-5


def _big_endian_tags(width, height):
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1)]
    tags += [(278, height), (279, width * height * 2)]
    start = 8 + 2 + 12 * len(tags) + 4
    out = len(tags).to_bytes(2, "big")
    for tag, value in tags:
        out += tag.to_bytes(2, "big") + (4).to_bytes(2, "big") + (1).to_bytes(4, "big")
        out += (start if tag == 273 else value).to_bytes(4, "big")
    return out + bytes(4)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.full((6, 6), 200, np.float32), "floats from 200 to 200, expected 0 to 1"),
        (np.full((6, 6), -0.5, np.float32), "floats from -0.5 to -0.5"),
        (np.full((6, 6), np.nan, np.float32), "floats from nan to nan"),
        (np.full((6, 6), -3, np.int32), "whole numbers from -3 to -3"),
        (
            np.full((6, 6), 4000, np.int32),
            "whole numbers of 32 bits from 4000 to 4000, all but black",
        ),
    ],
)
def test_a_range_without_a_white_is_refused_with_the_range(folder, values, why):
    save(Image.fromarray(values), folder / "cat" / "x.tif")

    with pytest.raises(DataError, match=f"x.tif cannot be read as an image: it holds {why}"):
        pack(folder)


def test_deep_images_are_scaled_down_without_leaving_their_range(folder):
    deep = np.zeros((24, 24), np.uint16)
    deep[:, 12:] = 65535
    save(Image.fromarray(deep), folder / "cat" / "deep.png")

    rows, _ = pack(folder, size=8)

    found = pixels(rows["cat/deep.png"])
    assert found.shape == (8, 8)
    assert (found[:, 0].max(), found[:, -1].min()) == (0, 65535)


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "CMYK"])
def test_every_mode_gives_the_same_white_and_black(folder, mode):
    two = np.zeros((6, 6, 3), np.uint8)
    two[:, 3:] = 255
    image = Image.fromarray(two).convert(mode)
    save(image, folder / "cat" / "x.tif")
    if mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("Pillow before 13 cannot read its own TIFF of this mode")

    rows, said = pack(folder)

    assert np.array_equal(pixels(rows["cat/x.tif"]), two)
    assert "left out" not in said


def test_colours_of_a_palette_and_of_cmyk_are_kept(folder):
    red = Image.new("RGB", (6, 6), (200, 30, 60))
    save(red.quantize(4), folder / "cat" / "p.png")
    save(Image.new("CMYK", (6, 6), (0, 255, 255, 0)), folder / "cat" / "c.jpg", quality=95)

    rows, _ = pack(folder)

    assert pixels(rows["cat/p.png"])[0, 0].tolist() == [200, 30, 60]
    assert np.abs(pixels(rows["cat/c.jpg"])[0, 0].astype(int) - [255, 0, 0]).max() <= 6


def half_clear(kind):
    """Return black with a clear left half, and how to save it."""
    clear = Image.new("RGBA", (6, 6), (0, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 3, 6))
    if kind in {"RGBA", "LA"}:
        return clear.convert(kind), {}
    if kind == "palette":
        image = Image.new("P", (6, 6), 0)
        image.paste(1, (0, 0, 3, 6))
        image.putpalette([0, 0, 0, 90, 90, 90])
        return image, {"transparency": 1}
    image = Image.new("RGB", (6, 6))
    image.paste((1, 2, 3), (0, 0, 3, 6))
    return image, {"transparency": (1, 2, 3)}


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "one colour"])
def test_transparent_parts_are_laid_on_white_and_said(folder, kind):
    image, settings = half_clear(kind)
    save(image, folder / "cat" / "x.png", **settings)

    rows, said = pack(folder)

    found = pixels(rows["cat/x.png"])
    assert (found[:, :3] == 255).all()
    assert (found[:, 3:] == 0).all()
    assert "images with transparency, laid on white: 1 (cat/x.png)" in said


def test_an_alpha_channel_without_a_clear_pixel_changes_nothing(folder):
    save(picture(9).convert("RGBA"), folder / "cat" / "x.png")

    rows, said = pack(folder)

    assert np.array_equal(pixels(rows["cat/x.png"]), np.asarray(picture(9)))
    assert "transparency" not in said


@pytest.mark.parametrize("ending", ["gif", "webp", "apng", "tif"])
def test_the_first_of_several_frames_is_used_and_said(folder, ending):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("black", "white", "red")]
    lossless = {"lossless": True} if ending == "webp" else {}
    path = folder / "cat" / f"x.{ending}"
    save(frames[0], path, save_all=True, append_images=frames[1:], **lossless)

    rows, said = pack(folder)

    assert (pixels(rows[f"cat/x.{ending}"]) == 0).all()
    assert f"images of several frames, of which the first is used: 1 (cat/x.{ending})" in said


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_the_orientation_of_a_camera_is_obeyed_and_said(tmp_path, ending):
    image = Image.new("RGB", (8, 16), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    save(image, tmp_path / "images" / "cat" / f"x.{ending}", exif=exif)
    save(picture(size=(16, 8)), tmp_path / "images" / "dog" / "x.png")

    rows, said = pack(tmp_path / "images")

    found = pixels(rows[f"cat/x.{ending}"])
    assert found.shape == (8, 16, 3)
    assert found[:, :8].max() < 8  # what was below is to the left
    assert found[:, 8:].min() > 247
    assert f"images turned as their EXIF orientation says: 1 (cat/x.{ending})" in said


def test_different_sizes_need_a_size_and_say_how(folder):
    save(picture(size=(9, 5)), folder / "dog" / "wide.png")

    with pytest.raises(DataError, match=r"wide.png has 9 x 5 pixels, others 6 x 6; .*--size"):
        pack(folder)
    assert len(pack(folder, size=4)[0]) == 5


def test_the_command_says_what_was_found_and_left_out(folder, capsys):
    (folder / "dog" / "notes.txt").write_text("bark")

    assert main(["pack", str(folder), str(folder.parent / "file.parquet")]) == 0

    out = capsys.readouterr().out
    assert "4 images of 2 classes: cat (2), dog (2)" in out
    assert "left out, no images: 1 (dog/notes.txt)" in out
