"""Training-free scores against their definitions, and against real accuracies."""

import copy
import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy import stats
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
from naslid_toolkit.evaluation.scores import score_proxies
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    canonical_architectures,
    format_architecture,
    nasbench201,
    parse_architecture,
)
from naslid_toolkit.supernet.network import Skeleton, Supernet
from tests.conftest import shared_file

TINY = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8))
MIXED = ("nor_conv_3x3", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none", "nor_conv_3x3")
# What Spearman's rho with the accuracy is at least, over 32 real cells from the worst to the best.
LEAST = {
    "gradient_norm": 0.2,
    "snip": 0.2,
    "synflow": 0.6,
    "jacobian_covariance": 0.3,
    "naswot": 0.5,
    "zen": 0.6,
    "tangent_smallest": 0.2,
    "tangent_condition": 0.4,
}


def network_of(*operations: str, skeleton: Skeleton = TINY) -> Supernet:
    return Supernet(nasbench201().only(Architecture(operations)), skeleton, seed=0)


@pytest.fixture
def images(digits) -> Images:
    return digits.train[:12]


@pytest.fixture
def trained_mode() -> Supernet:
    """A network whose batch norms are affine and run on the batch's statistics."""
    return network_of(
        *MIXED, skeleton=Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), affine=True)
    )


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    """Scores of 32 real cells on 12 images of CIFAR-10, and their accuracy after 200 epochs."""
    truth = pd.read_parquet(shared_file("nb201_accuracies.parquet")).set_index("arch")
    rows = pq.ParquetFile(shared_file("cifar10-test.parquet")).read_row_group(0).slice(0, 12)
    pixels = [np.asarray(Image.open(io.BytesIO(r["img"]["bytes"]))) for r in rows.to_pylist()]
    batch = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
    images = Images(nn.functional.avg_pool2d(batch, 4), torch.tensor(rows["label"].to_pylist()))
    accuracy = truth["cifar10_test_200"][
        [format_architecture(c) for c in canonical_architectures()]
    ]
    names = accuracy.sort_values().index[np.linspace(0, len(accuracy) - 1, 32).round().astype(int)]
    skeleton = Skeleton(channels=8, cells=1, image_shape=(3, 8, 8))
    scores = score_proxies(map(parse_architecture, names), images, skeleton, seed=0)
    return scores.assign(accuracy=accuracy)


@pytest.mark.data
@pytest.mark.parametrize("name", PROXIES)
def test_a_larger_score_promises_a_better_cell(real, name):
    rho = stats.spearmanr(real[name], real["accuracy"]).statistic

    assert LEAST[name] <= rho < 1


def test_zen_is_the_mean_over_networks_drawn_anew(trained_mode, images):
    expected = [zen_by_hand(trained_mode, images.pixels.shape, repeat) for repeat in range(2)]

    found = zen(trained_mode, images, repeats=2)

    assert found == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert zen(trained_mode, images) == zen(trained_mode, images, repeats=4)


def zen_by_hand(network: nn.Module, shape: torch.Size, repeat: int) -> float:
    """A copy with weights from N(0, 1), in training mode, and hooks that look on."""
    network = copy.deepcopy(network).train()
    scales, features = [], []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw = generator(0, "zen", f"{name}.weight", repeat)
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=draw))
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            module.register_forward_hook(
                lambda _module, given, _out: scales.append(
                    given[0].var(dim=(0, 2, 3), unbiased=False).mean().sqrt().log()
                )
            )
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda _module, given, _out: features.append(given[0]))
    draw = generator(0, "zen", "images", repeat)
    first, noise = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
    with torch.no_grad():
        network(first + 0.01 * noise)
        scales.clear()
        network(first)
    moved = (features[0] - features[1]).abs().sum(dim=(1, 2, 3)).mean()
    return float(moved.log() + sum(scales))


def test_zen_judges_the_architecture_and_not_its_weights(images):
    network = network_of(*MIXED)
    before, state = zen(network, images), torch.get_rng_state()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(100).add_(1)

    assert zen(network, images) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_zen_grows_with_the_convolutions_of_a_cell(images):
    scores = [
        zen(network_of(*(operation,) * 6), images)
        for operation in ("avg_pool_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    ]

    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 10


def test_zen_needs_norms_and_a_repeat(images):
    deep = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(60)))

    with pytest.raises(ConfigError, match="needs batch norm"):
        zen(deep, images)
    with pytest.raises(ConfigError, match="at least one repeat, got 0"):
        zen(network_of(*MIXED), images, repeats=0)


