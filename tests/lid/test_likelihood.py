import math

import numpy as np
import pytest
import skdim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.likelihood import (
    LIDEstimator,
    MaximumLikelihood,
    lid_mle,
    log_ratio_sums,
)
from naslid_toolkit.lid.manifolds import sample_manifold
from naslid_toolkit.runtime import generator
from tests.reference.slow import lid_by_loops


def estimate(rows: torch.Tensor, name: str = "harmonic", k: int = 20) -> float:
    return float(ESTIMATORS[name](pairwise_distances(rows), k=k).lid)


@pytest.fixture
def rows(draw) -> torch.Tensor:
    return torch.randn(128, 64, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "numerator", "mean"),
    [
        ("harmonic", 19, "harmonic"),
        ("arithmetic", 19, "arithmetic"),
        ("unbiased", 18, "arithmetic"),
        ("paper", 20, "arithmetic"),
    ],
)
def test_estimates_are_those_of_the_definition(rows, name, numerator, mean):
    rows = rows[:48, :9]

    assert estimate(rows, name) == pytest.approx(
        lid_by_loops(rows.numpy(), 20, numerator, mean), rel=1e-11
    )


@pytest.mark.parametrize(
    ("name", "unbiased", "comb"),
    [
        ("harmonic", False, "mle"),
        ("arithmetic", False, "mean"),
        ("unbiased", True, "mean"),
        ("median", False, "median"),
    ],
)
def test_each_option_is_one_of_scikit_dimension(rows, name, unbiased, comb):
    theirs = skdim.id.MLE(unbiased=unbiased).fit(rows.numpy(), n_neighbors=20, comb=comb)

    assert estimate(rows, name) == pytest.approx(theirs.dimension_, rel=1e-12)


def test_scikit_dimension_has_two_defaults_that_differ_by_a_twentieth(rows):
    fitted = skdim.id.MLE().fit(rows.numpy(), n_neighbors=20).dimension_
    transformed = float(skdim.id.MLE().fit_transform(rows.numpy(), n_neighbors=20))

    assert estimate(rows, "arithmetic") == pytest.approx(transformed, rel=1e-8)
    assert transformed / fitted == pytest.approx(1.06, abs=0.03)


def test_float32_features_agree_with_scikit_dimension_to_its_own_error(rows):
    rows = rows.float()

    theirs = skdim.id.MLE().fit(rows.double().numpy(), n_neighbors=20).dimension_

    assert estimate(rows) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("dimension", [1, 5, 50, 500])
def test_the_local_model_is_estimated_without_bias(dimension):
    uniform = torch.rand(4000, 19, generator=generator(dimension), dtype=torch.float64)
    radii = uniform.pow(1 / dimension).sort(dim=1).values
    radii = torch.cat([radii, torch.ones(4000, 1, dtype=torch.float64)], dim=1)
    sums, found = log_ratio_sums(radii.square())[:, -1], torch.tensor(20)
    error = 1 / math.sqrt(4000 * 19)

    values = {
        name: float(ESTIMATORS[name].of_sums(sums, found).lid)
        for name in ("harmonic", "unbiased", "geometric", "paper")
    }

    for name in ("harmonic", "unbiased", "geometric"):
        assert values[name] == pytest.approx(dimension, rel=3.5 * error)
    assert values["paper"] / values["unbiased"] == pytest.approx(20 / 18)


# mean over 60 draws at N=128, k=20, measured with scikit-dimension's MLE().fit, and 4 sd of a mean
@pytest.mark.parametrize(
    ("kind", "dimension", "expected", "sd"),
    [
        ("sphere", 2, 2.00, 0.06),
        ("swiss_roll", 2, 2.27, 0.08),
        ("ball", 5, 4.15, 0.11),
        ("gauss", 5, 4.50, 0.11),
        ("ball", 10, 7.23, 0.17),
        ("sphere", 20, 12.5, 0.29),
        ("gauss", 50, 19.7, 0.50),
    ],
)
def test_known_shapes_have_the_known_bias(kind, dimension, expected, sd):
    values = [
        estimate(sample_manifold(kind, dimension, features=100, seed=seed)) for seed in range(12)
    ]

    assert np.mean(values) == pytest.approx(expected, abs=4 * sd / math.sqrt(12) + 0.01 * dimension)
    assert np.std(values, ddof=1) == pytest.approx(sd, rel=0.75)


