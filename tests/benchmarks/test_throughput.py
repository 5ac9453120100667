"""The benchmark of throughput compares what computes the same."""

import pandas as pd
import pytest
import torch

from benchmarks import throughput
from naslid_toolkit.runtime import generator
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.supernet.network import Supernet
from tests.conftest import TINY


def test_the_plain_pass_is_the_path_of_the_supernet(supernet, space):
    images = torch.randn(6, *TINY.image_shape)
    for seed in range(20):
        path = space.sample(generator=generator(seed))
        ours = throughput.plain_pass(supernet, images, path)
        torch.testing.assert_close(ours, supernet(images, path), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [throughput.PLAIN, throughput.SUPERNET, "toolkit, 3 path(s) a step"]
)
def test_every_way_of_working_is_measured(name, monkeypatch):
    monkeypatch.setattr(throughput, "STEPS", 2)
    monkeypatch.setattr(throughput, "SCORED", 3)
    config = RunConfig.preset("tiny", images={"size": 8}, training={"batch_size": 8})

    rates = throughput.measure(name, config, torch.device("cpu"), 1)

    assert set(rates) == {"training", "scoring"}
    assert min(rates.values()) > 0


def test_ratios_are_to_the_plain_loop_of_the_same_round():
    rows = [(throughput.PLAIN, 0, 10.0, 4.0), ("x", 0, 20.0, 8.0)]
    rows += [(throughput.PLAIN, 1, 5.0, 4.0), ("x", 1, 15.0, 4.0)]
    frame = pd.DataFrame(rows, columns=["loop", "round", "training", "scoring"])

    table = throughput.ratios(frame, [throughput.PLAIN, "x"]).set_index("loop")

    assert table.loc["x", "training, ratio"] == "2.50 [2.00, 3.00]"
    assert table.loc[throughput.PLAIN, "training, ratio"] == "1.00 [1.00, 1.00]"


def test_a_network_of_the_benchmark_is_a_supernet():
    skeleton = throughput.skeleton_of(RunConfig.preset("tiny", images={"size": 16}))
    network = Supernet(throughput.SPACE, skeleton, seed=0)
    assert network.skeleton.image_shape == (3, 16, 16)
