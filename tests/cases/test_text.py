"""A hostile name goes through every output: terminal, page, figure, spreadsheet."""

import io
import json
import math
import re
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from naslid_toolkit.cli import main
from naslid_toolkit.cli.outputs import write_csv
from naslid_toolkit.cli.results import print_frame, say
from naslid_toolkit.errors import NaslidWarning
from naslid_toolkit.evaluation.audit import Audit
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.panel import evaluate
from naslid_toolkit.lid.measure import lid_profile, measure_distances
from naslid_toolkit.partition.criteria import RandomCriterion
from naslid_toolkit.partition.split import choose_split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.plain_text import visible
from naslid_toolkit.plots import (
    plot_audit,
    plot_cells,
    plot_costs,
    plot_evaluation,
    plot_history,
    plot_lid,
    plot_ranking,
    plot_similarity,
    plot_split_tree,
    plot_study,
)
from naslid_toolkit.plots.lid_curves import LIDCurve, lid_traces
from naslid_toolkit.plots.progress import progress_figure
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.report import write_panel
from naslid_toolkit.runtime import Remark, WorkDone
from naslid_toolkit.search.evolution import Evaluated, SearchHistory
from naslid_toolkit.search.following import LossCurve, RunProgress
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.search_space import cell_space
from naslid_toolkit.widgets._base import table
from naslid_toolkit.widgets.lid_explorer import LIDExplorer
from naslid_toolkit.widgets.ranking_explorer import RankingExplorer

HOSTILE = '<a href="https://x">k</a><b>\x1b[31m\u202e[/x]:warning:'
EVALUATE = ["evaluate", "--truth", "truth.csv", "--resamples", "5"]
CELL = Architecture(("skip_connect",) * 6)


