"""Image tables as people have them: columns, labels, several files, sizes, memory."""

import argparse
import io
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from naslid_toolkit import RunConfig, load_image_parquet, load_task
from naslid_toolkit.cli.search import add_setting_options, composed_config
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.image_tables import find_files, open_image_table
from naslid_toolkit.runtime import Remark
from naslid_toolkit.search.config import read_preset
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.supernet.network import Skeleton, Supernet

ROWS = 24


def cell(shade, size=(6, 6), mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, shade if mode == "L" else (shade, 9, 200)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def cells(count=ROWS, **settings):
    return [cell(10 * number % 256, **settings) for number in range(count)]


def write(path, columns, features=None, **settings):
    table = pa.table(columns)
    if features is not None:
        described = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": described})
    pq.write_table(table, path, **settings)
    return path


@pytest.fixture
def file(tmp_path):
    """Write a file with these columns beside the images."""

    def made(features=None, name="x.parquet", images="image", **columns):
        return write(tmp_path / name, {images: cells(), **columns}, features)

    return made


def every(kind, count=ROWS):
    return [kind(number % 4) for number in range(count)]


def column_of(path, **settings):
    table = open_image_table(path, **settings)
    return table.columns.image, table.columns.label


# -- which columns ----------------------------------------------------------------------------


def test_a_declared_label_is_taken_wherever_it_stands(file):
    features = {"image": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["a", "b"]}}
    path = file(features, Width=[6] * ROWS, label_id=every(int), kind=[0, 1] * 12)

    task = load_image_parquet(path)

    assert task.classes == ("a", "b")
    assert "labels from column 'kind' (declared)" in task.notes[0]


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"id": range(ROWS), "label": every(str)}, "label"),
        ({"Width": [6] * ROWS, "Height": [6] * ROWS, "Category": every(int)}, "Category"),
        ({"image_id": range(ROWS), "fine_label": every(int)}, "fine_label"),
        ({"smiling": [True, False] * 12}, "smiling"),
        ({"index": range(ROWS), "digit": every(int)}, "digit"),
        ({"labels": every(int), "__index_level_0__": range(ROWS)}, "labels"),
        ({"classLabel": every(int), "size": every(int)}, "classLabel"),
        ({"label": pa.array(every(str)).dictionary_encode()}, "label"),
    ],
)
def test_a_plain_label_is_found_by_name_or_type(file, columns, chosen):
    assert column_of(
        file(**{k: v if isinstance(v, pa.Array) else list(v) for k, v in columns.items()})
    ) == (
        "image",
        chosen,
    )


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        ({"fine_label": every(int), "coarse_label": every(int)}, "fine_label, coarse_label"),
        ({"label": every(int), "target": every(int)}, "label, target"),
        ({"smiling": [True, False] * 12, "young": [True, False] * 12}, "smiling, young"),
    ],
)
def test_two_columns_that_could_be_the_label_are_listed(file, columns, listed):
    path = file(**columns)

    with pytest.raises(DataError, match=rf"several .* the label: {listed}; .*--label-column"):
        load_image_parquet(path)
    assert column_of(path, label_column=next(iter(columns))) == ("image", next(iter(columns)))


def test_two_declared_labels_are_listed(file):
    names = {"_type": "ClassLabel", "names": list("abcd")}

    with pytest.raises(DataError, match="could be the label: fine, coarse"):
        load_image_parquet(
            file({"fine": names, "coarse": names}, fine=every(int), coarse=every(int))
        )


@pytest.mark.parametrize("name", ["id", "Width", "file_name", "imageIndex"])
def test_a_column_that_says_something_else_is_no_label(file, name):
    with pytest.raises(DataError, match=r"None is plainly the label .*--label-column"):
        load_image_parquet(file(**{name: list(range(ROWS))}))


def test_a_column_of_all_different_values_is_no_label_by_itself(file):
    path = file(number=list(range(ROWS)))

    with pytest.raises(DataError, match="'number' .* has 24 different values in 24 rows"):
        load_image_parquet(path)


