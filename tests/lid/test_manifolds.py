import pytest
import torch

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.manifolds import sample_manifold


@pytest.mark.parametrize("kind", ["sphere", "ball", "gauss", "cube", "swiss_roll"])
def test_turning_a_shape_changes_no_distance(kind):
    plain = sample_manifold(kind, 3, points=40, seed=0)
    turned = sample_manifold(kind, 3, points=40, features=25, seed=0)

    assert turned.shape == (40, 25)
    torch.testing.assert_close(
        pairwise_distances(plain).pairs, pairwise_distances(turned).pairs, rtol=1e-10, atol=0
    )
    assert torch.equal(turned, sample_manifold(kind, 3, points=40, features=25, seed=0))
    assert not torch.equal(plain, sample_manifold(kind, 3, points=40, seed=1))


def test_points_lie_where_they_should():
    assert sample_manifold("sphere", 4, seed=0).norm(dim=1).allclose(torch.ones(1).double())
    assert (sample_manifold("ball", 4, seed=0).norm(dim=1) < 1).all()
    roll = sample_manifold("swiss_roll", 2, seed=0)
    assert roll.shape == (128, 3)


@pytest.mark.parametrize(
    ("kind", "dimension", "features", "message"),
    [
        ("swiss_roll", 1, None, "no swiss_roll of dimension 1"),
        ("sphere", 0, None, "no sphere of dimension 0"),
        ("sphere", 5, 5, "needs 6 features"),
    ],
)
def test_shapes_that_do_not_exist_are_refused(kind, dimension, features, message):
    with pytest.raises(ConfigError, match=message):
        sample_manifold(kind, dimension, features=features, seed=0)
