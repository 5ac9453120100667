import math

import pytest
import torch
from torch import nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.proxies import (
    PROXIES,
    gradient_norm,
    jacobian_covariance,
    naswot,
    snip,
    synflow,
    tangent_condition,
    tangent_kernel,
    tangent_smallest,
    zen,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.supernet.network import Skeleton, Supernet

SKELETON = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), affine=True, statistics="running")


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def flat(*rows: list[float]) -> Images:
    pixels = torch.tensor(rows).view(len(rows), 1, 1, -1)
    return Images(pixels, torch.zeros(len(rows), dtype=torch.int64))


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_leaves_the_network_as_it_was(name, digits):
    network = Supernet(
        nasbench201().only(Architecture(("nor_conv_3x3", "skip_connect") * 3)), SKELETON, seed=0
    )
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = digits.train[:12]

    first, second = PROXIES[name](network, images), PROXIES[name](network, images)

    assert math.isfinite(first)
    assert first == second
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(not module._forward_pre_hooks for module in network.modules())
    assert all("forward" not in vars(module) for module in network.modules())


def test_gradient_scores_are_those_of_hand_computation():
    network = nn.Sequential(nn.Flatten(), linear([[1.0, 0.0], [0.0, 1.0]]))
    images = flat([1.0, 2.0])
    share = torch.softmax(torch.tensor([1.0, 2.0]), 0)
    gradient = torch.outer(share - torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0]))

    assert gradient_norm(network, images) == pytest.approx(float(gradient.norm()))
    assert snip(network, images) == pytest.approx(float(gradient.diag().abs().sum()))


def test_synflow_is_the_sum_over_all_paths():
    network = nn.Sequential(nn.Flatten(), linear([[1.0, -2.0]]), nn.ReLU(), linear([[3.0]]))

    flow = 2 * (1 + 2) * 3  # every path once for each of the two layers

    assert synflow(network, flat([5.0, 5.0])) == pytest.approx(math.log(flow))


def test_a_network_without_a_signal_scores_lowest(digits):
    network = Supernet(nasbench201().only(Architecture(("none",) * 6)), SKELETON, seed=0)

    assert jacobian_covariance(network, digits.train[:4]) == -math.inf
    assert synflow(network, digits.train[:4]) < 0 or synflow(network, digits.train[:4]) == -math.inf


def test_naswot_counts_shared_rectifier_states():
    network = nn.Sequential(nn.Flatten(), linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), nn.ReLU())
    images = flat([1.0, 1.0], [1.0, -2.0])  # states 111 and 100

    kernel = torch.tensor([[3.0, 1.0], [1.0, 3.0]])

    assert naswot(network, images) == pytest.approx(float(kernel.logdet()))
    assert naswot(network, flat([1.0, 1.0], [2.0, 2.0])) == -math.inf


def test_the_empirical_tangent_kernel_is_the_analytic_one_of_a_wide_network():
    torch.manual_seed(0)
    width = 4096
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, width, bias=False), nn.ReLU())
    network.append(nn.Linear(width, 1, bias=False))
    with torch.no_grad():
        network[1].weight.normal_()
        network[3].weight.normal_(std=width**-0.5)
    rows = torch.nn.functional.normalize(torch.randn(6, 3), dim=1)
    images = Images(rows.view(6, 1, 1, 3), torch.zeros(6, dtype=torch.int64))

    angle = (rows @ rows.T).clamp(-1, 1).arccos().double()
    cosine = (rows @ rows.T).double()
    first = cosine * (math.pi - angle) / (2 * math.pi)
    last = (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi) * width
    analytic = first + last  # both layers' weights; the last layer's are standard normal inputs

    error = (tangent_kernel(network, images) - analytic).norm() / analytic.norm()
    assert float(error) < 0.05
    values = torch.linalg.eigvalsh(tangent_kernel(network, images))
    assert tangent_smallest(network, images) == pytest.approx(float(values[0]))
    assert tangent_condition(network, images) == pytest.approx(-math.log(values[-1] / values[0]))


def test_a_network_with_nothing_to_score_is_refused(digits):
    with pytest.raises(ConfigError, match="no convolution and no linear layer"):
        snip(nn.Flatten(), digits.train[:2])
    with pytest.raises(ConfigError, match="neither global pooling"):
        zen(nn.Flatten(), digits.train[:2])
