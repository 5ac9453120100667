import pytest
import torch

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.cost import allocated_peak, compare_costs, sweep_cost
from naslid_toolkit.supernet.network import Skeleton
from naslid_toolkit.tables import cost_table

CPU = torch.device("cpu")


def test_the_peak_is_what_lives_at_once(capfd):
    def work() -> None:
        for _ in range(5):
            first = torch.zeros(250_000)
            second = first + 1
            del first, second

    peak = allocated_peak(work, CPU)

    assert peak == pytest.approx(2_000_000, rel=0.01)
    assert capfd.readouterr().err == ""


def test_lid_needs_no_more_memory_than_inference_and_less_than_gradients(space):
    costs = compare_costs(
        space, channels=8, cells=2, pixels=[16, 48], batches=[8, 32], measured_pixels=16
    )

    wide = costs.set_index(["criterion", "others", "pixels", "batch"])
    for others in ("path", "all"):
        plain = wide.loc[("plain forward", others, 16, 32), "megabytes"]
        lid = wide.loc[("lid", others, 16, 32)]
        assert lid["megabytes"] < 1.05 * plain + 0.5
        assert lid["share"] < 0.25
        assert not lid["scaled"]
        larger = wide.loc[("gradient", others, 48, 32)]
        assert larger["scaled"]
        assert larger["share"] == 1
        small = wide.loc[("gradient", others, 16, 32), "megabytes"]
        assert larger["megabytes"] == pytest.approx(9 * small, rel=0.3)
    table = cost_table(costs)
    assert len(table) == 24
    assert table["MB"].str.startswith("~").sum() == 12


def test_an_unknown_criterion_is_refused(space):
    skeleton = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8))
    with pytest.raises(ConfigError, match="no criterion 'x'"):
        sweep_cost(space, skeleton, others="path", batch=4, criterion="x")
