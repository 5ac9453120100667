import pytest
import torch

from naslid_toolkit.errors import ConfigError, DataError, ShapeError, SpaceError
from naslid_toolkit.lid.measure import lid_profile
from naslid_toolkit.partition.criteria import (
    Criterion,
    LIDCriterion,
    RandomCriterion,
    connected_paths,
)
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.runtime import WorkDone
from naslid_toolkit.space.nasbench201 import OPERATIONS, nasbench201, parse_architecture


@pytest.fixture
def criterion(supernet, digits) -> LIDCriterion:
    probe = digits.probe(batches=2, points=40, seed=0)
    return LIDCriterion(supernet, probe, contexts=3, k=10)


def test_evidence_is_what_single_measurements_give(criterion, space):
    (evidence,) = criterion(space, [3], seed=0)

    base = connected_paths(space, 3, seed=0)[1]
    network = criterion.supernet.path(base.replace(3, "nor_conv_3x3"))
    profile = lid_profile(network, criterion.probe, layers=network.layer_names, k=10)
    place = evidence.operations.index("nor_conv_3x3")
    assert torch.equal(evidence.vectors[1, place], profile.lid)
    assert evidence.vectors.shape == (3, 5, 5)
    assert evidence.contexts[1].startswith("1 ")


def test_all_edges_are_measured_in_the_same_contexts(criterion, space):
    events = []

    evidence = criterion(space, [0, 5], seed=1, on_event=events.append)

    assert evidence[0].contexts == evidence[1].contexts
    done = [event.done for event in events if isinstance(event, WorkDone)]
    assert done == list(range(1, events[-1].total + 1))


def test_measuring_leaves_the_supernet_as_it_was(criterion, space):
    before = {name: value.clone() for name, value in criterion.supernet.state_dict().items()}

    criterion(space, [0], seed=0)

    after = criterion.supernet.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_operations_that_carry_no_signal_have_equal_profiles(criterion, space):
    part = space.with_allowed(0, ["none"])  # node 1 is never reached, so edge 1→2 is dead

    (evidence,) = criterion(part, [2], seed=0)

    assert (evidence.vectors == evidence.vectors[:, :1]).all()


def test_the_other_edges_can_hold_all_their_operations(supernet, digits, space):
    probe = digits.probe(batches=1, points=40, seed=0)
    criterion = LIDCriterion(supernet, probe, contexts=3, k=10, others="all")

    (evidence,) = criterion(space, [4], seed=0)

    mixed = space.with_allowed(4, ["avg_pool_3x3"])
    place = evidence.operations.index("avg_pool_3x3")
    assert evidence.vectors.shape[0] == 1
    assert torch.equal(evidence.vectors[0, place], criterion.profile(mixed).lid)


def test_evidence_survives_being_written_and_read(criterion, space):
    (evidence,) = criterion(space, [1], seed=0)

    again = EdgeEvidence.from_frame(evidence.to_frame())

    assert again.operations == evidence.operations
    assert again.contexts == evidence.contexts
    assert torch.equal(again.vectors, evidence.vectors)
    assert torch.equal(again.undefined, evidence.undefined)


def test_evidence_that_lacks_rows_is_refused(criterion, space):
    frame = criterion(space, [1], seed=0)[0].to_frame()

    with pytest.raises(DataError, match="evidence of 74 rows"):
        EdgeEvidence.from_frame(frame.iloc[1:])


def test_an_error_says_where_it_happened(supernet, space):
    bad = LIDCriterion(supernet, [torch.zeros(40, 1, 8, 8)], contexts=1, k=40)

    with pytest.raises(ShapeError) as caught:
        bad(space, [0], seed=0)

    assert "on edge 0→1" in caught.value.__notes__[-1]


def test_the_control_is_random_and_repeatable(space):
    criterion = RandomCriterion()

    first = criterion(space, [0, 1], seed=0)
    again = criterion(space, [1], seed=0)

    assert isinstance(criterion, Criterion)
    assert torch.equal(first[1].vectors, again[0].vectors)
    assert not torch.equal(first[0].vectors, first[1].vectors)
    assert first[0].operations == OPERATIONS


def test_no_context_is_refused(supernet):
    with pytest.raises(ConfigError, match="at least one context"):
        LIDCriterion(supernet, [], contexts=0)


def test_a_disconnected_space_has_no_context(space):
    dead = parse_architecture("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")

    with pytest.raises(SpaceError, match="no connected architecture"):
        connected_paths(nasbench201().only(dead), 1, seed=0)
