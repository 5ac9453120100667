import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.partition.grouping import (
    ExhaustiveGrouping,
    NormalisedCutGrouping,
    SpectralGrouping,
    equal_rows,
    groupings,
    value_of,
)
from tests.reference.slow import groupings_by_masks


def as_sets(groups):
    return frozenset(frozenset(group) for group in groups)


@pytest.mark.parametrize("count", range(2, 8))
def test_every_grouping_is_tried_once(count):
    tried = [as_sets(groups) for groups in groupings(count, 2)]

    assert len(tried) == 2 ** (count - 1) - 1
    assert set(tried) == groupings_by_masks(count)


@pytest.mark.parametrize("count", range(2, 8))
def test_balanced_groups_differ_by_at_most_one(count):
    allowed = {g for g in groupings_by_masks(count) if abs(len(min(g, key=len)) * 2 - count) <= 1}
    found = set()
    for seed in range(200):
        half = torch.rand(count, count, generator=torch.Generator().manual_seed(seed))
        found.add(as_sets(ExhaustiveGrouping("within", balanced=True)(half + half.T).groups))

    assert found <= allowed
    assert len(found) == len(allowed) or count > 4


@pytest.mark.parametrize(("count", "number"), [(4, 3), (6, 3), (8, 4), (8, 8), (5, 1)])
def test_any_number_of_groups_is_enumerated(count, number):
    found = list(groupings(count, number))

    assert len({as_sets(groups) for groups in found}) == len(found) == stirling(count, number)
    assert all(sorted(sum(groups, ())) == list(range(count)) for groups in found)
    assert found == sorted(found, key=lambda groups: ([len(g) for g in groups], groups))


def stirling(count: int, number: int) -> int:
    if number in (0, count):
        return int(count == number)
    return number * stirling(count - 1, number) + stirling(count - 1, number - 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), number=st.integers(2, 4))
def test_more_groups_are_the_best_of_all(seed, number):
    half = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    matrix = (half + half.T).tolist()

    found = ExhaustiveGrouping(groups=number)(torch.tensor(matrix))

    values = [value_of("separation", matrix, groups) for groups in groupings(6, number)]
    assert found.score == pytest.approx(max(values))
    assert len(found.groups) == number


@pytest.mark.parametrize("rule", [ExhaustiveGrouping, SpectralGrouping, NormalisedCutGrouping])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), number=st.integers(2, 4))
def test_what_cannot_be_told_apart_is_never_separated(rule, seed, number):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (7,), generator=draw)
    half = torch.rand(4, 4, generator=draw, dtype=torch.float64) + 1.5 * torch.eye(4)
    matrix = (half + half.T)[labels][:, labels]

    found = rule(groups=number)(matrix)

    classes = equal_rows(matrix.tolist())
    assert len(classes) == len(set(labels.tolist()))
    assert all(any(set(c) <= set(group) for group in found.groups) for c in classes)
    assert sorted(o for group in found.groups for o in group) == list(range(7))
    assert len(found.groups) == min(number, len(classes))
    if len(classes) == 1:
        assert found.score == -float("inf")


@pytest.mark.parametrize("rule", [ExhaustiveGrouping, SpectralGrouping, NormalisedCutGrouping])
def test_clear_groups_are_found_by_every_rule(rule):
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    noise = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) / 20
    matrix = (labels[:, None] == labels).float() * 0.8 + 0.1 + noise + noise.T

    found = rule(groups=3)(matrix)

    assert found.groups == ((0, 3, 7), (1, 4, 6), (2, 5))
    assert found.score == pytest.approx(ExhaustiveGrouping(groups=3)(matrix).score)


