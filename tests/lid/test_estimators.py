import math

import numpy as np
import pytest
import skdim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.lid.estimators import (
    ESTIMATORS,
    LIDEstimator,
    MaximumLikelihood,
    lid_mle,
    official_estimate,
)
from naslid_toolkit.lid.neighbours import Neighbours, nearest_neighbours
from naslid_toolkit.runtime import generator
from tests.reference.slow import lid_by_loops


def sphere(dimension: int, points: int, seed: int) -> torch.Tensor:
    rows = torch.randn(points, dimension + 1, generator=generator(seed), dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "numerator", "mean"),
    [
        ("harmonic", 19, "harmonic"),
        ("arithmetic", 19, "arithmetic"),
        ("unbiased", 18, "arithmetic"),
        ("paper", 20, "arithmetic"),
    ],
)
def test_estimates_are_those_of_the_definition(draw, name, numerator, mean):
    rows = torch.randn(48, 9, generator=draw, dtype=torch.float64)

    estimate = ESTIMATORS[name](nearest_neighbours(rows, k=20))

    assert estimate.lid == pytest.approx(lid_by_loops(rows.numpy(), 20, numerator, mean), rel=1e-11)
    assert estimate.undefined == 0


def test_the_default_is_that_of_scikit_dimension(draw):
    rows = torch.randn(128, 64, generator=draw, dtype=torch.float64)

    ours = ESTIMATORS["harmonic"](nearest_neighbours(rows, k=20)).lid

    theirs = skdim.id.MLE().fit(rows.numpy(), n_neighbors=20).dimension_
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("name", "options"), [("unbiased", {"unbiased": True})])
def test_other_means_are_those_of_scikit_dimension(draw, name, options):
    rows = torch.randn(128, 64, generator=draw, dtype=torch.float64)
    neighbours = nearest_neighbours(rows, k=20)

    unbiased = skdim.id.MLE(**options).fit(rows.numpy(), n_neighbors=20, comb="mean")
    median = skdim.id.MLE().fit(rows.numpy(), n_neighbors=20, comb="median")

    assert ESTIMATORS[name](neighbours).lid == pytest.approx(unbiased.dimension_, rel=1e-8)
    assert ESTIMATORS["median"](neighbours).lid == pytest.approx(median.dimension_, rel=1e-8)


@pytest.mark.parametrize("dimension", [1, 5, 50])
def test_the_local_model_is_estimated_without_bias(dimension):
    uniform = torch.rand(4000, 19, generator=generator(dimension), dtype=torch.float64)
    radii = uniform.pow(1 / dimension).sort(dim=1).values
    squared = torch.cat([radii, torch.ones(4000, 1)], dim=1).square()
    error = 1 / math.sqrt(4000 * 19)

    harmonic = ESTIMATORS["harmonic"](Neighbours(squared, constant=False)).lid
    unbiased = ESTIMATORS["unbiased"](Neighbours(squared, constant=False)).lid
    paper = ESTIMATORS["paper"](Neighbours(squared, constant=False)).lid

    assert harmonic == pytest.approx(dimension, rel=4 * error)
    assert unbiased == pytest.approx(dimension, rel=4 * error)
    assert paper / unbiased == pytest.approx(20 / 18)


def test_a_sphere_has_its_dimension():
    values = [
        ESTIMATORS["harmonic"](nearest_neighbours(sphere(2, 512, seed), k=20)).lid
        for seed in range(5)
    ]

    assert np.mean(values) == pytest.approx(2.0, abs=0.06)


@settings(max_examples=25, deadline=None)
@given(power=st.integers(-40, 40), seed=st.integers(0, 5))
def test_scaling_by_a_power_of_two_changes_nothing(power, seed):
    rows = torch.randn(40, 12, generator=generator(seed), dtype=torch.float64)

    before = ESTIMATORS["harmonic"](nearest_neighbours(rows, k=10)).lid
    after = ESTIMATORS["harmonic"](nearest_neighbours(rows * 2.0**power, k=10)).lid

    assert after == pytest.approx(before, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10))
def test_rotation_permutation_and_padding_change_nothing(seed):
    draw = generator(seed)
    rows = torch.randn(40, 12, generator=draw, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=draw, dtype=torch.float64)).Q
    order = torch.randperm(40, generator=draw)
    padded = torch.cat([rows @ rotation, torch.full((40, 3), 5.0)], dim=1)[order]

    before = ESTIMATORS["harmonic"](nearest_neighbours(rows, k=10)).lid
    after = ESTIMATORS["harmonic"](nearest_neighbours(padded, k=10)).lid

    assert after == pytest.approx(before, rel=1e-11)


def test_undefined_points_are_nan_and_counted():
    squared = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 2.0, 4.0]])

    points = lid_mle(squared)
    layer = MaximumLikelihood()(Neighbours(squared.double(), constant=False))

    assert points.isnan().tolist() == [True, True, False]
    assert layer.undefined == 2
    assert layer.lid == pytest.approx(2 * float(points[2]))


def test_a_layer_without_a_defined_point_is_nan():
    layer = MaximumLikelihood()(Neighbours(torch.zeros(5, 3, dtype=torch.float64), constant=True))

    assert math.isnan(layer.lid)
    assert layer.undefined == 5


def test_the_published_code_counts_a_duplicate_as_zero_and_ties_as_nonsense():
    one = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    duplicate = torch.tensor([[0.0, 2.0, 4.0]], dtype=torch.float64)
    tied = torch.full((1, 3), 1e4, dtype=torch.float64)

    plain = official_estimate(Neighbours(one, constant=False))
    paper = ESTIMATORS["paper"](Neighbours(one, constant=False))

    assert plain.lid == pytest.approx(paper.lid, rel=1e-4)
    assert official_estimate(Neighbours(duplicate, constant=False)).lid == 0
    assert abs(official_estimate(Neighbours(tied, constant=False)).lid) > 1e5


def test_every_estimator_keeps_the_protocol():
    assert all(isinstance(estimator, LIDEstimator) for estimator in ESTIMATORS.values())


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="unknown normalisation"):
        MaximumLikelihood(normalisation="k-3")
    with pytest.raises(ConfigError, match="unknown mean"):
        MaximumLikelihood(mean="mode")


def test_too_few_neighbours_are_refused():
    with pytest.raises(ShapeError, match="undefined for k=2"):
        lid_mle(torch.ones(4, 2), normalisation="k-2")
