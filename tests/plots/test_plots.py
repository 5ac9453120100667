import math

import numpy as np
import pandas as pd
import pytest
import torch

from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.panel import evaluate
from naslid_toolkit.evaluation.ranking import kendall_tau
from naslid_toolkit.lid.bootstrap import bootstrap_profile
from naslid_toolkit.lid.measure import lid_profile, measure_distances
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.plots import (
    plot_evaluation,
    plot_history,
    plot_lid,
    plot_ranking,
    plot_similarity,
    plot_split_tree,
)
from naslid_toolkit.plots.lid_curves import lid_curves
from naslid_toolkit.plots.ranking import rank_points
from naslid_toolkit.plots.similarity import similarity_cells
from naslid_toolkit.plots.split_tree import tree_nodes
from naslid_toolkit.search.result import load_run
from naslid_toolkit.space.architecture import Architecture


@pytest.fixture(scope="module")
def run(tiny_folder):
    return load_run(tiny_folder)


def test_a_curve_is_the_mean_over_contexts_with_its_error(run):
    evidence = run.chosen_evidence("root")

    curves = lid_curves(evidence)

    values = evidence.vectors[:, 2, 1]
    assert [curve.name for curve in curves] == list(evidence.operations)
    assert curves[2].lid[1] == pytest.approx(float(values.mean()))
    assert curves[2].error[1] == pytest.approx(float(values.std() / math.sqrt(len(values))))


def test_an_interval_is_drawn_with_its_own_error(supernet, digits):
    probe = digits.probe(batches=2, points=40, seed=0)
    path = supernet.path(Architecture(("nor_conv_3x3",) * 6))
    measured = measure_distances(path, probe, layers=path.layer_names)
    interval = bootstrap_profile(measured, k=10, replicates=20, seed=0)

    (curve,) = lid_curves({"path": interval})

    assert curve.error == tuple(interval.error.tolist())
    assert curve.lid == tuple(interval.lid.tolist())


def test_curves_of_profiles_show_a_dead_network_as_zero(supernet, digits):
    dead = supernet.path(Architecture(("none",) * 6))
    probe = digits.probe(batches=1, points=40, seed=0)
    profile = lid_profile(dead, probe, layers=dead.layer_names, k=10)

    (curve,) = lid_curves({"dead": profile})
    figure = plot_lid({"dead": profile})

    assert curve.lid == (0.0,) * 5  # one point has no dimension
    assert all(math.isnan(value) for value in curve.error)
    assert curve.undefined == (40,) * 5
    assert "LID" in figure.layout.yaxis.title.text
    assert "dimensionless" in figure.layout.yaxis.title.text


def test_matrices_are_ordered_by_group(space):
    split = choose_split(space, RandomCriterion(), seed=0)

    cells = similarity_cells(split, space)

    chosen = [cell for cell in cells if cell.chosen]
    assert len(cells) == 6
    assert len(chosen) == 1
    assert chosen[0].title.startswith(f"★ edge {space.edge_name(split.edge)}")
    first = split.chosen.grouping.groups[0]
    assert chosen[0].boundaries == (len(first),)
    matrix = split.chosen.similarity
    order = [i for group in split.chosen.grouping.groups for i in group]
    assert torch.equal(torch.tensor(chosen[0].values), matrix[order][:, order].float())
    figure = plot_similarity(split, space)
    assert len(figure.data) == 6
    assert len(figure.layout.shapes) == 12


def test_parents_stand_over_their_children(space):
    tree = SplitTree.root(space)
    for name in ("root", "root-1", "root-1-0"):
        tree = tree.with_split(name, choose_split(tree.node(name).space, RandomCriterion(), seed=1))

    nodes = {node.name: node for node in tree_nodes(tree)}

    leaves = sorted(node.x for node in nodes.values() if node.leaf)
    assert leaves == [0, 1, 2, 3]
    for node in nodes.values():
        children = [child for child in nodes.values() if child.parent == node.name]
        if children:
            assert node.x == sum(child.x for child in children) / 2
            assert all(child.level == node.level + 1 for child in children)
    figure = plot_split_tree(tree)
    assert len(figure.data) == 6
    assert len(figure.layout.annotations) == 6 + 7


def test_points_carry_tau_and_its_interval(run):
    scores = run.scores["few_shot"]
    reference = pd.Series(range(len(scores)), index=scores.index, dtype=float)

    (points,) = rank_points({"few_shot": scores}, reference, seed=0)
    figure = plot_ranking({"few_shot": scores}, reference, seed=0)

    tau = kendall_tau(scores, reference, seed=0)
    assert (points.tau, points.low, points.high) == (tau.tau, tau.low, tau.high)
    assert len(points.score) == len(scores)
    assert f"{tau.tau:.3f}" in figure.layout.annotations[0].text


def test_a_ranking_stands_beside_baselines_and_ceilings(run):
    truth = load_reference(digits_truth_path())
    judged = evaluate(run.scores[["few_shot"]], truth, seed=0, resamples=10)

    figure = plot_ranking(run.scores[["few_shot"]], truth.accuracy, seed=0, evaluation=judged)

    rows = [name for trace in figure.data[1:] for name in trace.y]
    assert rows == [
        "ceiling: validation",
        "ceiling: seed noise",
        "flop_count",
        "parameter_count",
        "convolution_count",
        "few_shot",
    ]
    assert all(figure.layout[f"xaxis{number}"].title.text for number in ("", 2))


def test_more_methods_than_colours_can_be_told_apart():
    names = [f"a{number}" for number in range(9)]
    draw = np.random.default_rng(0)
    scores = pd.DataFrame(draw.random((9, 9)), names, [f"m{number}" for number in range(9)])

    judged = evaluate(scores, scores["m0"], seed=0, baselines=None, resamples=5)
    figure = plot_evaluation(judged)
    points = plot_ranking(scores, scores["m0"], seed=0)

    looks = {
        (t.line.color, t.line.dash, t.marker.symbol) for t in figure.data if t.showlegend is None
    }
    assert len(looks) == 9
    assert len(points.data) == 9


def test_every_axis_of_the_history_is_named(run):
    figure = plot_history(run.history)

    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    assert list(figure.data[1].y) == sorted(figure.data[1].y)