def test_a_mask_does_not_become_the_image(tmp_path):
    path = tmp_path / "x.parquet"
    masks = cells(mode="L")
    write(path, {"mask": masks, "image": cells(), "label": every(int)})

    task = load_image_parquet(path)

    assert column_of(path) == ("image", "label")
    assert "not used: 'mask'" in task.notes[0]
    assert "columns=image label" in task.name
    assert column_of(path, image_column="mask") == ("mask", "label")


def test_two_columns_that_could_be_the_image_are_listed(tmp_path):
    path = write(tmp_path / "x.parquet", {"left": cells(), "right": cells(), "label": every(int)})

    with pytest.raises(DataError, match=r"could be the image: left, right; .*--image-column"):
        load_image_parquet(path)
    assert column_of(path, image_column="right") == ("right", "label")


def test_sound_beside_the_image_is_no_image(tmp_path):
    columns = {"sound": cells(), "view": cells(), "label": every(int)}
    path = write(tmp_path / "x.parquet", columns, {"sound": {"_type": "Audio"}})

    assert column_of(path) == ("view", "label")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_column": "labels"}, "no column 'labels' for the label; did you mean 'label'"),
        ({"image_column": "label"}, "column 'label' of .* holds int64; one picture a row"),
        ({"label_column": "image"}, "column 'image' of .* holds struct"),
        ({"label_column": "many"}, "column 'many' of .* holds list"),
    ],
)
def test_a_column_asked_for_must_exist_and_fit(file, settings, message):
    path = file(label=every(int), many=[[1, 2]] * ROWS)

    with pytest.raises(DataError, match=message):
        load_image_parquet(path, **settings)


def test_the_usual_columns_do_not_change_the_name_of_a_task(file):
    assert load_image_parquet(file(label=every(int))).name == "x.parquet(images=14, 5, 5, seed=0)"
    assert load_image_parquet(file(images="img", label=every(int))).name.startswith(
        "x.parquet(images=14"
    )
    other = load_image_parquet(file(Width=[6] * ROWS, kind=every(int), text=["a"] * ROWS))
    assert "columns=image kind" in other.name


# -- how images are stored --------------------------------------------------------------------


def raw_pixels(path, **settings):
    table = open_image_table(path, **settings)
    found = {row: pixels for row, pixels, _ in table.pictures(np.ones(table.starts[-1], bool))}
    return np.stack([found[row] for row in sorted(found)])


@pytest.mark.parametrize("kind", ["large", "view"])
def test_large_and_viewed_types_are_read(tmp_path, kind):
    if kind == "view" and not hasattr(pa, "string_view"):
        pytest.skip("pyarrow has no views yet")
    texts, binary = pa.large_string, pa.large_binary
    if kind == "view":
        texts, binary = pa.string_view, pa.binary_view
    images = pa.array([one["bytes"] for one in cells()], binary())
    columns = {"image": images, "label": pa.array(["b", "a"] * 12, texts())}

    assert load_image_parquet(write(tmp_path / "x.parquet", columns)).classes == ("a", "b")


def test_bytes_without_a_path_are_images(tmp_path):
    plain = [one["bytes"] for one in cells()]
    path = write(tmp_path / "x.parquet", {"image": plain, "label": every(int)})
    encoded = pa.array(plain).dictionary_encode()
    other = write(tmp_path / "y.parquet", {"image": encoded, "label": every(int)})

    assert np.array_equal(raw_pixels(path), raw_pixels(other))
    assert raw_pixels(path)[3, 0, 0, 0] == np.float32(30 / 255)


