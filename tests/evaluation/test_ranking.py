import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation import ranking
from naslid_toolkit.evaluation.ranking import (
    bootstrap_taus,
    compare_rankings,
    kendall_tau,
    tau_difference,
)
from tests.reference.slow import tau_by_pairs


def series(values) -> pd.Series:
    return pd.Series(values, index=[f"a{i}" for i in range(len(values))], dtype=float)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=20))
def test_tau_is_that_of_all_pairs(pairs):
    first, second = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    if len(set(first)) == 1 or len(set(second)) == 1:
        return

    result = kendall_tau(series(first), series(second), seed=0, resamples=5)

    assert result.tau == pytest.approx(tau_by_pairs(first, second))
    assert result.spearman == pytest.approx(stats.spearmanr(first, second).statistic)


@pytest.mark.parametrize(("rows", "values"), [(3, 2), (24, 200), (60, 4), (200, 200)])
def test_resamples_of_a_few_rows_have_the_tau_of_many_to_the_last_bit(rows, values, monkeypatch):
    draw = np.random.default_rng(rows)
    frame = pd.DataFrame(draw.integers(values, size=(rows, 3)), columns=["a", "b", "reference"])
    frame["constant"] = 1

    by_pairs = bootstrap_taus(frame, seed=1, resamples=50)
    monkeypatch.setattr(ranking, "_PAIRED", 0)

    pd.testing.assert_frame_equal(
        by_pairs, bootstrap_taus(frame, seed=1, resamples=50), check_exact=True
    )


def test_a_constant_score_ranks_nothing():
    result = kendall_tau(series([1, 1, 1, 1]), series([1, 2, 3, 4]), seed=0, resamples=5)

    assert (result.tau, result.spearman, result.p_value) == (0, 0, 1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 2 / np.pi * np.arcsin(0.6)  # tau of a normal pair with correlation 0.6
    hits = 0
    for seed in range(60):
        pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=100)
        result = kendall_tau(series(pairs[:, 0]), series(pairs[:, 1]), seed=seed, resamples=200)
        hits += result.low <= truth <= result.high
    assert hits / 60 >= 0.85


def test_methods_are_compared_on_the_architectures_all_have():
    reference = series([0.1, 0.2, 0.3, 0.4, 0.5])
    scores = {"good": series([1, 2, 3, 4, 9]), "bad": series([5, 4, 3, 2])}

    table = compare_rankings(scores, reference, seed=0, resamples=10)

    assert table["method"].tolist() == ["good", "bad"]
    assert table["tau"].tolist() == [1, -1]
    assert table["architectures"].tolist() == [4, 4]
    assert table["pick"].tolist() == pytest.approx([0.4, 0.1])
    assert table["regret"].tolist() == pytest.approx([0, 0.3])


def test_a_pick_with_ties_is_the_mean_over_them():
    table = compare_rankings({"m": series([3, 3, 1])}, series([0.2, 0.4, 0.9]), seed=0, resamples=5)

    assert table["pick"][0] == pytest.approx(0.3)


def test_the_paired_interval_is_narrower_than_two_apart():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=150)
    shared = reference + rng.normal(size=150)
    first, second = shared + 0.1 * rng.normal(size=150), shared + 0.1 * rng.normal(size=150)

    change, low, high = tau_difference(series(first), series(second), series(reference), seed=0)

    alone = kendall_tau(series(first), series(reference), seed=0)
    assert low <= change <= high
    assert high - low < 0.5 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(2)
    first, second = series(rng.normal(size=30)), series(rng.normal(size=30))

    assert kendall_tau(first, second, seed=3) == kendall_tau(first, second, seed=3)
    assert kendall_tau(first, second, seed=3) != kendall_tau(first, second, seed=4)


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0, 2.0], "2 architectures have a score"), ([1.0, 2.0, float("nan")], "1 values are NaN")],
)
def test_values_that_cannot_be_compared_are_refused(scores, message):
    with pytest.raises(DataError, match=message):
        kendall_tau(series(scores), series([1, 2, 3]), seed=0)


def test_a_method_called_reference_is_refused():
    with pytest.raises(DataError, match="cannot be called 'reference'"):
        compare_rankings({"reference": series([1, 2, 3])}, series([1, 2, 3]), seed=0)


def test_too_few_resamples_are_refused():
    with pytest.raises(ConfigError, match="at least 2 resamples"):
        kendall_tau(series([1, 2, 3]), series([1, 2, 3]), seed=0, resamples=1)
