import json
import shutil

import pytest

from naslid_toolkit.errors import DataError
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.search.launch import create_run
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.widgets import PartitionExplorer


@pytest.fixture
def explorer(opened, shown):
    return shown(PartitionExplorer(opened, background=False))


def marks(view):
    return {node["id"]: node["mark"] for node in view.nodes}


def test_with_the_settings_of_the_run_both_trees_are_the_same(explorer):
    assert "The trees are the same" in explorer.difference.value
    assert set(marks(explorer.after).values()) == {""}
    assert explorer.before.nodes == explorer.after.nodes


@pytest.mark.parametrize(("k", "similarity"), [(5, "log"), (20, "cosine"), (30, "euclidean")])
def test_other_settings_show_the_tree_they_lead_to(explorer, opened, k, similarity):
    from naslid_toolkit.partition.similarity import SIMILARITIES

    explorer.k.value, explorer.similarity.value = k, similarity

    expected = split_by(
        opened.neighbours("root").evidence(k=k), similarity=SIMILARITIES[similarity]
    )
    found = explorer.found.tree.split
    assert found.edge == expected.edge
    assert found.chosen.groups == expected.chosen.groups
    same = opened.tree.diff(explorer.found.tree)["change"].tolist()
    assert [node["mark"] != "" for node in explorer.after.nodes] == [c != "same" for c in same]


def test_deeper_levels_are_estimated_and_say_so(explorer):
    explorer.levels.value = 3

    nodes = {node["id"]: node for node in explorer.after.nodes}
    assert len(nodes) == 15
    assert nodes["root-0"]["lines"][2].startswith("≈ split on edge")
    assert "estimated from what was measured at root" in nodes["root-0"]["note"]
    assert "6 splits are estimated" in explorer.difference.value


@pytest.mark.parametrize("criterion", ["convolution count", "random"])
def test_another_criterion_needs_no_measurement(explorer, criterion):
    explorer.criterion.value = criterion
    explorer.levels.value = 2

    assert explorer.errors.value == ""
    assert not any(basis.estimated for basis in explorer.found.evidence.values())


def test_the_edges_of_a_node_are_ranked_with_their_stability(explorer):
    text = explorer.candidates.value

    scores = [c.grouping.score for c in explorer.found.tree.split.candidates]
    assert "★" in text.split("</tr>")[1]
    assert f"{max(scores):.3g}" in text.split("</tr>")[1]
    assert "%" in text
    assert explorer.stability is not None
    assert len(explorer.matrices.figure["data"]) == 6


def test_selecting_in_one_tree_selects_in_the_other(explorer):
    explorer.before.selected = "root-1"

    assert explorer.after.selected == "root-1"
    assert "is a leaf" in explorer.candidates.value
    assert explorer.matrices.layout.display == "none"


def test_a_split_by_hand_is_shown_and_forgotten(explorer):
    explorer.edge.value = 4
    explorer.hand.groups = [
        ["none"],
        ["skip_connect", "nor_conv_1x1"],
        ["nor_conv_3x3", "avg_pool_3x3"],
    ]

    explorer.apply.click()

    assert marks(explorer.after)["root"] == "✎"
    assert marks(explorer.after)["root-2"] == "+"
    assert len(explorer.found.tree.children) == 3
    assert explorer.hand.groups[0] == ["none"]
    explorer.forget.click()
    assert "The trees are the same" in explorer.difference.value


def test_one_group_is_no_split(explorer):
    explorer.hand.groups = [list(explorer.hand.labels)]

    explorer.apply.click()

    assert "move at least one operation" in explorer.errors.value


def test_there_must_be_something_to_train(explorer):
    explorer.retrain.click()

    assert "nothing to train" in explorer.errors.value


def test_a_branch_split_by_hand_is_trained(tiny_folder, tmp_path, shown):
    folder = shutil.copytree(tiny_folder, tmp_path / "run")
    explorer = shown(PartitionExplorer(folder, background=False))
    operations = explorer.found.tree.space.vocabulary
    explorer.edge.value = explorer.found.tree.split.edge
    explorer.hand.groups = [[operations[3]], [o for o in operations if o != operations[3]]]
    explorer.apply.click()

    explorer.retrain.click()

    assert explorer.errors.value == ""
    out = tmp_path / "run-edited-1"
    assert explorer.out.value.endswith("run-edited-2")
    assert RunStore.open(out).has_weights("root")
    assert explorer.monitor.process.process.wait(120) == 0
    explorer.monitor.refresh()
    assert explorer.monitor.state == "finished"
    run = load_run(out)
    assert run.tree.split.by_hand
    assert set(run.tree.split.chosen.groups) == {tuple(g) for g in explorer.by_hand["root"].groups}
    again = shown(PartitionExplorer(out, background=False))
    assert "The trees are the same" in again.difference.value


def test_the_result_of_a_run_can_be_explored_without_its_folder(tiny_folder, shown):
    explorer = shown(PartitionExplorer(load_run(tiny_folder), background=False))

    explorer.similarity.value = "cosine"

    assert explorer.k.disabled
    assert explorer.errors.value == ""
    assert explorer.retrain.layout.display == "none"


def test_a_run_without_a_split_is_refused(tmp_path, tiny_config):
    folder = create_run(tiny_config, tmp_path / "run").folder

    with pytest.raises(DataError, match="has no split yet"):
        PartitionExplorer(folder, background=False)


def test_an_update_is_small_and_the_picture_is_the_tree(explorer):
    sent = json.dumps([explorer.after.nodes, explorer.before.nodes, explorer.matrices.figure])

    assert len(sent) < 100_000
    assert "root-1" in str(explorer.to_figure().to_json())


def test_distances_are_sorted_before_they_are_asked_for(opened, shown):
    explorer = shown(PartitionExplorer(opened))

    assert explorer.settled()
    assert opened.neighbours("root")._ready
