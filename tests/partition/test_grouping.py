import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import ConfigError, ShapeError
from naslid_toolkit.partition.grouping import ExhaustiveGrouping, two_groups
from tests.reference.slow import groupings_by_masks


def as_sets(groups):
    return frozenset(frozenset(group) for group in groups)


@pytest.mark.parametrize("count", range(2, 8))
def test_every_grouping_is_tried_once(count):
    tried = [as_sets(groups) for groups in two_groups(count, balanced=False)]

    assert len(tried) == 2 ** (count - 1) - 1
    assert set(tried) == groupings_by_masks(count)


@pytest.mark.parametrize("count", range(2, 8))
def test_balanced_groups_differ_by_at_most_one(count):
    tried = {as_sets(groups) for groups in two_groups(count, balanced=True)}

    expected = {g for g in groupings_by_masks(count) if abs(len(min(g, key=len)) * 2 - count) <= 1}
    assert tried == expected


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
    with pytest.raises(ConfigError, match="cannot form two groups"):
        list(two_groups(1, balanced=False))
