import pytest
import torch
from torch import nn

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.neighbours import nearest_neighbours
from naslid_toolkit.lid.profile import lid_profile


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.5))
        self.second = nn.Linear(12, 5)
        self.unused = nn.Linear(5, 5)
        self.dead = nn.Linear(5, 3)
        nn.init.zeros_(self.dead.weight)

    def forward(self, images):
        return self.dead(self.second(self.first(images)))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def probe(draw) -> list[torch.Tensor]:
    return [torch.randn(40, 6, generator=draw) for _ in range(3)]


def test_a_profile_is_what_the_stored_outputs_give(network, probe):
    network.eval()

    profile = lid_profile(network, probe, layers=["first", "second"], k=8)

    with torch.no_grad():
        outputs = [network.first(batch) for batch in probe]
    expected = [ESTIMATORS["harmonic"](nearest_neighbours(o, k=8)).lid for o in outputs]
    assert profile.by_batch[:, 0].tolist() == expected
    assert profile.lid[0] == pytest.approx(sum(expected) / 3)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_no_trace(network, probe, training):
    network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random_state = torch.get_rng_state()

    lid_profile(network, probe, layers=["first"], k=8)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())
    assert network.training is training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_exception_leaves_no_trace_either(network, probe):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    bad = [probe[0], torch.full((40, 6), float("nan"))]

    with pytest.raises(ShapeError, match="not finite") as caught:
        lid_profile(network, bad, layers=["first"], k=8)

    assert "while measuring layer 'first'" in caught.value.__notes__[0]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_constant_layer_is_undefined_and_its_vector_zero(network, probe):
    profile = lid_profile(network, probe, layers=["second", "dead"], k=8)

    assert profile.constant.tolist() == [False, True]
    assert profile.lid.isnan().tolist() == [False, True]
    assert profile.undefined.tolist() == [0, 120]
    assert profile.vector[1] == 0


def test_a_profile_is_a_tidy_table(network, probe):
    frame = lid_profile(network, probe, layers=["first", "second"], k=8).to_frame()

    assert list(frame) == ["batch", "layer", "lid", "undefined", "constant"]
    assert len(frame) == 6


@pytest.mark.parametrize(
    ("layers", "message"),
    [(["secnd"], "did you mean 'second'"), (["unused"], "did not run")],
)
def test_a_layer_that_cannot_be_measured_is_named(network, probe, layers, message):
    with pytest.raises(ShapeError, match=message):
        lid_profile(network, probe, layers=layers, k=8)


def test_no_probe_batch_is_refused(network):
    with pytest.raises(ShapeError, match="at least one probe batch"):
        lid_profile(network, [], layers=["first"])


def test_an_output_that_is_no_tensor_is_refused(draw):
    network = nn.Sequential(nn.GRU(6, 4, batch_first=True))

    with pytest.raises(ShapeError, match="output of layer '0' is a tuple"):
        lid_profile(network, [torch.randn(40, 3, 6, generator=draw)], layers=["0"], k=8)
