import json

import pytest
import torch

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.evaluation import truth
from naslid_toolkit.evaluation.scores import LeafScore, score_architectures
from naslid_toolkit.evaluation.truth import build_digits_truth, connected_sample, train_alone
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import WorkDone
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.network import Skeleton
from naslid_toolkit.supernet.training import TrainingConfig, accuracy

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


def test_training_alone_is_repeatable(digits):
    architecture = Architecture(("nor_conv_3x3",) * 6)
    runs = [
        train_alone(architecture, digits, skeleton=SKELETON, config=CONFIG, seed=seed)
        for seed in (0, 0, 1)
    ]

    assert runs[0].test_accuracy == runs[1].test_accuracy
    assert runs[0].test_loss == runs[1].test_loss != runs[2].test_loss
    assert runs[0].steps == 2 * (900 // 64)


def test_an_interrupted_table_goes_on_with_whole_seeds_first(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(truth, "load_digits", lambda: digits)
    monkeypatch.setattr(truth, "DIGITS_SKELETON", SKELETON)
    monkeypatch.setattr(truth, "DIGITS_TRAINING", TrainingConfig(epochs=1, batch_size=256))
    truth._digits.cache_clear()
    sample, path = connected_sample(2, seed=0), tmp_path / "table.parquet"

    def stop(event: WorkDone) -> None:
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_digits_truth(path, sample, seeds=(0, 1), on_event=stop)
    partial = tmp_path / "table.parquet.partial.jsonl"
    kept = [json.loads(line) for line in partial.read_text().splitlines()]
    frame = build_digits_truth(path, sample, seeds=(0, 1))
    truth._digits.cache_clear()

    assert [row["seed"] for row in kept] == [0, 0, 1]
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert frame["seconds"].tolist()[:3] == [row["seconds"] for row in kept]
    assert path.exists()


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


def test_a_leaf_without_a_supernet_is_refused(space, digits):
    with pytest.raises(SpaceError, match="no supernet for leaf 'root'"):
        LeafScore(SplitTree.root(space), {}, digits.valid)


def test_scoring_reports_its_progress(space):
    events = []

    scores = score_architectures(list(space)[:3], lambda a: float(len(a)), on_event=events.append)

    assert scores.tolist() == [6, 6, 6]
    assert [event.done for event in events] == [1, 2, 3]
