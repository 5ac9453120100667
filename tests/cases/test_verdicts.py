"""What is said of two rankings: of these weights, or over seeds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.benchmark import (
    ReferenceTable,
    digits_truth_path,
    load_reference,
)
from naslid_toolkit.evaluation.panel import evaluate
from naslid_toolkit.evaluation.ranking import tau_b
from naslid_toolkit.evaluation.verdicts import over_seeds, shared_variance
from naslid_toolkit.plots.study import plot_study
from naslid_toolkit.report import summary_lines
from naslid_toolkit.search.judging import judge_study, splitting_memory, study_configs
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.study import Study, load_study
from naslid_toolkit.shipped import example_run, example_study
from naslid_toolkit.tables import (
    findings,
    panel_lines,
    separability_tables,
    study_costs,
    study_lines,
    study_table,
)

METHODS = ["lid", "gradient", "random"]


@pytest.fixture(scope="module")
def shipped():
    return load_study(example_study())


@pytest.fixture(scope="module")
def truth(shipped):
    return part_of(load_reference(digits_truth_path()), shipped.scores.index[::25])


def part_of(table: ReferenceTable, names: pd.Index) -> ReferenceTable:
    return replace(table, accuracy=table.accuracy[names], seeds=table.seeds.loc[names])


def some_seeds(study: Study, *seeds: int) -> Study:
    kept = [key for key in study.scores if key[1] in seeds and key[0] in METHODS]
    return Study(study.scores[kept], study.costs, study.splits)


def made_study(truth, gains: dict[str, float], seeds: int = 4) -> Study:
    """Scores that agree with the truth up to noise; a gain makes the noise smaller."""
    draw, columns = np.random.default_rng(0), {}
    for seed in range(seeds):
        for arm, gain in gains.items():
            noise = draw.normal(0, truth.accuracy.std() * (1 - gain), len(truth.accuracy))
            columns[arm, seed] = truth.accuracy + noise
    costs = pd.DataFrame({"arm": list(gains), "pick": truth.accuracy.index[0]})
    costs[["steps", "leaves", "train_seconds", "split_seconds"]] = 1
    return Study(pd.DataFrame(columns), costs, pd.DataFrame())


# -- the test over seeds --------------------------------------------------------------------


def test_without_a_shared_part_it_is_the_paired_t_test():
    first, second = np.random.default_rng(0).normal(size=(2, 5))

    found = over_seeds(first - second)

    expected = stats.ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95))
    assert found.sd == pytest.approx((first - second).std(ddof=1))


@pytest.mark.parametrize("shared", [0.0, 1e-4, 1e-2])
def test_it_is_significant_exactly_where_the_interval_leaves_out_zero(shared):
    draw = np.random.default_rng(1)

    for _ in range(50):
        found = over_seeds(draw.normal(0.1, 0.1, 3), shared=shared)
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_what_does_not_depend_on_the_seed_has_the_interval_over_architectures():
    found = over_seeds([0.3, 0.3, 0.3], shared=0.02**2)

    assert found.high - found.mean == pytest.approx(stats.norm.isf(0.025) * 0.02)


@pytest.mark.parametrize("values", [[0.02], [0.02, 0.02]])
def test_where_no_spread_between_seeds_is_seen_there_is_no_test(values):
    found = over_seeds(values)

    assert found.mean == 0.02
    assert np.isnan([found.p_value, found.low, found.high]).all()


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("share", [0.0, 2.0])
def test_equal_methods_differ_in_at_most_five_of_a_hundred_studies(seeds, share):
    draw = np.random.default_rng(seeds)
    common = draw.normal(0, share**0.5, (400, 1))
    studies = common + draw.normal(size=(400, seeds))

    rejected = sum(over_seeds(one, shared=share).p_value < 0.05 for one in studies)

    assert rejected <= stats.binom.isf(1e-3, 400, 0.05)
    if not share:
        assert rejected >= stats.binom.ppf(1e-3, 400, 0.05)


def test_resamples_tell_what_seeds_share():
    draw = np.random.default_rng(0)
    common, own = draw.normal(0, 2, (4000, 1)), draw.normal(0, 5, (4000, 3))

    assert shared_variance(common + own) == pytest.approx(4, rel=0.2)
    assert shared_variance(np.repeat(common, 3, axis=1)) == pytest.approx(common.var(), rel=1e-2)
    assert shared_variance(own - own.mean(1, keepdims=True)) == 0


def test_equal_shares_of_all_seeds_are_shown_without_an_interval():
    variances = pd.DataFrame({"arm": "lid", "edge": "0→1", "cosine": [0.1, 0.2, 0.3]})
    shares = dict.fromkeys(["same_edge", "same_groups", "same_split"], 1.0)
    stabilities = pd.DataFrame({"arm": ["lid"] * 3, "edge": "0→1", **shares})

    by_edge, stable = separability_tables(variances, stabilities)

    assert by_edge["lid"][0] == "0.20000 ± 0.24841"
    assert stable["same_edge"][0] == "1.00"


def test_impossible_numbers_are_refused():
    with pytest.raises(DataError, match=r"finite numbers, one a seed, got \[0.1, nan\]"):
        over_seeds([0.1, float("nan")])
    with pytest.raises(DataError, match="finite numbers"):
        over_seeds([])
    with pytest.raises(ConfigError, match="at least 0 and finite, got -1"):
        over_seeds([0.1, 0.2], shared=-1.0)


# -- a study ---------------------------------------------------------------------------------


def test_a_study_is_tested_over_its_seeds(shipped, truth):
    study = some_seeds(shipped, 0, 1, 2)

    judged = judge_study(study, truth, resamples=20, tops=(1.0,), seed=0).set_index("arm")

    scores = study.scores.loc[truth.accuracy.index]
    taus = {key: tau_b(scores[key], truth.accuracy) for key in scores}
    change = [taus["lid", s] - taus["gradient", s] for s in range(3)]
    row = judged.loc["gradient"]
    assert row["difference"] == pytest.approx(np.mean(change))
    assert row["difference_sd"] == pytest.approx(np.std(change, ddof=1))
    assert row["p_value"] >= stats.ttest_1samp(change, 0).pvalue
    width = stats.t.isf(0.025, 2) * row["difference_sd"] / 3**0.5
    assert row["difference_high"] - row["difference"] >= width * (1 - 1e-9)
    assert (judged.drop("lid")["p_holm"] >= judged.drop("lid")["p_value"]).all()


def test_equal_methods_are_seldom_told_apart_by_a_study(truth):
    draw, names = np.random.default_rng(0), truth.accuracy.index[:12]
    few = part_of(truth, names)
    keys = pd.MultiIndex.from_product([["lid", *"abcdefghi"], range(3)])
    told = []

    for _ in range(6):
        noise = draw.normal(0, few.accuracy.std(), (12, 30))
        scores = pd.DataFrame(few.accuracy.to_numpy()[:, None] + noise, names, keys)
        judged = judge_study(
            Study(scores, pd.DataFrame(), pd.DataFrame()), few, tops=(1.0,), resamples=5, seed=0
        )
        told += (judged[judged["arm"].isin([*"abcdefghi"])]["p_value"] < 0.05).tolist()

    assert np.mean(told) < 0.2  # 36 % by the bootstrap of three seeds


def test_better_is_said_where_the_test_over_seeds_shows_it(truth):
    study = made_study(truth, {"lid": 0.8, "random": 0.2})
    judged = judge_study(study, truth, resamples=50, tops=(1.0,), seed=0)

    line = study_lines(judged, "lid", truth)[0]

    assert "better at 5 % (paired t, S = 4; Holm) than: random; worse than: none" in line


def test_a_study_names_its_test_in_table_and_figure(shipped, truth):
    judged = judge_study(some_seeds(shipped, 0, 1, 2), truth, resamples=10, seed=0)

    costs, lines = study_costs(shipped, judged, "lid"), study_lines(judged, "lid", truth)
    figure = plot_study(judged)

    assert {"p (paired t, S = 3; Holm)", "sd of that"} <= set(costs)
    assert "over seeds (t, S = 3) and architectures" in lines[1]
    assert "over 3 seeds (t) and architectures" in figure.layout.xaxis.title.text
    assert any("(paired t, S = 3; Holm)" in text for text in figure.data[0].customdata)


def test_one_seed_gives_no_test_and_says_so(shipped, truth):
    judged = judge_study(some_seeds(shipped, 1), truth, resamples=10, seed=0)

    line, told = study_lines(judged, "lid", truth)
    costs = study_costs(shipped, judged, "lid")
    plot_study(judged)

    tested = ["difference_low", "difference_high", "difference_sd", "p_value", "p_holm", "sd"]
    assert judged[tested].isna().all(axis=None)
    assert judged[["tau", "low", "high", "difference"]].notna().all(axis=None)
    assert "one seed, so there is no test" in line
    assert "better" not in line
    assert "on these weights" in told
    assert set(costs["p (no test, S = 1)"]) == {""}
    assert len(study_table(shipped, judged, truth)) == 6


def test_a_study_that_cannot_be_judged_is_refused(shipped, truth):
    study = some_seeds(shipped, 0, 1)
    names = truth.accuracy.index
    broken = study.scores.copy()
    broken.loc[names[:3], ("lid", 0)] = np.nan
    lacking = study.scores.drop(columns=[("random", 1)])

    with pytest.raises(DataError, match="3 scores of 'lid', seed 0, are NaN"):
        judge_study(replace_scores(study, broken), truth, resamples=2, seed=0)
    with pytest.raises(DataError, match=r"needs the same ones of all arms; \('random', 1\)"):
        judge_study(replace_scores(study, lacking), truth, resamples=2, seed=0)
    with pytest.raises(DataError, match="no arm 'lids'"):
        judge_study(study, truth, first="lids", resamples=2, seed=0)
    with pytest.raises(DataError, match="2 architectures of the study have a reference"):
        judge_study(study, part_of(truth, names[:2]), resamples=2, seed=0)


def replace_scores(study: Study, scores: pd.DataFrame) -> Study:
    return Study(scores, study.costs, study.splits)


def test_the_study_that_ships_can_be_judged_with_its_settings():
    run = load_run(example_run())

    configs = study_configs(example_study(), ["random", "single supernet"], run.config)

    assert configs["single supernet"].levels == 0
    assert splitting_memory(example_study(), arms=["random"], base=run.config) == {"random": 0.0}


# -- one run ---------------------------------------------------------------------------------


def test_a_run_speaks_of_its_weights_and_of_no_better_method():
    run = load_run(example_run())

    few = run.scores.index[:40]
    lines = summary_lines(run, part_of(load_reference(digits_truth_path()), few))

    line = next(line for line in lines if line.startswith("Few-shot minus single"))
    assert "in tau on these weights, paired 95 % interval over architectures [" in line
    assert line.endswith("; another seed may turn it: compare seeds with 'naslid compare'.")
    assert not {"better", "worse"} & set(line.replace(".", "").replace(":", "").split())


def test_an_evaluation_says_for_what_its_differences_hold(truth):
    scores = pd.DataFrame({"one": truth.accuracy, "two": -truth.accuracy})
    judged = evaluate(scores, truth.accuracy, seed=0, resamples=5, baselines=None)

    lines = panel_lines(judged)

    assert "on these weights, over architectures" in judged.protocol["differences"]
    assert any("one minus two: +2.000 in tau on these weights" in line for line in lines)
    assert "another seed may turn it" in lines[-1]


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (("", (0.1, 0.2)), "as expected, on these weights"),
        (("", (-0.2, -0.1)), "otherwise, on these weights"),
        (("", (-0.2, -0.1), 3), "otherwise, over 3 seeds"),
        (("", (0.1, 0.2), 5), "as expected, over 5 seeds"),
        (("", (-0.1, 0.2), 3), "not decided"),
        (("", True, 1), "as expected, on these weights"),
        (("", True), "as expected"),
        (("", None, 1), "not decided"),
    ],
)
def test_a_closing_table_says_what_a_verdict_holds_for(finding, verdict):
    closing = findings({"it ranks better": finding})

    assert closing.data["verdict"].tolist() == [verdict]
    assert ("font-weight: bold" in closing.to_html()) == verdict.startswith("otherwise")
