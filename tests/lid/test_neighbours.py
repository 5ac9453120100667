import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.neighbours import nearest_neighbours


def exact(rows: torch.Tensor, k: int) -> np.ndarray:
    values = rows.double().flatten(1).numpy()
    distances = cdist(values, values, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :k]


@pytest.mark.parametrize("shape", [(40, 7), (64, 3, 5, 5), (33, 20000)])
def test_distances_are_those_of_scipy(draw, shape):
    rows = torch.randn(shape, generator=draw)

    found = nearest_neighbours(rows, k=5)

    np.testing.assert_allclose(found.squared.numpy(), exact(rows, 5), rtol=1e-11)
    assert not found.constant


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_an_offset_does_not_cost_accuracy(draw, offset):
    rows = torch.randn(50, 300, generator=draw, dtype=torch.float64)

    moved = nearest_neighbours(rows + offset, k=8)

    np.testing.assert_allclose(moved.squared.numpy(), exact(rows, 8), rtol=1e-8)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_tight_clusters_keep_their_distances(draw, spread):
    centres = torch.randn(8, 400, generator=draw, dtype=torch.float64)
    noise = torch.randn(64, 400, generator=draw, dtype=torch.float64)
    rows = centres.repeat(8, 1) + spread * noise

    found = nearest_neighbours(rows, k=5)

    np.testing.assert_allclose(found.squared.numpy(), exact(rows, 5), rtol=1e-5)


def test_duplicates_are_at_distance_exactly_zero(draw):
    rows = torch.randn(30, 500, generator=draw) + 100
    rows[7] = rows[3]

    found = nearest_neighbours(rows, k=4)

    assert (found.squared[:, 0] == 0).nonzero().flatten().tolist() == [3, 7]


def test_a_layer_of_equal_rows_is_constant():
    found = nearest_neighbours(torch.full((30, 9000), 3.7), k=4)

    assert found.constant
    assert (found.squared == 0).all()


def test_half_a_dead_batch_is_zero_for_that_half_only(draw):
    rows = torch.randn(40, 64, generator=draw)
    rows[20:] = 0

    found = nearest_neighbours(rows, k=4)

    assert ((found.squared == 0).all(1)).tolist() == [False] * 20 + [True] * 20
    assert not found.constant


def test_huge_activations_do_not_overflow(draw):
    rows = torch.randn(30, 50, generator=draw)

    found = nearest_neighbours(rows * 1e18, k=4)

    ratio = found.squared.numpy() / exact(rows, 4)
    np.testing.assert_allclose(ratio, 1e36, rtol=1e-5)


def test_channels_last_gives_the_same_numbers(draw):
    rows = torch.randn(30, 6, 5, 5, generator=draw)

    last = nearest_neighbours(rows.contiguous(memory_format=torch.channels_last), k=4)

    torch.testing.assert_close(
        last.squared, nearest_neighbours(rows, k=4).squared, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(("points", "k"), [(20, 20), (5, 1), (1, 2)])
def test_too_few_points_are_refused(points, k):
    with pytest.raises(ShapeError, match=f"k={k} neighbours need"):
        nearest_neighbours(torch.randn(points, 4), k=k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_is_refused(bad):
    rows = torch.randn(30, 4)
    rows[3, 2] = bad

    with pytest.raises(ShapeError, match="not finite"):
        nearest_neighbours(rows, k=3)
