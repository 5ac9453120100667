"""Predicted against reference accuracy, and the course of a search."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from naslid_toolkit.evaluation.panel import Evaluation
from naslid_toolkit.evaluation.ranking import aligned, kendall_tau
from naslid_toolkit.plots._theme import (
    BASELINE,
    INK,
    OTHER_STYLES,
    finish,
    interval_bars,
    plain,
    score_title,
)
from naslid_toolkit.search.evolution import SearchHistory

SVG_POINTS: Final = 2000  # more are drawn by WebGL, which stays responsive
TAU_TITLE: Final = "Kendall's tau-b, 95 % over architectures"
REFERENCE_TITLE: Final = "reference accuracy, trained alone (share)"


@dataclass(frozen=True, slots=True)
class RankPoints:
    """The points of one method: score and reference of each architecture, and tau."""

    method: str
    architectures: tuple[str, ...]
    score: tuple[float, ...]
    reference: tuple[float, ...]
    tau: float
    low: float
    high: float


def rank_points(
    scores: Mapping[str, pd.Series] | pd.DataFrame, reference: pd.Series, *, seed: int
) -> tuple[RankPoints, ...]:
    """Return the points to draw, one set a method.

    Parameters
    ----------
    scores
        For each method, scores by architecture string; a frame has a column each.
    reference
        Reference accuracies in [0, 1] by architecture string.
    seed
        Seed of the bootstrap interval.
    """
    points = []
    for method, values in ((str(name), column) for name, column in scores.items()):
        frame = aligned({method: values}, reference)
        tau = kendall_tau(values, reference, seed=seed)
        points.append(
            RankPoints(
                method=method,
                architectures=tuple(str(name) for name in frame.index),
                score=tuple(frame[method]),
                reference=tuple(frame["reference"]),
                tau=tau.tau,
                low=tau.low,
                high=tau.high,
            )
        )
    return tuple(points)


def plot_ranking(
    scores: Mapping[str, pd.Series] | pd.DataFrame,
    reference: pd.Series,
    *,
    seed: int,
    evaluation: Evaluation | None = None,
    title: str = "Predicted against reference accuracy",
) -> go.Figure:
    """Draw one scatter a method, with Kendall's tau and its 95 % interval.

    Parameters
    ----------
    scores, reference, seed
        See :func:`rank_points`.
    evaluation
        Adds a last panel that sets tau of all methods beside the untrained baselines (grey) and
        the ceilings of the labels (lines).
    title
        Title of the figure.
    """
    points = rank_points(scores, reference, seed=seed)
    headings = [
        f"{plain(p.method).replace('_', '-')}<br>τ = {p.tau:.3f} [{p.low:.3f}, {p.high:.3f}]"
        for p in points
    ]
    judged = [] if evaluation is None else ["Beside baselines and ceilings"]
    figure = make_subplots(
        rows=1,
        cols=len(points) + len(judged),
        horizontal_spacing=0.05,
        subplot_titles=headings + judged,
    )
    for column, p in enumerate(points, start=1):
        _add_points(figure, p, column)
    figure.update_yaxes(title=REFERENCE_TITLE, col=1)
    if evaluation is not None:
        _add_taus(figure, evaluation, len(points) + 1)
    finish(figure, title=title)
    return figure.update_layout(margin={"t": 100})


def _add_points(figure: go.Figure, points: RankPoints, column: int) -> None:
    """Draw one method's scatter; all share the vertical axis."""
    style = OTHER_STYLES[(column - 1) % len(OTHER_STYLES)]
    scatter = go.Scattergl if len(points.score) > SVG_POINTS else go.Scatter
    marker = {"color": style.colour, "symbol": style.marker, "size": 7, "opacity": 0.75}
    if scatter is go.Scattergl:
        marker |= {"size": 3, "opacity": 0.35}
    figure.add_trace(
        scatter(
            x=points.score,
            y=points.reference,
            text=[plain(name) for name in points.architectures],
            mode="markers",
            marker=marker,
            name=plain(points.method),
            showlegend=False,
            hovertemplate="%{text}<br>score %{x:.3f}<br>reference %{y:.3f}<extra></extra>",
        ),
        row=1,
        col=column,
    )
    whole = bool(points.score) and min(points.score) >= 0 and max(points.score) <= 1
    figure.update_xaxes(title="score (share)" if whole else "score (unit of its own)", col=column)
    if column > 1:
        figure.update_yaxes(matches="y", showticklabels=False, col=column)


def _add_taus(figure: go.Figure, evaluation: Evaluation, column: int) -> None:
    """Draw tau over all architectures: one row for each method, baseline and ceiling."""
    for trace in tau_traces(evaluation):
        figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(title=TAU_TITLE, col=column)
    figure.update_yaxes(side="right", automargin=True, type="category", col=column)


def tau_traces(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return tau with its interval as plain data: ceilings, untrained baselines, methods."""
    methods = evaluation.correlations[evaluation.correlations["top"] == 1]
    ceilings = evaluation.ceilings[evaluation.ceilings["top"] == 1]
    named = ceilings.assign(method="ceiling: " + ceilings["method"])
    return [
        {
            "type": "scatter",
            "x": part["tau"].tolist(),
            "y": [plain(str(method)) for method in part["method"]],
            "error_x": interval_bars(part["low"], part["tau"], part["high"]),
            "mode": "markers",
            "marker": {"size": 9, "color": colour, "symbol": symbol},
            "showlegend": False,
            "hovertemplate": "%{y}: τ = %{x:.3f}<extra></extra>",
        }
        for part, colour, symbol in (
            (named[::-1], INK, "line-ns-open"),
            (methods[methods["baseline"]][::-1], BASELINE, "diamond-open"),
            (methods[~methods["baseline"]][::-1], OTHER_STYLES[0].colour, "circle"),
        )
    ]


def plot_history(history: SearchHistory, *, title: str = "Course of the search") -> go.Figure:
    """Draw the score of every visited architecture, and the best so far.

    Parameters
    ----------
    history
        The architectures in the order they were scored.
    title
        Title of the figure.
    """
    frame = history.to_frame()
    numbers = list(range(1, len(frame) + 1))
    figure = go.Figure()
    figure.add_scatter(
        x=numbers,
        y=frame["score"],
        text=[plain(name) for name in frame["architecture"]],
        mode="markers",
        name="architecture",
        marker={"color": OTHER_STYLES[4].colour, "size": 6, "symbol": "circle-open"},
        hovertemplate="%{text}<br>score %{y:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=numbers,
        y=frame["score"].cummax(),
        mode="lines",
        name="best so far",
        line={"color": OTHER_STYLES[1].colour, "width": 2, "shape": "hv"},
    )
    figure.update_xaxes(title="architectures scored")
    figure.update_yaxes(title=score_title(frame["score"]))
    return finish(figure, title=title)
