import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from naslid_toolkit.errors import DataError
from naslid_toolkit.search.result import load_run
from naslid_toolkit.space.nasbench201 import format_architecture, nasbench201
from naslid_toolkit.widgets import RankingExplorer
from tests.widgets.test_base import HOSTILE


@pytest.fixture
def explorer(opened, shown):
    return shown(RankingExplorer(opened, background=False))


def test_a_brushed_region_is_what_lies_in_it(explorer, opened):
    frame = pd.DataFrame({"score": opened.scores["few_shot"]})
    frame["reference"] = opened.reference.accuracy.reindex(frame.index)
    frame = frame.dropna()
    x = [float(frame["score"].quantile(q)) for q in (0.0, 0.95)]
    y = [float(frame["reference"].quantile(q)) for q in (0.0, 0.95)]

    explorer._heard({"kind": "select", "range": {"x": x, "y": y}})

    step = [(frame[c].max() - frame[c].min()) / 500 for c in ("score", "reference")]
    inside = frame["score"].between(x[0] - step[0], x[1] + step[0]) & frame["reference"].between(
        y[0] - step[1], y[1] + step[1]
    )
    chosen = frame[inside]
    assert set(explorer.selection) == set(chosen.index)
    tau = stats.kendalltau(chosen["score"], chosen["reference"]).statistic
    assert f"τ within the selection {tau:.3f}" in explorer.words.value
    assert len(explorer.figure.patch["2"]["x"]) == len(chosen)
    assert len(explorer.figure.patch["3"]["x"]) == len(chosen)
    explorer._heard({"kind": "select", "range": None})
    assert len(explorer.selection) == len(frame)


def test_of_a_large_selection_an_even_share_is_circled(shown):
    names = [format_architecture(cell) for cell in itertools.islice(nasbench201(), 4000)]
    scores = pd.Series(np.arange(4000.0), names, name="score")
    explorer = shown(RankingExplorer(scores, reference=scores, background=False))

    explorer._heard({"kind": "select", "range": {"x": [1000, 3499], "y": [0, 4000]}})

    circled = explorer.figure.patch["2"]["x"]
    assert "one in 3 is circled" in explorer.words.value
    assert len(circled) == math.ceil(len(explorer.selection) / 3)
    assert set(np.diff(circled)) == {3.0}


def test_the_ranges_select_by_keyboard(explorer):
    low, high = explorer.score_range.value

    explorer.score_range.value = (low, (low + high) / 2)

    assert 0 < len(explorer.selection) < 24


def test_baselines_and_ceilings_stand_beside(explorer):
    names = [y for number in "456" for y in explorer.figure.patch[number]["y"]]

    assert {"few_shot", "single", "convolution_count", "ceiling: seed noise"} <= set(names)
    assert "few_shot minus single" in explorer.status.value
    assert "in tau on these weights" in explorer.status.value
    assert "another seed may turn it" in explorer.status.value


def test_cells_can_be_ordered(explorer):
    for order in explorer.order.options:
        explorer.order.value = order
        assert 0 < len(explorer.cells.cells) <= 6
    assert "<svg" in explorer.cells.cells[0]["svg"]
    assert "in the selection" in explorer.shares.value


def test_a_pressed_point_is_picked(explorer):
    explorer._heard({"kind": "click", "curve": 1, "point": 4})

    assert explorer.picked == explorer._panels[1].frame.index[4]
    assert explorer.picked in explorer.cells.cells[0]["caption"]


def test_two_runs_side_by_side(opened, tiny_folder, shown):
    run = load_run(tiny_folder)

    explorer = shown(RankingExplorer(opened, run, reference=opened.reference, background=False))

    assert explorer.first.value == "tiny: few_shot"
    assert explorer.second.value == "run: few_shot"
    assert explorer.errors.value == ""


def test_any_scores_can_be_explored(shown):
    draw = np.random.default_rng(0)
    names = [HOSTILE, *(f"<b>{i}</b>" for i in range(20))]
    scores = pd.Series(draw.random(21), names, name="<i>mine</i>")

    explorer = shown(RankingExplorer(scores, reference=scores**2, background=False))

    assert explorer.errors.value == ""
    assert "no cells of NAS-Bench-201" in explorer.shares.value
    assert "<" not in "".join(explorer.figure.figure["data"][0]["text"])
    assert "<i>" not in json.dumps([explorer.figure.figure, explorer.figure.patch])
    explorer._heard({"kind": "click", "curve": 0, "point": 0})
    assert "<img" not in explorer.errors.value


def test_a_whole_benchmark_is_drawn_once_and_brushed_lightly(shown):
    names = [format_architecture(a) for a in nasbench201()]
    draw = np.random.default_rng(0)
    scores = pd.DataFrame({"a": draw.random(15625), "b": draw.random(15625)}, names)

    explorer = shown(RankingExplorer(scores, reference=scores["a"].rename("r"), background=False))

    assert len(json.dumps(explorer.figure.figure)) < 1_500_000
    explorer._heard({"kind": "select", "range": {"x": [0.2, 0.9], "y": [0.0, 1.0]}})
    sent = json.dumps([explorer.figure.patch, explorer.cells.cells, explorer.words.value])
    assert len(sent) < 100_000
    assert explorer.figure.figure["data"][0]["type"] == "scattergl"


def test_without_references_nothing_can_be_judged(opened):
    with pytest.raises(DataError, match="no reference accuracies"):
        RankingExplorer(opened.scores, background=False)


def test_the_picture_is_the_scatter_with_taus(explorer):
    figure = explorer.to_figure()

    assert "Beside baselines and ceilings" in str(figure.to_json())
