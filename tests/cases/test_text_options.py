"""Every number of the command line has a range, and no output replaces its own input."""

import argparse
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from naslid_toolkit.cli import main
from naslid_toolkit.cli.commands import build_parser
from naslid_toolkit.cli.numbers import real, weight, whole
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.converting import convert_table
from naslid_toolkit.evaluation.importing import import_benchmark
from naslid_toolkit.packing import pack_images
from naslid_toolkit.shipped import example_run

NUMBER = type(whole(0, 1))


def all_options(parser):
    """Every option of a parser and of those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from all_options(below)
        else:
            yield action


def test_no_option_takes_any_number():
    options = list(all_options(build_parser()))

    assert len([one for one in options if isinstance(one.type, NUMBER)]) >= 24
    assert {one.type for one in options if not isinstance(one.type, NUMBER)} <= {None, weight}
    for one in options:
        if one.metavar in {"N", "K", "I", "W"}:
            assert isinstance(one.type, NUMBER), one.option_strings


def test_every_default_lies_in_its_range():
    for one in all_options(build_parser()):
        if isinstance(one.type, NUMBER) and one.default is not None:
            values = one.default if isinstance(one.default, list | tuple) else [one.default]
            assert all(one.type(str(value)) == value for value in values)


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        ("search", "--levels", ["-1", "7"]),
        ("search", "--seed", ["-1", str(2**63), "nan"]),
        ("search", "--workers", ["0", "10000", "-2"]),
        ("search", "--threads", ["-1", "100000"]),
        ("compare --out x", "--seeds", ["0", "-1", "1e3"]),
        ("compare --out x", "--architectures", ["0", "2"]),
        ("compare-cost", "--measured-pixels", ["-1", "0"]),
        ("compare-cost", "--channels", ["0"]),
        ("compare-cost", "--cells", ["0"]),
        ("compare-cost", "--pixels", ["0", "99999"]),
        ("compare-cost", "--batches", ["2"]),
        ("hierarchical --out x", "--seeds", ["0"]),
        ("hierarchical --out x", "--distillation", ["nan", "inf", "-0.5", "1e999", "x"]),
        ("evaluate s.csv", "--resamples", ["0", "1", "1" + "0" * 5000]),
        ("evaluate s.csv", "--top", ["-1", "0"]),
        ("evaluate s.csv", "--seed", ["-1"]),
        ("evaluate s.csv", "--prior", ["flop_count=nan", "flop_count=inf", "a=-1", "a=b", "=1"]),
        ("split run", "--k", ["0", "1", "-1"]),
        ("split run", "--replicates", ["-3"]),
        ("truth build", "--seeds", ["0"]),
        ("truth build", "--shards", ["0", "-1"]),
        ("truth build", "--shard", ["-1"]),
        ("truth build", "--workers", ["0", "10000"]),
        ("lab", "--port", ["-1", "65536"]),
        ("pack folder out.parquet", "--size", ["0", "3", "-1", "100000"]),
    ],
)
def test_a_number_out_of_range_is_refused_by_name_and_range(command, option, values, capsys):
    for value in values:
        with pytest.raises(SystemExit) as end:
            main([*command.split(), option, value])

        said = capsys.readouterr().err
        assert end.value.code == 2
        assert f"argument {option}: expected" in said
        assert " from " in said
        assert len(said) < 3000


def test_the_ends_of_a_range_belong_to_it():
    assert [whole(2, 5)(text) for text in ("2", "5")] == [2, 5]
    assert [real(0, 1)(text) for text in ("0", "1", "1e-300")] == [0.0, 1.0, 1e-300]
    assert weight("depth") == ("depth", 1.0)


# -- outputs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen():
    return load_reference(digits_truth_path()).accuracy[::300]


@pytest.fixture
def folder(tmp_path, monkeypatch, chosen):
    """The working folder, with a table of scores, the same as a reference, and images."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"architecture": chosen.index, "accuracy": chosen.to_numpy()})
    frame.to_csv("s.csv", index=False)
    frame.to_csv("truth.csv", index=False)
    frame.to_parquet("t.parquet")
    (tmp_path / "v.pth").write_bytes(b"PK not a benchmark")
    for name in ("images/a", "images/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name / "0.png")
    (tmp_path / "link.csv").symlink_to("s.csv")
    return tmp_path


EVALUATE = ["evaluate", "s.csv", "--truth", "truth.csv", "--resamples", "5"]
STUDY = ["--preset", "tiny", "--truth", "truth.csv", "--out", "study", "-q"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*EVALUATE, "--csv", "s.csv"], "s.csv is what is read"),
        ([*EVALUATE, "--html", "./s.csv"], "s.csv is what is read"),
        ([*EVALUATE, "--csv", "truth.csv"], "truth.csv is what is read"),
        ([*EVALUATE, "--csv", "link.csv"], "link.csv is a link"),
        ([*EVALUATE, "--csv", "/dev/null"], "/dev/null is a link, folder, pipe or device"),
        ([*EVALUATE, "--html", "images"], "images is a link, folder"),
        ([*EVALUATE, "--csv", "s.csv/t.csv"], "is a file, not a folder"),
        ([*EVALUATE, "--csv", "x", "--html", "./x"], "x is named twice"),
        (["compare", *STUDY, "--csv", "truth.csv"], "truth.csv is what is read"),
        (["compare", *STUDY, "--csv", "study"], "study is to be a folder"),
        (["hierarchical", *STUDY, "--csv", "truth.csv"], "truth.csv is what is read"),
        (["compare-cost", "--csv", "link.csv", "-q"], "link.csv is a link"),
        (["truth", "build", "--out", "link.csv", "-q"], "link.csv is a link"),
        (["truth", "import", "v.pth", "--out", "v.pth"], "v.pth is what is read"),
        (["truth", "import", "t.parquet"], "t.parquet is what is read"),
        (["truth", "import", "s.csv", "--out", "s.csv"], "s.csv is what is read"),
        (["truth", "import", "images", "--out", "images/t.parquet"], "lies in images"),
        (["pack", "images", "images/t.parquet"], "lies in images"),
        (["pack", "images", "images/a/t.parquet"], "lies in images"),
    ],
)
def test_an_output_in_the_wrong_place_is_refused_before_any_work(
    folder, arguments, message, capsys
):
    before = contents(folder)

    assert main(arguments) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("naslid: error: ")
    assert message in said.err
    assert contents(folder) == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["config.toml", "scores.parquet"])
