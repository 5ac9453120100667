"""Figures of criteria compared: ranking at equal budget, and memory of measuring."""

from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from naslid_toolkit.evaluation.verdicts import name_of_test
from naslid_toolkit.plots._theme import BASELINE, INK, OTHER_STYLES, finish, interval_bars, plain

_PAPER_SHARE: Final = 0.14  # what is left after the paper's saving of up to 86 %
_NAMES: Final = {"path": "single path", "all": "full supernet"}


def plot_study(
    judged: pd.DataFrame, *, title: str = "Criteria at equal optimiser steps"
) -> go.Figure:
    """Draw tau of every arm of a study with its interval, over all and among the best.

    Parameters
    ----------
    judged
        As :func:`~naslid_toolkit.search.judging.judge_study` gives it. The arm that is compared
        with the others is drawn full, the untrained baselines grey. Intervals of two arms are
        not that of their difference: hovering tells the test over seeds.
    title
        Title of the figure.
    """
    tops = list(dict.fromkeys(judged["top"]))
    counts = judged.drop_duplicates("top").set_index("top")["architectures"]
    figure = make_subplots(
        cols=len(tops),
        rows=1,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[
            f"{'all' if top == 1 else f'top {top:.0%}'} ({counts[top]:,})" for top in tops
        ],
    )
    whole = judged[judged["top"] == tops[0]].sort_values("tau")
    order = [str(arm) for arm in whole["arm"]]
    first, seeds = str(whole["first"].iloc[0]), int(whole["seeds"].iloc[0])
    over = f"over {seeds} seeds (t) and architectures" if seeds > 1 else "over architectures"
    for column, top in enumerate(tops, start=1):
        part = judged[judged["top"] == top].set_index("arm").loc[order].reset_index()
        untrained = part["arm"].str.contains("untrained")
        colours = [BASELINE if grey else OTHER_STYLES[0].colour for grey in untrained]
        symbols = ["circle" if arm == first else "circle-open" for arm in part["arm"]]
        figure.add_scatter(
            x=part["tau"],
            y=[plain(str(arm)) for arm in part["arm"]],
            error_x={**interval_bars(part["low"], part["tau"], part["high"]), "color": INK},
            mode="markers",
            marker={"size": 10, "color": colours, "symbol": symbols, "line": {"width": 2}},
            showlegend=False,
            customdata=[_test_text(row) for row in part.to_dict("records")],
            hovertemplate="%{y}: τ = %{x:.3f}<br>%{customdata}<extra></extra>",
            row=1,
            col=column,
        )
        figure.update_xaxes(title=f"tau-b, 95 %<br>{over}", col=column)
    figure.update_yaxes(title="criterion", col=1)
    return finish(figure, title=title, height=120 + 30 * len(order))


def _test_text(row: Mapping[Hashable, Any]) -> str:
    """Say how the first arm's tau differs from an arm's, over seeds."""
    if row["arm"] == row["first"]:
        return ""
    test = name_of_test(int(row["seeds"]))
    told = f"{plain(str(row['first']))} minus it: {row['difference']:+.3f}"
    if row["seeds"] == 1:
        return f"{told} ({test})"
    interval = f"[{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
    return f"{told} {interval}, p = {row['p_holm']:.2g} ({test})"


def plot_costs(
    costs: pd.DataFrame, *, title: str = "Memory of one sweep over all edges"
) -> go.Figure:
    """Draw the peak memory of measuring by LID as a share of gradient matching's.

    Parameters
    ----------
    costs
        As :func:`~naslid_toolkit.partition.cost.compare_costs` gives them. Open circles are
        extended from smaller batches; the line is the paper's largest saving, by its own
        account and on its own set-up.
    title
        Title of the figure.
    """
    figure = go.Figure()
    looks = {"plain forward": ("diamond-wide", 18, 2), "lid": ("circle", 9, 0)}  # LID upon it
    for name, (shape, size, style) in looks.items():
        part = costs[costs["criterion"] == name]
        places = (
            part["others"].map(_NAMES)
            + "<br>"
            + part["pixels"].astype(str)
            + " px, batch "
            + part["batch"].astype(str)
        )
        hollow = part["scaled"] | (name != "lid")
        figure.add_scatter(
            x=places,
            y=part["share"],
            customdata=part.reindex(columns=["megabytes", "seconds"]),  # times may be left out
            mode="markers",
            name="LID" if name == "lid" else name,
            marker={
                "size": size,
                "color": OTHER_STYLES[style].colour,
                "symbol": [f"{shape}-open" if empty else shape for empty in hollow],
                "line": {"width": 2},
            },
            hovertemplate="%{x}: %{y:.1%} (%{customdata[0]:,.0f} MB"
            + (", %{customdata[1]:,.1f} s)" if "seconds" in part else ")")
            + "<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(
        y=_PAPER_SHARE,
        line={"color": INK, "width": 1, "dash": "dash"},
        annotation={"text": "paper: a saving of up to 86 %", "font": {"size": 12}},
    )
    figure.update_xaxes(title="what the other edges hold; size of images; images in the batch")
    figure.update_yaxes(
        title="peak memory, share of gradient matching", tickformat=".0%", rangemode="tozero"
    )
    return finish(figure, title=title, height=480)
