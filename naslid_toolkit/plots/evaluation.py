"""Figures of an evaluation: tau by top fraction, regret, and operation importance."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from naslid_toolkit.evaluation.audit import Audit
from naslid_toolkit.evaluation.panel import Evaluation
from naslid_toolkit.plots._theme import (
    BASELINE,
    DASHES,
    INK,
    OTHER_STYLES,
    finish,
    interval_bars,
    plain,
    short,
    style_of,
)
from naslid_toolkit.plots.ranking import TAU_TITLE


def plot_evaluation(
    evaluation: Evaluation, *, title: str = "How well scores rank architectures"
) -> go.Figure:
    """Draw tau within the top fractions, and the regret of the best of ``k``.

    Methods are solid and coloured, untrained baselines grey, ceilings of the labels thin black
    lines; bars are 95 % bootstrap intervals over architectures.

    Parameters
    ----------
    evaluation
        Result of :func:`~naslid_toolkit.evaluation.panel.evaluate`.
    title
        Title of the figure.
    """
    figure = make_subplots(
        cols=2,
        rows=1,
        column_widths=[0.6, 0.4],
        horizontal_spacing=0.12,
        subplot_titles=["Rank correlation among the best", "Regret"],
    )
    labels = _labels(evaluation)
    for number, (method, part) in enumerate(evaluation.correlations.groupby("method", sort=False)):
        name = plain(str(method))
        look = _look(number, baseline=bool(part["baseline"].iloc[0]))
        figure.add_scatter(
            x=[labels[top] for top in part["top"]],
            y=part["tau"],
            error_y=interval_bars(part["low"], part["tau"], part["high"]),
            name=name,
            legendgroup=name,
            hovertemplate="%{x}: τ = %{y:.3f}<extra>%{fullData.name}</extra>",
            **look,
            row=1,
            col=1,
        )
        chosen = evaluation.picks[evaluation.picks["method"] == method]
        figure.add_scatter(
            x=[str(k) for k in chosen["k"]],
            y=chosen["regret"],
            name=name,
            legendgroup=name,
            showlegend=False,
            hovertemplate="best of %{x}: regret %{y:.4f}<extra>%{fullData.name}</extra>",
            **look,
            row=1,
            col=2,
        )
    _add_ceilings(figure, evaluation.ceilings, labels)
    figure.update_xaxes(title="architectures, best by reference", col=1)
    figure.update_xaxes(title="k largest scores (k > 1: reference chooses)", type="category", col=2)
    figure.update_yaxes(title=TAU_TITLE, zeroline=True, col=1)
    figure.update_yaxes(title="below the best accuracy (share)", rangemode="tozero", col=2)
    figure.update_layout(legend={"orientation": "h", "y": -0.28})
    return finish(figure, title=title, height=520)


def _labels(evaluation: Evaluation) -> dict[float, str]:
    table = evaluation.correlations.drop_duplicates("top")
    pairs = zip(table["top"].tolist(), table["architectures"].tolist(), strict=True)
    return {
        top: f"{'all' if top == 1 else f'top {top:.0%}'}<br>({count:,})" for top, count in pairs
    }


def _look(number: int, *, baseline: bool) -> dict[str, object]:
    again, position = divmod(number, len(OTHER_STYLES))
    style = OTHER_STYLES[position]
    colour = BASELINE if baseline else style.colour
    dash = DASHES[number % len(DASHES)] if baseline else "dash" if again else "solid"
    symbol = f"{style.marker}-open" if again else style.marker
    return {
        "mode": "lines+markers",
        "line": {"color": colour, "dash": dash, "width": 1.5 if baseline else 2.5},
        "marker": {"symbol": symbol, "size": 7 + 2 * again},
    }


def _add_ceilings(figure: go.Figure, ceilings: pd.DataFrame, labels: dict[float, str]) -> None:
    for number, (name, part) in enumerate(ceilings.groupby("method", sort=False)):
        figure.add_scatter(
            x=[labels[top] for top in part["top"]],
            y=part["tau"],
            mode="lines",
            name=plain(f"ceiling: {name}"),
            line={"color": INK, "width": 1, "dash": DASHES[number % len(DASHES)]},
            hovertemplate="%{x}: ceiling %{y:.3f}<extra>%{fullData.name}</extra>",
            row=1,
            col=1,
        )


def plot_audit(audit: Audit, *, title: str = "What operations are worth") -> go.Figure:
    """Draw accuracy by how often an operation is used, and its effect on every edge.

    Parameters
    ----------
    audit
        Result of :func:`~naslid_toolkit.evaluation.audit.audit_operations`.
    title
        Title of the figure.
    """
    figure = make_subplots(
        cols=2,
        rows=1,
        horizontal_spacing=0.12,
        subplot_titles=["By number of edges", "By edge"],
    )
    for number, (operation, part) in enumerate(audit.counts.groupby("operation", sort=False)):
        style, name = style_of(str(operation), number), plain(short(str(operation)))
        line = {"color": style.colour, "dash": style.dash, "width": 2}
        marker = {"symbol": style.marker, "size": 8, "color": style.colour}
        figure.add_scatter(
            x=part["count"],
            y=part["median"],
            error_y=interval_bars(part["lower"], part["median"], part["upper"]),
            mode="lines+markers",
            name=name,
            legendgroup=name,
            line=line,
            marker=marker,
            hovertemplate="%{x} edges: median %{y:.4f}<extra>%{fullData.name}</extra>",
            row=1,
            col=1,
        )
        effects = audit.edges[audit.edges["operation"] == operation]
        figure.add_scatter(
            x=[plain(str(edge)) for edge in effects["edge"]],
            y=effects["effect"],
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            marker=marker,
            hovertemplate="edge %{x}: %{y:+.4f}<extra>%{fullData.name}</extra>",
            row=1,
            col=2,
        )
    figure.update_xaxes(title="edges with the operation", dtick=1, col=1)
    figure.update_yaxes(title="accuracy (share): median, quartiles", col=1)
    figure.update_xaxes(title="edge (source → target node)", col=2)
    figure.update_yaxes(title="mean accuracy less that of all (share)", zeroline=True, col=2)
    figure.update_layout(legend={"orientation": "h", "y": -0.28})
    return finish(figure, title=title, height=480)
