import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from naslid_toolkit.errors import ConfigError, DataError, SpaceError
from naslid_toolkit.evaluation.audit import audit_operations
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference, read_columns
from naslid_toolkit.evaluation.labels import column_agreement, reliability, separation
from naslid_toolkit.evaluation.panel import BENCHMARK, evaluate
from naslid_toolkit.evaluation.priors import combine, cross_fit
from naslid_toolkit.evaluation.ranking import bootstrap_taus, tau_b
from naslid_toolkit.plots.evaluation import plot_audit, plot_evaluation
from naslid_toolkit.space.nasbench201 import (
    canonical_cell,
    format_architecture,
    parse_architecture,
)
from naslid_toolkit.tables import panel_lines, panel_table
from tests.conftest import shared_file

PUBLISHED = [0.587, 0.637, 0.671, 0.642, 0.711, 0.743, 0.695, 0.745]
# Rank sum with equal weights: what one untrained prior adds to the same eight columns.
WITH_CONVOLUTION_COUNT = [0.747, 0.775, 0.793, 0.774, 0.785, 0.768, 0.783, 0.764]


@pytest.fixture(scope="module")
def truth():
    return load_reference(digits_truth_path())


@pytest.fixture(scope="module")
def judged(truth):
    draw = np.random.default_rng(0)
    noisy = truth.accuracy + draw.normal(0, 0.05, len(truth.accuracy))
    frame = pd.DataFrame({"noisy": noisy, "validation": truth.validation})
    return evaluate(frame, truth, seed=0, resamples=50)


def test_scores_by_name_are_judged_as_a_frame(truth):
    frame = pd.DataFrame({"validation": truth.validation, "size": truth.accuracy.rank()})

    by_name = evaluate(dict(frame.items()), truth, seed=0, resamples=10)

    pd.testing.assert_frame_equal(
        by_name.correlations, evaluate(frame, truth, seed=0, resamples=10).correlations
    )


@pytest.mark.data
def test_published_supernets_rank_as_published():
    table = load_reference(shared_file("nb201_accuracies.parquet"), column="cifar10_test_200")
    scores = read_columns(shared_file("supernet_scores_published.parquet"))

    taus = [tau_b(scores[name], table.accuracy[scores.index]) for name in scores]
    priors = evaluate(scores[["single_c16_250"]], table, seed=0, resamples=2, fractions=[1.0])
    trivial = trivial_scores(map(str, scores.index), BENCHMARK)
    combined = [
        combine(trivial.assign(score=scores[name]), {"score": 1, "convolution_count": 1}).scores
        for name in scores
    ]
    audit = audit_operations(table.accuracy)

    assert [round(tau, 3) for tau in taus] == PUBLISHED
    assert priors.correlations["tau"].round(3).tolist()[:2] == [0.587, 0.616]
    lifted = [tau_b(score, table.accuracy[score.index]) for score in combined]
    assert [round(tau, 3) for tau in lifted] == WITH_CONVOLUTION_COUNT
    assert audit.summary["skewness"] < 0
    assert audit.summary["disconnected"] == 341
    loss = audit.without.set_index("operation")["loss"]
    assert loss["nor_conv_3x3"] > 0.005
    assert loss[["none", "avg_pool_3x3"]].max() < 0.001


@pytest.mark.data
def test_the_real_table_is_pinned():
    path = shared_file("nb201_accuracies.parquet")
    frame = pd.read_parquet(path)
    columns = ["cifar10_test_200", "cifar100_test_200", "imagenet16_test_200"]
    tables = {name: load_reference(path, column=name) for name in columns}

    best = [round(100 * table.accuracy.max(), 3) for table in tables.values()]
    cells = {canonical_cell(parse_architecture(name)) for name in frame["arch"]}
    agreement = column_agreement(frame[["cifar10_test_12", *columns]])
    tau = agreement.set_index(["first", "second"])["tau"].round(2)

    assert best == [94.373, 73.513, 47.311]
    assert len(frame) == 15625
    assert len(cells) == frame["unique_cell"].nunique() == 6466
    assert [audit_operations(t.accuracy).summary["disconnected"] for t in tables.values()] == (
        [341] * 3
    )
    assert tau["cifar10_test_12", "cifar10_test_200"] == 0.70
    assert tau["cifar10_test_200", "cifar100_test_200"] == 0.88


def test_a_score_may_be_minus_infinity():
    names = [f"a{i}" for i in range(20)]
    score = pd.Series(np.r_[[-np.inf] * 3, np.arange(17.0)], names)

    judged = evaluate(score, pd.Series(np.arange(20.0) / 20, names), seed=0, baselines=None)

    whole = judged.correlations.iloc[0]
    assert whole["tau"] > 0.9
    assert whole["spearman"] > 0.9
    assert np.isnan(whole["pearson"])
    json.dumps(judged.to_dict(), allow_nan=False, default=float)


def test_the_labels_that_ship_are_reliable(truth):
    assert len(truth.accuracy) == 6461
    assert truth.rows == 4
    assert reliability(truth.seeds).full >= 0.75
    best = separation(truth.seeds)
    assert best.best == 64
    assert best.gain > best.error