def test_a_file_of_the_run_that_is_judged_is_not_replaced(folder, name, capsys):
    shutil.copytree(example_run(), folder / "run")
    before = contents(folder)

    assert main(["evaluate", "run", "--truth", "truth.csv", "--csv", f"run/{name}"]) == 2

    assert f"{name} is what is read" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_run_is_not_derived_into_itself(folder, capsys):
    shutil.copytree(example_run(), folder / "run")
    groups = ["none,skip_connect", "nor_conv_1x1,nor_conv_3x3,avg_pool_3x3"]

    assert main(["override", "run", "--groups", *groups, "--out", "run/new"]) == 2

    assert "run/new lies in the run it starts from" in capsys.readouterr().err


def test_functions_refuse_their_own_input_as_well(folder):
    before = contents(folder)

    for refused in (
        lambda: convert_table("s.csv", "s.csv"),
        lambda: import_benchmark("v.pth", "v.pth"),
        lambda: import_benchmark("images", "images/t.parquet"),
        lambda: pack_images("images", "images/b/t.parquet"),
    ):
        with pytest.raises(ConfigError, match=r"is what is read|lies in"):
            refused()
    assert contents(folder) == before


def test_an_output_elsewhere_is_written(folder, capsys):
    assert main([*EVALUATE, "--csv", "new/t.csv", "--html", "t.html"]) == 0

    assert (folder / "new/t.csv").is_file()
    assert (folder / "t.html").is_file()
