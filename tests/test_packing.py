import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from naslid_toolkit import Images, load_image_parquet, pack_images, write_images
from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError, DataError, ShapeError


@pytest.fixture
def folder(tmp_path):
    """Two classes, three images each, one of them in a folder further below."""
    draw = np.random.default_rng(0)
    for name, path in [("cat", "cat"), ("dog", "dog"), ("dog", "dog/puppies")]:
        place = tmp_path / "images" / path
        place.mkdir(parents=True, exist_ok=True)
        count = 3 if name == "cat" else 2
        for number in range(count):
            pixels = draw.integers(256, size=(12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    (tmp_path / "images" / "notes").mkdir()
    hidden = tmp_path / "images" / ".checkpoints"
    hidden.mkdir()
    Image.new("RGB", (16, 12)).save(hidden / "0.png")
    (tmp_path / "images" / "cat" / "readme.txt").write_text("not an image")
    return tmp_path / "images"


def test_a_packed_folder_loads_as_a_task(folder, tmp_path):
    seen = []

    file = pack_images(folder, tmp_path / "out.parquet", size=8, on_event=seen.append)

    task = load_image_parquet(file, valid=2, test=2)
    assert task.classes == ("cat", "dog")
    assert task.image_shape == (3, 8, 8)
    parts = (task.train, task.valid, task.test)
    assert sum(len(part) for part in parts) == 7
    assert sorted(torch.cat([part.labels for part in parts]).tolist()) == [0] * 3 + [1] * 4
    assert (seen[-1].done, seen[-1].total) == (7, 7)
    paths = [row["path"] for row in pq.read_table(file)["image"].to_pylist()]
    assert "dog/puppies/0.png" in paths
    assert not any(path.startswith("/") for path in paths)


def test_without_a_size_images_keep_theirs(folder, tmp_path):
    task = load_image_parquet(pack_images(folder, tmp_path / "out.parquet"), valid=2, test=2)

    assert task.image_shape == (3, 12, 16)


def test_images_of_different_sizes_need_a_size(folder, tmp_path):
    Image.new("RGB", (5, 5)).save(folder / "dog" / "small.png")

    with pytest.raises(DataError, match=r"small.png has 5 x 5 pixels, others 16 x 12"):
        pack_images(folder, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_what_is_no_image_is_named(folder, tmp_path):
    (folder / "dog" / "broken.jpg").write_bytes(b"no image")

    with pytest.raises(DataError, match="broken.jpg cannot be read"):
        pack_images(folder, tmp_path / "out.parquet", size=8)


@pytest.mark.parametrize(
    ("place", "message"),
    [("nowhere", "no folder"), ("images/cat", "0 class"), ("one", r"1 class\(es\): only")],
)
def test_a_folder_without_classes_is_refused(folder, tmp_path, place, message):
    (tmp_path / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "only" / "a.png")

    with pytest.raises(DataError, match=message):
        pack_images(tmp_path / place, tmp_path / "out.parquet")


def test_nothing_is_overwritten_and_sizes_are_checked(folder, tmp_path):
    (tmp_path / "out.parquet").write_text("mine")

    with pytest.raises(ConfigError, match="exists already"):
        pack_images(folder, tmp_path / "out.parquet")
    with pytest.raises(ConfigError, match="size=3"):
        pack_images(folder, tmp_path / "other.parquet", size=3)
    assert (tmp_path / "out.parquet").read_text() == "mine"


def test_written_images_come_back(tmp_path):
    pixels = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = Images(pixels, torch.tensor([0, 1, 2, 0, 1, 2]))

    folder = write_images(images, tmp_path / "images", classes=["a", "b"])

    assert sorted(path.name for path in folder.iterdir()) == ["2", "a", "b"]
    read = np.asarray(Image.open(folder / "a" / "00003.png"))
    expected = (pixels[3] - pixels.min()) / (pixels.max() - pixels.min()) * 255
    assert np.abs(read - expected.permute(1, 2, 0).numpy()).max() <= 0.51
    with pytest.raises(ConfigError, match="exists already"):
        write_images(images, folder)
    for name in ("..", "../a", "a/b", ""):
        with pytest.raises(ConfigError, match="cannot be the name of a folder"):
            write_images(images, tmp_path / "more", classes=["a", name])
    with pytest.raises(ShapeError, match="got 2"):
        write_images(Images(pixels[:, :2], images.labels), tmp_path / "more")


def test_the_command_packs(folder, tmp_path, capsys):
    out = tmp_path / "new" / "out.parquet"

    assert main(["pack", str(folder), str(out), "--size", "8"]) == 0

    assert "naslid search --data" in capsys.readouterr().out
    assert load_image_parquet(out, valid=2, test=2).image_shape == (3, 8, 8)
    assert main(["pack", str(folder), str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
