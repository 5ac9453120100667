import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from naslid_toolkit.batches import batches
from naslid_toolkit.datasets import Images, load_digits, load_image_parquet
from naslid_toolkit.errors import ConfigError, DataError, ShapeError
from naslid_toolkit.runtime import generator
from tests.conftest import shared_file


def write_images(path, count=20, size=(8, 8), metadata=None, label="label"):
    rng = np.random.default_rng(0)
    cells = []
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({"img": cells, label: [i % 4 for i in range(count)]})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_digits_are_real_disjoint_and_standardised():
    task = load_digits(canvas=8, noise=0.0, copies=1)

    assert [len(part) for part in (task.train, task.valid, task.test)] == [900, 400, 497]
    assert float(task.train.pixels.mean()) == pytest.approx(0, abs=1e-5)
    assert float(task.train.pixels.std()) == pytest.approx(1, abs=1e-3)
    rows = torch.cat([part.pixels.flatten(1) for part in (task.train, task.valid, task.test)])
    assert len(rows.unique(dim=0)) == 1797


def test_copies_of_a_digit_differ_in_place_and_noise():
    task = load_digits(canvas=12, noise=0.3, copies=2)

    assert task.image_shape == (1, 12, 12)
    assert torch.equal(task.train.labels[:900], task.train.labels[900:])
    assert not torch.equal(task.train.pixels[0], task.train.pixels[900])


def test_the_same_seed_gives_the_same_images():
    first, again, other = (load_digits(seed=seed) for seed in (0, 0, 1))

    assert torch.equal(first.test.pixels, again.test.pixels)
    assert first.name == again.name != other.name
    assert not torch.equal(first.test.pixels, other.test.pixels)


@pytest.mark.parametrize("settings", [{"canvas": 7}, {"noise": -1.0}, {"copies": 0}])
def test_impossible_digits_are_refused(settings):
    with pytest.raises(ConfigError, match="digits need"):
        load_digits(**settings)


def test_probe_batches_are_different_images_and_repeatable(digits):
    probe = digits.probe(batches=3, points=50, seed=0)

    again = digits.probe(batches=3, points=50, seed=0)

    assert len(torch.cat(probe).flatten(1).unique(dim=0)) == 150
    assert all(torch.equal(a, b) for a, b in zip(probe, again, strict=True))
    with pytest.raises(ConfigError, match="need 1000 training images, there are 900"):
        digits.probe(batches=10, points=100, seed=0)


@pytest.mark.data
def test_cifar_is_read_in_place():
    task = load_image_parquet(shared_file("cifar10-test.parquet"), limit=500, seed=0)

    assert task.image_shape == (3, 32, 32)
    assert [len(part) for part in (task.train, task.valid, task.test)] == [300, 100, 100]
    assert task.classes[0] == "airplane"
    assert len(task.classes) == 10


def test_images_in_a_table_are_decoded(tmp_path):
    task = load_image_parquet(write_images(tmp_path / "a.parquet"), valid=4, test=0.25)

    assert [len(part) for part in (task.train, task.valid, task.test)] == [11, 4, 5]
    assert task.classes == ("0", "1", "2", "3")
    assert task.name == "a.parquet(images=11, 4, 5, seed=0)"


def test_images_are_reduced_by_averaging_squares(tmp_path):
    path = write_images(tmp_path / "a.parquet", size=(8, 12))
    whole = load_image_parquet(path, valid=1, test=1)
    small = load_image_parquet(path, valid=1, test=1, size=4)

    assert small.image_shape == (3, 4, 6)
    assert small.name == "a.parquet(images=18, 1, 1, size=4, seed=0)"
    averaged = torch.nn.functional.avg_pool2d(whole.train.pixels, 2)
    for channel in range(3):  # equal but for the standardisation
        both = torch.stack(
            [averaged[:, channel].flatten(), small.train.pixels[:, channel].flatten()]
        )
        assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ConfigError, match="cannot be brought to a height of 0"):
        load_image_parquet(path, size=0)


@pytest.mark.parametrize("metadata", [{"huggingface": "not json"}, {"huggingface": "{}"}])
def test_foreign_metadata_is_no_obstacle(tmp_path, metadata):
    path = write_images(tmp_path / "a.parquet", metadata=metadata, label="fine_label")

    assert load_image_parquet(path).classes == ("0", "1", "2", "3")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file .*nothing.parquet; expected a Parquet file with"):
        load_image_parquet(tmp_path / "nothing.parquet")


def test_a_truncated_file_is_named(tmp_path):
    path = write_images(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match=r"a.parquet is damaged or not a Parquet file"):
        load_image_parquet(path)


def test_a_file_damaged_inside_is_named(tmp_path):
    path = write_images(tmp_path / "a.parquet")
    content = bytearray(path.read_bytes())
    content[4:600] = bytes(596)
    path.write_bytes(bytes(content))

    with pytest.raises(DataError, match=r"a.parquet"):
        load_image_parquet(path)


def test_a_table_without_images_is_named(tmp_path):
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"x": [1.0]}), path)

    with pytest.raises(DataError, match=r"has the columns \['x'\]; expected a Parquet file with"):
        load_image_parquet(path)


def test_bytes_that_are_no_image_are_named(tmp_path):
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"img": [{"bytes": b"no"}] * 9, "label": list(range(9))}), path)

    with pytest.raises(DataError, match=r"image 0 of .*c.parquet cannot be decoded"):
        load_image_parquet(path)


def test_images_of_different_sizes_are_refused(tmp_path):
    one = pq.read_table(write_images(tmp_path / "a.parquet", count=10))
    two = pq.read_table(write_images(tmp_path / "b.parquet", count=10, size=(9, 8)))
    pq.write_table(pa.concat_tables([one, two]), tmp_path / "c.parquet")

    with pytest.raises(DataError, match="different sizes"):
        load_image_parquet(tmp_path / "c.parquet")


def test_no_training_image_left_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="leave none of 20"):
        load_image_parquet(write_images(tmp_path / "a.parquet"), valid=10, test=10)


def test_an_epoch_shows_every_image_once(digits):
    seen = torch.cat([b.pixels for b in batches(digits.train, 100, draw=generator(0))])

    assert len(seen.flatten(1).unique(dim=0)) == 900


@pytest.mark.parametrize("augmentation", ["shift", "crop_flip"])
def test_augmented_images_are_moved_by_a_margin(augmentation):
    pixels = torch.zeros(200, 1, 16, 16)
    pixels[:, 0, 8, 5] = 1
    images = Images(pixels, torch.zeros(200, dtype=torch.int64))

    (batch,) = batches(images, 200, draw=generator(0), augmentation=augmentation)

    where = batch.pixels.nonzero()
    assert len(where) == 200
    assert set(where[:, 2].tolist()) == {6, 7, 8, 9, 10}
    columns = set(where[:, 3].tolist())
    assert columns == ({3, 4, 5, 6, 7} | ({8, 9, 10, 11, 12} if "flip" in augmentation else set()))


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="do not fit 2 labels"):
        Images(torch.zeros(3, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