@pytest.mark.parametrize(
    ("kind", "largest"),
    [("uint8", 255), ("int64", 255), ("uint16", 65535), ("float32", 1), ("float64", 1)],
)
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (3, 4, 5), (4, 5, 1)])
def test_lists_of_numbers_are_images(tmp_path, kind, largest, shape):
    values = np.linspace(0, largest, ROWS * np.prod(shape)).astype(kind).reshape(ROWS, *shape)
    nested = pa.array(values.tolist(), _list_type(pa.from_numpy_dtype(np.dtype(kind)), len(shape)))
    path = write(tmp_path / "x.parquet", {"image": nested, "label": every(int)})

    found = raw_pixels(path)

    assert found.shape == (ROWS, 3, 4, 5)
    expected = values / largest
    expected = expected[..., None] if len(shape) == 2 else expected
    expected = expected if shape[0] == 3 else np.moveaxis(expected, -1, 1)
    assert np.abs(found - expected).max() < 1e-6


def _list_type(kind, depth):
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[0, 4000]], "image 0 of .* it holds whole numbers from 0 to 4000, expected 0 to 255"),
        ([[0, -1]], "whole numbers from -1 to 0"),
        ([[0.0, 255.0]], "floats from 0 to 255, expected 0 to 1"),
        ([[1, 2], [3]], "image 0 of .* cannot be decoded"),
        ([[[1, 2, 3, 4]] * 6] * 6, r"has the shape \(6, 6, 4\)"),
    ],
)
def test_lists_that_are_no_image_are_refused(tmp_path, image, message):
    path = write(tmp_path / "x.parquet", {"image": [image] * ROWS, "label": every(int)})

    with pytest.raises(DataError, match=message):
        load_image_parquet(path)


def test_a_missing_list_is_named(tmp_path):
    column = [*[[[0, 9]] * 6] * 7, None, *[[[0, 9]] * 6] * 16]
    path = write(tmp_path / "x.parquet", {"image": column, "label": every(int)})

    with pytest.raises(DataError, match="image 7 of .* is null"):
        load_image_parquet(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(every(int))] * 2, names=["label", "label"])
    pq.write_table(table.append_column("image", pa.array(cells())), tmp_path / "x.parquet")

    with pytest.raises(DataError, match="has 2 columns called 'label'"):
        load_image_parquet(tmp_path / "x.parquet")


def test_lists_of_images_are_refused(tmp_path):
    path = write(tmp_path / "x.parquet", {"images": [cells(2)] * ROWS, "label": every(int)})

    with pytest.raises(
        DataError, match=r"None is plainly the image .* one picture a row is needed"
    ):
        load_image_parquet(path)


def test_a_path_instead_of_an_image_is_refused_with_what_to_do(tmp_path):
    paths = [{"bytes": None, "path": f"images/{number}.png"} for number in range(ROWS)]
    path = write(tmp_path / "x.parquet", {"image": paths, "label": every(int)})

    with pytest.raises(DataError, match=r"image 0 of .* only the path 'images/0.png'.*naslid pack"):
        load_image_parquet(path)


def test_a_missing_or_broken_image_is_named_by_its_row_in_the_file(tmp_path):
    for broken, message in (
        (None, "image 7 of .* is null"),
        ({"bytes": b"<html>"}, "image 7 of .*<html>"),
    ):
        path = write(
            tmp_path / "x.parquet", {"image": [*cells(7), broken, *cells(16)], "label": every(int)}
        )

        with pytest.raises(DataError, match=message):
            load_image_parquet(path)


def test_deep_images_in_a_table_keep_their_range(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 300, 65535]] * 3, np.uint16)).save(buffer, "PNG")
    column = [{"bytes": buffer.getvalue(), "path": None}] * ROWS
    path = write(tmp_path / "x.parquet", {"image": column, "label": every(int)})

    assert np.allclose(raw_pixels(path)[0, 1, 0], [0, 300 / 65535, 1])
    task = load_image_parquet(path)
    assert "deep=24" in task.name  # earlier versions clipped them under the plain name
    assert any("scaled by their bit depth: 24" in note for note in task.notes)


