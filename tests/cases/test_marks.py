"""What is left behind, and what is taken in, silently: tables, caches, parts, measurements."""

import json
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from naslid_toolkit.errors import ConfigError, DataError, nearest_name
from naslid_toolkit.evaluation import truth
from naslid_toolkit.evaluation.benchmark import load_reference, read_scores
from naslid_toolkit.evaluation.scores import score_proxies
from naslid_toolkit.evaluation.truth import build_digits_truth
from naslid_toolkit.space.nasbench201 import (
    benchmark_order,
    canonical_architectures,
    format_architecture,
)
from naslid_toolkit.supernet.network import Skeleton

ORDER = benchmark_order()[5000:5012]
NAMES = [format_architecture(a) for a in ORDER]
ACCURACIES = [91 + i / 10 for i in range(12)]
TINY = Skeleton(channels=2, cells=1, image_shape=(1, 8, 8), classes=10)


def table(path, **columns):
    pd.DataFrame({"architecture": NAMES, **columns}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("wrong", [-5.0, 101.0, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("column", ["test_accuracy", "test_error", "valid_accuracy"])
def test_a_reference_that_can_be_no_accuracy_is_refused_by_name(tmp_path, wrong, column):
    columns = {"test_accuracy": ACCURACIES} if column == "valid_accuracy" else {}
    path = table(tmp_path / "t.csv", **columns, **{column: [*ACCURACIES[:7], wrong, *[8.0] * 4]})

    with pytest.raises(DataError, match="holds no accuracies") as caught:
        load_reference(path)

    assert NAMES[7] in str(caught.value)


def test_a_share_that_rounding_made_negative_is_zero(tmp_path):
    path = table(tmp_path / "t.csv", test_accuracy=[-1e-17, *(a / 100 for a in ACCURACIES[1:])])

    assert load_reference(path).accuracy.min() == 0


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "null", "n/a", "", "-"])
def test_a_row_whose_name_says_that_there_is_none_is_left_out(tmp_path, name):
    path = tmp_path / "t.csv"
    rows = zip([name, *NAMES[1:]], ACCURACIES, strict=True)
    path.write_text("\n".join(["architecture,accuracy", *(f"{n},{a}" for n, a in rows)]))

    for read in (load_reference(path).reading, read_scores(path).reading):
        assert read.architectures == 11
        assert "1 row without a name left out" in read.notes


def test_messages_cut_what_is_too_long_to_be_read():
    long = "x" * 10**6

    for error in (DataError(f"no column {long!r}; known: a"), ConfigError(f"{long} is unknown")):
        assert len(str(error)) < 200
        assert str(error).endswith(("known: a", "is unknown"))
    assert len(str(DataError(" ".join(NAMES * 100)))) < 2100
    assert len(nearest_name(long, [long, "b"])) < 600
    path = "/".join(["folder"] * 100)
    assert str(DataError(f"no file {path}")) == f"no file {path}"


@pytest.fixture
def few(digits):
    return digits.train[:4]


def kept(few, cache):
    return score_proxies(ORDER[:2], few, TINY, seed=0, proxies=["synflow"], cache=cache)


FOREIGN = {
    "half a line": '{"key": "a", "archi',
    "a number": "3",
    "a list": "[]",
    "another record": '{"a": 1}',
    "a text as score": '{"key": "a", "architecture": "b", "scores": {"synflow": "1"}}',
    "a truth value as score": '{"key": "a", "architecture": "b", "scores": {"synflow": true}}',
    "no number as score": '{"key": "a", "architecture": "b", "scores": {"synflow": NaN}}',
    "scores in a list": '{"key": "a", "architecture": "b", "scores": [1]}',
    "a number as name": '{"key": "a", "architecture": 3, "scores": {}}',
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("line", FOREIGN)
def test_a_cache_with_another_line_is_refused_by_file_and_line(tmp_path, few, line):
    cache = tmp_path / "cache.jsonl"
    first = kept(few, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole + FOREIGN[line].encode() + b"\n")

    with pytest.raises(DataError, match=r"line 3 of .*cache.jsonl"):
        kept(few, cache)

    cache.write_bytes(whole)
    pd.testing.assert_frame_equal(kept(few, cache), first)


def test_a_file_of_somebody_else_is_no_cache_and_stays(tmp_path, few):
    cache = tmp_path / "notes.txt"
    cache.write_text("my notes, without an end of line")

    with pytest.raises(DataError, match=r"line 1 of .*notes.txt is no line of scores"):
        kept(few, cache)

    assert cache.read_text() == "my notes, without an end of line"


def test_a_line_of_a_cache_that_a_kill_cut_short_is_written_anew(tmp_path, few):
    cache = tmp_path / "cache.jsonl"
    first = kept(few, cache)
    whole = cache.read_bytes()

    for cut in (1, 40, len(whole) // 2 - 5):
        cache.write_bytes(whole[:-cut])
        pd.testing.assert_frame_equal(kept(few, cache), first)
        lines = cache.read_text().splitlines()
        assert [json.loads(line)["architecture"] for line in lines] == NAMES[:2]


def test_a_pipe_is_no_cache(tmp_path, few):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DataError, match="not a regular file"):
        kept(few, tmp_path / "pipe")


@pytest.fixture
def trained(tmp_path, monkeypatch, digits):
    """A table of two blocks of two cells; what the networks learn is not of interest here."""
    cells = canonical_architectures()
    monkeypatch.setattr(truth, "load_digits", lambda: digits)
    monkeypatch.setattr(truth, "digits_blocks", lambda: (cells[:2], cells[3000:3002]))
    truth._digits.cache_clear()
    for block in (0, 1):
        names = [format_architecture(cell) for cell in truth.digits_blocks()[block]]
        for seed in (0, 1):
            frame = pd.DataFrame({"architecture": names, "seed": seed})
            frame = frame.assign(test_accuracy=0.5, test_loss=1.0, valid_accuracy=0.5)
            frame = frame.assign(valid_loss=1.0, epochs=2, steps=2, parameters=3, flops=4)
            frame = frame.assign(seconds=0.1)
            part = truth._part(tmp_path / "t.parquet", block, seed)
            truth._write(part, frame, block=block, seed=seed)
    yield tmp_path / "t.parquet"
    truth._digits.cache_clear()


def rewrite(part, metadata=None, **columns):
    found = pq.read_table(part)
    changed = found.schema.metadata | (metadata or {})
    frame = found.to_pandas().assign(**columns)
    made = type(found).from_pandas(frame, preserve_index=False)
    pq.write_table(made.replace_schema_metadata(changed), part)


def test_parts_of_a_table_say_which_they_are(trained):
    progress = build_digits_truth(trained, seeds=(0, 1))
    about = {path.name: pq.read_schema(path).metadata[b"part"] for path in parts(trained)}

    assert progress.seeds == (0, 1)
    assert len(pd.read_parquet(trained)) == 8
    assert about["seed1-block000.parquet"] == b"block 0 with seed 1"
    assert len(set(about.values())) == 4


def parts(path):
    return sorted(path.with_name(f"{path.name}.parts").iterdir())


@pytest.mark.parametrize("other", ["seed0-block001.parquet", "seed1-block000.parquet"])
@pytest.mark.parametrize("old", [False, True])
def test_a_part_of_another_block_or_seed_is_refused(trained, other, old):
    first = parts(trained)[0]
    first.write_bytes(first.with_name(other).read_bytes())
    if old:  # as of earlier versions, which do not say
        table = pq.read_table(first)
        metadata = {k: v for k, v in table.schema.metadata.items() if k != b"part"}
        pq.write_table(table.replace_schema_metadata(metadata), first)

    with pytest.raises(DataError, match=r"seed0-block000.parquet holds .*; delete it"):
        build_digits_truth(trained, seeds=(0, 1))

    assert not trained.exists()


def test_a_part_that_does_not_say_which_it_is_counts_by_its_rows(trained):
    for part in parts(trained):
        table = pq.read_table(part)
        metadata = {k: v for k, v in table.schema.metadata.items() if k != b"part"}
        pq.write_table(table.replace_schema_metadata(metadata), part)

    assert build_digits_truth(trained, seeds=(0, 1)).seeds == (0, 1)


@pytest.mark.parametrize("columns", [{"test_accuracy": 2.0}, {"test_accuracy": np.nan}, {"x": 1}])
def test_a_part_with_other_values_is_refused(trained, columns):
    rewrite(parts(trained)[0], **columns)

    with pytest.raises(DataError, match="seed0-block000.parquet holds"):
        build_digits_truth(trained, seeds=(0, 1))


def test_a_part_that_is_a_pipe_is_refused_and_not_waited_for(trained):
    part = parts(trained)[0]
    part.unlink()
    os.mkfifo(part)

    with pytest.raises(DataError, match="seed0-block000.parquet is no file"):
        build_digits_truth(trained, seeds=(0, 1))
