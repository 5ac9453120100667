"""A profile needs no more memory than the forward pass, the kept distances, and a megabyte."""

import pytest
import torch

from naslid_toolkit.lid.measure import lid_profile
from naslid_toolkit.partition.cost import allocated_peak
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.network import Skeleton, Supernet


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operation", ["all", "nor_conv_3x3", "skip_connect"])
def test_measuring_adds_no_memory_to_a_forward_pass(space, operation):
    network = Supernet(space, Skeleton(channels=16, cells=2), seed=0)
    if operation != "all":
        network = network.path(Architecture((operation,) * 6))
    images = torch.randn(128, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def plain() -> None:
        with torch.inference_mode():
            network(images)

    def measured() -> None:
        lid_profile(network, images, layers=network.layer_names)

    measured()  # what is cached from layer to layer
    before, after = (allocated_peak(work, network.device) for work in (plain, measured))

    kept = len(network.layer_names) * (128 * 127 // 2) * 8
    assert before > 16 * 1024 * 128 * 4 * 2
    assert after <= before + kept + 1_000_000
