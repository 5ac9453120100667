"""Numbers that other code would disprove: costs, gradient matching, dimension with copies."""

import numpy as np
import pandas as pd
import pytest
import skdim
import torch
from torch.utils.flop_counter import FlopCounterMode

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.baselines import flop_count
from naslid_toolkit.evaluation.benchmark import digits_truth_path
from naslid_toolkit.evaluation.truth import DIGITS_SKELETON
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.manifolds import sample_manifold
from naslid_toolkit.partition.gradients import GradientCriterion, coordinates
from naslid_toolkit.partition.similarity import (
    correlation_similarity,
    cosine_similarity,
    euclidean_similarity,
    log_similarity,
)
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.shipped import example_run
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import canonical_architectures, parse_architecture
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton, Supernet

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


@pytest.mark.parametrize(
    "operations", [("nor_conv_3x3",) * 6, ("nor_conv_1x1", "skip_connect") * 3]
)
def test_torch_counts_the_same_but_for_the_biases(space, operations):
    cell = Architecture(operations)
    network = Supernet(space.only(cell), Skeleton(affine=True), seed=0).to("meta")

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 32, 32, device="meta"))

    assert count_cost(cell, network.skeleton).flops == counter.get_total_flops() // 2 + 10


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


@pytest.fixture
def cut_off(space, supernet, digits) -> torch.Tensor:
    """Similarities on the edge from input to output, with no other operation in the cell."""
    batches = digits.labelled_probe(batches=1, points=24, seed=0)
    for edge in (0, 1, 2, 4, 5):
        space = space.with_allowed(edge, ("none",))
    (evidence,) = GradientCriterion(supernet, batches, contexts=1)(space, [3], seed=0)
    return evidence.mean_similarity(cosine_similarity)


def test_reductions_tell_operations_apart_that_share_nothing_else(cut_off):
    others = cut_off[1:, 1:][~torch.eye(4, dtype=torch.bool)]

    assert ((others != 0) & (others.abs() < 0.999)).all()


def test_an_operation_without_a_gradient_is_like_no_other(cut_off):
    assert cut_off[0].tolist() == [1, 0, 0, 0, 0]


def test_gradient_similarities_are_those_of_the_published_distance(draw):
    rows = torch.randn(5, 40, generator=draw, dtype=torch.float64)
    rows[[1, 3]] = 0  # two operations without a gradient
    rows[4] = 2 * rows[0]

    found = cosine_similarity(coordinates(rows @ rows.T))

    for i in range(5):
        for j in range(i):
            a, b = rows[i], rows[j]
            distance = 1 - (a @ b) / (a.norm() * b.norm() + 1e-6)
            assert float(1 - found[i, j]) == pytest.approx(float(distance), abs=1e-6)


def test_gradients_are_not_compared_entry_by_entry(supernet, space, digits):
    batches = digits.labelled_probe(batches=1, points=8, seed=0)
    (evidence,) = GradientCriterion(supernet, batches, contexts=1)(space, [3], seed=0)

    assert evidence.mean_similarity(euclidean_similarity).isfinite().all()
    for similarity in (log_similarity, correlation_similarity):
        with pytest.raises(ConfigError, match="take 'cosine'"):
            evidence.mean_similarity(similarity)
    with pytest.raises(ConfigError, match="needs split.similarity 'cosine'"):
        RunConfig.from_dict({"criterion": "gradient", "split": {"similarity": "log"}})


@pytest.mark.parametrize("name", ["TwoNN", "MLE", "MOM", "TLE", "ESS"])
def test_copies_count_once_and_differ_from_scikit_dimension(name):
    rows = sample_manifold("gauss", 4, points=120, features=6, seed=0).double()
    copied = torch.cat([rows, rows[:30]])
    options = {} if name == "TwoNN" else {"n_neighbors": 20}
    theirs = getattr(skdim.id, name)()
    ours = ESTIMATORS["harmonic" if name == "MLE" else name.lower()]

    with np.errstate(all="ignore"):
        found = float(ours(pairwise_distances(copied), k=20).lid)
        distinct = float(theirs.fit(rows.numpy(), **options).dimension_)
    assert found == pytest.approx(distinct, rel=1e-9)

    if name != "TwoNN":
        with np.errstate(all="ignore"):
            assert theirs.fit(copied.numpy(), **options).dimension_ < 0.999 * distinct
        return
    with pytest.warns(UserWarning, match="Dropping 60 points"), np.errstate(all="ignore"):
        dropped = float(theirs.fit(copied.numpy()).dimension_)
    assert dropped == pytest.approx(dropped_copies(copied.numpy()))
    assert dropped > 1.2 * found


def dropped_copies(points: np.ndarray) -> float:
    """The slope without the points that have a copy, which still are neighbours of the others."""
    logs = []
    for i, point in enumerate(points):
        radii = sorted(float(np.linalg.norm(point - p)) for j, p in enumerate(points) if j != i)
        if radii[0] > 0:
            logs.append(float(np.log(radii[1] / radii[0])))
    kept = int(0.9 * len(logs))
    x, heights = np.sort(logs)[:kept], -np.log(1 - np.arange(1, kept + 1) / len(logs))
    return float(x @ heights / (x @ x))


def test_the_ratios_of_a_grid_define_no_dimension():
    grid = torch.cartesian_prod(*[torch.arange(5.0)] * 3)

    found = ESTIMATORS["twonn"](pairwise_distances(grid), k=20)

    assert found.lid.isnan()
    assert int(found.undefined) == 125
    assert skdim.id.TwoNN().fit(grid.double().numpy()).dimension_ == 0
