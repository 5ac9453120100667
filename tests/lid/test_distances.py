import math

import pytest
import torch

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.gram import pairwise_distances


@pytest.fixture
def rows(draw) -> torch.Tensor:
    return torch.randn(30, 20, generator=draw)


def test_the_square_is_symmetric_and_holds_every_pair(rows):
    found = pairwise_distances(rows, precision="float64")

    torch.testing.assert_close(found.square(), torch.cdist(rows.double(), rows.double()).square())
    assert found.square()[3, 17] == found.square()[17, 3]
    assert (found.square().diagonal() == 0).all()


def test_neighbours_are_ascending_without_the_point_itself(rows):
    rows = rows + 1000  # an offset that makes naive self-distances large

    found = pairwise_distances(rows).neighbours(6)

    expected = torch.cdist(rows.double(), rows.double()).square().sort(dim=1).values[:, 1:7]
    torch.testing.assert_close(found.squared, expected, rtol=1e-5, atol=0)
    assert int(found.found) == 6


def test_equal_points_are_one_point(rows):
    rows[10:14] = rows[2]

    found = pairwise_distances(rows)

    distinct = found.neighbours(5)
    alone = pairwise_distances(rows[[*range(10), *range(14, 30)]]).neighbours(5)
    kept = ~distinct.squared[:, 0].isnan()
    assert kept.tolist() == [not 10 <= i < 14 for i in range(30)]
    torch.testing.assert_close(distinct.squared[kept], alone.squared, rtol=1e-6, atol=0)
    every = found.neighbours(5, distinct=False)
    assert (every.squared[2, :4] == 0).all()
    assert not every.squared.isnan().any()


def test_fewer_points_than_neighbours_leave_infinity():
    rows = torch.arange(30.0)[:, None].clamp_max(3)

    found = pairwise_distances(rows).neighbours(5)

    assert int(found.found) == 3
    assert found.squared[0].tolist() == [1.0, 4.0, 9.0, math.inf, math.inf]


def test_float32_halves_the_size_and_says_what_it_costs(rows):
    exact = pairwise_distances(rows * 1e25, precision="float64")

    small = exact.to(torch.float32)

    assert small.bytes_per_layer * 2 == exact.bytes_per_layer
    assert small.bound > exact.bound
    scale = torch.exp2((small.exponent - exact.exponent).double())
    torch.testing.assert_close(small.pairs.double() * scale, exact.pairs, rtol=6e-8, atol=0)
    assert torch.equal(small.to(torch.float64).pairs.float(), small.pairs)
    assert small.to(torch.float32) is small


def test_128_points_take_32_kilobytes(draw):
    found = pairwise_distances(torch.randn(128, 50, generator=draw)).to(torch.float32)

    assert found.bytes_per_layer <= 32 * 1024


def test_layers_stack_and_are_chosen_again(rows):
    parts = [pairwise_distances(rows * scale) for scale in (1.0, 2.0, 3.0)]

    stacked = Distances.stack([Distances.stack(parts), Distances.stack(parts)])

    assert stacked.exponent.shape == (2, 3)
    assert torch.equal(stacked[1, 2].pairs, parts[2].pairs)
    assert torch.equal(stacked.neighbours(4).squared[0, 1], parts[1].neighbours(4).squared)
    assert torch.equal(stacked[:, [2, 0]].pairs[0, 1], parts[0].pairs)


def test_distances_of_different_sizes_do_not_stack(rows):
    with pytest.raises(ShapeError, match=r"\[20, 30\] points"):
        Distances.stack([pairwise_distances(rows), pairwise_distances(rows[:20])])


def test_a_subset_is_what_those_points_alone_have(rows):
    chosen = [4, 17, 2, 29, 11]

    part = pairwise_distances(rows, precision="float64").subset(chosen)

    alone = pairwise_distances(rows[chosen], precision="float64")
    torch.testing.assert_close(part.pairs, alone.pairs, rtol=1e-12, atol=0)
    assert part.points == 5


@pytest.mark.parametrize("chosen", [[1, 1], [0, 30], [-1, 2]])
def test_a_subset_of_points_that_do_not_exist_is_refused(rows, chosen):
    with pytest.raises(ShapeError, match="points below 30, each at most once"):
        pairwise_distances(rows).subset(chosen)


@pytest.mark.parametrize("k", [0, 1, 30, 31])
def test_too_few_points_are_refused(rows, k):
    with pytest.raises(ShapeError, match=f"k={k} neighbours need"):
        pairwise_distances(rows).neighbours(k)
