from typing import get_args

import pytest
import torch

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.similarity import log_similarity
from naslid_toolkit.partition.split import MODES, Mode, Split, SplitConfig, choose_split, split_by
from naslid_toolkit.space.nasbench201 import OPERATIONS


def evidence(edge: int, values: list[float]) -> EdgeEvidence:
    vectors = torch.tensor(values, dtype=torch.float64)[None, :, None].expand(2, -1, 3).clone()
    return EdgeEvidence(
        edge=edge,
        operations=OPERATIONS,
        entries=("a", "b", "c"),
        contexts=("0 x", "1 y"),
        vectors=vectors,
        undefined=torch.zeros(vectors.shape, dtype=torch.int64),
    )


def test_the_edge_with_the_clearest_split_is_chosen():
    flat, clear = evidence(0, [5, 5.1, 5, 5.2, 5.1]), evidence(3, [5, 20, 5, 21, 5])

    split = split_by([flat, clear])

    assert split.edge == 3
    assert split.chosen.groups == (
        ("none", "nor_conv_1x1", "avg_pool_3x3"),
        ("skip_connect", "nor_conv_3x3"),
    )
    assert [candidate.edge for candidate in split.candidates] == [0, 3]


def test_matrices_are_averaged_over_the_contexts(draw):
    item = evidence(0, [1, 2, 3, 4, 5])
    item.vectors.copy_(torch.rand(2, 5, 3, generator=draw))

    split = split_by([item])

    expected = (log_similarity(item.vectors[0]) + log_similarity(item.vectors[1])) / 2
    torch.testing.assert_close(split.chosen.similarity, expected)


def test_choosing_measures_the_unsplit_edges_only(space):
    part = space.with_allowed(2, ["none", "skip_connect"])

    split = choose_split(part, RandomCriterion(), seed=0)

    assert [candidate.edge for candidate in split.candidates] == [0, 1, 3, 4, 5]


def test_nothing_left_to_split_is_refused(space):
    for edge in range(6):
        space = space.with_allowed(edge, ["none", "skip_connect"])

    with pytest.raises(SpaceError, match="no edge is left"):
        choose_split(space, RandomCriterion(), seed=0)


def test_a_random_split_has_no_favourite_edge(space):
    edges = [choose_split(space, RandomCriterion(), seed=seed).edge for seed in range(120)]

    counts = torch.bincount(torch.tensor(edges), minlength=6)
    assert float(((counts - 20) ** 2 / 20).sum()) < 20.5  # chi-squared, p = 0.001


def test_a_split_survives_being_written_and_read(space):
    split = choose_split(space, RandomCriterion(), seed=0)

    again = Split.from_dict(split.to_dict())

    assert again.to_dict() == split.to_dict()
    assert again.chosen.grouping == split.chosen.grouping


def test_modes_differ_where_the_paper_and_its_code_do():
    paper, official = (SplitConfig.of_mode(mode) for mode in ("paper", "official_code"))

    assert (paper.similarity, paper.grouping.edge_score) == ("euclidean", "within")
    assert (official.similarity, official.grouping.edge_score) == ("cosine", "between")
    assert paper.balanced
    assert official.estimator == "official_code"
    assert SplitConfig.of_mode("paper", k=7).k == 7
    assert set(MODES) == set(get_args(Mode))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "harmonc"}, "unknown estimator 'harmonc'; did you mean 'harmonic'"),
        ({"similarity": "cosin"}, "did you mean 'cosine'"),
        ({"k": 128}, r"k must lie between 2 and probe_points - 1 = 127, got 128"),
        ({"contexts": 0}, "must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SplitConfig(**settings)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        SplitConfig.of_mode("papers")
