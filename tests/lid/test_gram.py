"""Distances against SciPy, the precision ladder, degenerate inputs, and the invariances."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import TOLERANCE, pairwise_distances
from naslid_toolkit.runtime import generator

HARMONIC = ESTIMATORS["harmonic"]
PRECISIONS = ["auto", "float32", "float64"]


def exact(rows: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(pdist(rows.double().flatten(1).numpy(), "sqeuclidean"))


def lid(rows: torch.Tensor, k: int = 20, **options) -> float:
    return float(HARMONIC(pairwise_distances(rows, **options), k=k).lid)


def lid_of(squared: torch.Tensor, k: int = 20) -> float:
    """The definition, from exact squared distances."""
    points = (1 + math.isqrt(1 + 8 * len(squared))) // 2
    square = torch.zeros(points, points, dtype=torch.float64)
    square[tuple(torch.triu_indices(points, points, 1))] = squared
    nearest = (square + square.T).fill_diagonal_(math.inf).sort(dim=1).values[:, :k]
    return 2 * (k - 1) / float((nearest[:, -1:] / nearest[:, :-1]).log().sum(1).mean())


def error_and_bound(found: Distances, rows: torch.Tensor, k: int) -> tuple[float, float]:
    value, true = HARMONIC(found, k=k).lid, lid_of(exact(rows), k=k)
    return abs(float(value) / true - 1), float(found.lid_bound(value))


def clusters(spread: float, *, seed: int = 0, features: int = 4096) -> torch.Tensor:
    draw = generator(seed, "clusters")
    centres = torch.randn(8, features, generator=draw, dtype=torch.float64).repeat(16, 1)
    noise = torch.randn(128, features, generator=draw, dtype=torch.float64)
    return (centres + spread * noise).float()


@pytest.mark.parametrize("shape", [(40, 7), (64, 3, 5, 5), (33, 20000), (2, 1), (5, 3)])
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("auto", 1e-5)])
def test_distances_are_those_of_scipy(draw, shape, precision, tolerance):
    rows = torch.randn(shape, generator=draw)

    found = pairwise_distances(rows, precision=precision)

    torch.testing.assert_close(found.pairs, exact(rows), rtol=tolerance, atol=0)
    assert bool(found.finite)
    assert found.points == shape[0]
    assert bool(found.doubled) is (precision == "float64")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e1, 1e2, 1e3, 1e4])
def test_an_offset_costs_no_accuracy(draw, offset, precision):
    rows = torch.randn(128, 4096, generator=draw) + offset

    found = pairwise_distances(rows, precision=precision)

    error, bound = error_and_bound(found, rows, k=20)
    assert error <= bound < TOLERANCE


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("spread", [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_the_certificate_holds_for_tight_clusters(spread, precision):
    rows = clusters(spread)

    found = pairwise_distances(rows, precision=precision)

    error, bound = error_and_bound(found, rows, k=15)
    assert error <= bound
    if precision == "auto":
        assert bound <= TOLERANCE
        assert bool(found.doubled) is (spread < 1)


def test_the_certificate_holds_in_600_cases():
    slack = []
    for seed in range(10):
        for features in (64, 512, 4096):
            for spread in (1.0, 0.1, 0.03, 0.01, 3e-3, 1e-3):
                rows = clusters(spread, seed=seed, features=features)
                rows[0] = rows[17] + 0.01 * spread * rows[3]
                found = pairwise_distances(rows, precision="float32")
                error, bound = error_and_bound(found, rows, k=15)
                slack.append(bound / error)

    assert min(slack) > 1
    assert sorted(slack)[len(slack) // 2] < 1000  # a bound that is always true says nothing


@pytest.mark.parametrize("precision", PRECISIONS)
def test_equal_points_and_only_they_are_at_distance_zero(draw, precision):
    rows = torch.randn(60, 5000, generator=draw) + 100
    rows[7] = rows[3]
    rows[40:] = rows[5]
    rows[39] = rows[5]
    rows[39, 17] = torch.nextafter(rows[5, 17], torch.tensor(1e3))

    found = pairwise_distances(rows, precision=precision)

    zero = exact(rows) == 0
    assert torch.equal(found.pairs == 0, zero)
    copies = found.copies().nonzero().flatten().tolist()
    assert copies == [7, *range(40, 60)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-8, 1e-6, 1.0, 1e18, 1e30])
def test_scale_changes_nothing(draw, scale, precision):
    rows = torch.randn(128, 3000, generator=draw)

    found = pairwise_distances(rows * scale, precision=precision)

    assert float(HARMONIC(found, k=20).lid) == pytest.approx(
        lid(rows, precision="float64"), rel=1e-5
    )
    true = exact((rows * scale).double() / scale)
    ratio = found.pairs * torch.exp2(found.exponent.double()) / (true * scale**2)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-5, atol=0)


def test_float64_beyond_the_range_of_its_squares_is_scaled(draw):
    rows = torch.randn(40, 30, generator=draw, dtype=torch.float64)

    assert lid(rows * 1e200, k=10) == pytest.approx(lid(rows, k=10), rel=1e-9)
    assert lid(rows * 1e-200, k=10) == pytest.approx(lid(rows, k=10), rel=1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_features_that_are_not_finite_are_flagged(draw, bad, precision):
    rows = torch.randn(30, 40, generator=draw)
    rows[3, 2] = bad

    found = pairwise_distances(rows, precision=precision)

    assert not bool(found.finite)
    assert found.pairs.isnan().all()
    assert math.isnan(float(HARMONIC(found, k=5).lid))


def test_distances_below_the_rounding_of_the_features_are_unresolved():
    rows = torch.full((40, 500), 1e4)
    rows[:10] += 0.001 * torch.randn(10, 500, generator=generator(1))
    rows[10:] += torch.randn(30, 500, generator=generator(2)) * 100

    found = pairwise_distances(rows)

    assert int(found.unresolved) == 10
    assert int(pairwise_distances(rows[10:]).unresolved) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_widened_exactly(draw, dtype):
    rows = torch.randn(64, 9000, generator=draw).to(dtype)

    narrow, wide = pairwise_distances(rows), pairwise_distances(rows.float())

    assert torch.equal(narrow.pairs, wide.pairs)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("auto", 1e-5)])
def test_the_order_of_samples_features_and_memory_does_not_matter(draw, precision, tolerance):
    images = torch.randn(128, 16, 16, 16, generator=draw)
    order = torch.randperm(128, generator=draw)
    columns = torch.randperm(4096, generator=draw)
    variants = [
        images[order],
        images.flatten(1)[:, columns],
        images.contiguous(memory_format=torch.channels_last),
        images.permute(0, 3, 1, 2),
        images[:, :, ::2].repeat_interleave(2, dim=2)[:, :, : images.shape[2]] * 0 + images,
    ]

    for variant in variants:
        found = lid(variant, precision=precision)
        assert found == pytest.approx(lid(images, precision="float64"), rel=tolerance)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("auto", 1e-5)])
def test_rotation_translation_and_repetition_change_nothing(draw, precision, tolerance):
    rows = torch.randn(128, 300, generator=draw, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(300, 300, generator=draw, dtype=torch.float64)).Q
    kind = torch.float64 if precision == "float64" else torch.float32
    variants = [rows @ rotation, rows + 1, rows + 100, rows * 3.7, torch.cat([rows, rows], dim=1)]

    for variant in variants:
        found = lid(variant.to(kind), precision=precision)
        assert found == pytest.approx(lid(rows), rel=tolerance)


@pytest.mark.parametrize("precision", ["float64", "auto"])
@pytest.mark.parametrize("value", [0.0, 3.7])
def test_constant_features_change_nothing_at_all(draw, precision, value):
    rows = torch.randn(128, 4096, generator=draw)
    padded = torch.cat([rows, torch.full((128, 8192 - 4096), value)], dim=1)

    found = pairwise_distances(padded, precision=precision)

    torch.testing.assert_close(
        found.pairs,
        pairwise_distances(rows, precision=precision).pairs,
        rtol=1e-14 if precision == "float64" else 1e-6,
        atol=0,
    )


@settings(max_examples=40, deadline=None)
@given(power=st.integers(-60, 60), seed=st.integers(0, 20), wide=st.booleans())
def test_a_power_of_two_is_exactly_nothing(power, seed, wide):
    rows = torch.randn(40, 12, generator=generator(seed), dtype=torch.float64 if wide else None)

    assert lid(rows * 2.0**power, k=10) == lid(rows, k=10)


@settings(max_examples=25, deadline=None)
@given(
    points=st.integers(3, 70),
    features=st.integers(1, 60),
    seed=st.integers(0, 1000),
    levels=st.integers(2, 6),
)
def test_integer_features_give_exact_distances_in_any_order(points, features, seed, levels):
    draw = generator(seed, "integers")
    rows = torch.randint(levels, (points, features), generator=draw).float()
    order = torch.randperm(points, generator=draw)

    found, shuffled = pairwise_distances(rows), pairwise_distances(rows[order])

    torch.testing.assert_close(found.pairs, exact(rows), rtol=1e-6, atol=0)
    assert torch.equal(found.pairs == 0, exact(rows) == 0)
    k = min(10, points - 1)
    if k >= 2:
        before, after = HARMONIC(found, k=k), HARMONIC(shuffled, k=k)
        torch.testing.assert_close(before.lid, after.lid, rtol=1e-6, atol=0, equal_nan=True)
        assert before.undefined == after.undefined


def test_equally_far_points_with_a_copy_need_float64(draw):
    rows = torch.cat([torch.eye(40), torch.eye(40)[:1]]) * 100

    found = pairwise_distances(rows)

    assert torch.equal(found.pairs == 0, exact(rows) == 0)
    assert found.pairs[found.pairs > 0].unique().tolist() == [20000.0]


def test_random_features_are_the_same_for_every_layer_and_layout(draw):
    images = torch.randn(64, 32, 8, 8, generator=draw)
    last = images.contiguous(memory_format=torch.channels_last)

    part = pairwise_distances(images, max_features=500)

    torch.testing.assert_close(
        part.pairs, pairwise_distances(last, max_features=500).pairs, rtol=1e-5, atol=0
    )
    assert not torch.equal(part.pairs, pairwise_distances(images, max_features=500, seed=1).pairs)
    whole = pairwise_distances(images)
    assert torch.equal(pairwise_distances(images, max_features=2048).pairs, whole.pairs)
    ratio = part.pairs / whole.pairs * 2048 / 500
    assert ratio.mean() == pytest.approx(1, abs=0.05)


def test_autocast_and_reduced_matmul_precision_do_not_reach_the_products(draw):
    rows = torch.randn(64, 500, generator=draw)
    expected = pairwise_distances(rows).pairs
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")

    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = pairwise_distances(rows)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)

    assert torch.equal(found.pairs, expected)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (torch.randn(1, 4), {}, "need two points, got 1"),
        (torch.randn(4, 0), {}, r"no features in a tensor of shape \(4, 0\)"),
        (torch.tensor(1.0), {}, "no features"),
        (torch.ones(4, 3, dtype=torch.int64), {}, "must be floating point, got torch.int64"),
        (torch.randn(4, 3), {"max_features": 0}, "max_features must be at least 1"),
        (torch.randn(4, 3), {"precision": "tf32"}, "needs features on CUDA, got cpu"),
    ],
)
def test_unusable_input_is_refused(rows, options, message):
    with pytest.raises(ShapeError, match=message):
        pairwise_distances(rows, **options)
