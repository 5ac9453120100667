import json
import stat
from pathlib import Path

import pytest

from naslid_toolkit import example_run, example_study, load_run, load_study
from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.shipped import copy_whole, new_workspace, shipped


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*"))


def test_the_run_that_ships_is_finished_and_small():
    run = load_run(example_run())

    assert size_of(example_run()) <= 3_000_000
    assert len(run.tree.leaves) == 4
    assert len(run.scores) == 400
    assert OpenRun(example_run()).neighbours("root-0").distances.points == 40
    environment = json.loads((example_run() / "environment.json").read_text())
    assert environment["task"] == OpenRun(example_run()).images.name


def test_the_study_that_ships_is_small_and_complete():
    study = load_study(example_study())

    assert size_of(example_study()) <= 3_000_000
    assert study.costs["steps"].nunique() == 1
    assert study.costs.groupby("arm")["seed"].nunique().eq(3).all()
    assert {"lid", "gradient", "random", "single supernet"} <= set(study.costs["arm"])
    assert len(study.scores) == 1000
    assert study.scores.notna().all(axis=None)


def test_a_copy_of_the_run_is_ones_own(tmp_path):
    folder = example_run(tmp_path / "runs" / "example")
    (folder / "tree.json").write_text("changed")

    again = example_run(tmp_path / "runs" / "example")

    assert again == folder
    assert (folder / "tree.json").read_text() == "changed"
    assert (example_run() / "tree.json").read_text() != "changed"
    assert all(path.stat().st_mode & stat.S_IWUSR for path in folder.rglob("*"))


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    for copy in (
        lambda: example_run(tmp_path),
        lambda: new_workspace(tmp_path, settings=""),
        lambda: new_workspace(tmp_path / "mine.txt", settings=""),
    ):
        with pytest.raises(ConfigError, match="is in use"):
            copy()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_that_one_stands_in_is_filled(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    new_workspace(".", settings="seed = 1")

    assert Path("search.toml").read_text() == "seed = 1"
    assert len(load_run("runs/example").scores) == 400
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_copy_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        copy_whole({"a": example_run(), "b": tmp_path / "nowhere"}, tmp_path / "new")

    assert list(tmp_path.iterdir()) == []


def test_what_does_not_ship_is_named():
    with pytest.raises(DataError, match="data/nothing.parquet ships with"):
        shipped("data/nothing.parquet")


def test_a_new_workspace_has_notebooks_settings_and_a_run(tmp_path, capsys):
    assert main(["new", str(tmp_path / "mine")]) == 0

    folder = tmp_path / "mine"
    assert "naslid lab" in capsys.readouterr().out
    assert len(list(folder.glob("0*.ipynb"))) == 10
    assert load_run(folder / "runs" / "example").config.network.channels == 4
    assert RunConfig.from_toml(folder / "search.toml") == RunConfig.preset("demo")
    assert main(["new", str(folder)]) == 2
    assert "is in use" in capsys.readouterr().err


def test_lab_makes_a_workspace_and_starts_jupyterlab_on_it(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    status = main(["lab", "mine", "--no-browser", "--port", "0", "--jupyter=--version"])

    assert status == 0
    assert (tmp_path / "mine" / "00_quickstart.ipynb").exists()
    assert capfd.readouterr().out.strip().splitlines()[-1].startswith("4.")


def test_lab_refuses_what_is_no_folder(tmp_path, capsys):
    (tmp_path / "file").touch()

    assert main(["lab", str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_lab_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    assert main(["lab", "mine"]) == 2
    assert "pip install 'naslid-toolkit[notebooks]'" in capsys.readouterr().err
