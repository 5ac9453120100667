"""The course of a run: losses of its supernets, scores of its architectures."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from naslid_toolkit.plots._theme import BASELINE, DASHES, OTHER_STYLES, plain, score_title
from naslid_toolkit.search.following import LossCurve, RunProgress

_DASHES: Final = ("solid", *DASHES, "longdash", "longdashdot")
_CURVES: Final = 12  # that can be told apart; the latest
_LOSSES: Final = 200  # points of a curve
_SCORES: Final = 800  # points of the scatter
Item = TypeVar("Item")


def progress_figure(
    progress: RunProgress, scores: Sequence[tuple[str, float]], *, population: int
) -> dict[str, Any]:
    """Return losses on the left and scores on the right as a figure of plain data.

    Parameters
    ----------
    progress
        Where the run stands.
    scores
        Architectures with their scores, in the order they were scored.
    population
        The last so many are drawn full: those the search breeds from.
    """
    losses = progress.losses[-_CURVES:]
    numbers = range(1, len(scores) + 1)
    kept = thinned(list(zip(numbers, scores, strict=True)), _SCORES)
    young = len(scores) - population
    bests: list[float] = []
    for _, (_, score) in kept:
        bests.append(max(score, bests[-1] if bests else score))
    points = {
        "type": "scatter",
        "x": [number for number, _ in kept],
        "y": [score for _, (_, score) in kept],
        "text": [plain(name) for _, (name, _) in kept],
        "mode": "markers",
        "name": "architecture (filled: population)",
        "marker": {
            "color": OTHER_STYLES[0].colour,
            "size": 6,
            "symbol": ["circle" if number > young else "circle-open" for number, _ in kept],
        },
        "hovertemplate": "%{text}<br>score %{y:.3f}<extra></extra>",
        "xaxis": "x2",
        "yaxis": "y2",
    }
    best = {
        "type": "scatter",
        "x": points["x"],
        "y": bests,
        "mode": "lines",
        "name": "best so far",
        "line": {"color": OTHER_STYLES[1].colour, "width": 2, "shape": "hv"},
        "hovertemplate": "best so far %{y:.3f}<extra></extra>",
        "xaxis": "x2",
        "yaxis": "y2",
    }
    return {
        "data": [*(_loss(curve, i) for i, curve in enumerate(losses)), points, best],
        "layout": {
            "height": 330,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
            "uirevision": "progress",
            "legend": {"orientation": "h", "y": -0.28},
            "xaxis": {"title": {"text": "epoch of the schedule"}, "domain": [0, 0.46]},
            "yaxis": {"title": {"text": "mean training loss (nats)"}, "rangemode": "tozero"},
            "xaxis2": {
                "title": {"text": "architectures scored"},
                "domain": [0.56, 1],
                "anchor": "y2",
                **({} if scores else {"range": [0, population]}),
            },
            "yaxis2": {
                "title": {"text": score_title(score for _, score in scores)},
                "anchor": "x2",
                **({} if scores else {"range": [0, 1]}),
            },
        },
    }


def _loss(curve: LossCurve, position: int) -> dict[str, Any]:
    """Return the loss curve of a supernet; dashes tell them apart without colours too."""
    single = "-" not in curve.node and curve.node != "root"
    style = OTHER_STYLES[position % len(OTHER_STYLES)]
    kept = thinned(list(zip(curve.epochs, curve.losses, strict=True)), _LOSSES)
    return {
        "type": "scatter",
        "x": [epoch for epoch, _ in kept],
        "y": [round(loss, 5) for _, loss in kept],
        "mode": "lines" if len(kept) > 1 else "markers",
        "name": plain(curve.node),
        "marker": {"color": BASELINE if single else style.colour},
        "line": {
            "color": BASELINE if single else style.colour,
            "dash": "solid" if single else _DASHES[position % len(_DASHES)],
            "width": 1 if single else 2,
        },
        "hovertemplate": "epoch %{x}: loss %{y:.3f}<extra>%{fullData.name}</extra>",
    }


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many items, evenly spread, the last among them."""
    step = -(-len(items) // most) or 1
    return list(items[::-1][::step][::-1])
