from collections import Counter

import numpy as np
import pytest

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.space.nasbench201 import OPERATIONS, convolution_depth
from naslid_toolkit.supernet.sampling import SAMPLERS, PathSampler, fair_paths, markov_paths


def counts(paths, edge):
    return Counter(path.operations[edge] for path in paths)


@pytest.mark.parametrize("name", SAMPLERS)
def test_paths_lie_in_the_space_and_depend_on_the_arguments_alone(space, name):
    part = space.with_allowed(0, ["none", "nor_conv_3x3"]).with_allowed(5, ["skip_connect"])
    sampler = SAMPLERS[name]

    paths = sampler(part, 40, 60, seed=1)

    assert isinstance(sampler, PathSampler)
    assert len(paths) == 60
    assert all(path in part for path in paths)
    assert paths == sampler(part, 40, 60, seed=1)
    assert paths != sampler(part, 40, 60, seed=2)


def test_fair_paths_use_every_operation_equally_often(space):
    part = space.with_allowed(1, ["none", "skip_connect"])

    paths = fair_paths(part, 0, 100, seed=0)

    assert all(set(counts(paths, edge).values()) == {20} for edge in (0, 2, 3, 4, 5))
    assert set(counts(paths, 1).values()) == {50}


def test_fair_cycles_go_on_where_the_epoch_before_ended(space):
    whole = fair_paths(space, 0, 37, seed=0)

    assert whole == fair_paths(space, 0, 18, seed=0) + fair_paths(space, 18, 19, seed=0)


def test_uniform_paths_use_every_operation_about_equally_often(space):
    paths = SAMPLERS["uniform"](space, 0, 5000, seed=0)

    for edge in range(6):
        values = np.array([counts(paths, edge)[o] for o in OPERATIONS])
        assert ((values - 1000) ** 2 / 1000).sum() < 18.5  # chi-squared, p = 0.001


def test_balanced_paths_are_connected_and_balanced(space):
    paths = SAMPLERS["balanced"](space, 0, 3000, seed=0)

    codes = np.array([[OPERATIONS.index(o) for o in path.operations] for path in paths])
    depth = Counter(convolution_depth(codes).tolist())
    assert -1 not in depth
    assert abs(depth[0] + depth[1] - 1000) < 90
    assert abs(depth[2] - 1000) < 90


def test_balanced_sampling_of_a_disconnected_space_is_refused(space):
    for edge in range(3, 6):
        space = space.with_allowed(edge, ["none"])

    with pytest.raises(SpaceError, match="connected architecture"):
        SAMPLERS["balanced"](space, 0, 4, seed=0)


def test_the_published_sampling_never_trains_half_of_two_such_edges(space):
    part = space.with_allowed(0, ["none", "skip_connect"]).with_allowed(1, OPERATIONS[2:4])

    paths = markov_paths(part, 0, 200, seed=0)

    assert len({path.operations[:2] for path in paths}) == 2
    assert len({path.operations[:2] for path in SAMPLERS["uniform"](part, 0, 200, seed=0)}) == 4
