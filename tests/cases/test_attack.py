"""Files of runs that hold what they cannot hold."""

import json
import shutil

import pandas as pd
import pytest

from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError, DataError, NaslidError
from naslid_toolkit.evaluation.benchmark import digits_truth_path
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.journal import Journal, Mark
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.search.study import load_study
from naslid_toolkit.shipped import example_study
from tests.search.folders import unlisted_copy


@pytest.fixture
def old(tiny_folder, tmp_path):
    return unlisted_copy(tiny_folder, tmp_path / "old")


def change(path, **fields):
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **fields}))


@pytest.mark.parametrize("threads", [None, "4", 0, -1, True, 10**9])
def test_a_run_needs_a_possible_number_of_threads(old, threads):
    change(old / "environment.json", threads=threads)

    with pytest.raises(DataError, match=r"'threads' of .*environment.json must be a whole number"):
        RunStore.open(old)


@pytest.mark.parametrize("score", [5, -1, True, "0.5", None, 1e308])
def test_a_score_is_an_accuracy(old, score):
    path = old / "evaluations" / "few_shot.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**first, "score": score}) + "\n")

    with pytest.raises(DataError, match=r"line 1 of .*few_shot.jsonl must be a number in \[0, 1\]"):
        RunStore.open(old).load_scores("few_shot")


def test_a_cell_has_one_score(old):
    path = old / "evaluations" / "few_shot.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    with path.open("a") as lines:
        lines.write(json.dumps({**first, "score": 0.98765}) + "\n")

    with pytest.raises(DataError, match="another score of"):
        RunStore.open(old).load_scores("few_shot")


@pytest.mark.parametrize("row", [{}, {"event": 1}, {"event": "EpochDone"}, {"event": "SpaceSplit"}])
def test_an_event_holds_what_its_kind_does(old, row):
    (old / "events.jsonl").write_text(json.dumps(row) + "\n")

    with pytest.raises(DataError, match=r"line 1 of .*events.jsonl"):
        load_run(old)


def test_a_finished_run_has_its_trainings(old):
    (old / "events.jsonl").write_text("")

    with pytest.raises(DataError, match="events.jsonl lacks the training of 'root'"):
        load_run(old)


@pytest.mark.parametrize("name", ["scores.parquet", "history.parquet", "profiles/root.parquet"])
def test_a_table_has_its_columns(old, name):
    pd.DataFrame({"x": [1]}).to_parquet(old / name)

    with pytest.raises(NaslidError, match="columns"):
        load_run(old)


def test_rows_of_the_evidence_keep_their_order(old):
    frame = pd.read_parquet(old / "profiles/root.parquet")
    frame.iloc[::-1].to_parquet(old / "profiles/root.parquet")

    reread = pd.read_parquet(old / "profiles/root.parquet")
    swapped = reread.assign(layer=reread["layer"].sample(frac=1, random_state=0).to_numpy())
    swapped.to_parquet(old / "profiles/root.parquet")

    with pytest.raises(NaslidError):
        load_run(old)


def test_a_split_is_of_its_space(old):
    tree = json.loads((old / "tree.json").read_text())
    tree["split"]["candidates"][0]["similarity"] = [[1.0]]
    (old / "tree.json").write_text(json.dumps(tree))

    with pytest.raises(NaslidError, match="similarities"):
        load_run(old)


def test_settings_of_a_run_name_their_file(old):
    (old / "config.toml").write_text("levels = 'x'\n")

    with pytest.raises(ConfigError) as caught:
        load_run(old)

    assert any("config.toml" in note for note in caught.value.__notes__)


def test_deep_nesting_is_refused(old):
    (old / "tree.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(DataError, match="tree.json"):
        load_run(old)
    (old / "config.toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match="not valid TOML"):
        RunConfig.from_toml(old / "config.toml")


def test_a_journal_of_another_run_is_not_taken_for_the_own_one(tmp_path):
    own, other = Journal(tmp_path / "own"), Journal(tmp_path / "other")
    reached = [own.append({"a": 1}) for _ in range(2)][-1]
    for number in range(9):
        other.append({"another": number})

    assert reached.size > 0
    assert len(own.read(through=reached)[0]) == 2
    with pytest.raises(DataError, match="is not the one that was written"):
        other.read(through=Mark(reached.size + 1, reached.chain))


def test_a_changed_table_of_references_is_refused(tiny_folder, tmp_path):
    table = tmp_path / "truth.parquet"
    shutil.copyfile(digits_truth_path(), table)
    old = unlisted_copy(tiny_folder, tmp_path / "old")
    with (old / "config.toml").open("r+") as file:
        text = file.read().replace('truth = ""', f'truth = "{table}"')
        file.seek(0)
        file.write(text)
    change(old / "environment.json", truth="0" * 64)

    with pytest.raises(DataError, match="is not the table of reference accuracies"):
        _ = OpenRun(old).reference
    assert main(["report", str(old)]) == 2
    assert main(["evaluate", str(old), "--resamples", "10"]) == 2


def test_tables_of_a_study_have_their_columns(tmp_path):
    folder = shutil.copytree(example_study(), tmp_path / "study")
    pd.DataFrame({"x": [1]}).to_parquet(folder / "splits.parquet")
    with pytest.raises(DataError, match=r"splits.parquet has the columns"):
        load_study(folder)
    pd.DataFrame({"x": [1]}).to_parquet(folder / "scores.parquet")
    with pytest.raises(DataError, match="expected 'arm#seed'"):
        load_study(folder)


def test_columns_named_twice_are_compared_once(capsys):
    columns = ["seed0", "seed0", "seed1"]
    known = pd.read_parquet(digits_truth_path()).columns
    columns = [str(known[1]), str(known[1]), str(known[2])]

    assert main(["truth", "agree", "--columns", *columns]) in {0, 2}
    assert "Traceback" not in capsys.readouterr().err