def test_gradient_scores_are_those_of_backpropagation(trained_mode, images):
    expected = [gradient_norm(trained_mode, images), snip(trained_mode, images)]

    nn.functional.cross_entropy(trained_mode.train()(images.pixels), images.labels).backward()
    layers = [m.weight for m in trained_mode.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    pairs = [(weight.detach(), weight.grad) for weight in layers if weight.grad is not None]
    assert expected[0] == pytest.approx(sum(float(g.norm()) for _, g in pairs), rel=1e-4)
    assert expected[1] == pytest.approx(sum(float((w * g).abs().sum()) for w, g in pairs), rel=1e-4)


def test_synflow_is_that_of_a_copy_with_absolute_weights_and_no_norms(trained_mode, images):
    plain = copy.deepcopy(trained_mode).double()
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    for weight in plain.parameters():
        weight.data.abs_()
    plain(torch.ones(1, 1, 8, 8, dtype=torch.float64)).sum().backward()
    layers = [m.weight for m in plain.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    flow = sum(float((w.detach() * w.grad).abs().sum()) for w in layers if w.grad is not None)

    assert synflow(trained_mode, images) == pytest.approx(math.log(flow), rel=1e-9)


def test_the_jacobian_score_is_that_of_numpy(trained_mode, images):
    pixels = images.pixels.clone().requires_grad_()
    trained_mode.train()(pixels).sum().backward()
    values = np.linalg.eigvalsh(np.corrcoef(pixels.grad.flatten(1).double().numpy())) + 1e-5

    expected = -np.sum(np.log(values) + 1 / values)

    assert jacobian_covariance(trained_mode, images) == pytest.approx(expected, rel=1e-3)


def test_naswot_counts_equal_states_image_by_image(trained_mode, images):
    states = []
    network = copy.deepcopy(trained_mode).train()
    relu = torch.relu
    for module in network.modules():
        if type(module).__name__ == "ReLUConvBN" or isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(
                lambda _module, given: states.append((relu(given[0]) > 0).flatten(1).numpy())
            )
    with torch.no_grad():
        network(images.pixels)
    codes = np.concatenate(states, axis=1)

    kernel = [[float((a == b).sum()) for b in codes] for a in codes]

    assert naswot(trained_mode, images) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_naswot_refuses_a_network_without_rectifiers(images):
    with pytest.raises(ConfigError, match="no ReLU"):
        naswot(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh()), images)


def test_the_tangent_kernel_is_that_of_one_image_at_a_time(images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))
    rows = []
    for image in images.pixels:
        network.zero_grad()
        network(image[None]).sum().backward()
        rows.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]).double())
    stacked = torch.stack(rows)

    torch.testing.assert_close(
        tangent_kernel(network, images), stacked @ stacked.T, rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("affine", [False, True])
def test_cells_without_a_path_tie_at_the_bottom(images, affine):
    skeleton = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), affine=affine)
    cells = [
        ("none",) * 6,
        ("nor_conv_3x3", *("none",) * 5),
        ("none", "none", *("skip_connect", "none") * 2),
    ]
    scores = score_proxies([Architecture(c) for c in cells], images, skeleton, seed=0)
    alive = score_proxies([Architecture(MIXED)], images, skeleton, seed=0)

    assert scores.nunique().eq(1).all()
    assert (scores.iloc[0] < alive.iloc[0]).all()
    assert (scores["tangent_smallest"] == 0).all()
    lowest = ["synflow", "jacobian_covariance", "naswot", "zen", "tangent_condition"]
    assert np.isneginf(scores[lowest]).all(axis=None)


def test_what_carries_no_signal_changes_no_score(images):
    dead = ("none", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1")
    same = (*dead[:2], "none", dead[3], "none", dead[5])

    scores = score_proxies([Architecture(dead), Architecture(same)], images, TINY, seed=0)

    assert scores.iloc[0].to_numpy() == pytest.approx(scores.iloc[1].to_numpy(), rel=1e-12)


def test_a_kernel_that_is_not_finite_has_no_value(images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    nn.init.constant_(network[1].weight, math.nan)
    broken = Images(torch.full_like(images.pixels, math.inf), images.labels)

    assert math.isnan(tangent_smallest(network, broken))
    assert tangent_condition(network, broken) == -math.inf


def test_scores_of_zen_that_were_kept_before_are_not_served(tmp_path, images):
    cell, cache = Architecture(MIXED), tmp_path / "scores.jsonl"
    names = {"proxies": ["zen", "naswot"], "seed": 0, "cache": cache}
    new = score_proxies([cell], images, TINY, **names)
    row = json.loads(cache.read_text())
    row["scores"] = {"zen": -1.0, "naswot": -2.0}
    cache.write_text(json.dumps(row) + "\n")

    again = score_proxies([cell], images, TINY, **names)

    assert again["zen"].tolist() == new["zen"].tolist()
    assert again["naswot"].tolist() == [-2.0]
    assert again.index.tolist() == [format_architecture(cell)]
