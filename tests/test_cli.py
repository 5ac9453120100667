import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from naslid_toolkit import __version__
from naslid_toolkit.cli import main
from naslid_toolkit.cli.results import print_frame
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.panel import accuracy_of
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.storage import RunStore

FAST = ["--preset", "tiny", "--set", "sample=6", "--set", "evolution.evaluations=4"]
FAST += ["--set", "evolution.population=2", "--set", "training.batch_size=450"]


def naslid(*arguments: str, cwd: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-c",
        "import sys; from naslid_toolkit.cli import main; sys.exit(main())",
    ]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def searched(once):
    """A search run from the command line: its folder and what it printed; not to be changed."""

    def search(folder: Path) -> None:
        folder.mkdir()
        process = naslid("search", *FAST, "--out", "run", cwd=folder)
        out, err = process.communicate()
        assert process.returncode == 0, err
        (folder / "out").write_text(out)
        (folder / "err").write_text(err)

    folder = once("cli", search)
    return folder / "run", (folder / "out").read_text(), (folder / "err").read_text()


def test_a_search_prints_the_table_and_the_report(searched):
    folder, out, _ = searched

    assert "Kendall tau" in out
    assert "single supernet, same steps" in out
    assert "convolution count (untrained)" in out
    assert "Few-shot minus single:" in out
    assert f"Report: {Path('run') / 'report.html'}" in out
    assert (folder / "report.html").is_file()


def test_without_a_terminal_progress_is_plain_lines_on_stderr(searched):
    _, _, err = searched

    assert re.search(r"trained root: \d+ steps", err)
    assert "split root on edge" in err
    assert "\x1b" not in err
    assert "━" not in err


