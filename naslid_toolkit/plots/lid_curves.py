"""LID curves: the dimensionality of the features, layer by layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import plotly.graph_objects as go
import torch
from torch import Tensor

from naslid_toolkit.lid.bootstrap import NORMAL, ProfileInterval
from naslid_toolkit.lid.profile import LIDProfile
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.plots._theme import finish, plain, short, style_of

_BESIDE: Final = 3  # place of the style that no operation has
_DIGITS: Final = 6  # decimals of a LID that is drawn
_MARKED: Final = 12  # curves with markers; more would hide each other
LAYER_TITLE: Final = "layer, from input to output"
LID_TITLE: Final = "mean LID (dimensionless)"


@dataclass(frozen=True, slots=True)
class LIDCurve:
    """One curve: its name, and for each layer the mean LID and its standard error.

    A value is NaN where no point of the layer defines a LID; ``undefined`` counts the points
    left out. ``bound`` is the certificate, the largest relative numerical error, empty where it
    is not known. ``style`` names the operation in whose style the curve is drawn.
    """

    name: str
    layers: tuple[str, ...]
    lid: tuple[float, ...]
    error: tuple[float, ...]
    undefined: tuple[int, ...]
    bound: tuple[float, ...] = ()
    style: str = ""


Source = Mapping[str, LIDProfile | ProfileInterval] | EdgeEvidence


def lid_curves(source: Source) -> tuple[LIDCurve, ...]:
    """Return the curves to draw.

    Parameters
    ----------
    source
        Profiles by name: mean and standard error over their probe batches, or the bootstrap's
        error of a :class:`~naslid_toolkit.lid.bootstrap.ProfileInterval`. Or what was
        measured of an edge: one curve an operation (mean and standard error over the contexts,
        the sampled paths).

    Returns
    -------
    tuple of LIDCurve
        In the order of the source.
    """
    if isinstance(source, EdgeEvidence):
        return tuple(
            _curve(o, source.entries, source.vectors[:, i], source.undefined[:, i].sum(0))
            for i, o in enumerate(source.operations)
        )
    curves = []
    for name, item in source.items():
        profile = item.profile if isinstance(item, ProfileInterval) else item
        curve = replace(
            _curve(name, profile.layers, profile.by_batch, profile.undefined),
            bound=tuple(profile.bound.tolist()),
        )
        if isinstance(item, ProfileInterval):
            curve = replace(curve, error=tuple(item.error.tolist()))
        curves.append(curve)
    return tuple(curves)


def _curve(name: str, layers: tuple[str, ...], values: Tensor, undefined: Tensor) -> LIDCurve:
    """Reduce ``(repeats, layers)`` values to a mean and its standard error."""
    repeats = (~values.isnan()).sum(dim=0)
    mean = values.nanmean(dim=0)
    spread = (values - mean).square().nansum(dim=0) / (repeats - 1).clamp_min(1)
    error = (spread / repeats.clamp_min(1)).sqrt()
    return LIDCurve(
        name=name,
        layers=layers,
        lid=tuple(mean.tolist()),
        error=tuple(torch.where(repeats > 1, error, torch.nan).tolist()),
        undefined=tuple(int(count) for count in undefined),
    )


def plot_lid(source: Source, *, title: str = "LID curves") -> go.Figure:
    """Draw LID curves with error bars of one standard error.

    Parameters
    ----------
    source
        See :func:`lid_curves`.
    title
        Title of the figure.
    """
    figure = go.Figure(lid_traces(lid_curves(source)))
    figure.update_xaxes(title=LAYER_TITLE)
    figure.update_yaxes(title=LID_TITLE, rangemode="tozero")
    return finish(figure, title=title)


def lid_traces(curves: Sequence[LIDCurve], *, bands: bool = False) -> list[dict[str, Any]]:
    """Return the traces of curves as plain data; NaN is None.

    Parameters
    ----------
    curves
        The curves.
    bands
        Whether errors are drawn as bands of the 95 % interval, below the curves, instead of
        bars of one standard error.
    """
    marked = len(curves) <= _MARKED
    styled = sum(bool(curve.style) for curve in curves)
    first = _BESIDE - styled if styled else 0  # curves beside those of operations look unlike them
    numbered = list(enumerate(curves, start=first))
    traces = [_line(c, i, bars=not bands, marked=marked) for i, c in numbered]
    return traces if not bands else [*_bands(numbered), *traces]


def _line(curve: LIDCurve, position: int, *, bars: bool, marked: bool) -> dict[str, Any]:
    style = style_of(curve.style or curve.name, position)
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": [plain(layer) for layer in curve.layers],
        "y": [_or_none(value) for value in curve.lid],
        "customdata": [_facts(curve, i) for i in range(len(curve.layers))],
        "name": plain(short(curve.name)),
        "mode": "lines+markers" if marked else "lines",
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"symbol": style.marker, "size": 7},
        "hovertemplate": _hover(curve),
    }
    if bars:
        errors = [0.0 if math.isnan(error) else error for error in curve.error]
        trace["error_y"] = {"array": errors, "thickness": 1, "width": 3}
    return trace


def _bands(numbered: Sequence[tuple[int, LIDCurve]]) -> list[dict[str, Any]]:
    """Return the areas of the 95 % intervals, those of one colour in one trace."""
    areas: dict[str, list[tuple[str | None, float | None]]] = {}
    for position, curve in numbered:
        colour = style_of(curve.style or curve.name, position).colour
        corners = areas.setdefault(colour, [])
        corners += [(None, None)] if corners else []  # a gap ends an area
        corners += _corners(curve)
    return [_area(colour, corners) for colour, corners in areas.items()]


def _corners(curve: LIDCurve) -> list[tuple[str | None, float | None]]:
    """Go along the upper ends of a curve's intervals and back along the lower."""
    rows = [
        (plain(layer), lid, NORMAL * error)
        for layer, lid, error in zip(curve.layers, curve.lid, curve.error, strict=True)
        if math.isfinite(lid) and math.isfinite(error)
    ]
    upper = [(layer, round(lid + half, _DIGITS)) for layer, lid, half in rows]
    return [*upper, *((layer, round(lid - half, _DIGITS)) for layer, lid, half in reversed(rows))]


def _area(colour: str, corners: Sequence[tuple[str | None, float | None]]) -> dict[str, Any]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "x": [x for x, _ in corners],
        "y": [y for _, y in corners],
        "fill": "toself",
        "mode": "none",
        "fillcolor": f"rgba({red}, {green}, {blue}, 0.15)",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _hover(curve: LIDCurve) -> str:
    """Return what hovering says: value, interval, undefined points, certificate."""
    lines = ["%{x}", "LID %{y:.3f}"]
    if any(math.isfinite(error) for error in curve.error):
        lines.append("95 % interval %{customdata[1]} to %{customdata[2]}")
    lines.append("undefined points: %{customdata[0]}")
    if curve.bound:
        lines.append("certificate: relative error at most %{customdata[3]}")
    return "<br>".join(lines)


def _facts(curve: LIDCurve, i: int) -> list[int | str]:
    """Return undefined points, the ends of the interval, and the certificate of a layer."""
    lid, half = curve.lid[i], NORMAL * curve.error[i]
    known = math.isfinite(half)
    ends = [f"{lid - half:.3f}", f"{lid + half:.3f}"] if known else ["?", "?"]
    return [curve.undefined[i], *ends, *([f"{curve.bound[i]:.0e}"] if curve.bound else [])]


def _or_none(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None
