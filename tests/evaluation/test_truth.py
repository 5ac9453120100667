import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from naslid_toolkit.errors import ConfigError, DataError, SpaceError
from naslid_toolkit.evaluation import truth
from naslid_toolkit.evaluation.scores import LeafScore, score_architectures, score_proxies
from naslid_toolkit.evaluation.truth import build_digits_truth, connected_sample, train_alone
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import WorkDone, generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    canonical_architectures,
    canonical_cell,
    format_architecture,
)
from naslid_toolkit.supernet.accuracy import accuracy
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.training import TrainingConfig

SKELETON = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), affine=True, statistics="running")
CONFIG = TrainingConfig(epochs=2, batch_size=64, learning_rate=0.1)


def test_a_sample_is_connected_different_and_repeatable():
    sample = connected_sample(300, seed=1)

    assert len(set(sample)) == 300
    assert sample == connected_sample(300, seed=1)
    assert sample[:50] == connected_sample(50, seed=1)


@pytest.mark.parametrize("count", [0, 15285])
def test_more_than_all_cannot_be_sampled(count):
    with pytest.raises(ConfigError, match="there are 15284 connected"):
        connected_sample(count, seed=0)


def test_there_is_one_canonical_architecture_for_each_connected_cell(space):
    chosen = canonical_architectures()
    cells = {canonical_cell(architecture) for architecture in chosen}

    assert len(chosen) == len(cells) == 6461
    assert len({canonical_cell(architecture) for architecture in space} - cells) == 5


