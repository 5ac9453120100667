import pytest
import torch
from torch import nn

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.lid.bootstrap import bootstrap_lids, bootstrap_profile, compare_profiles
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.lid.manifolds import sample_manifold
from naslid_toolkit.lid.measure import measure_distances
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.runtime import generator


def one_layer(rows: list[torch.Tensor]) -> LayerDistances:
    batches = [Distances.stack([pairwise_distances(part)]) for part in rows]
    return LayerDistances(("layer",), Distances.stack(batches))


def mixture(seed: int) -> torch.Tensor:
    """128 points of ten overlapping classes of dimension 2 to 11, as a layer's features have."""
    draw = generator(seed, "classes")
    labels = torch.randint(2, 12, (128,), generator=draw)
    rows = torch.randn(128, 30, generator=generator(0, "centres"))[labels]
    for dimension in range(2, 12):
        members = (labels == dimension).nonzero().flatten()
        axes = torch.randn(dimension, 30, generator=generator(dimension, "axes"))
        rows[members] += (
            torch.randn(len(members), dimension, generator=draw) @ axes / dimension**0.5
        )
    return rows


@pytest.mark.parametrize("kind", ["sphere", "ball", "gauss", "mixture"])
@pytest.mark.parametrize("k", [10, 20])
def test_intervals_cover_at_their_level(kind, k):
    """200 draws; what is covered is the estimator's mean at this number of points."""
    dimension = {"sphere": 2, "ball": 5, "gauss": 20, "mixture": 0}[kind]
    draws = [
        mixture(seed) if kind == "mixture" else sample_manifold(kind, dimension, seed=seed)
        for seed in range(200)
    ]
    measured = Distances.stack([pairwise_distances(rows) for rows in draws])
    lid = ESTIMATORS["harmonic"](measured, k=k).lid

    replicates = bootstrap_lids(measured[None, :], k=k, replicates=50, seed=0)[:, 0]

    error = replicates.std(dim=0)
    covered = ((lid - lid.mean()).abs() < 1.96 * error).double().mean()
    assert 0.90 <= float(covered) <= 0.99
    assert float(error.mean() / lid.std()) == pytest.approx(1.0, abs=0.3)


def test_a_resample_is_the_weighted_estimate_of_its_distinct_points(draw):
    rows = torch.randn(60, 8, generator=draw, dtype=torch.float64)
    estimator = MaximumLikelihood()

    found = bootstrap_lids(
        Distances.stack([pairwise_distances(rows)])[None, :], k=6, replicates=5, seed=3
    )[:, 0, 0]

    chosen = torch.randint(60, (5, 60), generator=generator(3, "bootstrap", 0))
    for value, points in zip(found, chosen, strict=True):
        distinct, counts = points.unique(return_counts=True)
        neighbours = pairwise_distances(rows[distinct]).neighbours(6).squared
        sums = 0.5 * (neighbours[:, -1:] / neighbours).log().sum(dim=1)
        expected = estimator.of_sums(sums, torch.tensor(6), counts.double()).lid
        assert float(value) == pytest.approx(float(expected), rel=1e-6)


def test_an_interval_narrows_with_the_batches():
    batches = [sample_manifold("gauss", 5, seed=seed) for seed in range(4)]

    one = bootstrap_profile(one_layer(batches[:1]), replicates=200, seed=0)
    four = bootstrap_profile(one_layer(batches), replicates=200, seed=0)

    assert float(one.error / four.error) == pytest.approx(2, rel=0.3)
    assert one.low < one.lid < one.high
    frame = four.to_frame()
    assert list(frame) == ["layer", "lid", "error", "low", "high"]
    assert frame["lid"][0] == pytest.approx(float(one_layer(batches).profile().lid))


def test_copies_and_constant_layers_have_intervals_too(draw):
    rows = torch.randn(128, 10, generator=draw)
    rows[100:] = rows[:28]

    copies = bootstrap_profile(one_layer([rows]), seed=0)
    constant = bootstrap_profile(one_layer([torch.ones(128, 3)]), seed=0)

    assert 0 < float(copies.error) < 1
    assert float(constant.error) == 0
    assert float(constant.lid) == 0


def test_equal_profiles_are_not_distinguishable_and_different_ones_are():
    batches = [sample_manifold("gauss", 6, features=20, seed=seed) for seed in range(2)]
    bent = [torch.cat([rows[:, :10], rows[:, 10:] * 0.1], dim=1) for rows in batches]
    flat = [torch.cat([rows[:, :3], 0.001 * rows[:, 3:]], dim=1) for rows in batches]

    same = compare_profiles(one_layer(batches), one_layer(batches), seed=0)
    near = compare_profiles(one_layer(batches), one_layer(bent), seed=0)
    far = compare_profiles(one_layer(batches), one_layer(flat), seed=0)

    assert not same.distinguishable
    assert float(same.p_values) == 1
    assert far.distinguishable
    assert far.difference > 0
    assert near.error < bootstrap_profile(one_layer(batches), seed=0).error
    assert list(far.to_frame()) == ["layer", "difference", "error", "p_value"]


def test_two_draws_of_one_network_differ_at_the_level_of_the_test():
    """Of 100 pairs of equal distributions on paired noise, about 5 may be told apart."""
    told_apart = 0
    for seed in range(100):
        shared = sample_manifold("gauss", 5, features=12, seed=seed)
        noise = torch.randn(2, 128, 12, generator=generator(seed, "noise"), dtype=torch.float64)
        first, second = (one_layer([shared + 0.3 * part]) for part in noise)
        told_apart += compare_profiles(first, second, replicates=60, seed=seed).distinguishable

    assert told_apart <= 12


def test_p_values_are_adjusted_for_the_number_of_layers(draw):
    network = nn.Sequential(*(nn.Linear(10, 10) for _ in range(6)))
    images = torch.randn(60, 10, generator=draw)
    first = measure_distances(network, images)
    second = measure_distances(network, images * torch.linspace(0.5, 1, 10))

    found = compare_profiles(first, second, k=10, seed=0)

    raw = torch.special.erfc((found.difference / found.error).abs() / 2**0.5)
    assert (found.p_values >= raw - 1e-12).all()
    assert float(found.p_values.min()) == pytest.approx(min(1, 6 * float(raw.min())))


def test_resampling_repeats_with_its_seed(draw):
    measured = one_layer([torch.randn(50, 5, generator=draw)])

    first, again, other = (bootstrap_profile(measured, k=8, seed=s).error for s in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_settings_that_cannot_be_resampled_are_refused(draw):
    measured = one_layer([torch.randn(50, 5, generator=draw)])
    settings = {"replicates": 10, "seed": 0}

    with pytest.raises(ConfigError, match="at least 2 replicates"):
        bootstrap_profile(measured, k=8, replicates=1, seed=0)
    with pytest.raises(ShapeError, match="k=50 neighbours"):
        bootstrap_profile(measured, k=50, seed=0)
    with pytest.raises(ShapeError, match="the same layers"):
        compare_profiles(measured, one_layer([torch.randn(40, 5, generator=draw)]), seed=0)
    assert bootstrap_lids(measured.distances, k=8, **settings).shape == (10, 1, 1)