# -- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"row 5 of .*x.parquet \(from 0\) has no label; 1 of 24 rows"),
        (-1, "row 5 of .* has label -1, classes are numbered from 0"),
    ],
)
def test_a_row_without_a_label_is_named_by_its_row_in_the_file(file, bad, message):
    path = file(label=[*every(int)[:5], bad, *every(int)[6:]])

    with pytest.raises(DataError, match=f"{message}.*--drop-unlabelled"):
        load_image_parquet(path, seed=3)
    task = load_image_parquet(path, drop_unlabelled=True)
    assert sum(len(part) for part in (task.train, task.valid, task.test)) == 23
    assert "left out, images without a usable label: 1 (row 5 of x.parquet)" in task.notes
    assert "unlabelled=1" in task.name


def test_a_label_beyond_the_names_is_named(file):
    features = {"label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}
    path = file(features, label=every(int))

    with pytest.raises(
        DataError, match="row 3 of .* has label 3, classes are numbered 0 to 2; 6 of"
    ):
        load_image_parquet(path)
    assert load_image_parquet(path, drop_unlabelled=True).classes == ("a", "b", "c")


def test_more_names_than_labels_are_said(file):
    features = {"label": {"_type": "ClassLabel", "names": list("abcdef")}}

    task = load_image_parquet(file(features, label=every(int)))

    assert task.classes == tuple("abcdef")
    assert "2 of them without an image" in task.notes[1]


@pytest.mark.parametrize("drop", [False, True])
def test_a_file_without_any_label_is_refused(file, drop):
    with pytest.raises(DataError, match="24 of 24 rows have no usable label, none is left"):
        load_image_parquet(file(label=[-1] * ROWS), drop_unlabelled=drop)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 2, 3] * 8, ("1", "2", "3")),
        ([0, 100, 2000] * 8, ("0", "100", "2000")),
        ([2**62, 7] * 12, ("7", str(2**62))),
        (["dog", "cat"] * 12, ("cat", "dog")),
        ([True, False] * 12, ("False", "True")),
        ([0.0, 1.0, 2.0] * 8, ("0", "1", "2")),
        ([Decimal(1), Decimal(0)] * 12, ("0", "1")),
        (pa.array(["dog", "cat"] * 12).dictionary_encode(), ("cat", "dog")),
    ],
)
def test_labels_of_any_plain_kind_become_classes_in_order(file, labels, classes):
    path = file(label=labels)

    table = open_image_table(path)

    assert table.classes == classes
    values = labels.to_pylist() if isinstance(labels, pa.Array) else labels
    same = [classes[number] for number in table.labels]
    assert same == [str(int(v)) if isinstance(v, float | Decimal) else str(v) for v in values]
    assert f"{len(classes)} classes, numbered from 0: {', '.join(classes)}" in table.notes


def test_renumbered_labels_are_in_the_name_of_the_task(file):
    assert "classes=3" in load_image_parquet(file(label=[1, 2, 3] * 8)).name
    assert "classes" not in load_image_parquet(file(label=[0, 1, 2] * 8)).name


def test_texts_are_matched_with_declared_names(file):
    features = {"label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}

    assert (
        open_image_table(file(features, label=["dog", "cat"] * 12)).labels.tolist() == [0, 1] * 12
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 1.0] * 12, "has the label 0.5; a class is a whole number or a text"),
        ([float("inf"), 1.0] * 12, "has the label inf"),
        ([[0], [1]] * 12, "None is plainly the label .* one whole number or text a row"),
        ([3] * ROWS, r"holds images of 1 class\(es\) in column 'label'"),
        (["", "a"] * 12, "row 0 of .* has no label; 12 of 24"),
        ([float("nan"), 1.0] * 12, "row 0 of .* has no label; 12 of 24"),
    ],
)
def test_labels_that_are_no_classes_are_refused(file, labels, message):
    with pytest.raises(DataError, match=message):
        load_image_parquet(file(label=labels))