class Layers(nn.Sequential):
    """Two layers, one with a hostile name."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__()
        self.add_module(HOSTILE.replace(".", ""), nn.Linear(8, 8))
        self.add_module("plain", nn.Linear(8, 4))


@pytest.fixture(scope="module")
def measured():
    return measure_distances(Layers(), torch.randn(12, 8, generator=torch.manual_seed(0)))


@pytest.fixture(scope="module")
def truth():
    whole = load_reference(digits_truth_path())
    return replace(whole, accuracy=whole.accuracy[::300], seeds=whole.seeds[::300], validation=None)


@pytest.fixture(scope="module")
def scores(truth):
    values = truth.accuracy
    return pd.DataFrame({HOSTILE: values**2, "other": np.sqrt(values)})


@pytest.fixture(scope="module")
def evaluation(scores, truth):
    return evaluate(scores, truth, seed=0, resamples=5)


def texts(figure):
    """All texts of a figure, keys as well."""
    found, queue = [], [json.loads(figure.to_json()) if hasattr(figure, "to_json") else figure]
    for item in queue:
        if isinstance(item, dict):
            queue += [*item, *(value for key, value in item.items() if key != "template")]
        elif isinstance(item, list | tuple):
            queue += list(item)
        elif isinstance(item, str):
            found.append(item)
    return found


def assert_text_alone(figure):
    """Check that the hostile name is in a figure, and that nothing in it is obeyed."""
    found = texts(figure)
    assert any("&lt;a href" in text for text in found)
    for text in found:
        assert "<a " not in text
        assert "<b>\\" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def audit():
    counts = pd.DataFrame(
        {"operation": [HOSTILE], "count": 1, "median": 0.5, "lower": 0.4, "upper": 0.6}
    )
    return Audit(counts, counts.assign(edge=HOSTILE, effect=0.1), counts, {})


def split_space():
    space = cell_space(3, [HOSTILE, "none", "skip_connect"])
    return space, choose_split(space, RandomCriterion(), seed=0)


def tree():
    space, split = split_space()
    return SplitTree.root(space).with_split("root", split).renamed(HOSTILE)


def study():
    row = {"top": 1.0, "architectures": 9, "tau": 0.5, "low": 0.4, "high": 0.6, "seeds": 1}
    row |= {"first": HOSTILE, "difference": 0.1}
    return pd.DataFrame([{**row, "arm": HOSTILE}, {**row, "arm": "lid"}])


FIGURES = {
    "audit": lambda _: plot_audit(audit()),
    "cells": lambda _: plot_cells([CELL], [HOSTILE], title=HOSTILE),
    "evaluation": lambda given: plot_evaluation(given("evaluation")),
    "history": lambda _: plot_history(SearchHistory((Evaluated(HOSTILE, 0.5, 1, 1, ""),))),
    "lid": lambda _: plot_lid(
        {HOSTILE: lid_profile(Layers(), torch.randn(12, 8), k=5)}, title=HOSTILE
    ),
    "ranking": lambda given: plot_ranking(
        given("scores"), given("truth").accuracy, seed=0, evaluation=given("evaluation")
    ),
    "similarity": lambda _: plot_similarity(split_space()[1], split_space()[0]),
    "split tree": lambda _: plot_split_tree(tree()),
    "study": lambda _: plot_study(study()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_makes_a_link_or_bold_text_of_a_name(name, request):
    assert_text_alone(FIGURES[name](request.getfixturevalue))


def test_titles_of_figures_without_names_are_text_too():
    costs = pd.DataFrame(
        {"criterion": ["lid"], "others": "path", "pixels": 8, "batch": 8, "share": 0.5}
    ).assign(scaled=False, megabytes=1.0)

    assert_text_alone(plot_costs(costs, title=HOSTILE))


def test_bands_and_curves_share_the_escaped_layers():
    curve = LIDCurve(HOSTILE, (HOSTILE, "b"), (1.0, 2.0), (0.1, 0.1), (0, 0))

    area, line = lid_traces([curve], bands=True)

    assert_text_alone({"data": [area, line]})
    assert set(area["x"]) == set(line["x"])


def test_the_progress_of_a_run_is_text():
    progress = RunProgress(
        events=1,
        stages=(),
        share=0.5,
        seconds_left=None,
        losses=(LossCurve(HOSTILE, (1,), (0.5,)),),
        bests=(),
        best="",
        best_score=None,
        splits=(),
        scored={},
    )

    assert_text_alone(progress_figure(progress, [(HOSTILE, 0.5)], population=1))


def test_the_lid_explorer_shows_names_as_text(measured):
    explorer = LIDExplorer({HOSTILE: measured, "other": measured}, background=False)
    try:
        pictures = [explorer.figure.figure, explorer.matrix.figure, explorer.to_figure()]
        ticks = explorer.matrix.figure["layout"]["xaxis"]["ticktext"]
    finally:
        explorer.close()

    for picture in pictures:
        assert_text_alone(picture)
    assert ticks[0] == '&lt;a href="ht…'.replace("ht…", HOSTILE[9:13] + "…")


def test_the_ranking_explorer_shows_names_as_text(scores, truth):
    explorer = RankingExplorer(scores, reference=truth, background=False)
    try:
        for picture in (explorer.figure.figure, explorer.figure.patch, explorer.to_figure()):
            assert_text_alone(picture)
        assert "\x1b" not in explorer.status.value
        assert "<a" not in explorer.status.value
    finally:
        explorer.close()


def test_a_table_on_a_page_is_text():
    shown = table(pd.DataFrame({HOSTILE: [HOSTILE]}))

    assert "<a" not in shown
    assert "\x1b" not in shown
    assert shown.count(r"\x1b") == 2


def test_the_page_of_an_evaluation_is_text(tmp_path, scores, truth, evaluation):
    write_panel(tmp_path / "page.html", evaluation, scores, truth)

    page = (tmp_path / "page.html").read_text()
    scripts = re.findall(r"<script.*?</script>", page, flags=re.S)
    assert r"&lt;a href=&quot;https://x" in page
    rest = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "<a" not in rest
    assert "\x1b" not in rest
    assert not any(r"\u003ca href" in script for script in scripts)


# -- the terminal ----------------------------------------------------------------------------


@pytest.fixture
def hostile_table(tmp_path, monkeypatch, truth):
    """A folder of its own with a table whose columns have hostile names."""
    monkeypatch.chdir(tmp_path)
    chosen = truth.accuracy
    frame = pd.DataFrame({"architecture": chosen.index, HOSTILE: chosen.to_numpy()})
    frame.rename(columns={HOSTILE: "accuracy"}).to_csv("truth.csv", index=False)
    frame.assign(**{"accuracy[/x]\x1b[2J": chosen.to_numpy() ** 2}).to_csv("s.csv", index=False)
    return "s.csv"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([*EVALUATE, "s.csv", "--method", HOSTILE], 0),
        (["truth", "audit", "s.csv", "--column", HOSTILE], 0),
        (["truth", "agree", "s.csv", "--columns", HOSTILE, "accuracy[/x]\x1b[2J"], 0),
        (["truth", "import", "s.csv"], 0),
        (["truth", "agree", "s.csv", "--columns", "\x1b[2J[/x]"], 2),
        ([*EVALUATE, "\x1b[2J[/x].csv"], 2),
        ([*EVALUATE, "\udcff\x1b[/x].csv"], 2),  # a name that is no UTF-8
        (["report", "\x1b[2J[/x]"], 2),
    ],
)
def test_a_name_is_printed_and_not_obeyed(hostile_table, arguments, status, capsys):
    assert main(arguments) == status

    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err
    assert r"\x1b" in said.out + said.err
    assert "[/x]" in said.out + said.err


def test_a_terminal_without_arrows_gets_them_written_out(hostile_table, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    assert main(["truth", "audit", "truth.csv"]) == 0

    sys.stdout.flush()
    assert rb"0\u21921" in sys.stdout.buffer.getvalue()


def test_an_unknown_option_is_printed_and_not_obeyed(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "s.csv", "--top", "\u202e\x1b[2J"])

    said = capsys.readouterr().err
    assert "\u202e" not in said
    assert "\x1b" not in said


def test_a_line_is_neither_markup_nor_a_picture(capsys):
    say("[bold]x[/y] :warning: \x9b2J")

    assert capsys.readouterr().out == "[bold]x[/y] :warning: \\x9b2J\n"


def test_a_table_is_neither_markup_nor_a_picture(capsys):
    print_frame(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE)

    out = capsys.readouterr().out
    assert out.count(visible(HOSTILE)) == 3
    assert "\x1b" not in out


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_of_a_hostile_task_is_shown(terminal, monkeypatch, capsys):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
    with ProgressDisplay() as show:
        show(WorkDone("[/x]\x1b]0;title\x07", 1, 2, "steps"))
        show(Remark("a class is called [/x]\x1b]0;title\x07"))

    said = capsys.readouterr().err
    assert "\x1b]0;" not in said
    assert r"[/x]\x1b]0;title\x07" in said


def test_a_warning_names_a_layer_as_text():
    class Odd(Layers):
        def forward(self, images):
            return self[1](images)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure_distances(Odd(), torch.randn(12, 8))

    said = [str(one.message) for one in caught if issubclass(one.category, NaslidWarning)]
    assert any("[/x]" in text for text in said)
    assert not any("\x1b" in text for text in said)


def test_ordinary_text_stays_as_it_is():
    text = "τ = 0.5 ± 0.1, 0→1 | naïve 日本語 🙂 é\nsecond line"

    assert visible(text) == text


# -- the spreadsheet -------------------------------------------------------------------------


def test_no_cell_or_heading_of_a_csv_is_a_formula(tmp_path):
    frame = pd.DataFrame(
        {
            "=1+1": ['=HYPERLINK("https://x")', "@SUM(A1)", "+1", "-0.5", "|none~0|", "\tx"],
            "n": [-1.0, math.nan, 2.0, -math.inf, 0.1, 1e-300],
        }
    )

    write_csv(frame, tmp_path / "t.csv")

    found = pd.read_csv(tmp_path / "t.csv", dtype={"'=1+1": str})
    assert list(found) == ["'=1+1", "n"]
    assert list(found["'=1+1"]) == [
        '\'=HYPERLINK("https://x")',
        "'@SUM(A1)",
        "+1",
        "-0.5",
        "|none~0|",
        "'\tx",
    ]
    assert found["n"].equals(frame["n"])


def test_a_method_of_a_table_never_becomes_a_formula(hostile_table, capsys):
    name = '=HYPERLINK("https://x")'
    pd.read_csv("truth.csv").rename(columns={"accuracy": name}).to_parquet("s.parquet")

    assert main([*EVALUATE, "s.parquet", "--csv", "t.csv"]) == 0

    cells = [cell for cell in pd.read_csv("t.csv").to_numpy().ravel() if isinstance(cell, str)]
    assert f"'{name}" in cells
    assert not any(cell.startswith("=") for cell in cells)
