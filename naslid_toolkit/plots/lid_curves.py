"""LID curves: the dimensionality of the features, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from naslid_toolkit.lid.bootstrap import ProfileInterval
from naslid_toolkit.lid.profile import LIDProfile
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.plots._theme import finish, short, style_of


@dataclass(frozen=True, slots=True)
class LIDCurve:
    """One curve: its name, and for each layer the mean LID and its standard error.

    A value is NaN where no point of the layer defines a LID; ``undefined`` counts the points
    left out.
    """

    name: str
    layers: tuple[str, ...]
    lid: tuple[float, ...]
    error: tuple[float, ...]
    undefined: tuple[int, ...]


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
        curve = _curve(name, profile.layers, profile.by_batch, profile.undefined)
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
    figure = go.Figure()
    for position, curve in enumerate(lid_curves(source)):
        style = style_of(curve.name, position)
        figure.add_scatter(
            x=list(curve.layers),
            y=list(curve.lid),
            error_y={"array": list(np.nan_to_num(curve.error)), "thickness": 1, "width": 3},
            customdata=list(curve.undefined),
            name=short(curve.name),
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": 8},
            hovertemplate="%{x}<br>LID %{y:.2f}<br>undefined points: %{customdata}",
        )
    figure.update_xaxes(title="layer, from input to output")
    figure.update_yaxes(title="mean LID (dimensionless)", rangemode="tozero")
    return finish(figure, title=title)