@pytest.mark.parametrize("rule", [SpectralGrouping, NormalisedCutGrouping])
def test_beyond_eight_operations_the_spectrum_finds_the_groups(rule):
    labels = torch.arange(30) % 4
    draw = torch.Generator().manual_seed(1)
    noise = torch.rand(30, 30, generator=draw, dtype=torch.float64) / 10
    matrix = (labels[:, None] == labels) * 0.7 + 0.1 + noise + noise.T

    found = rule(groups=4)(matrix)

    assert as_sets(found.groups) == {frozenset(range(start, 30, 4)) for start in range(4)}
    with pytest.raises(ConfigError, match="use SpectralGrouping"):
        ExhaustiveGrouping()(matrix)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_normalised_cut_is_near_the_best_of_brute_force(seed):
    half = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    affinity = half + half.T + torch.eye(6)

    def cut(groups):
        first, second = (list(group) for group in groups)
        across = affinity[first][:, second].sum()
        return float(across / affinity[first].sum() + across / affinity[second].sum())

    found = cut(NormalisedCutGrouping()(affinity).groups)

    assert found <= 1.15 * min(cut(groups) for groups in groupings(6, 2))


def test_the_first_of_equal_groupings_is_taken():
    matrix = torch.full((4, 4), 0.5, dtype=torch.float64)
    matrix.fill_diagonal_(1)

    assert ExhaustiveGrouping()(matrix).groups == ((0,), (1, 2, 3))
    assert ExhaustiveGrouping(balanced=True)(matrix).groups == ((0, 1), (2, 3))
    assert ExhaustiveGrouping(groups=3)(matrix).groups == ((0,), (1,), (2, 3))


def separation(matrix, groups) -> float:
    inside = [matrix[i, j] for group in groups for i, j in itertools.combinations(group, 2)]
    across = [matrix[i, j] for i in groups[0] for j in groups[1]]
    return float(sum(inside) / len(inside) if inside else 1.0) - float(sum(across) / len(across))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 6))
def test_the_grouping_is_the_best_of_brute_force(seed, count):
    half = torch.rand(count, count, generator=torch.Generator().manual_seed(seed))
    matrix = (half + half.T) / 2

    found = ExhaustiveGrouping()(matrix)

    best = max(separation(matrix, [sorted(g) for g in gs]) for gs in groupings_by_masks(count))
    assert found.score == pytest.approx(best, abs=1e-6)
    assert sorted(o for group in found.groups for o in group) == list(range(count))


def test_clear_groups_are_found():
    labels = [0, 1, 0, 1, 1]
    matrix = torch.tensor([[0.9 if a == b else 0.1 for b in labels] for a in labels])

    found = ExhaustiveGrouping()(matrix)

    assert found.groups == ((0, 2), (1, 3, 4))
    assert found.score == pytest.approx(0.8)


def test_the_published_rule_prefers_the_edge_whose_groups_are_alike():
    labels = [0, 0, 1, 1, 1]
    clear = torch.tensor([[0.9 if a == b else 0.1 for b in labels] for a in labels])
    vague = torch.tensor([[0.9 if a == b else 0.8 for b in labels] for a in labels])
    paper = ExhaustiveGrouping("within", "within", balanced=True)
    official = ExhaustiveGrouping("within", "between", balanced=True)

    assert paper(clear).groups == official(clear).groups == ((0, 1), (2, 3, 4))
    assert ExhaustiveGrouping()(clear).score > ExhaustiveGrouping()(vague).score
    assert official(clear).score < official(vague).score


@pytest.mark.parametrize(
    "matrix", [torch.ones(1, 1), torch.full((2, 2), float("nan"))], ids=["one", "nan"]
)
def test_a_matrix_without_groups_is_refused(matrix):
    with pytest.raises(ShapeError, match="similarity matrix"):
        ExhaustiveGrouping()(matrix)


def test_one_operation_has_no_groups():
    with pytest.raises(ConfigError, match="cannot form 2 groups"):
        list(groupings(1, 2))
    with pytest.raises(ConfigError, match="at least 2 groups"):
        ExhaustiveGrouping(groups=1)