@pytest.mark.parametrize(("kind", "dimension"), [("sphere", 2), ("ball", 5), ("ball", 10)])
def test_the_bias_falls_with_the_number_of_points(kind, dimension):
    values = [
        np.mean([estimate(sample_manifold(kind, dimension, points=n, seed=s)) for s in range(4)])
        for n in (128, 512, 2048)
    ]

    errors = [abs(value - dimension) for value in values]
    assert errors == sorted(errors, reverse=True) or max(errors) < 0.05
    frozen = {("sphere", 2): 2.0, ("ball", 5): 4.44, ("ball", 10): 8.0}
    assert values[1] == pytest.approx(frozen[kind, dimension], abs=0.12)


def test_every_number_of_neighbours_has_its_sum(draw):
    squared = torch.rand(7, 12, generator=draw, dtype=torch.float64).sort(dim=1).values

    sums = log_ratio_sums(squared)

    for k in range(2, 13):
        part = squared[:, :k]
        expected = (part[:, -1:] / part).log().sum(dim=1) / 2
        torch.testing.assert_close(sums[:, k - 1], expected, rtol=1e-12, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), k=st.integers(4, 15), name=st.sampled_from(["harmonic", "median"]))
def test_copies_change_nothing(seed, k, name):
    draw = generator(seed, "copies")
    rows = torch.randn(20, 6, generator=draw)
    copied = torch.cat([rows, rows[torch.randint(20, (9,), generator=draw)]])
    copied = copied[torch.randperm(29, generator=draw)]

    assert estimate(copied, name, k) == pytest.approx(estimate(rows, name, k), rel=1e-5)


def layers() -> dict[str, torch.Tensor]:
    """The degenerate inputs: 128 points of 2,000 features."""
    draw = generator(0, "degenerate")
    plain = torch.randn(128, 12, generator=draw) @ torch.randn(12, 2000, generator=draw)
    pairs = plain.clone()
    pairs[64:] = pairs[:64]
    thirty = plain.clone()
    thirty[98:] = thirty[0]
    half = plain.clone()
    half[28:] = 0
    two = torch.zeros_like(plain)
    two[:64] = 1
    simplex = torch.eye(128)
    return {
        "plain": plain,
        "5 pairs": torch.cat([plain[:123], plain[:5]]),
        "64 pairs": pairs,
        "30 equal": thirty,
        "dead": torch.zeros_like(plain),
        "constant": torch.full_like(plain, 3.7),
        "100 dead": half,
        "two points": two,
        "simplex": simplex,
        "large simplex": 100 * simplex,
        "tiny": plain * 1e-20,
        "huge": plain * 1e18,
        "offset": plain + 1000,
    }


@pytest.mark.parametrize(
    ("name", "undefined"),
    [
        ("plain", 0),
        ("5 pairs", 0),
        ("64 pairs", 0),
        ("30 equal", 0),
        ("100 dead", 0),
        ("tiny", 0),
        ("huge", 0),
        ("offset", 0),
        ("dead", 128),
        ("constant", 128),
        ("two points", 128),
    ],
)
def test_degenerate_layers_give_the_lid_of_their_distinct_points_or_zero(name, undefined):
    rows = layers()[name]

    found = ESTIMATORS["harmonic"](pairwise_distances(rows), k=20)

    distinct = torch.unique(rows, dim=0).double().numpy()
    expected = lid_by_loops(distinct, 20, 19, "harmonic") if len(distinct) > 20 else 0
    assert float(found.lid) == pytest.approx(expected, rel=1e-4)
    assert int(found.undefined) == undefined


@pytest.mark.parametrize("name", ["simplex", "large simplex"])
def test_a_simplex_has_no_finite_dimension(name):
    distances = pairwise_distances(layers()[name])

    for estimator in ("harmonic", "arithmetic", "geometric", "median", "unbiased"):
        found = ESTIMATORS[estimator](distances, k=20)
        assert math.isnan(float(found.lid))
        assert int(found.undefined) == 128
    official = float(ESTIMATORS["official_code"](distances, k=20).lid)
    assert abs(official) > 1e5  # the published code: a huge number of either sign