# -- several files ----------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path):
    """Two training shards and one each for validation and test."""
    folder = tmp_path / "data"
    folder.mkdir()
    names = ("train-00000-of-00002", "train-00001-of-00002", "validation-0", "test-0")
    for name, count in zip(names, (12, 8, 6, 4), strict=True):
        columns = {"image": cells(count), "label": every(str, count)}
        write(folder / f"{name}.parquet", columns)
    return folder


def sizes(task):
    return [len(part) for part in (task.train, task.valid, task.test)]


def test_shards_of_one_kind_are_one_table(shards):
    pattern = str(shards / "train-*.parquet")

    task = load_image_parquet(pattern)

    assert sizes(task) == [12, 4, 4]
    assert task.name.startswith("train-00000-of-00002.parquet+train-00001-of-00002.parquet(")
    listed = load_image_parquet(sorted(shards.glob("train-*")))
    assert torch.equal(task.train.pixels, listed.train.pixels)


def test_a_folder_of_shards_keeps_its_parts(shards):
    task = load_image_parquet(shards)

    assert sizes(task) == [20, 6, 4]
    assert "parts: train 20 (as stored), valid 6 (as stored), test 4 (as stored)" in task.notes
    assert "parts=stored" in task.name
    assert sizes(load_image_parquet(shards, limit=20)) != [20, 6, 4]


def test_parts_in_folders_of_their_own_are_known(shards):
    for name in ("train", "test"):
        (shards / "default" / name).mkdir(parents=True)
        first = sorted(shards.glob(f"{name}-0*"))[0]
        first.rename(shards / "default" / name / "0000.parquet")

    assert sizes(load_image_parquet(shards / "default")) == [10, 2, 4]


def test_a_file_of_test_images_is_only_for_the_test(shards):
    train, test = shards / "train-00000-of-00002.parquet", shards / "test-0.parquet"

    task = load_image_parquet(train, test_data=test, valid=0.25)

    assert sizes(task) == [9, 3, 4]
    assert "test-0.parquet" in task.name
    with pytest.raises(DataError, match="given twice"):
        load_image_parquet(train, test_data=train)
    with pytest.raises(DataError, match="hold a test part; leave out test_data"):
        load_image_parquet([train, test], test_data=shards / "validation-0.parquet")


def test_classes_are_numbered_alike_in_all_files(tmp_path):
    one = write(tmp_path / "a.parquet", {"image": cells(), "label": ["owl", "cat"] * 12})
    two = write(tmp_path / "b.parquet", {"image": cells(4), "label": ["cat", "dog"] * 2})

    task = load_image_parquet(one, test_data=two)

    assert task.classes == ("cat", "dog", "owl")
    assert sorted(task.test.labels.tolist()) == [0, 0, 1, 1]
    assert "no training image of 'dog'" in task.notes


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"label": [0, 1] * 12}, "labels that are texts and such that are numbers"),
        ({"kind": every(str)}, "no column 'label' for the label"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(file, other, message):
    paths = [file(name="a.parquet", label=every(str)), file(name="b.parquet", **other)]

    with pytest.raises(DataError, match=message):
        load_image_parquet(paths)


def test_files_that_name_classes_differently_are_refused(file):
    paths = [
        file(
            {"label": {"_type": "ClassLabel", "names": names}},
            f"{names[0]}.parquet",
            label=[0, 1] * 12,
        )
        for names in (["a", "b"], ["b", "a"])
    ]

    with pytest.raises(DataError, match=r"b\.parquet names the classes .*'b', 'a'"):
        load_image_parquet(paths)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0", "extra-0"], "extra-0.parquet belongs to no part, others do"),
        (["validation-0", "test-0"], "hold no training part"),
    ],
)
def test_parts_that_cannot_be_followed_are_refused(file, names, message):
    with pytest.raises(DataError, match=message):
        load_image_parquet([file(name=f"{name}.parquet", label=every(int)) for name in names])


