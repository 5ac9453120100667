"""What only a CUDA device can show: the same numbers as on the CPU, within the certificate."""

import pytest
import torch

from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.manifolds import sample_manifold
from naslid_toolkit.lid.measure import lid_profile
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.supernet.network import Skeleton, Supernet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def rows() -> torch.Tensor:
    return sample_manifold("gauss", 8, points=256, features=9000, seed=0).float() + 5


@pytest.mark.parametrize("precision", ["auto", "float32", "float64", "tf32"])
def test_distances_are_those_of_the_cpu_within_the_certificate(rows, precision):
    found = pairwise_distances(rows.cuda(), precision=precision)

    exact = pairwise_distances(rows, precision="float64")
    error = (found.pairs.cpu() / exact.pairs - 1).abs().max()
    assert float(error) <= 4 * float(found.bound)
    lid = ESTIMATORS["harmonic"](found, k=20).lid.cpu()
    true = ESTIMATORS["harmonic"](exact, k=20).lid
    assert float((lid / true - 1).abs()) <= float(found.to("cpu").lid_bound(true))


def test_tf32_is_not_used_unless_asked(rows):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")

    try:
        found = pairwise_distances(rows.cuda())
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)

    assert float(found.bound) < 1e-5


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator_runs_where_the_distances_are(rows, name):
    there = ESTIMATORS[name](pairwise_distances(rows.cuda(), precision="float64"), k=20)

    here = ESTIMATORS[name](pairwise_distances(rows, precision="float64"), k=20)
    assert there.lid.is_cuda
    torch.testing.assert_close(there.lid.cpu(), here.lid, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_accepted(rows, dtype):
    half = (rows - 5).to(dtype)

    found = pairwise_distances(half.cuda())

    torch.testing.assert_close(
        found.pairs.cpu(), pairwise_distances(half.float()).pairs, rtol=1e-4, atol=0
    )


def test_equal_points_are_found(rows):
    rows[7] = rows[3]

    found = pairwise_distances(rows.cuda())

    assert found.copies().nonzero().flatten().tolist() == [7]


def test_a_profile_is_that_of_the_cpu_and_leaves_no_trace():
    network = Supernet(nasbench201(), Skeleton(channels=8, cells=1), seed=0)
    images = torch.randn(128, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    here = lid_profile(network, images, layers=network.layer_names)
    network.cuda()
    state = torch.cuda.get_rng_state()

    there = lid_profile(network, images.cuda(), layers=network.layer_names)

    torch.testing.assert_close(there.lid, here.lid, rtol=1e-2, atol=0)  # other convolutions
    assert torch.equal(state, torch.cuda.get_rng_state())


def test_memory_of_a_profile_is_that_of_the_forward_pass():
    network = Supernet(nasbench201(), Skeleton(channels=16, cells=5), seed=0).cuda()
    images = torch.randn(128, 3, 32, 32).cuda()
    peaks = []
    for measured in (False, True):
        torch.cuda.reset_peak_memory_stats()
        if measured:
            lid_profile(network, images, layers=network.layer_names)
        else:
            with torch.inference_mode():
                network(images)
        peaks.append(torch.cuda.max_memory_allocated())

    assert peaks[1] - peaks[0] <= 1_000_000 + 17 * 8128 * 8
