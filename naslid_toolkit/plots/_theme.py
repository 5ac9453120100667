"""Colours, line styles and sizes: one look for every figure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from naslid_toolkit.plain_text import as_html
from naslid_toolkit.space.architecture import NONE, SKIP
from naslid_toolkit.space.nasbench201 import CONV1, CONV3, POOL


@dataclass(frozen=True, slots=True)
class Style:
    """How one operation is drawn everywhere: colour, dash, marker, short label."""

    colour: str
    dash: str
    marker: str
    label: str


# Okabe and Ito's colours, told apart by colour-blind readers; dashes and markers for grey prints
OPERATION_STYLES: Final[Mapping[str, Style]] = {
    NONE: Style("#6e6e6e", "dot", "x", "none"),
    SKIP: Style("#0072B2", "dash", "square", "skip"),
    CONV1: Style("#E69F00", "dashdot", "triangle-up", "conv 1×1"),
    CONV3: Style("#D55E00", "solid", "circle", "conv 3×3"),
    POOL: Style("#009E73", "longdash", "diamond", "avg pool"),
}
OTHER_STYLES: Final = (
    Style("#0072B2", "solid", "circle", ""),
    Style("#D55E00", "dash", "square", ""),
    Style("#009E73", "dashdot", "diamond", ""),
    Style("#CC79A7", "dot", "triangle-up", ""),
    Style("#56B4E9", "longdash", "x", ""),
)
BASELINE: Final = "#8a8a8a"  # of scores that need no training
DASHES: Final = ("dot", "dash", "dashdot")
INK: Final = "#2a3f5f"
SEQUENTIAL: Final = "Cividis"


def style_of(name: str, position: int) -> Style:
    """Return the style of an operation, or of the curve at that position."""
    fallback = OTHER_STYLES[position % len(OTHER_STYLES)]
    return OPERATION_STYLES.get(name, fallback)


def plain(text: str) -> str:
    """Return text so that plotly shows it as it is; plotly knows some HTML, links among it."""
    return as_html(text, quote=False)


def short(operation: str) -> str:
    """Return the short label of an operation."""
    style = OPERATION_STYLES.get(operation)
    return style.label if style else operation


def interval_bars(low: pd.Series, middle: pd.Series, high: pd.Series) -> dict[str, object]:
    """Return error bars from ``low`` to ``high``."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (high - middle).tolist(),
        "arrayminus": (middle - low).tolist(),
        "thickness": 1,
    }


def finish(figure: go.Figure, *, title: str, height: int = 420) -> go.Figure:
    """Give a figure its title, which is text, its size and background; return it."""
    figure.update_layout(
        template="plotly_white",
        title={"text": plain(title), "font": {"size": 16}, "x": 0.02, "xanchor": "left"},
        height=height,
        font={"size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 70, "r": 30, "t": 70, "b": 70},
    )
    return figure


def score_title(scores: Iterable[float]) -> str:
    """Return the title of an axis of scores; log-likelihoods are those below zero."""
    if any(score < 0 for score in scores):
        return "score: mean log-likelihood (nats)"
    return "score: validation accuracy (share)"
