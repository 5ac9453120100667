import dataclasses

import pytest
import torch

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.truth import train_alone
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import canonical_architectures, nasbench201
from naslid_toolkit.supernet.accuracy import evaluating
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.stacked import StackedNetworks, evaluate_stacked, train_stacked
from naslid_toolkit.supernet.training import TrainingConfig

ALONE = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), affine=True, statistics="running")
CELLS = (*canonical_architectures()[5::900], Architecture(("none",) * 6))


@pytest.mark.parametrize(
    "skeleton",
    [ALONE, dataclasses.replace(ALONE, affine=False, statistics="batch", cells=2)],
    ids=["running", "batch"],
)
def test_every_network_computes_its_path(digits, skeleton):
    supernet = Supernet(nasbench201(), skeleton, seed=0)
    images = digits.train.pixels[:16]
    networks = StackedNetworks(supernet, CELLS)

    with evaluating(networks), evaluating(supernet), torch.no_grad():
        together = networks(images)
        alone = torch.stack([supernet(images, cell) for cell in CELLS])

    assert torch.allclose(together, alone, atol=1e-5)


def test_training_together_is_training_alone(digits):
    config = TrainingConfig(epochs=1, batch_size=32, learning_rate=0.05, gradient_clip=1.0)
    small = dataclasses.replace(digits, train=digits.train[:160])
    networks = StackedNetworks(Supernet(nasbench201(), ALONE, seed=3), CELLS)
    epochs = []

    train_stacked(networks, small.train, config, seed=3, on_event=epochs.append)
    _, losses = evaluate_stacked(networks, small.test)

    for cell, loss in zip(CELLS, losses.tolist(), strict=True):
        alone = train_alone(cell, small, skeleton=ALONE, config=config, seed=3)
        assert loss == pytest.approx(alone.test_loss, abs=2e-3)
    assert [event.done for event in epochs] == [1]


def test_networks_do_not_influence_each_other(digits):
    config = TrainingConfig(epochs=1, batch_size=32, learning_rate=0.1)
    results = []
    for cells in (CELLS, CELLS[::-1]):
        networks = StackedNetworks(Supernet(nasbench201(), ALONE, seed=0), cells)
        if cells is not CELLS:
            with torch.no_grad():  # the one that is last here diverges
                networks.weights()[0][1][-1] = float("nan")
        train_stacked(networks, digits.train[:128], config, seed=0)
        results.append(evaluate_stacked(networks, digits.test)[1])

    assert torch.allclose(results[0][1:], results[1].flip(0)[1:], atol=1e-3)
    assert results[1][-1].isnan()


def test_no_network_at_all_is_refused():
    with pytest.raises(ConfigError, match="at least one architecture"):
        StackedNetworks(Supernet(nasbench201(), ALONE, seed=0), [])
