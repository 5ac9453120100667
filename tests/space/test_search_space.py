import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    OPERATIONS,
    format_architecture,
    nasbench201,
    parse_architecture,
)
from naslid_toolkit.space.search_space import SearchSpace, cell_space


@settings(max_examples=20, deadline=None)
@given(edge=st.integers(0, 5), mask=st.integers(1, 30))
def test_sub_spaces_partition_the_space(edge, mask):
    space = nasbench201()
    first = [o for i, o in enumerate(OPERATIONS) if mask >> i & 1]
    second = [o for o in OPERATIONS if o not in first]

    parts = space.split(edge, [first, second])

    assert sum(len(part) for part in parts) == len(space)
    for architecture in list(space)[::101]:
        assert sum(architecture in part for part in parts) == 1


@pytest.mark.parametrize(
    "groups", [[["none"]], [["none"], ["none", "skip_connect"]], [[], OPERATIONS], [OPERATIONS]]
)
def test_groups_that_are_no_partition_are_refused(space, groups):
    with pytest.raises(SpaceError, match="do not partition"):
        space.split(0, groups)


def test_the_array_lists_the_space_in_its_order(space):
    sub = space.split(2, [["none", "avg_pool_3x3"], list(OPERATIONS[1:4])])[0]

    codes = sub.as_array()

    assert [sub.from_codes(row) for row in codes] == list(sub)


def test_every_architecture_is_equally_likely(draw):
    space = SearchSpace(((0, 1), (0, 2)), ("none", "skip_connect"), (("none", "skip_connect"),) * 2)

    counts = torch.zeros(4)
    for _ in range(4000):
        counts[list(space).index(space.sample(generator=draw))] += 1

    assert float(((counts - 1000) ** 2 / 1000).sum()) < 16.3  # chi-squared, p = 0.001


def test_sampling_does_not_touch_the_global_generator(space):
    before = torch.get_rng_state()

    space.sample(generator=generator(0))

    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_operation_names_the_nearest(space):
    with pytest.raises(SpaceError, match="did you mean 'skip_connect'"):
        space.check(Architecture(("skip_conect",) * 6))


def test_an_operation_that_is_not_allowed_names_its_edge(space):
    sub = space.with_allowed(1, ["none"])

    with pytest.raises(SpaceError, match=r"not allowed on edge 1 \(0→2\)"):
        sub.check(Architecture(("skip_connect",) * 6))


def test_too_few_edges_are_refused(space):
    with pytest.raises(SpaceError, match="6 edges, the architecture 2"):
        space.check(Architecture(("none", "none")))


@pytest.mark.parametrize(
    ("allowed", "message"),
    [(((),), "allows no operation"), ((("a", "a"),), "twice"), ((), "1 edges but operations")],
)
def test_a_space_that_makes_no_sense_is_refused(allowed, message):
    with pytest.raises(SpaceError, match=message):
        SearchSpace(((0, 1),), ("a",), allowed)


def test_an_edge_outside_the_cell_is_refused(space):
    with pytest.raises(SpaceError, match=r"edge 9 is outside 0\.\.5"):
        space.with_allowed(9, ["none"])


def test_a_space_survives_being_written_and_read(space):
    sub = space.with_allowed(3, ["none", "skip_connect"])

    assert SearchSpace.from_dict(sub.to_dict()) == sub
    assert sub.unsplit_edges == (0, 1, 2, 4, 5)


def test_a_cell_space_joins_every_node_to_all_earlier_ones():
    space = cell_space(4, OPERATIONS)

    assert space == nasbench201()
    with pytest.raises(SpaceError, match="got 1 node"):
        cell_space(1, OPERATIONS)
    with pytest.raises(SpaceError, match="twice"):
        cell_space(3, ["none", "none"])


@given(st.integers(2, 6), st.data())
def test_strings_of_any_cell_are_read_back(nodes, data):
    space = cell_space(nodes, ["none", "skip_connect", "conv_5x5", "dil-conv"])
    operation = st.sampled_from(space.vocabulary)
    count = len(space.edges)
    operations = data.draw(st.lists(operation, min_size=count, max_size=count))
    architecture = Architecture(tuple(operations))

    text = format_architecture(architecture, space)

    assert text.count("+") == nodes - 2
    assert parse_architecture(text, space) == architecture


def test_a_string_of_another_cell_is_refused():
    space = cell_space(3, ["none", "skip_connect"])

    with pytest.raises(SpaceError, match="start of node 2"):
        parse_architecture("|none~0|", space)
    with pytest.raises(SpaceError, match="unknown operation 'nor_conv_3x3'"):
        parse_architecture("|nor_conv_3x3~0|+|none~0|none~1|", space)