def test_the_panel_holds_what_scipy_says(judged, truth):
    whole = judged.correlations.set_index(["method", "top"]).loc[("validation", 1.0)]
    both = truth.validation[truth.accuracy.index], truth.accuracy

    assert whole["tau"] == pytest.approx(stats.kendalltau(*both)[0], abs=1e-12)
    assert whole["spearman"] == pytest.approx(stats.spearmanr(*both)[0], abs=1e-12)
    assert whole["pearson"] == pytest.approx(stats.pearsonr(*both)[0], abs=1e-12)
    assert whole["seed_low"] <= whole["tau"] + 0.05
    ceiling = judged.ceilings.set_index(["method", "top"])["tau"]
    assert ceiling["seed noise", 1.0] == pytest.approx(reliability(truth.seeds).ceiling, abs=0.05)
    assert ceiling["validation", 1.0] == pytest.approx(whole["tau"])


def test_a_panel_can_be_printed_drawn_and_stored(judged):
    data = json.loads(json.dumps(judged.to_dict(), allow_nan=False, default=float))

    assert panel_table(judged)["method"].tolist()[:2] == ["noisy", "validation"]
    assert any("noisy minus validation" in line for line in panel_lines(judged))
    assert set(judged.to_frame()["kind"]) == {"correlations", "picks", "differences", "ceilings"}
    assert data["protocol"]["isomorphic"] == "average"
    assert len(plot_evaluation(judged).data) > 8


def test_isomorphic_cells_can_count_once(space):
    names = [format_architecture(architecture) for architecture in list(space)[::40]]
    values = pd.Series(np.arange(len(names), dtype=float), names)

    kept = evaluate(values, values / 1000, seed=0, resamples=5)
    once = evaluate(values, values / 1000, seed=0, resamples=5, isomorphic="average")

    assert kept.protocol["architectures"] == len(names) > once.protocol["architectures"]
    assert kept.picks["regret"].min() == pytest.approx(0)
    names = {"a": 1.0, "b": 2.0, "c": 3.0}
    with pytest.raises(SpaceError):
        evaluate(names, names, seed=0, isomorphic="average")


def test_impossible_questions_are_refused(truth):
    scores = truth.accuracy
    with pytest.raises(ConfigError, match="fractions must lie"):
        evaluate(scores, truth, seed=0, fractions=[0.0])
    with pytest.raises(ConfigError, match="picks must be"):
        evaluate(scores, truth, seed=0, picks=[0])
    with pytest.raises(DataError, match="at least 2 seeds"):
        reliability(truth.seeds[[0]])
    with pytest.raises(DataError, match="at least 3 accuracies"):
        audit_operations(scores.iloc[:2])


def test_the_bootstrap_is_that_of_plain_tau():
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"a": draw.integers(0, 9, 60), "reference": draw.integers(0, 9, 60)})

    taus = bootstrap_taus(frame, seed=3, resamples=20)["a"]

    ordered = frame.sort_values("reference", kind="stable")
    again = np.random.default_rng(3)
    for tau in taus:
        chosen = ordered.iloc[np.sort(again.integers(60, size=60))]
        assert tau == pytest.approx(
            stats.kendalltau(chosen["a"], chosen["reference"])[0], abs=1e-12
        )


def test_combinations_are_declared():
    draw = np.random.default_rng(0)
    names = [f"a{i}" for i in range(300)]
    reference = pd.Series(draw.normal(size=300), names)
    frame = pd.DataFrame(
        {"score": reference + draw.normal(size=300), "prior": reference + draw.normal(size=300)}
    )

    fixed = combine(frame, {"score": 1, "prior": 1})
    fitted = cross_fit(frame, reference, priors=["prior"], seed=0)

    assert tau_b(fixed.scores, reference) > tau_b(frame["score"], reference)
    assert tau_b(fitted.scores[names], reference) > tau_b(frame["score"], reference)
    assert fixed.declaration == "rank sum, fixed: 1 x score + 1 x prior"
    assert "cross-fitted on the labels" in fitted.declaration
    for weights, message in (
        ({"scor": 1}, "did you mean"),
        ({"score": -1}, "not negative"),
        ({"score": 0}, "positive"),
    ):
        with pytest.raises(ConfigError, match=message):
            combine(frame, weights)
    with pytest.raises(ConfigError, match="cross-fitting needs"):
        cross_fit(frame, reference, priors=[], seed=0)
    with pytest.raises(ConfigError, match="folds of"):
        cross_fit(frame, reference, priors=["prior"], folds=1, seed=0)
    with pytest.raises(DataError, match="scores are NaN"):
        combine(frame.assign(prior=np.nan), {"prior": 1})


def test_columns_agree_as_far_as_they_rank_alike(truth):
    columns = pd.DataFrame({"test": truth.accuracy, "valid": truth.validation})

    table = column_agreement(columns)

    assert table["tau"].item() == pytest.approx(tau_b(columns["test"], columns["valid"]))


def test_an_audit_can_be_drawn(truth):
    audit = audit_operations(truth.accuracy)

    assert len(plot_audit(audit).data) == 10
    assert audit.without["loss"].min() == 0
