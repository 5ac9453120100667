import pytest
import torch
from torch import nn

from naslid_toolkit.errors import ConfigError, SearchCancelledError
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.hierarchical import hierarchical_search, hierarchies
from naslid_toolkit.space.nasbench201 import OPERATIONS, parse_architecture
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.siblings import mutual_losses, train_siblings
from naslid_toolkit.supernet.training import TrainingConfig, train
from tests.conftest import TINY


@pytest.fixture(scope="module")
def config() -> RunConfig:
    over = {"levels": 0, "warmup_epochs": 1, "split": {"contexts": 1}}
    over |= {"training": {"epochs": 3}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


@pytest.fixture(scope="module")
def whole(config, few_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hierarchical") / "run"
    return folder, hierarchical_search(config, few_digits, samples=3, out=folder)


def test_the_search_ends_with_every_edge_decided(whole, config):
    _, run = whole

    parse_architecture(run.architecture)
    last = run.splits.iloc[-1]["kept"]
    assert [len(operations) for operations in last] == [1] * 6
    assert run.splits["node"].tolist()[:3] == [1, 2, 3]
    assert run.splits["parts"].max() <= 8
    epochs = config.warmup_epochs + run.splits["parts"].sum()
    assert run.steps == epochs * (900 // config.training.batch_size)


def test_a_stopped_search_goes_on(whole, config, few_digits, tmp_path):
    folder, run = whole

    def stop(event) -> None:
        if type(event).__name__ == "HierarchySplit" and event.node == 2:
            raise SearchCancelledError("enough")

    with pytest.raises(SearchCancelledError):
        hierarchical_search(config, few_digits, samples=3, out=tmp_path / "run", on_event=stop)
    again = hierarchical_search(config, few_digits, samples=3, out=tmp_path / "run")

    assert again.architecture == run.architecture
    assert again.splits["score"].tolist() == run.splits["score"].tolist()
    assert again.steps == run.steps
    other = RunConfig.from_dict(merged(config.to_dict(), {"seed": 4}))
    with pytest.raises(ConfigError, match="other settings"):
        hierarchical_search(other, few_digits, out=folder)
    with pytest.raises(ConfigError, match="must be at least 1"):
        hierarchical_search(config, few_digits, samples=0, out=tmp_path / "none")


def test_decided_nodes_are_left_out(space):
    part = space.with_allowed(1, OPERATIONS[:1]).with_allowed(2, OPERATIONS[1:2])

    assert list(hierarchies(part)) == [(1, (0,)), (3, (3, 4, 5))]


def test_alone_or_without_distillation_training_is_the_usual_one(space, digits):
    config = TrainingConfig(epochs=1, batch_size=128)
    usual, one, pair = (Supernet(space, TINY, seed=0) for _ in range(3))
    train(usual, digits.train, config, seed=3)

    train_siblings([one], digits.train, config, seed=3, first_epoch=0, last_epoch=1)
    both = [pair, Supernet(space, TINY, seed=1)]
    steps = train_siblings(
        both, digits.train, config, seed=3, first_epoch=0, last_epoch=1, distillation=0.0
    )

    for name, value in usual.state_dict().items():
        assert torch.equal(value, one.state_dict()[name])
        assert torch.equal(value, pair.state_dict()[name])
    assert steps == 2 * (len(digits.train) // 128)


def test_siblings_pull_each_other(draw, digits):
    logits = [torch.randn(6, 4, generator=draw, requires_grad=True) for _ in range(3)]
    labels = torch.randint(4, (6,), generator=draw)

    losses = mutual_losses(logits, labels, 0.5)

    shares = [own.detach().softmax(1) for own in logits]
    mean = (shares[1] + shares[2]) / 2
    divergence = (mean * (mean.log() - shares[0].log())).sum(1).mean()
    plain = nn.functional.cross_entropy(logits[0], labels)
    assert losses[0].item() == pytest.approx(float((plain + 0.5 * divergence).detach()), rel=1e-5)
    losses[0].backward()
    assert logits[0].grad is not None
    assert not logits[1].grad.any()
    with pytest.raises(ConfigError, match="must not be negative"):
        train_siblings(
            [],
            digits.train,
            TrainingConfig(),
            seed=0,
            first_epoch=0,
            last_epoch=0,
            distillation=-1.0,
        )
