"""Numbers that other code would disprove: FLOPs of the official benchmark files."""

import pandas as pd
import pytest

from naslid_toolkit.evaluation.baselines import flop_count
from naslid_toolkit.evaluation.benchmark import digits_truth_path
from naslid_toolkit.evaluation.truth import DIGITS_SKELETON
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.shipped import example_run
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import canonical_architectures, parse_architecture
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton

# Of the cheapest and the dearest cell in the official files: mega-FLOPs and mega-parameters.
OFFICIAL = {
    (10, 32): ((7.78305, 0.073306), (220.11969, 1.531546)),
    (100, 32): ((7.7889, 0.079156), (220.12554, 1.537396)),
    (120, 16): ((1.9534, None), (55.03756, None)),
}


@pytest.mark.parametrize(("classes", "size"), OFFICIAL)
def test_costs_are_those_of_the_official_files(classes, size):
    skeleton = Skeleton(affine=True, classes=classes, image_shape=(3, size, size))

    costs = [count_cost(Architecture((o,) * 6), skeleton) for o in ("none", "nor_conv_3x3")]

    for cost, (flops, parameters) in zip(costs, OFFICIAL[classes, size], strict=True):
        assert cost.flops / 1e6 == flops
        assert parameters is None or cost.parameters / 1e6 == parameters


def test_the_tables_that_ship_hold_the_costs_that_are_counted():
    table = pd.read_parquet(digits_truth_path(), columns=["architecture", "parameters", "flops"])
    some = table.sample(500, random_state=0)
    history, run = pd.read_parquet(example_run() / "history.parquet"), OpenRun(example_run())

    counted = [count_cost(parse_architecture(a), DIGITS_SKELETON) for a in some["architecture"]]
    picked = [run.cost(parse_architecture(a)) for a in history["architecture"]]

    assert [cost.flops for cost in counted] == some["flops"].tolist()
    assert [cost.parameters for cost in counted] == some["parameters"].tolist()
    assert [cost.flops for cost in picked] == history["flops"].tolist()


def test_biases_shift_all_flops_alike_so_ranks_stay():
    cells = canonical_architectures()[::500]
    few, many = Skeleton(classes=10), Skeleton(classes=11)

    shift = flop_count(cells, many) - flop_count(cells, few)

    assert (shift == 64 + 1).all()  # the weights and the bias of one more class
