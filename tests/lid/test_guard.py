"""Many measurements of one network under one guard."""

import pytest
import torch
from torch import nn

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.marks import is_watched
from naslid_toolkit.lid.measure import measure_distances
from naslid_toolkit.lid.unchanged import left_unchanged


def test_many_measurements_under_one_guard_give_the_same_and_leave_no_trace(draw):
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)).train()
    images = torch.randn(40, 6, generator=draw)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    alone = measure_distances(network, images).distances.pairs
    state = torch.get_rng_state()

    with left_unchanged(network):
        assert is_watched(network)
        together = [measure_distances(network, images).distances.pairs for _ in range(2)]

    assert all(torch.equal(pairs, alone) for pairs in together)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not is_watched(network)


def test_a_write_under_the_guard_is_refused_at_its_end(draw):
    class Writing(nn.Linear):
        def forward(self, images):
            self.weight.data[0, 0] += 1
            return super().forward(images)

    network = nn.Sequential(Writing(6, 8))
    images = torch.randn(40, 6, generator=draw)

    with pytest.raises(ShapeError, match="writes to the data of"), left_unchanged(network):
        measure_distances(network, images)
    assert not is_watched(network)


def test_only_the_network_under_the_guard_is_watched():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)

    with left_unchanged(one):
        assert not is_watched(other)
        assert not is_watched(nn.ReLU())
