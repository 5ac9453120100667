import pytest

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.space.architecture import Architecture


@pytest.fixture(scope="module")
def tree(space) -> SplitTree:
    tree = SplitTree.root(space)
    for name in ("root", "root-0", "root-1"):
        split = choose_split(tree.node(name).space, RandomCriterion(), seed=len(name))
        tree = tree.with_split(name, split)
    return tree


def test_leaves_hold_every_architecture_once(tree, space):
    assert [leaf.name for leaf in tree.leaves] == ["root-0-0", "root-0-1", "root-1-0", "root-1-1"]
    assert sum(len(leaf.space) for leaf in tree.leaves) == len(space)
    for architecture in list(space)[::71]:
        holders = [leaf.name for leaf in tree.leaves if architecture in leaf.space]
        assert [tree.leaf_of(architecture).name] == holders


def test_levels_count_the_splits_above(tree):
    assert [node.level for node in tree.nodes()] == [0, 1, 1, 2, 2, 2, 2]


def test_a_tree_survives_being_written_and_read(tree):
    assert SplitTree.from_dict(tree.to_dict()).to_dict() == tree.to_dict()


def test_a_tree_is_a_tidy_table(tree):
    frame = tree.to_frame()

    assert frame["architectures"].iloc[0] == 15625
    assert (frame["groups"] != "").tolist() == [True] * 3 + [False] * 4


def test_an_unknown_node_names_the_known_ones(tree):
    with pytest.raises(SpaceError, match="no node 'root-7', only root, root-0"):
        tree.node("root-7")


def test_an_architecture_outside_the_space_is_refused(tree):
    with pytest.raises(SpaceError):
        tree.leaf_of(Architecture(("none",)))
