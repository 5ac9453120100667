import pytest
import torch

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import CONV3, SKIP
from naslid_toolkit.supernet.accuracy import accuracy
from naslid_toolkit.supernet.decomposed import DecomposedSupernet, convolutions_of
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.training import TrainingConfig, train
from tests.conftest import TINY

FULL = Skeleton(channels=4, cells=5, image_shape=(1, 8, 8))


def chain(count: int) -> Architecture:
    """An architecture with that many convolutions in a row (edges 0→1, 1→2, 2→3)."""
    operations = ["none"] * 6
    for place, edge in enumerate((0, 2, 5)):
        operations[edge] = CONV3 if place < count else SKIP
    return Architecture(tuple(operations))


@pytest.mark.parametrize("count", range(4))
def test_convolutions_are_counted_on_the_longest_path(count):
    assert convolutions_of(chain(count)) == count


def test_copies_change_at_the_published_thresholds(space):
    network = DecomposedSupernet(space, FULL, seed=0, copies=3)

    taken = [[network.copy_of(chain(n), cell) for cell in (6, 8, 10, 15)] for n in range(4)]

    # 15 and 20 convolutions passed, of 45
    assert taken == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 2, 2], [1, 2, 2, 2]]
    halves = DecomposedSupernet(space, FULL, seed=0, copies=2)
    assert [halves.copy_of(chain(2), cell) for cell in (9, 10)] == [0, 1]


def test_before_training_it_is_the_plain_supernet(space, digits):
    plain, network = Supernet(space, TINY, seed=3), DecomposedSupernet(space, TINY, seed=3)
    pixels = digits.valid.pixels[:16]

    for count in range(4):
        assert torch.equal(network(pixels, chain(count)), plain(pixels, chain(count)))
    assert network.layer_names == plain.layer_names


def test_few_and_many_convolutions_share_the_first_stage_only(space, digits):
    network = DecomposedSupernet(space, TINY, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    only = network.space.only(chain(3))
    network.space = only

    train(network, digits.train, TrainingConfig(epochs=1, batch_size=128), seed=0)

    network.space = space
    after = network.state_dict()
    changed = {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}
    copies = {network.copy_of(chain(3), cell) for cell in (2, 3)}
    assert "stage1_cell1" in changed
    assert {name for name in changed if name.startswith("stage2")} == {"stage2_cell1_copy2"}
    assert copies == {2}
    assert 0 <= accuracy(network, digits.valid, chain(0)) <= 1


def test_a_run_can_train_one(tmp_path):
    over = {"levels": 0, "single": False, "network": {"copies": 2}, "sample": 5}
    config = RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))

    run = few_shot_search(config, out=tmp_path / "run")

    assert len(run.scores) == 5
    assert len(run.tree.leaves) == 1


def test_what_it_cannot_do_is_refused(space):
    network = DecomposedSupernet(space, TINY, seed=0)
    with pytest.raises(SpaceError, match="one architecture at a time"):
        network(torch.zeros(2, 1, 8, 8))
    with pytest.raises(SpaceError, match="no view of a sub-space"):
        network.path(chain(1))
    with pytest.raises(ConfigError, match="2, 3 or 4 copies"):
        DecomposedSupernet(space, TINY, seed=0, copies=5)
    with pytest.raises(ConfigError, match="2 to 4 copies and no levels"):
        RunConfig.preset("demo", network={"copies": 3})
