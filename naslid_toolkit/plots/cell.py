"""A cell as a drawing: nodes, and on every edge its operation."""

import base64
import math
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from naslid_toolkit.plain_text import as_html
from naslid_toolkit.plots._theme import INK, finish, plain, short, style_of
from naslid_toolkit.space.architecture import NONE, Architecture, live_edges
from naslid_toolkit.space.nasbench201 import EDGES, nasbench201

_WIDTH: Final = 480
_HEIGHT: Final = 208
_NODES: Final = ((34.0, 108.0), (172.0, 108.0), (308.0, 108.0), (446.0, 108.0))
_NAMES: Final = ("in", "1", "2", "out")
_BENDS: Final = {(0, 1): 0, (0, 2): 84, (1, 2): 0, (0, 3): -98, (1, 3): -58, (2, 3): 0}
_RADIUS: Final = 15
_DASHES: Final = {"dot": "2 4", "dash": "8 5", "dashdot": "8 4 2 4", "longdash": "14 5"}
_ACROSS: Final = 3


def cell_svg(architecture: Architecture, *, width: int = _WIDTH) -> str:
    """Return the drawing of a NAS-Bench-201 cell as SVG.

    Parameters
    ----------
    architecture
        The cell.
    width
        In pixels.

    Returns
    -------
    str
        Every edge is a group with the attribute ``data-edge``, its number; edges that carry no
        signal from input to output are pale. Text is escaped, nothing is loaded.

    Raises
    ------
    SpaceError
        If it is no architecture of NAS-Bench-201.
    """
    nasbench201().check(architecture)
    live = live_edges(EDGES, [(operation,) for operation in architecture.operations])
    edges = "".join(
        _edge(number, operation, alive=alive)
        for number, (operation, alive) in enumerate(zip(architecture.operations, live, strict=True))
    )
    nodes = "".join(
        f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS}" fill="white" stroke="currentColor" '
        f'stroke-width="2"/>'
        f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle">{name}</text>'
        for (x, y), name in zip(_NODES, _NAMES, strict=True)
    )
    height = round(width * _HEIGHT / _WIDTH)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13" role="group" '
        f'aria-label="cell" color="{INK}" fill="currentColor">'
        f'<defs><marker id="nl-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path d="M0,0L8,4L0,8z"/></marker></defs>'
        f"{edges}{nodes}</svg>"
    )


def _edge(number: int, operation: str, *, alive: bool) -> str:
    """Return one edge: a wide area to press, the line, the operation's name."""
    source, target = EDGES[number]
    path, (x, y) = _curve(source, target)
    style = style_of(operation, number)
    dash = f'stroke-dasharray="{_DASHES[style.dash]}" ' if style.dash in _DASHES else ""
    label = as_html(short(operation))
    space = nasbench201()
    pale = 1 if alive else 0.4
    thin = 1.2 if operation == NONE else 2.4
    half = 4 + 3.6 * len(short(operation))
    return (
        f'<g data-edge="{number}" opacity="{pale}" '
        f'aria-label="edge {space.edge_name(number)}: {label}">'
        f"<title>edge {space.edge_name(number)}: {label}</title>"
        f'<path class="nl-hit" d="{path}" fill="none" stroke="black" stroke-opacity="0" '
        f'stroke-width="18" pointer-events="stroke"/>'
        f'<path d="{path}" fill="none" stroke="{style.colour}" stroke-width="{thin}" {dash}'
        f'marker-end="url(#nl-arrow)"/>'
        f'<rect x="{x - half:.0f}" y="{y - 9}" width="{2 * half:.0f}" height="18" rx="4" '
        f'fill="white" stroke="{style.colour}"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle">{label}</text></g>'
    )


def _curve(source: int, target: int) -> tuple[str, tuple[int, int]]:
    """Return the path of an edge between the rims of its nodes, and its middle."""
    (x1, y1), (x2, y2), bend = _NODES[source], _NODES[target], _BENDS[source, target]
    middle = (x1 + x2) / 2, (y1 + y2) / 2 + 1.35 * bend  # of the control points
    start, end = _rim(x1, y1, *middle), _rim(x2, y2, *middle)
    path = (
        f"M{start[0]:.1f},{start[1]:.1f}Q{middle[0]:.1f},{middle[1]:.1f} {end[0]:.1f},{end[1]:.1f}"
    )
    return path, (round(middle[0]), round((start[1] + 2 * middle[1] + end[1]) / 4))


def _rim(x: float, y: float, to_x: float, to_y: float) -> tuple[float, float]:
    far = math.hypot(to_x - x, to_y - y)
    return x + (to_x - x) * _RADIUS / far, y + (to_y - y) * _RADIUS / far


def plot_cells(
    architectures: Sequence[Architecture], captions: Sequence[str], *, title: str = "Cells"
) -> go.Figure:
    """Draw cells beside each other, each under its caption.

    Parameters
    ----------
    architectures
        The cells.
    captions
        A line for each.
    title
        Title of the figure.
    """
    across = min(_ACROSS, max(1, len(architectures)))
    down = max(1, math.ceil(len(architectures) / across))
    figure = go.Figure()
    for number, (architecture, caption) in enumerate(zip(architectures, captions, strict=True)):
        x, y = number % across, -(number // across)
        source = base64.b64encode(cell_svg(architecture).encode()).decode()
        figure.add_layout_image(
            source=f"data:image/svg+xml;base64,{source}",
            x=x,
            y=y,
            xref="x",
            yref="y",
            sizex=0.96,
            sizey=0.8,
            sizing="contain",
        )
        figure.add_annotation(
            x=x + 0.48, y=y + 0.08, text=plain(caption), showarrow=False, font={"size": 11}
        )
    figure.update_xaxes(visible=False, range=[-0.02, across])
    figure.update_yaxes(visible=False, range=[0.2 - down, 0.2])
    return finish(figure, title=title, height=110 + 190 * down if across > 1 else 110 + 300)
