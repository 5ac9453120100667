from dataclasses import replace

import pytest
import torch

from naslid_toolkit.errors import ConfigError, DivergedError
from naslid_toolkit.runtime import WorkDone
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.accuracy import accuracy, evaluate_path
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.sampling import SAMPLERS
from naslid_toolkit.supernet.training import (
    Checkpoint,
    EpochDone,
    TrainingConfig,
    epoch_batches,
    train,
)
from tests.conftest import TINY

CONFIG = TrainingConfig(epochs=3, batch_size=128, learning_rate=0.1)


class Memory:
    """A checkpoint in memory that stops the training after some epochs."""

    def __init__(self, stop_after: int) -> None:
        self.tensors = None
        self.left = stop_after

    def load(self):
        return self.tensors

    def save(self, tensors, event):
        self.tensors = {name: value.clone() for name, value in tensors.items()}
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_training_learns(space, digits):
    supernet = Supernet(space, TINY, seed=0)
    path = Architecture(("nor_conv_3x3",) * 6)
    config = TrainingConfig(epochs=16, batch_size=32, learning_rate=0.1)

    history = train(supernet, digits.train, config, seed=0)

    assert history.losses[-1] < history.losses[0] - 0.3
    assert history.steps == 16 * (900 // 32)
    assert accuracy(supernet, digits.valid, path) > 0.5


@pytest.mark.parametrize("sampler", ["uniform", "fair", "balanced"])
def test_the_same_seed_gives_the_same_numbers(space, digits, sampler):
    config = TrainingConfig(epochs=1, batch_size=128, sampler=sampler, paths_per_step=2)
    runs = []
    for seed in (0, 0, 1):
        supernet = Supernet(space, TINY, seed=0)
        runs.append((train(supernet, digits.train, config, seed=seed), supernet.state_dict()))

    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert all(torch.equal(runs[0][1][name], value) for name, value in runs[1][1].items())


def test_an_interrupted_training_ends_with_the_same_numbers(space, digits):
    whole = Supernet(space, TINY, seed=0)
    history = train(whole, digits.train, CONFIG, seed=0)
    checkpoint = Memory(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        train(Supernet(space, TINY, seed=0), digits.train, CONFIG, seed=0, checkpoint=checkpoint)

    resumed = Supernet(space, TINY, seed=0)
    again = train(resumed, digits.train, CONFIG, seed=0, checkpoint=checkpoint)

    assert isinstance(checkpoint, Checkpoint)
    assert again == history
    assert all(torch.equal(whole.state_dict()[n], v) for n, v in resumed.state_dict().items())


def test_parts_of_a_schedule_meet(digits, space):
    events = []
    supernet = Supernet(space, TINY, seed=0)

    train(supernet, digits.train, CONFIG, seed=0, last_epoch=1, on_event=events.append)
    train(supernet, digits.train, CONFIG, seed=0, first_epoch=1, on_event=events.append)

    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.epoch for event in epochs] == [1, 2, 3]
    assert epochs[-1].learning_rate == pytest.approx(CONFIG.minimum_learning_rate)
    assert [e for e in events if isinstance(e, WorkDone)][-1].done == 14


def test_only_the_chosen_path_is_trained(space, digits):
    architecture = Architecture(("nor_conv_3x3",) * 6)
    supernet = Supernet(space, TINY, seed=0)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}

    train(supernet.path(architecture), digits.train, CONFIG, seed=0, last_epoch=1)

    changed = {n for n, value in supernet.state_dict().items() if not torch.equal(before[n], value)}
    assert changed
    assert not any("nor_conv_1x1" in name for name in changed)


def test_several_paths_a_step_average_their_gradients(space, digits):
    architecture = Architecture(("nor_conv_1x1",) * 6)
    results = []
    for paths in (1, 3):
        network = Supernet(space.only(architecture), TINY, seed=0)
        config = TrainingConfig(epochs=1, batch_size=256, paths_per_step=paths, gradient_clip=1e9)
        # one step: what rounding differs by is multiplied with every further one
        train(network, digits.train[:256], config, seed=0)
        results.append(network.state_dict())

    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value)


def test_a_diverging_loss_stops_with_the_step_and_a_way_out(space, digits):
    config = TrainingConfig(epochs=2, batch_size=64, learning_rate=1e30, gradient_clip=1e30)

    with pytest.raises(DivergedError, match=r"at step \d+; lower training.learning_rate"):
        train(Supernet(space, TINY, seed=0), digits.train, config, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be positive"),
        ({"batch_size": -1}, "batch_size must be positive"),
        ({"minimum_learning_rate": 1.0}, "must lie between 0 and learning_rate"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)


def test_a_batch_larger_than_the_data_is_refused(supernet, digits):
    config = TrainingConfig(epochs=1, batch_size=1000)

    with pytest.raises(ConfigError, match="a batch of 1000 needs as many images"):
        train(supernet, digits.train, config, seed=0)


def test_accuracy_is_the_share_of_hits_and_leaves_the_mode(supernet, digits):
    supernet.train()
    path = Architecture(("skip_connect",) * 6)

    value, loss = evaluate_path(supernet, digits.valid, path)

    with torch.no_grad():
        parts = digits.valid.pixels.tensor_split(2)
        hits = torch.cat([supernet(part, path).argmax(1) for part in parts]) == digits.valid.labels
    assert value == pytest.approx(float(hits.float().mean()))
    assert loss > 0
    assert all(module.training for module in supernet.modules())


def test_snapshots_are_the_weights_after_the_last_epochs(space, digits):
    config = replace(CONFIG, snapshots=2)
    whole, shorter, cut = (Supernet(space, TINY, seed=0) for _ in range(3))

    history = train(whole, digits.train, config, seed=0)
    train(shorter, digits.train, CONFIG, seed=0, last_epoch=2)
    checkpoint = Memory(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        train(cut, digits.train, config, seed=0, checkpoint=checkpoint)
    resumed = train(cut, digits.train, config, seed=0, checkpoint=checkpoint)

    for found in (history, resumed):
        (earlier,) = found.snapshots
        assert earlier.keys() == shorter.state_dict().keys()
        assert all(torch.equal(earlier[key], value) for key, value in shorter.state_dict().items())
    assert not train(shorter, digits.train, CONFIG, seed=0).snapshots


def test_several_paths_a_step_train_as_their_mean_gradient_says(space, digits):
    config = TrainingConfig(epochs=1, batch_size=450, paths_per_step=3, momentum=0.0)
    ours, theirs = Supernet(space, TINY, seed=0), Supernet(space, TINY, seed=0)

    train(ours, digits.train, config, seed=0)
    optimiser = config.optimiser(theirs.parameters())
    stream = epoch_batches(digits.train, config, optimiser, epoch=0, seed=0)
    paths = SAMPLERS["uniform"](space, 0, 6, seed=0)
    for step, batch in enumerate(stream):
        optimiser.zero_grad()
        for path in paths[3 * step : 3 * step + 3]:
            loss = torch.nn.functional.cross_entropy(theirs(batch.pixels, path), batch.labels)
            (loss / 3).backward()
        optimiser.step()

    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


def test_bfloat16_trains_close_to_float32(space, digits):
    losses = []
    for precision in ("float32", "bfloat16"):
        config = replace(CONFIG, precision=precision, paths_per_step=2)
        supernet = Supernet(space, TINY, seed=0)
        losses.append(train(supernet, digits.train, config, seed=0).losses[-1])
        assert {weight.dtype for weight in supernet.parameters()} == {torch.float32}

    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
