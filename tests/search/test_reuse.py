import json
import shutil

import pandas as pd
import pytest

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.reuse import Donors, content_key, derive_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import OPERATIONS, parse_architecture
from naslid_toolkit.supernet.weights import snapshots_in
from tests.search.test_few_shot import assert_same_numbers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config() -> RunConfig:
    over = {"levels": 2, "warmup_epochs": 1, "sample": 12, "training": {"epochs": 3}}
    over |= {"evolution": {"evaluations": 4, "population": 2}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


@pytest.fixture(scope="module")
def trained(once, config, few_digits):
    return once("reuse", lambda folder: few_shot_search(config, few_digits, out=folder))


def other_groups(tree: SplitTree, node: str) -> tuple[int, list[list[str]]]:
    """Groups of the node's edge that differ from those of the tree."""
    split = tree.node(node).split
    first, *rest = split.chosen.operations
    groups = [[first, rest[0]], rest[1:]]
    if {frozenset(g) for g in groups} == {frozenset(g) for g in split.chosen.groups}:
        groups = [[first, rest[1]], [rest[0], *rest[2:]]]
    return split.edge, groups


def test_only_the_changed_branch_is_trained_again(trained, config, few_digits, tmp_path):
    before = load_run(trained)
    edge, groups = other_groups(before.tree, "root-1")
    changed = before.tree.override("root-1", edge, groups)
    events = []

    derive_run(trained, changed, tmp_path / "new")
    run = few_shot_search(
        config, few_digits, out=tmp_path / "new", resume=True, on_event=events.append
    )

    again = {event.node for event in events if type(event).__name__ == "SupernetTrained"}
    assert again == {"root-1-0", "root-1-1"}
    assert run.tree.node("root-1").split.by_hand
    assert run.tree.to_dict() == changed.to_dict()
    for name in ("root", "root-0", "root-1", "root-0-0", "root-0-1", "single"):
        one, other = (f / "weights" / f"{name}.safetensors" for f in (trained, tmp_path / "new"))
        assert one.read_bytes() == other.read_bytes()
    assert run.costs["steps"].to_dict() == before.costs["steps"].to_dict()
    kept = [n for n in run.scores.index if parse_architecture(n) in run.tree.node("root-0").space]
    assert run.scores["few_shot"][kept].equals(before.scores["few_shot"][kept])
    assert run.scores["single"].equals(before.scores["single"])
    assert run.evidence["root"][0].vectors.equal(before.evidence["root"][0].vectors)


def test_a_tree_by_hand_gives_what_training_it_from_nothing_gives(
    trained, config, few_digits, tmp_path
):
    tree = load_run(trained).tree
    changed = tree.override("root", *other_groups(tree, "root"))

    derive_run(trained, changed, tmp_path / "derived")
    few_shot_search(config, few_digits, out=tmp_path / "derived", resume=True)
    fresh = create_store(tmp_path / "fresh", config, task=few_digits)
    fresh.save_tree(changed)
    few_shot_search(config, few_digits, out=tmp_path / "fresh", resume=True)

    one, other = (load_run(tmp_path / name) for name in ("derived", "fresh"))
    assert one.scores.equals(other.scores)
    assert one.tree.diff(other.tree)["change"].eq("same").all()
    for path in (tmp_path / "fresh" / "weights").iterdir():
        assert path.read_bytes() == (tmp_path / "derived" / "weights" / path.name).read_bytes()


def test_a_donor_saves_training_and_changes_nothing(trained, config, few_digits, tmp_path):
    events = []

    few_shot_search(
        config, few_digits, out=tmp_path / "run", donors=[trained], on_event=events.append
    )

    names = [event.node for event in events if type(event).__name__ == "SupernetReused"]
    assert sorted(names) == sorted(path.stem for path in (trained / "weights").iterdir())
    assert_same_numbers(trained, tmp_path / "run")


def test_another_score_is_not_taken_over_but_its_snapshots_are(config, few_digits, tmp_path):
    over = {"levels": 1, "single": False, "training": {"snapshots": 2}, "sample": 5}
    first = RunConfig.from_dict(merged(config.to_dict(), over))
    other = RunConfig.from_dict(merged(first.to_dict(), {"score": "log_likelihood"}))

    run = few_shot_search(first, few_digits, out=tmp_path / "a")
    donated = few_shot_search(other, few_digits, out=tmp_path / "b", donors=[tmp_path / "a"])
    alone = few_shot_search(other, few_digits, out=tmp_path / "c")

    pd.testing.assert_frame_equal(donated.scores, alone.scores)
    assert run.scores["few_shot"].between(0, 1).all()
    assert (alone.scores["few_shot"] < 0).all()
    leaf = RunStore.open(tmp_path / "b").load_weights(run.tree.leaves[0].name)
    assert len(snapshots_in(leaf)) == 1


def test_keys_tell_apart_what_training_depends_on(config, space):
    root = (space,)
    child = (space, space.with_allowed(0, OPERATIONS[:2]))
    changes = [
        {"seed": 1},
        {"warmup_epochs": 2, "training": {"epochs": 4}},
        {"training": {"learning_rate": 0.2}},
        {"training": {"snapshots": 2}},
    ]
    others = [RunConfig.from_dict(merged(config.to_dict(), change)) for change in changes]
    irrelevant = RunConfig.from_dict(
        merged(config.to_dict(), {"sample": 5, "split": {"k": 7}, "evolution": {"population": 3}})
    )

    keys = [content_key(c, "a", root) for c in (config, *others)]
    keys += [content_key(config, "b", root), content_key(config, "a", child)]
    keys += [content_key(config, "a", None)]

    assert len(set(keys)) == len(keys)
    assert content_key(irrelevant, "a", child) == content_key(config, "a", child)


def test_an_override_keeps_what_it_does_not_change(trained):
    tree = load_run(trained).tree
    edge, groups = other_groups(tree, "root-0")

    changed = tree.override("root-0", edge, groups)
    back = changed.override("root-0", edge, tree.node("root-0").split.chosen.groups)
    again = SplitTree.from_dict(json.loads(json.dumps(changed.to_dict(), allow_nan=False)))

    difference = tree.diff(changed).set_index("node")["change"]
    assert difference["root-0"] == "split"
    assert difference[["root", "root-1", "root-1-0", "root-1-1"]].eq("same").all()
    assert changed.node("root-0").split.chosen.similarity.equal(
        tree.node("root-0").split.chosen.similarity
    )
    assert again.diff(changed)["change"].eq("same").all()
    assert again.node("root-0").split.by_hand
    assert {leaf.space for leaf in back.leaves} == {leaf.space for leaf in tree.leaves}


def test_swapped_groups_keep_their_branches(trained):
    tree = load_run(trained).tree
    edge, groups = tree.split.edge, list(tree.split.chosen.groups)

    same = tree.override("root", edge, groups[::-1])

    assert same.diff(tree)["change"].eq("same").all()
    assert len(same.leaves) == len(tree.leaves)


def test_a_leaf_can_be_split_by_hand_on_an_edge_nobody_measured(space):
    tree = SplitTree.root(space).override(
        "root", 4, [OPERATIONS[:2], OPERATIONS[2:4], OPERATIONS[4:]]
    )

    assert [node.name for node in tree.leaves] == ["root-0", "root-1", "root-2"]
    assert tree.split.chosen.similarity.isnan().all()
    stored = json.dumps(tree.to_dict(), allow_nan=False)
    assert SplitTree.from_dict(json.loads(stored)).split.chosen.similarity.isnan().all()
    assert "(by hand)" in tree.summary()
    with pytest.raises(SpaceError, match="do not partition"):
        tree.override("root-0", 4, [OPERATIONS[:1], OPERATIONS[2:]])
    with pytest.raises(SpaceError, match="no node 'x'"):
        tree.override("x", 4, [OPERATIONS[:1], OPERATIONS[1:]])


def test_a_tree_that_is_too_deep_is_refused(trained, tmp_path):
    tree = load_run(trained).tree
    leaf = tree.leaves[0]
    edge = leaf.space.unsplit_edges[0]
    deeper = tree.override(leaf.name, edge, [OPERATIONS[:1], OPERATIONS[1:]])

    with pytest.raises(ConfigError, match="has 3 levels, the run's settings 2"):
        derive_run(trained, deeper, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_taken_from_other_images(trained, config, tmp_path, digits):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    store = create_store(tmp_path / "run", config, task=digits)

    given = Donors((copy, tmp_path / "nowhere")).give_weights(
        store, "root", (config.search_space(),)
    )

    assert given == []
