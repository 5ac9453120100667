"""The views of the dashboards: a plotly figure, a split tree, operations in groups, cells."""

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets
from ipywidgets import Widget, widget_serialization
from plotly.offline import get_plotlyjs

STATIC: Final = Path(__file__).parent / "static"
_STYLE: Final = STATIC / "style.css"


class _PlotlyLibrary(Widget):
    """The code of plotly.js, once for all figures of a kernel."""

    code = traitlets.Bytes().tag(sync=True)
    version = traitlets.Unicode().tag(sync=True)


class _SharedLibrary:
    """Counts the figures in use; the library goes with the last of them."""

    def __init__(self) -> None:
        self.users = 0
        self.library: _PlotlyLibrary | None = None

    def take(self) -> _PlotlyLibrary:
        self.users += 1
        if self.library is None:
            self.library = _PlotlyLibrary(code=_packed(), version=plotly.__version__)
        return self.library

    def give_back(self) -> None:
        self.users -= 1
        if not self.users and self.library is not None:
            self.library.close()
            self.library = None


@lru_cache(maxsize=1)
def _packed() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), compresslevel=6)


_SHARED: Final = _SharedLibrary()


class View(anywidget.AnyWidget):
    """What the views share: one style sheet, a description, messages of the browser.

    Parameters
    ----------
    description
        What is seen, for screen readers.
    """

    _css = _STYLE
    description = traitlets.Unicode().tag(sync=True)


class NamesView(View):
    """Nothing to be seen: gives the controls of its dashboard the names that they lack.

    Sliders and players of ipywidgets tell a screen reader neither their label nor what their
    buttons do.
    """

    _esm = STATIC / "names.js"


def _as_text(value: Mapping[str, Any], _widget: Widget) -> str:
    """Return plain data as JSON text: ipywidgets would look through every number for buffers."""
    return json.dumps(value, separators=(",", ":"))


class FigureView(View):
    """A plotly figure in the colours of JupyterLab's theme.

    All figures of a kernel share one copy of plotly.js, 1.5 MB on the wire, where plotly's own
    ``FigureWidget`` sends 5 MB each.

    Parameters
    ----------
    figure
        ``{"data": [...], "layout": {...}}``, plain JSON data.
    patch
        Traces that stand in for those of the figure, by their number; small where the figure is
        large.
    """

    _esm = STATIC / "figure.js"
    figure = traitlets.Dict().tag(sync=True, to_json=_as_text)
    patch = traitlets.Dict().tag(sync=True, to_json=_as_text)
    library = traitlets.Instance(Widget).tag(sync=True, **widget_serialization)

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401 - traits of a widget
        super().__init__(library=_SHARED.take(), **traits)

    def show(self, figure: go.Figure | Mapping[str, Any]) -> None:
        """Draw a figure in the place of the one before."""
        with self.hold_sync():
            self.figure = figure_data(figure)
            self.patch = {}

    def close(self) -> None:
        """Take the figure off every page."""
        if self.comm is not None:
            _SHARED.give_back()
        super().close()


def figure_data(figure: go.Figure | Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure as plain JSON data without its template, which the theme stands in for."""
    if isinstance(figure, go.Figure):
        figure = json.loads(str(figure.to_json()))
    layout = {key: value for key, value in figure["layout"].items() if key != "template"}
    return {"data": figure["data"], "layout": layout}


class TreeView(View):
    """A split tree that is walked by mouse or arrow keys.

    Parameters
    ----------
    nodes
        Parents first; each with ``id``, ``parent`` (empty for the root), ``branch`` (lines on
        the way down), ``lines`` (in the box), ``status`` (``"same"``, ``"changed"``,
        ``"hand"``), ``mark`` (a letter in the corner) and ``note``.
    selected
        Name of the selected node.
    collapsed
        Names of the nodes whose children are hidden.
    """

    _esm = STATIC / "tree.js"
    nodes = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.Unicode("root").tag(sync=True)
    collapsed = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @traitlets.validate("selected")
    def _known(self, proposal: Mapping[str, Any]) -> str:
        value = str(proposal["value"])
        names = [node["id"] for node in self.nodes]
        return value if value in names or not names else str(names[0])


class GroupView(View):
    """Operations in groups, moved by drag, click or arrow keys.

    Parameters
    ----------
    groups
        Names of the operations in each group.
    labels
        What an operation is called.
    """

    _esm = STATIC / "groups.js"
    groups = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)


class CellView(View):
    """Drawings of cells; their edges can be pressed if ``editable``.

    Parameters
    ----------
    cells
        Each with ``svg``, of :func:`~naslid_toolkit.plots.cell.cell_svg`, and ``caption``.
    edge
        The pressed edge, -1 for none.
    """

    _esm = STATIC / "cells.js"
    cells = traitlets.List(traitlets.Dict()).tag(sync=True)
    edge = traitlets.Int(-1).tag(sync=True)
    editable = traitlets.Bool(default_value=False).tag(sync=True)

    def show(self, cells: Sequence[Mapping[str, str]]) -> None:
        """Draw these cells in the place of the ones before."""
        self.cells = [dict(cell) for cell in cells]
