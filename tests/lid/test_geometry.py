import math
import sys

import numpy as np
import pytest
import skdim
import torch

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.geometry import ScikitDimension, _dimension_of_skewness
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.manifolds import sample_manifold

pytestmark = [  # of scikit-dimension
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning"),
]


@pytest.fixture
def rows() -> torch.Tensor:
    return sample_manifold("gauss", 12, points=128, features=60, seed=0)


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("mom", skdim.id.MOM(), {"n_neighbors": 20}),
        ("twonn", skdim.id.TwoNN(), {}),
        ("tle", skdim.id.TLE(), {"n_neighbors": 20}),
        ("ess", skdim.id.ESS(), {"n_neighbors": 20}),
        ("participation_ratio", skdim.id.lPCA(ver="participation_ratio"), {}),
    ],
)
@pytest.mark.parametrize("kind", ["gauss", "sphere", "swiss_roll"])
def test_estimates_are_those_of_scikit_dimension(name, theirs, options, kind):
    rows = sample_manifold(kind, 4, points=128, features=30, seed=1)

    ours = ESTIMATORS[name](pairwise_distances(rows), k=20)

    assert float(ours.lid) == pytest.approx(
        theirs.fit(rows.numpy(), **options).dimension_, rel=1e-10
    )
    assert int(ours.undefined) == 0


@pytest.mark.parametrize("name", ["MLE", "TLE", "MADA", "CorrInt", "GRIDE", "KNN", "lPCA"])
def test_any_estimator_of_scikit_dimension_runs_on_the_distances(rows, name):
    np.random.seed(0)
    found = ScikitDimension(name)(pairwise_distances(rows), k=20)

    np.random.seed(0)
    options = {"n_neighbors": 20} if name in {"MLE", "TLE", "MADA"} else {}
    theirs = getattr(skdim.id, name)().fit(rows.numpy(), **options)
    assert float(found.lid) == pytest.approx(theirs.dimension_, rel=1e-6)


def test_options_reach_scikit_dimension(rows):
    distances = pairwise_distances(rows)

    ratio = ScikitDimension("lPCA", {"ver": "participation_ratio"})(distances, k=20)

    assert float(ratio.lid) == pytest.approx(
        float(ESTIMATORS["participation_ratio"](distances, k=20).lid), rel=1e-9
    )


def test_an_unknown_estimator_is_named():
    with pytest.raises(ConfigError, match="did you mean 'TwoNN'"):
        ScikitDimension("TwoNNN")


def test_without_scikit_dimension_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skdim", None)

    with pytest.raises(ConfigError, match="pip install scikit-dimension"):
        ScikitDimension("MLE")


@pytest.mark.parametrize("dimension", [1, 2, 3, 10, 77, 3000])
def test_the_skewness_of_random_directions_gives_their_dimension(dimension):
    logs = [math.lgamma(x / 2) for x in (dimension, dimension + 1, dimension - 1) if x]
    mean = math.exp(2 * logs[0] - logs[1] - logs[2]) if dimension > 1 else 0.0

    found = _dimension_of_skewness(torch.tensor([mean, 0.5], dtype=torch.float64))

    assert float(found[0]) == pytest.approx(dimension, rel=1e-6)
    assert 1 < float(found[1]) < 2


def test_directions_at_right_angles_have_no_dimension():
    assert float(_dimension_of_skewness(torch.ones(1, dtype=torch.float64))) == math.inf


@pytest.mark.parametrize("name", ["mom", "twonn", "tle", "ess"])
def test_copies_count_once(rows, name):
    copied = torch.cat([rows, rows[:40]])

    with_copies = ESTIMATORS[name](pairwise_distances(copied), k=20)

    alone = ESTIMATORS[name](pairwise_distances(rows), k=20)
    assert float(with_copies.lid) == pytest.approx(float(alone.lid), rel=1e-9)


@pytest.mark.parametrize("name", ["mom", "twonn", "tle", "ess", "participation_ratio"])
def test_a_constant_layer_has_dimension_zero(name):
    found = ESTIMATORS[name](pairwise_distances(torch.full((40, 7), 3.7)), k=10)

    assert float(found.lid) == 0
    assert int(found.undefined) == 40


def test_ess_is_the_least_biased_of_flat_data():
    rows = sample_manifold("gauss", 20, points=128, features=100, seed=0)
    distances = pairwise_distances(rows)

    ess, harmonic = (float(ESTIMATORS[n](distances, k=20).lid) for n in ("ess", "harmonic"))

    assert abs(ess - 20) < abs(harmonic - 20) / 3
