import pandas as pd
import pytest
from scipy import stats

from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.judging import judge_study, separability
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.study import ARMS, arm_config, load_study, run_study, save_study
from naslid_toolkit.shipped import example_study
from naslid_toolkit.tables import (
    markdown,
    separability_tables,
    study_costs,
    study_lines,
    study_table,
)

pytestmark = pytest.mark.slow

SOME = ["lid", "gradient", "exhaustive", "single supernet"]


@pytest.fixture(scope="module")
def base() -> RunConfig:
    over = {"levels": 1, "warmup_epochs": 2, "training": {"epochs": 4, "batch_size": 450}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


@pytest.fixture(scope="module")
def truth():
    return load_reference(digits_truth_path())


@pytest.fixture(scope="module")
def folder(once, base, truth):
    def study(out):
        run_study(base, truth.accuracy.index[:30], arms=SOME, seeds=[0, 1], out=out)

    return once("study", study)


@pytest.mark.parametrize("preset", ["demo", "small", "paper"])
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_takes_the_same_number_of_steps(preset, arm):
    base = RunConfig.preset(preset)

    config = arm_config(base, arm, seed=3)

    assert config.total_epochs == base.total_epochs
    assert config.seed == 3
    assert config.training.learning_rate == base.training.learning_rate


def test_a_study_compares_arms_at_equal_steps(folder, truth):
    study = load_study(folder, arms=SOME)

    judged = judge_study(study, truth, resamples=50, seed=0)
    whole = judged[judged["top"] == 1].set_index("arm")

    assert study.costs["steps"].nunique() == 1
    assert study.costs.set_index(["arm", "seed"]).loc[("exhaustive", 0), "leaves"] == 5
    for arm in SOME:
        taus = [
            stats.kendalltau(study.scores[arm, s], truth.accuracy[study.scores.index])[0]
            for s in (0, 1)
        ]
        assert whole.loc[arm, "tau"] == pytest.approx(sum(taus) / 2, abs=1e-12)
        assert whole.loc[arm, "low"] <= whole.loc[arm, "tau"] <= whole.loc[arm, "high"]
        assert whole.loc["lid", "tau"] - whole.loc[arm, "tau"] == pytest.approx(
            whole.loc[arm, "difference"]
        )
    assert pd.isna(whole.loc["lid", "p_value"])
    assert (whole.loc[SOME[1:], "p_holm"] >= whole.loc[SOME[1:], "p_value"]).all()
    assert whole.loc["convolution count (untrained)", "sd"] == 0
    assert set(judged["top"]) == {1.0, 0.1, 0.01}


def test_equal_supernets_are_trained_once_and_count_twice(folder):
    events = {arm: load_run(folder / f"{arm}-seed0") for arm in ("lid", "gradient")}

    first, second = ((folder / f"{a}-seed0" / "weights" / "root.safetensors") for a in events)
    text = (folder / "gradient-seed0" / "events.jsonl").read_text()

    assert first.read_bytes() == second.read_bytes()
    assert '"SupernetReused"' in text
    assert events["lid"].costs["steps"].equals(events["gradient"].costs["steps"])


def contents(folder) -> dict:
    """What was written when; a lock is taken anew by everyone who looks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_study_goes_on_where_it_stopped(folder, base, truth):
    before = contents(folder)

    again = run_study(base, truth.accuracy.index[:30], arms=SOME, seeds=[0, 1], out=folder)

    assert again.scores.equals(load_study(folder, arms=SOME).scores)
    assert before == contents(folder)


def test_a_study_is_printed_with_the_true_place_of_lid(folder, truth):
    study = load_study(folder, arms=SOME)
    judged = judge_study(study, truth, resamples=20, seed=0)

    table, costs = study_table(study, judged, truth), study_costs(study, judged, "lid")
    lines = study_lines(judged, "lid", truth)

    order = [arm for arm in table["criterion"] if arm in SOME]
    assert f"lid: place {order.index('lid') + 1} of 4 trained methods" in lines[0]
    assert list(costs["criterion"]) == list(table["criterion"])
    assert markdown(table).count("\n") == len(table) + 1


def test_separability_is_measured_in_the_same_contexts(folder):
    variances, stability = separability(folder)
    by_edge, shares = separability_tables(variances, stability)

    assert len(variances) == 2 * 2 * 6
    assert (variances["cosine"] >= 0).all()
    assert stability["same_split"].between(0, 1).all()
    assert list(by_edge) == ["edge", "lid", "gradient"]
    assert "±" in by_edge["lid"][0]
    assert list(shares["criterion"]) == ["lid", "gradient"]
    contexts = [load_run(folder / f"{arm}-seed0").evidence["root"][0].contexts for arm in SOME[:2]]
    assert contexts[0] == contexts[1]


def test_the_command_judges_a_finished_study(folder, capsys, tmp_path):
    options = ["compare", "--judge-only", "--out", str(folder), "--arms", *SOME]

    assert main([*options, "--csv", str(tmp_path / "table.csv")]) == 0

    out = capsys.readouterr().out
    assert "lid: place" in out
    assert "Variance of the cosines" in out
    assert "splitting MB" in out
    assert set(pd.read_csv(tmp_path / "table.csv")["arm"]) >= set(SOME)


def test_impossible_studies_are_refused(base, tmp_path, capsys):
    with pytest.raises(ConfigError, match="no arm 'lidd'; did you mean 'lid'"):
        arm_config(base, "lidd", 0)
    with pytest.raises(ConfigError, match="need a budget of 6 epochs"):
        arm_config(RunConfig.preset("tiny"), "exhaustive", 0)
    with pytest.raises(DataError, match="no seed that is finished"):
        load_study(tmp_path)
    assert main(["compare", "--data", "x.parquet", "--out", str(tmp_path)]) == 2
    assert "needs reference accuracies" in capsys.readouterr().err


def test_the_tables_of_a_study_are_enough_to_judge_it(folder, truth, tmp_path):
    study = load_study(folder, arms=SOME)

    save_study(study, tmp_path)

    again = load_study(tmp_path)
    pd.testing.assert_frame_equal(again.scores, study.scores, check_names=False)
    pd.testing.assert_frame_equal(again.costs, study.costs)
    assert again.splits["edge"].tolist() == study.splits["edge"].tolist()
    judged = [judge_study(s, truth, resamples=20, seed=0) for s in (study, again)]
    pd.testing.assert_frame_equal(*judged)
    some = load_study(tmp_path, arms=["lid", "gradient"])
    assert some.scores.columns.tolist() == [(a, s) for a in ("lid", "gradient") for s in (0, 1)]
    assert set(some.costs["arm"]) == {"lid", "gradient"}
    with pytest.raises(DataError, match="has no arm 'lids'"):
        load_study(tmp_path, arms=["lids"])


def test_separability_that_ships_is_that_of_the_arms_asked_for():
    both = separability(example_study())

    some = separability(example_study(), arms=["gradient"])

    assert [set(frame["arm"]) for frame in both] == [{"lid", "gradient"}] * 2
    assert [set(frame["arm"]) for frame in some] == [{"gradient"}] * 2
    with pytest.raises(DataError, match="has no arm 'random'"):
        separability(example_study(), arms=["lid", "random"])


def test_damaged_tables_are_named(folder, tmp_path):
    save_study(load_study(folder, arms=SOME), tmp_path)
    (tmp_path / "costs.parquet").write_bytes(b"half")

    with pytest.raises(DataError, match="costs.parquet is missing or damaged"):
        load_study(tmp_path)