def test_evaluating_a_run_prints_the_panel_and_json(searched, tmp_path, capsys):
    folder, csv = str(searched[0]), tmp_path / "all.csv"

    assert main(["evaluate", folder, "--resamples", "50", "--csv", str(csv)]) == 0
    table = capsys.readouterr().out
    assert main(["evaluate", folder, "--resamples", "50", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    rows = {row["method"]: row for row in result["correlations"] if row["top"] == 1}
    trivial = {"convolution_count", "parameter_count", "flop_count"}
    assert set(rows) == {"few_shot", "single", *trivial}
    assert {name for name, row in rows.items() if row["baseline"]} == trivial
    assert f"{rows['few_shot']['tau']:.3f}" in table
    assert "ceiling: seed noise" in table
    assert result["protocol"]["source"] == "nb201_digits.parquet"
    assert {"correlations", "picks", "differences", "ceilings"} == set(pd.read_csv(csv)["kind"])


def test_a_prior_is_declared_and_the_figures_are_one_page(tmp_path, capsys):
    truth = load_reference(digits_truth_path()).accuracy[::60]
    hostile = "<script>alert(1)</script>"
    scores = pd.DataFrame({"arch": truth.index, hostile: truth.to_numpy() ** 2})
    scores.to_parquet(tmp_path / "scores.parquet")
    page = tmp_path / "panel.html"

    shared = ["evaluate", str(tmp_path / "scores.parquet"), "--resamples", "20"]
    status = main([*shared, "--prior", "convolution_count=0.5", "--html", str(page)])

    out = capsys.readouterr().out.replace("\n", " ")
    text = page.read_text()
    assert status == 0
    assert f"rank sum, fixed: 1 x {hostile} + 0.5 x convolution_count" in out
    assert "minus flop_count" in out
    assert text.count('class="plotly-graph-div"') == 2
    assert hostile not in text
    assert not re.search(r"<script[^>]+src=", text)
    assert main([*shared, "--prior", "depth"]) == 2
    assert "no score 'depth'" in capsys.readouterr().err


def test_another_table_of_references_can_be_named(searched, tmp_path, capsys):
    folder, _, _ = searched
    names = load_run(folder).scores.index
    pd.DataFrame({"arch": names, "mine": [float(i) / 10 for i in range(6)]}).to_csv(
        tmp_path / "mine.csv"
    )

    status = main(
        ["evaluate", str(folder), "--truth", str(tmp_path / "mine.csv"), "--column", "mine"]
    )

    assert status == 0
    assert "mine of mine.csv" in capsys.readouterr().out


def test_a_split_can_be_questioned_afterwards(searched, capsys):
    folder = str(searched[0])
    assert main(["split", folder, "--replicates", "5"]) == 0
    same = capsys.readouterr().out
    assert main(["split", folder, "--k", "5", "--estimator", "twonn"]) == 0
    other = capsys.readouterr().out

    assert "(chosen)" in same
    assert "%" in same
    assert "into the same groups." in same.replace("\n", " ")
    assert "%" not in other
    assert "The run split edge" in other
    assert main(["split", folder, "--k", "200"]) == 2
    assert "k=200 neighbours need" in capsys.readouterr().err
    assert main(["split", folder, "--node", "root-0"]) == 2
    assert "keeps no distances of node 'root-0'" in capsys.readouterr().err


def test_the_report_is_one_page_that_loads_nothing(searched, tmp_path, capsys):
    folder, _, _ = searched
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "report.html").unlink()

    assert main(["report", str(copy)]) == 0

    page = (copy / "report.html").read_text()
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert str(copy / "report.html") in capsys.readouterr().out.replace("\n", "")
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", outside)
    assert not re.search(r"<script[^>]+src=", page)
    for heading in (
        "Split tree",
        "LID curves of root",
        "Similarity matrices",
        "Ranking",
        "Settings",
    ):
        assert f"<h2>{heading}" in page


def test_text_from_files_is_never_run_as_html(searched, tmp_path):
    folder, _, _ = searched
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    files = RunStore.open(copy).files  # whoever writes a run writes its hashes too
    environment = json.loads((copy / "environment.json").read_text())
    environment["task"] = "<script>alert(1)</script>"
    with files.writing("environment.json") as temporary:
        temporary.write_text(json.dumps(environment))

    assert main(["report", str(copy)]) == 0

    page = (copy / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.slow
def test_ctrl_c_stops_with_everything_stored_and_says_how_to_go_on(searched, tmp_path, capsys):
    whole, _, _ = searched
    process = naslid("search", *FAST, "--out", "run", cwd=tmp_path)
    for line in process.stderr:
        if "trained root:" in line:
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate()

    assert process.returncode == 130
    assert "naslid search --resume --out run" in err
    assert main(["search", "--resume", "--out", str(tmp_path / "run"), "-q"]) == 0
    resumed = capsys.readouterr()
    assert resumed.err == ""
    assert "Kendall tau" in resumed.out
    pd.testing.assert_frame_equal(load_run(whole).scores, load_run(tmp_path / "run").scores)


def test_a_used_folder_is_refused(searched, capsys):
    folder, _, _ = searched

    assert main(["search", *FAST, "--out", str(folder)]) == 2

    assert "is not empty and is left as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--levles", "2"], "unknown option '--levles'; did you mean '--levels'"),
        (["serch"], "unknown word 'serch'; did you mean 'search'"),
        (["search", "--preset", "dmeo"], "unknown word 'dmeo'; did you mean 'demo'"),
    ],
)
def test_a_misspelt_word_names_the_nearest(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--resume"], "--resume needs --out"),
        (["search", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["search", "--set", "training"], "--set needs KEY=VALUE"),
        (["search", "--set", "a b=c d"], "--set cannot read"),
        (["search", "--config", "absent.toml"], "no settings file absent.toml"),
        (["search", "--data", "absent.parquet"], "no file absent.parquet; expected"),
        (["search", "--data", "digits", "--truth", "absent.csv"], "no file absent.csv"),
        (["evaluate", "absent"], "no file absent; expected a Parquet or CSV table"),
        (["report", "absent"], "absent is not the folder of a run"),
        (["truth", "build", "--shard", "1"], "--shard must be below --shards 1, got 1"),
        (["truth", "import", "absent.pth"], "no file or folder absent.pth; expected NAS-Bench"),
        (["truth", "agree", "--columns", "test"], "no column 'test'"),
        (["truth", "audit", "--where", "a"], "--where needs KEY=VALUE"),
    ],
)
def test_bad_input_is_explained(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main(arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith("naslid: error: ")
    assert message in error
    assert "Traceback" not in error


def test_an_interrupt_outside_a_search_is_no_traceback(searched, capsys, monkeypatch):
    def interrupt(_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("naslid_toolkit.cli.evaluate.load_run", interrupt)

    assert main(["evaluate", str(searched[0])]) == 130
    assert capsys.readouterr().err == "naslid: stopped at once\n"


def test_a_column_needs_its_table(searched, capsys):
    assert main(["evaluate", str(searched[0]), "--column", "x"]) == 2
    assert "--column needs --truth" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_run_without_references_says_so(tmp_path, capsys, monkeypatch):
    from tests.test_datasets import write_images

    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "mine.parquet", count=400)
    options = ["--data", "mine.parquet", "--levels", "1", "--set", "single=false", "-q"]
    options += ["--set", "training.batch_size=128"]

    status = main(["search", *FAST, *options, "--out", "run"])

    out = capsys.readouterr().out
    assert status == 0
    assert "No reference accuracies" in out
    assert main(["evaluate", "run", "--json"]) == 2
    assert "name a table with --truth" in capsys.readouterr().err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "No reference accuracies" in page


@pytest.mark.slow
def test_bars_are_shown_in_a_terminal(tmp_path):
    import pty

    main_end, other_end = pty.openpty()
    command = "import sys; from naslid_toolkit.cli import main; sys.exit(main())"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-c", command, "search", *FAST, "--out", "run"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=other_end,
    )
    os.close(other_end)
    seen = b""
    try:
        while chunk := os.read(main_end, 65536):
            seen += chunk
    except OSError:  # the end of a terminal on Linux
        pass
    assert process.wait() == 0
    text = seen.decode()
    assert "all training" in text
    assert re.search(r"\d+/24", text)
    assert "left" in text


def test_a_split_by_hand_trains_only_what_changes(searched, tmp_path, capsys):
    folder, new = searched[0], tmp_path / "new"
    operations = ["none,skip_connect", "nor_conv_1x1"]

    status = main(
        ["override", str(folder), "--edge", "1-3", "--groups", *operations, "--out", str(new)]
    )

    out = capsys.readouterr().out
    assert status == 0
    assert "To train: root-0, root-1, root-2" in out
    assert f"naslid search --resume --out {new}" in out.replace("\n", " ")
    assert main(["search", "--resume", "--out", str(new), "-q"]) == 0
    run = load_run(new)
    assert [len(leaf.space.allowed[4]) for leaf in run.tree.leaves] == [2, 1, 2]
    assert run.tree.split.by_hand
    assert "by hand" in (new / "report.html").read_text()
    capsys.readouterr()
    for extra, message in (
        (["--edge", "1-9"], "no edge '1-9'"),
        (["--node", "root-0"], "is a leaf; name an edge"),
        (["--edge", "0-1"], "do not partition"),
    ):
        groups = [
            "--groups",
            "nor_conv_1x1,x" if "0-1" in extra else "none",
            "--out",
            str(tmp_path / "b"),
        ]
        assert main(["override", str(folder), *extra, *groups]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_give_the_same_run(searched, tmp_path, capsys):
    arguments = ["search", *FAST, "--workers", "2", "--out", str(tmp_path / "run"), "-q"]

    assert main(arguments) == 0

    one, other = load_run(searched[0]), load_run(tmp_path / "run")
    assert one.scores.equals(other.scores)
    assert one.tree.to_dict() == other.tree.to_dict()
    capsys.readouterr()


@pytest.mark.slow
def test_costs_are_measured_from_the_command_line(tmp_path, capsys):
    small = ["--channels", "4", "--cells", "1", "--pixels", "8", "--batches", "8"]

    assert main(["compare-cost", *small, "--csv", str(tmp_path / "costs.csv"), "-q"]) == 0

    captured = capsys.readouterr()
    assert "up to 86 %" in captured.out.replace("\n", " ")
    assert captured.err == ""
    assert set(pd.read_csv(tmp_path / "costs.csv")["criterion"]) >= {"lid", "gradient"}


@pytest.mark.slow
def test_a_hierarchical_search_names_one_architecture(tmp_path, capsys):
    fast = ["--preset", "tiny", "--set", "training.batch_size=450", "--distillation", "0.5"]
    for setting in ("split.contexts=1", "split.probe_batches=1", "levels=0"):
        fast += ["--set", setting]
    arguments = ["hierarchical", *fast, "--out", str(tmp_path / "hep"), "-q"]

    assert main([*arguments, "--csv", str(tmp_path / "table.csv")]) == 0

    table = pd.read_csv(tmp_path / "table.csv")
    truth = load_reference(digits_truth_path())
    assert table["accuracy"][0] == pytest.approx(
        accuracy_of(truth, table["architecture"][0]), nan_ok=True
    )
    assert table["architecture"][0] in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [False, True])
def test_a_wide_table_is_never_cut(terminal, monkeypatch, capsys):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "70")
    frame = pd.DataFrame({f"tau {i}": ["0.123 [0.045, 0.678]"] for i in range(4)})

    print_frame(frame, "Wide")

    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert "\n".join(lines).count("0.123") == "\n".join(lines).count("0.678]") == 4
    assert (max(map(len, lines)) <= 70) == terminal
