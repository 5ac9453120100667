"""Predicted against reference accuracy, and the course of a search."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from naslid_toolkit.evaluation.ranking import aligned, kendall_tau
from naslid_toolkit.plots._theme import OTHER_STYLES, finish
from naslid_toolkit.search.evolution import SearchHistory


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
    scores: Mapping[str, pd.Series], reference: pd.Series, *, seed: int
) -> tuple[RankPoints, ...]:
    """Return the points to draw, one set a method.

    Parameters
    ----------
    scores
        For each method, scores by architecture string.
    reference
        Reference accuracies in [0, 1] by architecture string.
    seed
        Seed of the bootstrap interval.
    """
    points = []
    for method, values in scores.items():
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
    scores: Mapping[str, pd.Series],
    reference: pd.Series,
    *,
    seed: int,
    title: str = "Predicted against reference accuracy",
) -> go.Figure:
    """Draw one scatter a method, with Kendall's tau and its 95 % interval.

    Parameters
    ----------
    scores, reference, seed
        See :func:`rank_points`.
    title
        Title of the figure.
    """
    points = rank_points(scores, reference, seed=seed)
    figure = make_subplots(
        rows=1,
        cols=len(points),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        subplot_titles=[
            f"{p.method.replace('_', '-')}: τ = {p.tau:.3f} [{p.low:.3f}, {p.high:.3f}]"
            for p in points
        ],
    )
    for column, (p, style) in enumerate(zip(points, OTHER_STYLES, strict=False), start=1):
        figure.add_scatter(
            x=p.score,
            y=p.reference,
            text=p.architectures,
            mode="markers",
            marker={"color": style.colour, "symbol": style.marker, "size": 7, "opacity": 0.75},
            name=p.method,
            showlegend=False,
            hovertemplate="%{text}<br>score %{x:.3f}<br>reference %{y:.3f}<extra></extra>",
            row=1,
            col=column,
        )
        figure.update_xaxes(title="validation accuracy, shared weights (share)", col=column)
    figure.update_yaxes(title="reference accuracy, trained alone (share)", col=1)
    return finish(figure, title=title)


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
        text=frame["architecture"],
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
    figure.update_yaxes(title="validation accuracy, shared weights (share)")
    return finish(figure, title=title)
