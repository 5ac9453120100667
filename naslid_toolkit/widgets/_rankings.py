"""The pictures of the ranking explorer: scatters, marks, cells, shares of operations."""

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from naslid_toolkit.plots._theme import OTHER_STYLES, plain, short
from naslid_toolkit.plots.cell import cell_svg
from naslid_toolkit.plots.ranking import REFERENCE_TITLE, SVG_POINTS, TAU_TITLE
from naslid_toolkit.space.nasbench201 import OPERATIONS, parse_architecture

ORDERS: Final = ("best by reference", "best by score", "ranked too high", "ranked too low")
_CIRCLED: Final = 1000  # at most so many points of a selection
_EMPTY: Final[dict[str, Any]] = {"type": "scatter", "x": [], "y": [], "showlegend": False}


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One scatter: a method's scores and the references, by architecture."""

    method: str
    frame: pd.DataFrame
    tau: float

    @property
    def scores(self) -> pd.Series:
        """The scores."""
        chosen: pd.Series = self.frame[self.method]
        return chosen


def circle_step(selected: int) -> int:
    """Return of how many of a selection one is circled."""
    return max(1, math.ceil(selected / _CIRCLED))


def to_circle(chosen: pd.DataFrame) -> pd.Index:
    """Return which of a selection are circled, evenly by reference."""
    by_reference = chosen["reference"].sort_values(kind="stable").index
    return by_reference[:: circle_step(len(chosen))]


def circled(panel: Panel, names: pd.Index, number: int) -> dict[str, Any]:
    """Return circles around these architectures in a panel."""
    known = panel.frame.loc[names.intersection(panel.frame.index)]
    axis = "" if number == 0 else str(number + 1)
    return {
        **_EMPTY,
        "x": [round(float(value), 5) for value in known[panel.method]],
        "y": [round(float(value), 5) for value in known["reference"]],
        "mode": "markers",
        "marker": {"size": 9, "symbol": "circle-open", "color": OTHER_STYLES[1].colour},
        "hoverinfo": "skip",
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
    }


def ordered(panel: Panel, chosen: pd.DataFrame, order: str) -> pd.Index:
    ranks = panel.frame.rank()
    gap = (ranks[panel.method] - ranks["reference"]).loc[chosen.index]
    by: pd.Series = {
        "best by reference": chosen["reference"],
        "best by score": chosen[panel.method],
        "ranked too high": gap,
        "ranked too low": -gap,
    }[order]
    return by.sort_values(ascending=False, kind="stable").index


def cell_of(name: str, panel: Panel) -> dict[str, str]:
    score, reference = panel.frame.loc[name, [panel.method, "reference"]]
    return {
        "svg": cell_svg(parse_architecture(name), width=240),
        "caption": f"score {score:.4f}, reference {reference:.4f}\n{name}",
    }


def share_table(whole: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return how often each operation stands on an edge, in the selection and over all."""
    both = {
        "in the selection": _shares(chosen.index),
        "over all": _shares(whole.index),
    }
    frame = pd.DataFrame({"operation": [short(operation) for operation in OPERATIONS]})
    for title, shares in both.items():
        frame[title] = [f"{share:.0%}" for share in shares]
    return frame


def _shares(names: pd.Index) -> list[float]:
    cells = [parse_architecture(str(name)).operations for name in names]
    flat = [operation for cell in cells for operation in cell]
    return [flat.count(operation) / max(1, len(flat)) for operation in OPERATIONS]


def scatters(panels: tuple[Panel, ...]) -> dict[str, Any]:
    """Return both scatters, with empty traces for marks and taus, as plain data."""
    wide = (0.36, 0.36) if len(panels) > 1 else (0.6, 0.0)
    starts = (0.0, 0.42)
    data = [_scatter(panel, i) for i, panel in enumerate(panels)]
    data += [dict(_EMPTY)] * (7 - len(data))
    layout: dict[str, Any] = {
        "height": 420,
        "margin": {"l": 60, "r": 20, "t": 40, "b": 60},
        "uirevision": "ranking",
        "selectionrevision": "ranking",
        "dragmode": "select",
        "hovermode": "closest",
        "showlegend": False,
        "yaxis": {"title": {"text": REFERENCE_TITLE}},
        "xaxis3": {
            "title": {"text": TAU_TITLE},
            "domain": [wide[0] + (0.46 if len(panels) > 1 else 0.06), 1],
            "anchor": "y3",
        },
        "yaxis3": {"anchor": "x3", "side": "right", "type": "category"},
        "annotations": [],
    }
    for number, panel in enumerate(panels):
        axis = "" if number == 0 else str(number + 1)
        domain = [starts[number], starts[number] + wide[number]]
        layout[f"xaxis{axis}"] = {"title": {"text": "score"}, "domain": domain}
        if number:
            layout["xaxis2"]["anchor"] = "y2"
            layout["yaxis2"] = {"matches": "y", "anchor": "x2", "showticklabels": False}
        layout["annotations"].append(
            {
                "text": plain(f"{panel.method}: τ = {panel.tau:.3f}"),
                "x": domain[0],
                "xanchor": "left",
                "xref": "paper",
                "y": 1.08,
                "yref": "paper",
                "showarrow": False,
            }
        )
    return {"data": data, "layout": layout}


def _scatter(panel: Panel, number: int) -> dict[str, Any]:
    style, axis = OTHER_STYLES[0 if number == 0 else 2], "" if number == 0 else str(number + 1)
    many = len(panel.frame) > SVG_POINTS
    trace: dict[str, Any] = {
        "type": "scattergl" if many else "scatter",
        "x": [round(float(value), 5) for value in panel.scores],
        "y": [round(float(value), 5) for value in panel.frame["reference"]],
        "mode": "markers",
        "marker": {
            "color": style.colour,
            "symbol": style.marker,
            "size": 4 if many else 6,
            "opacity": 0.4 if many else 0.7,
        },
        "showlegend": False,
        "hovertemplate": "score %{x:.4f}<br>reference %{y:.4f}<extra></extra>",
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
    }
    if not many:
        names = [plain(str(name)) for name in panel.frame.index]
        trace |= {"text": names, "hovertemplate": f"%{{text}}<br>{trace['hovertemplate']}"}
    return trace