def test_the_name_of_a_single_file_divides_nothing(file):
    assert sizes(load_image_parquet(file(name="cifar10-test.parquet", label=every(int)))) == [
        14,
        5,
        5,
    ]


@pytest.mark.parametrize("words", [["fold1", "fold2"], ["train", "train"]])
def test_a_column_that_names_no_parts_divides_nothing_and_that_is_said(file, words):
    task = load_image_parquet(file(label=every(int), split=words * 12))

    assert sizes(task) == [14, 5, 5]
    assert "column 'split' does not name several parts; it divides nothing" in task.notes


@pytest.mark.parametrize("other", ["extra", None])
def test_a_column_that_names_parts_and_something_else_is_refused(file, other):
    path = file(label=every(int), split=["train", "test", other] * 8)

    with pytest.raises(DataError, match=f"'split' of .* names parts, but also {other}"):
        load_image_parquet(path)


def test_a_limit_that_leaves_no_test_image_is_refused(file):
    path = file(label=every(int), split=[*["train"] * 23, "test"])

    with pytest.raises(ConfigError, match="none of 2 images drawn is of the part 'test'"):
        load_image_parquet(path, limit=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [("nothing-*.parquet", "no Parquet file is found by"), (".", "naslid pack"), ([], "no file")],
)
def test_files_that_are_not_there_are_named(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match=message):
        find_files(data)


# -- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wanted", "shape"),
    [
        ((28, 28), 16, (16, 16)),
        ((28, 28), 14, (14, 14)),
        ((28, 28), 27, (27, 27)),
        ((28, 28), 32, (32, 32)),
        ((12, 8), 16, (16, 16)),  # width, height
        ((20, 8), 3, (3, 8)),
        ((4, 100), 10, (10, 1)),
    ],
)
def test_any_size_is_brought_to_any_height_and_said(tmp_path, size, wanted, shape):
    path = write(tmp_path / "x.parquet", {"image": cells(size=size), "label": every(int)})

    task = load_image_parquet(path, size=wanted)

    assert task.image_shape == (3, *shape)
    how = "padded by repeating the border" if wanted > size[1] else "reduced by averaging"
    assert f"images of {size[1]} x {size[0]} {how} to {shape[0]} x {shape[1]}" in task.notes


@pytest.mark.parametrize("side", [28, 8, 33])
def test_the_preset_for_own_images_takes_digits_of_any_size(tmp_path, side):
    path = write(tmp_path / "x.parquet", {"image": cells(size=(side, side)), "label": every(int)})

    task = load_task(RunConfig.preset("small", data=str(path)))

    assert task.image_shape == (3, 16, 16)


def test_uneven_reduction_averages_over_equal_areas(tmp_path):
    ramp = np.arange(28, dtype=np.uint8).repeat(28).reshape(28, 28)
    column = [ramp.tolist()] * ROWS
    path = write(tmp_path / "x.parquet", {"image": column, "label": every(int)})
    whole, small = load_image_parquet(path), load_image_parquet(path, size=16)

    fine = np.arange(28).repeat(16)  # 448 slices: 28 pixels of 16, or 16 of 28
    expected = fine.reshape(16, 28).mean(1)

    found = small.train.pixels[0, 0, :, 3].double().numpy()
    scaled = (expected - expected.mean()) / expected.std()
    assert np.abs(found / found.std() - scaled).max() < 1e-4
    assert whole.image_shape == (3, 28, 28)


def test_images_of_different_sizes_are_brought_to_one_by_request(tmp_path):
    column = [*cells(12, size=(30, 20)), *cells(12, size=(9, 40))]
    path = write(tmp_path / "x.parquet", {"image": column, "label": every(int)})

    with pytest.raises(DataError, match=r"sizes, .*images.size"):
        load_image_parquet(path)
    task = load_image_parquet(path, size=8)
    assert task.image_shape == (3, 8, 8)
    assert "images of different sizes: the middle square of each, brought to 8 x 8" in task.notes


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (13, 4), (28, 28)])
def test_a_supernet_takes_images_of_any_size(shape):
    net = Supernet(nasbench201(), Skeleton(channels=2, cells=1, image_shape=(3, *shape)), seed=0)

    assert net(torch.zeros(2, 3, *shape)).shape == (2, 10)


