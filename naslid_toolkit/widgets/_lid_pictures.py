"""The pictures of the LID explorer, and the words under them."""

from dataclasses import dataclass
from typing import Any, Final

from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.plots._theme import SEQUENTIAL, plain, short
from naslid_toolkit.plots.lid_curves import LAYER_TITLE, LID_TITLE, LIDCurve, lid_traces
from naslid_toolkit.plots.similarity import digits_of
from naslid_toolkit.widgets._curves import CurveSet, Settings

_LABELLED: Final = 12  # curves whose names stand in the legend and beside the matrix
_NUMBERED: Final = 8  # curves whose similarities stand in it


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What is on show: the curves, and how they came about."""

    curve_set: CurveSet
    settings: Settings
    curves: tuple[LIDCurve, ...]
    similarity: Float[Tensor, "curves curves"]
    milliseconds: float
    errors: Float[Tensor, "curves layers"] | None = None


def status_of(shown: Shown) -> str:
    settings, batches = shown.settings, shown.curve_set.distances.exponent.shape[1]
    undefined = sum(sum(curve.undefined) for curve in shown.curves)
    bound = max(max(curve.bound) for curve in shown.curves)
    return (
        f"{len(shown.curves)} curves at {len(settings.layers)} layers; k = {settings.k} of "
        f"{settings.points} images in each of {batches} batches, {settings.estimator}; "
        f"{undefined} undefined points; certified to a relative error of {bound:.0e}; "
        f"computed in {shown.milliseconds:.0f} ms"
    )


def curve_figure(shown: Shown, *, bands: bool) -> dict[str, Any]:
    """Return the curves as a figure of plain data."""
    return {
        "data": lid_traces(shown.curves, bands=bands and shown.errors is not None),
        "layout": {
            "height": 430,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
            "uirevision": "lid",
            "legend": {"orientation": "h", "y": -0.25},
            "showlegend": len(shown.curves) <= _LABELLED,  # of more, styles tell none from another
            "hovermode": "closest",
            "xaxis": {"title": {"text": LAYER_TITLE}, "type": "category"},
            "yaxis": {"title": {"text": LID_TITLE}, "rangemode": "tozero"},
        },
    }


def matrix_figure(shown: Shown, similarity: str) -> dict[str, Any]:
    """Return how alike the curves are as a figure of plain data."""
    names = [short(curve.name) for curve in shown.curves]
    places = [plain(name) for name in names]
    ticks = {
        "type": "category",
        "tickvals": list(range(len(names))),
        "ticktext": [plain(_brief(name)) for name in names],
        "showticklabels": len(names) <= _LABELLED,  # placing many takes longer than all the rest
    }
    values = shown.similarity.nan_to_num()
    heat = {
        "type": "heatmap",
        "x": places,
        "y": places,
        "z": [[round(value, 5) for value in line] for line in values.tolist()],
        "colorscale": SEQUENTIAL,
        "colorbar": {"title": {"text": f"{similarity}<br>similarity"}, "thickness": 12},
        "hovertemplate": "%{y} and %{x}: %{z:.4f}<extra></extra>",
    }
    if len(names) <= _NUMBERED:
        heat["texttemplate"] = f"%{{z:.{digits_of(values.flatten().tolist())}f}}"
    return {
        "data": [heat],
        "layout": {
            "height": 360,
            "margin": {"l": 60, "r": 10, "t": 20, "b": 60},
            "xaxis": ticks,
            "yaxis": {**ticks, "autorange": "reversed"},
        },
    }


def _brief(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"
