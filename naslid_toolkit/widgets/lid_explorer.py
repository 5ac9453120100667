"""LID curves whose every setting can be changed without touching a network."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import plotly.graph_objects as go
from ipywidgets import Combobox, Dropdown, HBox, IntSlider, SelectionSlider, SelectMultiple

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.plots._theme import finish
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.space.nasbench201 import nasbench201, parse_architecture
from naslid_toolkit.widgets._base import Dashboard, button, control, named, row, say
from naslid_toolkit.widgets._curves import CurveSet, Settings
from naslid_toolkit.widgets._lid_pictures import Shown, curve_figure, matrix_figure, status_of
from naslid_toolkit.widgets._views import FigureView

_MOST_NEIGHBOURS: Final = 64  # for which the sums are kept ready
_NOBODY: Final = -1
_BANDS: Final = (("over images (bootstrap)", "images"), ("over paths", "paths"), ("none", "none"))
_BREATH: Final = 0.1  # seconds between the curves and their matrix
_PAUSE: Final = 0.2  # seconds without a newer request before a band is computed
Source = OpenRun | str | Path | NeighbourStore | Mapping[str, LayerDistances]


class LIDExplorer(Dashboard):
    """LID curves of the operations of an edge, and of any architecture beside them.

    Every setting is applied to the distances that were kept; no network runs. Only an
    architecture that was not measured yet is measured, in the background, with the weights of
    the run.

    Parameters
    ----------
    source
        The folder of a run that kept its distances, a
        :class:`~naslid_toolkit.partition.store.NeighbourStore`, or measured networks by name.
    node
        The node of the run's split tree to begin with.
    background
        See :class:`~naslid_toolkit.widgets._base.Dashboard`.

    Raises
    ------
    DataError
        If the run keeps no distances.

    Examples
    --------
    >>> explorer = LIDExplorer("runs/demo")  # doctest: +SKIP
    >>> explorer.k.value = 10  # doctest: +SKIP
    """

    def __init__(self, source: Source, *, node: str = "root", background: bool = True) -> None:
        run, stores = _opened(source, node)
        nodes = tuple(stores) or _nodes_with_distances(run)
        super().__init__(background=background)
        self._run, self._stores, self._nodes = run, stores, nodes
        self._added: tuple[str, ...] = tuple(source) if isinstance(source, Mapping) else ()
        self._given = dict(source) if isinstance(source, Mapping) else {}
        self._key: tuple[object, ...] = ()
        self._curve_set: CurveSet | None = None
        self.shown: Shown | None = None
        self._warmed: CurveSet | None = None
        self.figure = named(FigureView(description="LID curves"), "nl-lid")
        self.matrix = named(FigureView(description="similarity of the curves"), "nl-lid-matrix")
        self._make_controls(node if node in self._nodes else self._nodes[0])
        self.arrange(
            row([self.node, self.edge, self.context]),
            row([self.k, self.points, self.estimator, self.similarity, self.bands]),
            row([self.layers, self.architecture, self.add, self.remove]),
            named(HBox([self.figure, self.matrix]), "nl-wide-narrow"),
        )
        self._connect()
        self._redraw()

    def _make_controls(self, node: str) -> None:
        store = self._store(node)
        config = None if self._run is None else self._run.config.split
        points = store.distances.points
        k = min(20 if config is None else config.k, points - 1)
        self.node = control(Dropdown, "node", "node", options=self._nodes, value=node)
        self.edge = control(Dropdown, "edge", "edge", options=_edges(store))
        self.context = control(Dropdown, "context", "paths", options=[("mean", _NOBODY)])
        self.k = control(
            IntSlider, "k", "neighbours k", min=2, max=min(points - 1, _MOST_NEIGHBOURS), value=k
        )
        sizes = CurveSet((), (), (), store.layers, store.distances).sizes
        self.points = control(
            SelectionSlider, "points", "images of a batch", options=sizes, value=points
        )
        self.estimator = control(Dropdown, "estimator", "estimator", options=tuple(ESTIMATORS))
        self.similarity = control(Dropdown, "similarity", "similarity", options=tuple(SIMILARITIES))
        if config is not None:
            self.estimator.value, self.similarity.value = config.estimator, config.similarity
        self.bands = control(Dropdown, "bands", "95 % bands", options=_BANDS)
        self.layers = control(
            SelectMultiple,
            "layers",
            "layers",
            options=store.layers,
            value=store.layers,
            rows=min(5, len(store.layers)),
        )
        self.architecture = control(
            Combobox, "architecture", "architecture", placeholder="type or pick one"
        )
        self.architecture.layout.width = "480px"
        if self._run is not None:
            self.architecture.options = _picks(self._run)
        self.add = button("add", "Add curve", "draw this architecture too")
        self.remove = button("remove", "Remove added", "draw the operations of the edge alone")
        self._offer_contexts()
        if len(self._nodes) == 1:
            self.node.layout.display = "none"
        if self._run is None:
            for widget in (self.architecture, self.add, self.remove):
                widget.layout.display = "none"

    def _connect(self) -> None:
        self.watch(self.node, self._other_node)
        self.watch(self.edge, self._other_edge)
        self.watch(self.points, self._other_points)
        for widget in (self.context, self.k, self.estimator, self.similarity, self.layers):
            self.watch(widget, self._redraw)
        self.watch(self.bands, self._redraw)
        self.press(self.add, self._add)
        self.press(self.remove, self._remove)

    # -- what the controls do ---------------------------------------------------------------

    def _other_node(self) -> None:
        self.edge.options = _edges(self._store(self.node.value))
        self._other_edge()

    def _other_edge(self) -> None:
        self._offer_contexts()
        self._redraw()

    def _other_points(self) -> None:
        self.k.max = min(self.points.value - 1, _MOST_NEIGHBOURS)
        self._redraw()

    def _offer_contexts(self) -> None:
        found = [e for e in self._store(self.node.value).edges if e.edge == self.edge.value]
        contexts = found[0].contexts if found else ()
        options = [(f"mean over {len(contexts)} sampled paths", _NOBODY)]
        self.context.options = options + [(text, i) for i, text in enumerate(contexts)]
        self.context.value = _NOBODY
        shown = "" if contexts else "none"
        self.context.layout.display = self.edge.layout.display = shown

    def _add(self) -> None:
        text = self.architecture.value.strip()
        parse_architecture(text)
        if text not in self._added:
            self._added = (*self._added, text)
            say(self.status, "measuring …")
            self._redraw()

    def _remove(self) -> None:
        self._added = ()
        self._redraw()

    # -- computing and drawing ---------------------------------------------------------------

    def _redraw(self) -> None:
        self.run(self._answer, self._show)

    def _store(self, node: str) -> NeighbourStore:
        if node not in self._stores:
            kept = None if self._run is None else self._run.neighbours(node)
            if kept is None:
                raise DataError(f"no distances of node {node!r} were kept")
            self._stores[node] = kept
        return self._stores[node]

    def settings(self) -> Settings:
        """Return the settings that the controls show."""
        return Settings(
            k=min(self.k.value, self.points.value - 1),
            estimator=self.estimator.value,
            points=self.points.value,
            layers=tuple(self.layers.value) or tuple(self.layers.options),
        )

    def _answer(self) -> Shown:
        curve_set, settings = self._curves_on_show(), self.settings()
        started = time.perf_counter()
        errors = curve_set.path_errors(settings) if self.bands.value == "paths" else None
        curves = curve_set.curves(settings, errors)
        similarity = curve_set.similarity(settings, self.similarity.value)
        milliseconds = 1000 * (time.perf_counter() - started)
        return Shown(curve_set, settings, curves, similarity, milliseconds, errors)

    def _curves_on_show(self) -> CurveSet:
        key = (self.node.value, self.edge.value, self.context.value, self._added)
        if self._curve_set is None or key != self._key:
            self._curve_set = self._collect(*key)
            self._key = key
        return self._curve_set

    def _collect(
        self, node: str, edge: int | None, context: int, added: tuple[str, ...]
    ) -> CurveSet:
        store = self._store(node)
        if edge is None:
            places = tuple((i,) for i in range(len(self._given)))
            return CurveSet(added, ("",) * len(added), places, store.layers, store.distances)
        found = CurveSet.of_edge(store, edge, None if context == _NOBODY else context)
        for text in added:
            if self._run is None:
                raise ConfigError("only a run can measure further architectures")
            try:
                measured = self._run.measure(parse_architecture(text), node)
                found = found.with_network(text, measured)
            except Exception:
                self._added = tuple(other for other in self._added if other != text)
                raise
        return found

    def _show(self, shown: Shown) -> None:
        self.shown = shown
        self.figure.show(curve_figure(shown, bands=self.bands.value != "none"))
        say(self.status, status_of(shown))
        if shown.errors is None and self.bands.value == "images":
            self.run(lambda: self._with_bands(shown), self._show_bands, slot="bands")
        self.run(lambda: self._after_curves(shown), self._show_matrix, slot="matrix")
        if self._warmed is not shown.curve_set:
            self._warmed = shown.curve_set
            self.run(lambda: self._warm(shown), lambda _: None, slot="warm")

    def _after_curves(self, shown: Shown) -> Shown:
        """Leave the browser time to paint the curves first."""
        if self.background:
            time.sleep(_BREATH)
        return shown

    def _show_matrix(self, shown: Shown) -> None:
        if self.shown is not None and self.shown.settings == shown.settings:
            self.matrix.show(matrix_figure(shown, self.similarity.value))

    def _with_bands(self, shown: Shown) -> Shown | None:
        if self.background:
            time.sleep(_PAUSE)

        told = 0

        def go_on(done: int, total: int) -> bool:
            nonlocal told
            if self.background and done > told:
                told = done
                say(self.status, f"{status_of(shown)}; bands: {done} of {total} networks")
            newer = self.superseded("bands") or (self.background and not self.idle())
            return self.shown is shown and not newer

        errors = shown.curve_set.image_errors(shown.settings, go_on)
        if errors is None:
            return None
        curves = shown.curve_set.curves(shown.settings, errors)
        return replace(shown, curves=curves, errors=errors)

    def _show_bands(self, banded: Shown | None) -> None:
        current = self.shown
        if banded is None or current is None or banded.settings != current.settings:
            return
        if banded.curve_set is current.curve_set:
            self.shown = banded
            self.figure.show(curve_figure(banded, bands=True))
            say(self.status, status_of(banded))

    def _warm(self, shown: Shown) -> None:
        """Sort the distances for other numbers of images before they are asked for."""
        for points in reversed(shown.curve_set.sizes):
            if self.superseded("warm") or self._curve_set is not shown.curve_set:
                return
            if points > 2:
                shown.curve_set.store(points).lid(k=min(shown.settings.k, points - 1))

    def to_figure(self) -> go.Figure:
        """Return the curves and the similarity matrix as a plain figure."""
        if self.shown is None:
            raise DataError("nothing is drawn yet")
        curves = curve_figure(self.shown, bands=self.bands.value != "none")
        matrix = matrix_figure(self.shown, self.similarity.value)
        layout = curves["layout"] | {
            "xaxis": {**curves["layout"]["xaxis"], "domain": [0, 0.62]},
            "xaxis2": {**matrix["layout"]["xaxis"], "domain": [0.74, 1], "anchor": "y2"},
            "yaxis2": {**matrix["layout"]["yaxis"], "anchor": "x2"},
        }
        beside = {**matrix["data"][0], "xaxis": "x2", "yaxis": "y2"}
        figure = {"data": [*curves["data"], beside], "layout": layout}
        settings = self.shown.settings
        title = f"LID curves, k = {settings.k}, {settings.estimator}, {settings.points} images"
        return finish(go.Figure(figure), title=title, height=470)


def _opened(source: Source, node: str) -> tuple[OpenRun | None, dict[str, NeighbourStore]]:
    """Return the run to look at, or the distances that were given."""
    if isinstance(source, NeighbourStore):
        return None, {node: source}
    if isinstance(source, Mapping):
        return None, {node: _store_of(source)}
    return OpenRun.of(source), {}


def _nodes_with_distances(run: OpenRun | None) -> tuple[str, ...]:
    if run is not None:
        split = [node.name for node in run.tree.nodes() if node.split is not None]
        folder = run.store.folder / "distances"
        kept = tuple(name for name in split if (folder / f"{name}.safetensors").exists())
        if kept:
            return kept
    where = "the source" if run is None else f"the run in {run.store.folder}"
    raise DataError(
        f"{where} keeps no distances: it was not split by LID, or with split.keep_distances = false"
    )


def _store_of(networks: Mapping[str, LayerDistances]) -> NeighbourStore:
    if not networks:
        raise DataError("no network was measured")
    first = next(iter(networks.values()))
    for name, measured in networks.items():
        if measured.layers != first.layers:
            raise DataError(f"{name!r} was measured at other layers than the networks before")
    return NeighbourStore(
        first.layers, (), Distances.stack([m.distances for m in networks.values()])
    )


def _edges(store: NeighbourStore) -> list[tuple[str, int]]:
    space = nasbench201()
    return [(space.edge_name(item.edge), item.edge) for item in store.edges]


def _picks(run: OpenRun) -> tuple[str, ...]:
    """Return architectures to pick from: those with a score, the best first."""
    scores = run.scores
    if not len(scores.columns):
        return ()
    order = scores[scores.columns[0]].sort_values(ascending=False)
    return tuple(str(name) for name in order.index)
