"""Forward passes that leave marks: put right, or refused in a sentence."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from naslid_toolkit.errors import NetworkError, ShapeError
from naslid_toolkit.lid.measure import lid_profile


class Marking(nn.Module):
    """A network whose forward pass does something to itself first."""

    def __init__(self, mark, width=8) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 8))
        for parameter in self.body.parameters():
            nn.init.normal_(parameter, generator=draw)
        self.mark = mark

    def forward(self, images):
        self.mark(self)
        return self.body(images)


@pytest.fixture
def probe():
    return torch.randn(24, 8, generator=torch.Generator().manual_seed(1))


def profile(network, probe, **options):
    return lid_profile(network, probe, layers=["body.0", "body.2"], k=5, **options).lid


def nothing(_network):
    """Leave no mark."""


def scale(network):
    network.body[0].weight.data.mul_(1.5)


def one_number(network):
    network.body[0].weight.data.view(-1)[-1] += 1e-6


def turn(network):
    network.body[0].weight.data.copy_(network.body[0].weight.data.flip(0))


def write(network):
    with torch.no_grad():
        network.body[0].weight.add_(1)


@pytest.mark.parametrize("mark", [scale, one_number, turn, write])
@pytest.mark.parametrize("width", [9, 40_000])
@pytest.mark.parametrize("images_first", [True, False])
def test_a_forward_pass_that_writes_into_its_weights_is_refused(probe, mark, width, images_first):
    with pytest.raises(ShapeError, match="writes to .*measure a deepcopy"):
        profile(Marking(mark, width), probe, images_first=images_first)


def new_data(network):
    network.body[0].weight.data = network.body[0].weight.data * 1.5


def other_shape(network):
    network.body[0].bias.data = torch.zeros(1)


def new_parameter(network):
    network.body[0].weight = nn.Parameter(network.body[0].weight.detach() * 1.5)


def more_parameters(network):
    network.register_parameter("extra", nn.Parameter(torch.ones(3)))


def more_modules(network):
    network.add_module("extra", nn.Linear(2, 2))


def double(_module, _inputs, output):
    return output * 2


def hook(network):
    network.body[0].register_forward_hook(double)
    network.body.register_forward_pre_hook(nothing_to(nothing))
    network.body[2].register_full_backward_hook(lambda *_: None)
    network.body[0].weight.register_hook(torch.abs)


def nothing_to(function):
    return lambda module, _inputs: function(module)


def freeze(network):
    network.body[0].weight.requires_grad_(False)


def gradient(network):
    network.body[0].weight.grad = torch.ones_like(network.body[0].weight)


RESTORED = [new_data, other_shape, new_parameter, more_parameters, more_modules, hook, freeze]


@pytest.mark.parametrize("mark", [*RESTORED, gradient])
@pytest.mark.parametrize("images_first", [True, False])
def test_what_a_forward_pass_changes_beside_the_weights_is_put_right(probe, mark, images_first):
    network = Marking(mark)
    before = {name: (p, p.clone(), p.data_ptr()) for name, p in network.named_parameters()}
    modules, hooks = list(network.named_modules()), all_hooks(network)

    profile(network, probe, images_first=images_first)

    after = dict(network.named_parameters())
    assert after.keys() == before.keys()
    for name, (parameter, values, place) in before.items():
        assert after[name] is parameter
        assert torch.equal(parameter, values)
        assert parameter.data_ptr() == place
        assert parameter.requires_grad
        assert parameter.grad is None
        assert not parameter._backward_hooks
    assert list(network.named_modules()) == modules
    assert all_hooks(network) == hooks


def all_hooks(network):
    return [
        (name, key, dict(value))
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if "hook" in key and isinstance(value, dict)
    ]


def test_hooks_of_the_caller_stay_and_count(probe):
    network, plain = Marking(hook), Marking(nothing)
    for one in (network, plain):
        one.body[1].register_forward_hook(lambda *_: None)
    handle = plain.body[1].register_forward_hook(double)
    expected = all_hooks(network)

    profile(network, probe)
    profile(plain, probe)

    assert all_hooks(network) == expected
    assert len(plain.body[1]._forward_hooks) == 2
    handle.remove()
    assert len(plain.body[1]._forward_hooks) == 1


def test_four_threads_that_measure_one_network_get_its_numbers(probe):
    network = Marking(nothing)
    network.body.append(nn.Dropout())
    expected = profile(network, probe)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: profile(network, probe), range(12)))

    assert all(torch.equal(lid, expected) for lid in found)
    assert not network.body[0]._forward_hooks


def test_a_forward_pass_in_other_threads_is_refused(probe):
    class Parallel(Marking):
        def forward(self, images):
            with ThreadPoolExecutor(4) as threads:
                return sum(threads.map(self.body, images.split(6)))

    network = Parallel(nothing)

    with pytest.raises(NetworkError, match="'body.0' runs in another thread"):
        profile(network, probe)

    assert not network.body[0]._forward_hooks


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.complex64])
def test_weights_of_every_kind_are_watched(probe, dtype):
    class Odd(Marking):
        def forward(self, images):
            self.odd.data[2] = 0
            return super().forward(images)

    network = Odd(nothing)
    network.odd = nn.Parameter(torch.ones(3, 5, dtype=dtype).t()[1:])

    with pytest.raises(ShapeError, match="writes to the data of .*odd"):
        profile(network, probe)