def test_tied_points_are_counted_and_do_not_spoil_the_others():
    squared = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]], dtype=torch.float64)
    sums = log_ratio_sums(squared)[:, -1]

    harmonic = MaximumLikelihood().of_sums(sums, torch.tensor(3))
    arithmetic = MaximumLikelihood("k-1", "arithmetic").of_sums(sums, torch.tensor(3))

    single = 2 / float(sums[1])
    assert float(harmonic.lid) == pytest.approx(2 * single)  # the tied point adds nothing
    assert float(arithmetic.lid) == pytest.approx(single)
    assert int(harmonic.undefined) == int(arithmetic.undefined) == 1


def test_weights_count_points_several_times(draw):
    sums = torch.rand(6, generator=draw, dtype=torch.float64) + 0.5
    weights = torch.tensor([2.0, 0.0, 1.0, 3.0, 0.0, 1.0])
    repeated = sums[torch.tensor([0, 0, 2, 3, 3, 3, 5])]

    for mean in ("harmonic", "arithmetic", "geometric", "median"):
        estimator = MaximumLikelihood("k-1", mean)
        weighted = estimator.of_sums(sums, torch.tensor(9), weights).lid
        torch.testing.assert_close(weighted, estimator.of_sums(repeated, torch.tensor(9)).lid)


def test_many_layers_are_estimated_as_each_alone(rows):
    parts = [rows, rows * 3, rows.clone(), torch.zeros_like(rows), rows.clone()]
    parts[2][5:100] = parts[2][3]
    parts[4][1] = float("nan")
    distances = [pairwise_distances(part) for part in parts]

    for estimator in ESTIMATORS.values():
        together = estimator(Distances.stack(distances), k=20)
        alone = [estimator(d, k=20) for d in distances]
        assert torch.equal(
            together.lid.nan_to_num(nan=-1), torch.stack([a.lid for a in alone]).nan_to_num(nan=-1)
        )
        assert together.undefined.tolist() == [int(a.undefined) for a in alone]


def test_the_published_code_counts_a_duplicate_as_zero(rows):
    rows = rows.float()
    copied = torch.cat([rows, rows[:1]])

    plain = ESTIMATORS["official_code"](pairwise_distances(rows), k=20)
    zero = ESTIMATORS["official_code"](pairwise_distances(copied), k=20)

    assert float(plain.lid) == pytest.approx(estimate(rows, "paper"), rel=1e-4)
    assert int(zero.undefined) == 2
    assert float(zero.lid) < float(plain.lid)
    tiny = ESTIMATORS["official_code"](pairwise_distances(rows * 1e-8), k=20)
    assert float(tiny.lid) < 0.5 * float(plain.lid)  # its epsilon has a scale


def test_points_are_estimated_one_by_one():
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 2.0, 4.0]])

    lid = lid_mle(distances)

    assert lid.isnan().tolist() == [True, False, False]
    assert float(lid[1]) == math.inf
    assert float(lid[2]) == pytest.approx(2 / math.log(8))


def test_every_estimator_keeps_the_protocol():
    assert all(isinstance(estimator, LIDEstimator) for estimator in ESTIMATORS.values())


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="unknown normalisation"):
        MaximumLikelihood(normalisation="k-3")
    with pytest.raises(ConfigError, match="unknown mean"):
        MaximumLikelihood(mean="mode")


def test_too_few_neighbours_are_refused(rows):
    with pytest.raises(ShapeError, match="undefined for k=2"):
        lid_mle(torch.ones(4, 2), normalisation="k-2")
    with pytest.raises(ShapeError, match="k=128 neighbours need"):
        estimate(rows, k=128)


def test_a_numerator_that_the_points_do_not_give_is_undefined():
    rows = torch.tensor([0.0, 1.0, 3.0]).repeat_interleave(10)[:, None]

    found = ESTIMATORS["unbiased"](pairwise_distances(rows), k=5)

    assert math.isnan(float(found.lid))  # k is lessened to 2, and k - 2 is 0
    assert estimate(rows, "harmonic", k=5) > 0