def test_training_alone_is_repeatable(digits):
    architecture = Architecture(("nor_conv_3x3",) * 6)
    runs = [
        train_alone(architecture, digits, skeleton=SKELETON, config=CONFIG, seed=seed)
        for seed in (0, 0, 1)
    ]

    assert runs[0].test_accuracy == runs[1].test_accuracy
    assert runs[0].test_loss == runs[1].test_loss != runs[2].test_loss
    assert runs[0].steps == 2 * (900 // 64)


@pytest.fixture
def small(monkeypatch, digits):
    """A small task, two blocks of two cells, one short epoch."""
    cells = canonical_architectures()
    monkeypatch.setattr(truth, "load_digits", lambda: digits)
    monkeypatch.setattr(truth, "DIGITS_SKELETON", SKELETON)
    monkeypatch.setattr(truth, "DIGITS_TRAINING", TrainingConfig(epochs=1, batch_size=256))
    monkeypatch.setattr(truth, "digits_blocks", lambda: (cells[:2], cells[3000:3002]))
    truth._digits.cache_clear()
    yield
    truth._digits.cache_clear()


def test_an_interrupted_table_goes_on_with_whole_seeds_first(tmp_path, small):
    path = tmp_path / "table.parquet"

    def stop(event: WorkDone) -> None:
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_digits_truth(path, seeds=(0, 1), on_event=stop)
    kept = sorted(part.name for part in (tmp_path / "table.parquet.parts").iterdir())
    progress = build_digits_truth(path, seeds=(0, 1))
    frame = pd.read_parquet(path)

    assert kept == ["seed0-block000.parquet", "seed0-block001.parquet", "seed1-block000.parquet"]
    assert (progress.seeds, progress.done, progress.wanted) == ((0, 1), 4, 4)
    assert frame["seed"].tolist() == [0] * 4 + [1] * 4
    assert frame["architecture"].nunique() == 4
    assert b"recipe" in pq.read_schema(path).metadata


def test_shards_make_the_same_table_as_one_process(tmp_path, small):
    whole, shared = tmp_path / "whole.parquet", tmp_path / "shared.parquet"
    build_digits_truth(whole, seeds=(0,))

    first = build_digits_truth(shared, seeds=(0,), shards=2, shard=1)
    assert (first.seeds, first.done) == ((), 1)
    assert not shared.exists()
    second = build_digits_truth(shared, seeds=(0,), shards=2, shard=0)

    frames = [pd.read_parquet(path).drop(columns="seconds") for path in (whole, shared)]
    assert second.seeds == (0,)
    pd.testing.assert_frame_equal(*frames)


def test_parts_of_another_recipe_are_refused(tmp_path, small, monkeypatch):
    path = tmp_path / "table.parquet"
    build_digits_truth(path, seeds=(0,))
    monkeypatch.setattr(truth, "DIGITS_TRAINING", CONFIG)

    with pytest.raises(DataError, match="made by another recipe"):
        build_digits_truth(path, seeds=(0,))
    (tmp_path / "table.parquet.parts" / "seed0-block000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"block000.parquet is damaged"):
        build_digits_truth(path, seeds=(0,))


def test_a_shard_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="shard must be 0 to 1, got 2"):
        build_digits_truth(tmp_path / "t.parquet", seeds=(0,), shards=2, shard=2)


def test_scores_come_from_the_leaf_that_holds_the_architecture(space, supernet, digits):
    split = choose_split(space, RandomCriterion(), seed=0)
    tree = SplitTree.root(space).with_split("root", split)
    supernets = {leaf.name: supernet.restrict(leaf.space) for leaf in tree.leaves}
    with torch.no_grad():
        for parameter in supernets["root-1"].parameters():
            parameter.zero_()
    score = LeafScore(tree, supernets, digits.valid)

    for architecture in list(space)[::3001]:
        leaf = tree.leaf_of(architecture).name
        assert score(architecture) == accuracy(supernets[leaf], digits.valid, architecture)


@pytest.mark.parametrize("measure", ["accuracy", "log_likelihood"])
def test_an_ensemble_scores_by_its_mean(space, supernet, digits, measure):
    other = Supernet(space, supernet.skeleton, seed=1)
    tree, paths = SplitTree.root(space), [space.sample(generator=generator(i)) for i in range(5)]

    ensemble = LeafScore(tree, {"root": [supernet, other]}, digits.valid, measure)
    alone = [LeafScore(tree, {"root": n}, digits.valid, measure) for n in (supernet, other)]

    for path, together in zip(paths, ensemble.many(paths), strict=True):
        assert together == pytest.approx(ensemble(path), rel=1e-6)
        assert together == pytest.approx((alone[0](path) + alone[1](path)) / 2, rel=1e-6)
        assert (together < 0) == (measure == "log_likelihood")


def test_architectures_are_scored_many_at_a_time_in_any_order(space, supernet, digits):
    score = LeafScore(SplitTree.root(space), {"root": supernet}, digits.valid)
    chosen = [space.sample(generator=generator(i)) for i in range(60)]
    events = []

    scores = score_architectures([*chosen, chosen[0]], score, on_event=events.append)

    assert scores.index.tolist() == [format_architecture(a) for a in dict.fromkeys(chosen)]
    assert scores.tolist() == [score(a) for a in dict.fromkeys(chosen)]
    assert [event.done for event in events] == [48, len(scores)]


def test_a_leaf_without_a_supernet_is_refused(space, digits):
    with pytest.raises(SpaceError, match="no supernet for leaf 'root'"):
        LeafScore(SplitTree.root(space), {}, digits.valid)


def test_scoring_reports_its_progress(space):
    events = []

    scores = score_architectures(list(space)[:3], lambda a: float(len(a)), on_event=events.append)

    assert scores.tolist() == [6, 6, 6]
    assert [event.done for event in events] == [1, 2, 3]


def test_training_free_scores_are_kept(tmp_path, digits, monkeypatch):
    cells, cache = canonical_architectures()[::3000], tmp_path / "scores.jsonl"
    images = digits.train[:8]
    options = {"seed": 0, "proxies": ("synflow", "naswot"), "cache": cache}
    first = score_proxies(cells, images, SKELETON, **options)
    lines = cache.read_text().splitlines()
    again = score_proxies(cells, images, SKELETON, **options)
    other = score_proxies(cells, images, SKELETON, **{**options, "seed": 1})

    pd.testing.assert_frame_equal(first, again)
    assert len(lines) == len(cells)
    assert len(cache.read_text().splitlines()) == 2 * len(cells)
    assert not first.equals(other)
    with pytest.raises(ConfigError, match="did you mean 'synflow'"):
        score_proxies(cells, images, SKELETON, seed=0, proxies=["synflw"])
