import pytest

from naslid_toolkit.partition.criteria import ConvolutionCountCriterion
from naslid_toolkit.partition.grouping import ExhaustiveGrouping
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.partition.what_if import Evidence, HandSplit, measured_evidence, what_if
from naslid_toolkit.search.opened import OpenRun


@pytest.fixture
def opened(tiny_folder):
    return OpenRun(tiny_folder)


@pytest.fixture
def known(opened):
    return measured_evidence(opened.tree, opened.evidence)


def counted(_name, chain):
    space = chain[-1]
    return Evidence(ConvolutionCountCriterion()(space, space.unsplit_edges, seed=0))


def same(one: SplitTree, other: SplitTree) -> bool:
    return bool((one.diff(other)["change"] == "same").all())


def test_the_settings_of_a_run_lead_to_its_tree(opened, known):
    found = what_if(opened.tree.space, known, levels=1)

    assert same(found.tree, opened.tree)
    assert not found.evidence["root"].estimated
    assert found.dropped == ()


def test_every_node_is_what_choose_split_would_do(space):
    found = what_if(space, counted, levels=3)

    nodes = [node for node in found.tree.nodes() if node.split is not None]
    assert len(nodes) == 7
    for node in nodes:
        expected = choose_split(node.space, ConvolutionCountCriterion(), seed=0)
        assert node.split.edge == expected.edge
        assert node.split.chosen.groups == expected.chosen.groups
    assert sum(len(leaf.space) for leaf in found.tree.leaves) == len(space)


def test_a_node_without_measurements_borrows_those_above_and_says_so(opened, known):
    found = what_if(opened.tree.space, known, levels=2)

    for name in ("root-0", "root-1"):
        basis, node = found.evidence[name], found.tree.node(name)
        assert basis.estimated
        assert basis.source == "root"
        assert [item.edge for item in basis.edges] == list(node.space.unsplit_edges)
        for item in basis.edges:
            paths = [text.partition(" ")[2].split("/") for text in item.contexts]
            edge = found.tree.split.edge
            inside = [path[edge] in node.space.allowed[edge] for path in paths]
            assert all(inside) or len(paths) == len(opened.evidence("root")[0].contexts)


def test_a_choice_by_hand_is_followed_and_marked(opened, known):
    operations = opened.tree.space.vocabulary
    hand = HandSplit(5, (operations[:1], operations[1:]))

    found = what_if(opened.tree.space, known, levels=2, by_hand={"root": hand})

    assert found.tree.split.by_hand
    assert found.tree.split.edge == 5
    assert found.tree.split.chosen.groups == hand.groups
    assert len(found.tree.leaves) == 4


def test_a_choice_that_no_longer_fits_is_left_out_and_named(opened, known):
    operations = opened.tree.space.vocabulary
    split = opened.tree.split.edge
    hand = HandSplit(split, (operations[:1], operations[1:]))

    found = what_if(opened.tree.space, known, levels=2, by_hand={"root-0": hand})

    assert found.dropped == ("root-0",)
    assert found.tree.node("root-0").split is not None


def test_estimated_splits_are_left_to_the_search(opened, known):
    found = what_if(opened.tree.space, known, levels=2)

    tree = found.to_train(opened.tree)

    assert same(tree, opened.tree)
    assert not tree.split.by_hand


def test_other_splits_are_marked_as_a_persons_choice(opened, known):
    grouping = ExhaustiveGrouping("within", "between", balanced=True)
    found = what_if(opened.tree.space, known, levels=1, grouping=grouping)
    assert not same(found.tree, opened.tree)

    tree = found.to_train(opened.tree)

    assert tree.split.by_hand
    assert tree.split.edge == found.tree.split.edge


def test_what_cannot_be_told_apart_stays_a_leaf(space):
    from dataclasses import replace

    def nothing(name, chain):
        known = counted(name, chain)
        flat = (replace(e, vectors=e.vectors * 0 + 1) for e in known.edges)
        return Evidence(tuple(flat))

    assert what_if(space, nothing, levels=2).tree.split is None
    hand = HandSplit(0, (space.vocabulary[:2], space.vocabulary[2:]))
    found = what_if(space, nothing, levels=1, by_hand={"root": hand})
    assert found.tree.split.edge == 0