# -- memory -----------------------------------------------------------------------------------


def resident(kind):
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


@pytest.mark.parametrize("size", [16, None])
def test_no_more_is_in_memory_than_what_is_kept_and_a_batch(tmp_path, size):
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        pytest.skip("the peak of memory cannot be measured here")
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(256, size=(192, 192, 3), dtype=np.uint8)).save(buffer, "PNG")
    count, content = 120, {"bytes": buffer.getvalue(), "path": None}
    columns = {"image": [content] * count, "label": every(int, count)}
    path = write(tmp_path / "x.parquet", columns, row_group_size=8, use_dictionary=False)
    load_image_parquet(
        write(tmp_path / "warm.parquet", {"image": cells(), "label": every(int)}), size=2
    )
    del columns
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")

    task = load_image_parquet(path, size=size)

    kept = sum(part.pixels.nbytes for part in (task.train, task.valid, task.test))
    batch = 8 * (len(content["bytes"]) * 3 + 192 * 192 * 3 * 5)
    assert resident("VmHWM") - before < 1.3 * kept + batch + 2_000_000


# -- settings ---------------------------------------------------------------------------------


def composed(*arguments):
    parser = argparse.ArgumentParser()
    add_setting_options(parser)
    return composed_config(parser.parse_args(arguments), read_preset("small"))


def test_options_name_files_columns_and_what_to_leave_out(shards, monkeypatch):
    monkeypatch.chdir(shards)
    files = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet")

    config = composed(
        "--data", *files, "--test-data", "test-0.parquet", "--label-column", "label",
        "--image-column", "image", "--drop-unlabelled",
    )  # fmt: skip

    assert config.data == tuple(str(shards / name) for name in files)
    assert config.images.test_data == str(shards / "test-0.parquet")
    assert (config.images.image_column, config.images.label_column) == ("image", "label")
    assert config.images.drop_unlabelled
    assert config.images.size == 16  # of the preset
    assert composed("--data", ".").data == str(shards)
    assert composed("--data", "train-*.parquet").data == str(shards / "train-*.parquet")
    assert composed("--data", "digits").data == "digits"


def test_settings_survive_the_folder_of_a_run_and_older_folders_load(shards, tmp_path):
    images = {"limit": 16, "test_data": str(shards / "test-0.parquet"), "size": 4}
    config = RunConfig.preset("tiny", data=[str(shards / "train-*.parquet")], images=images)
    said = []

    task = load_task(config, on_event=said.append)
    store = create_store(tmp_path / "run", config, task=task)

    assert RunStore.open(store.folder).config == config
    assert store.environment["images"] == list(task.notes)
    assert [event.text for event in said if isinstance(event, Remark)] == list(task.notes)
    older = re.sub(r"(?m)^(image_column|label_column|test_data|drop_unlabelled) = .*\n", "",
                   (store.folder / "config.toml").read_text())  # fmt: skip
    (tmp_path / "older.toml").write_text(older)
    assert RunConfig.from_toml(tmp_path / "older.toml").images.label_column == ""


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"label_column": "x"}, "images.label_column is for files of images, but data is 'digits'"),
        ({"drop_unlabelled": True}, "images.drop_unlabelled is for files"),
    ],
)
def test_settings_of_files_do_not_pass_silently_for_the_digits(images, message):
    with pytest.raises(ConfigError, match=message):
        load_task(RunConfig.preset("demo", images=images))


@pytest.mark.parametrize("data", [3, [], [1]])
def test_what_names_no_files_is_refused(data):
    with pytest.raises(ConfigError, match="'data' must be a file, or a list of files"):
        RunConfig.from_dict({"data": data})
