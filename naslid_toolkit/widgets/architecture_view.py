"""One architecture: its cell to edit, and what is known about it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from ipywidgets import HTML, Dropdown, Text

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import BENCHMARK, accuracy_of
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.profile import LIDProfile
from naslid_toolkit.plots._theme import short
from naslid_toolkit.plots.cell import cell_svg, plot_cells
from naslid_toolkit.plots.lid_curves import LAYER_TITLE, LID_TITLE, lid_curves, lid_traces
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.reuse import FEW_SHOT
from naslid_toolkit.space.architecture import Architecture, live_edges
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    OPERATIONS,
    format_architecture,
    nasbench201,
    parse_architecture,
)
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.widgets._base import Dashboard, button, control, named, pane, row, say, table
from naslid_toolkit.widgets._views import CellView, FigureView

_DRAWN: Final = 460  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known about an architecture, in words, and its LID profile if it was measured."""

    name: str
    facts: tuple[tuple[str, str], ...]
    profile: LIDProfile | None


class ArchitectureView(Dashboard):
    """A NAS-Bench-201 cell, drawn; press an edge to choose it, and again for its next operation.

    Beside it stand the scores of a run, the reference accuracy, parameters and FLOPs, and the
    LID curve, measured with the run's root supernet.

    Parameters
    ----------
    architecture
        An official string, or an architecture. None takes the best one of the run.
    run
        The folder of a run.
    reference
        Reference accuracies; None takes those of the run.
    background
        See :class:`~naslid_toolkit.widgets._base.Dashboard`.

    Raises
    ------
    SpaceError
        If it is no architecture of NAS-Bench-201.
    ConfigError
        If neither an architecture nor a run is given.

    Examples
    --------
    >>> view = ArchitectureView("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    >>> view.operation.value = "skip_connect"  # of the pressed edge
    >>> view.close()
    """

    def __init__(
        self,
        architecture: str | Architecture | None = None,
        *,
        run: OpenRun | str | Path | None = None,
        reference: ReferenceTable | None = None,
        background: bool = True,
    ) -> None:
        opened = None if run is None else OpenRun.of(run)
        chosen = _given(architecture, opened)
        super().__init__(background=background)
        self._run = opened
        self._reference = reference
        if reference is None and self._run is not None:
            self._reference = self._run.reference
        self.architecture = chosen
        self._chosen = 0  # the pressed edge
        self._showing = False
        self._scored: dict[str, float] = {}
        self.text = control(Text, "string", "architecture", continuous_update=False)
        self.text.layout.width = "640px"
        space = nasbench201()
        edges = [(space.edge_name(edge), edge) for edge in range(len(EDGES))]
        self.edge = control(Dropdown, "cell-edge", "edge", options=edges)
        operations = [(short(operation), operation) for operation in OPERATIONS]
        self.operation = control(Dropdown, "operation", "operation", options=operations)
        self.score = button("score", "Score it", "with the weights of its leaf")
        self.cell = named(CellView(description="the cell", editable=True), "nl-cell")
        self.facts: HTML = pane("nl-facts")
        self.figure = named(FigureView(description="LID curve"), "nl-cell-lid")
        if self._run is None:
            self.score.layout.display = self.figure.layout.display = "none"
        self.arrange(
            self.text,
            row([self.edge, self.operation, self.score]),
            row([self.cell, self.facts]),
            self.figure,
        )
        self.watch(self.text, self._typed)
        self.watch(self.edge, self._other_edge)
        self.watch(self.operation, self._other_operation)
        self.press(self.score, self._score)
        self.hear(self.cell, self._pressed)
        self.show(self.architecture)

    # -- what the controls do ---------------------------------------------------------------

    def show(self, architecture: Architecture | str) -> None:
        """Show another architecture.

        Raises
        ------
        SpaceError
            If it is no architecture of NAS-Bench-201.
        """
        chosen = _given(architecture, None)
        with self._lock:
            self.architecture = chosen
            self._showing = True  # the controls follow and are not obeyed
            self.text.value = format_architecture(chosen)
            self.edge.value = self._chosen
            self.operation.value = chosen.operations[self._chosen]
            self._showing = False
            self.cell.edge = self._chosen
            self.cell.show([{"svg": cell_svg(chosen, width=_DRAWN), "caption": ""}])
        self.run(lambda: self._know(chosen, measured=False), self._tell)
        if self._run is not None:
            say(self.status, "measuring the LID curve …")
            self.run(lambda: self._know(chosen, measured=True), self._tell, slot="lid")

    def _typed(self) -> None:
        if not self._showing:
            self.show(self.text.value.strip())

    def _other_edge(self) -> None:
        if not self._showing:
            self._chosen = self.edge.value
            self.show(self.architecture)

    def _other_operation(self) -> None:
        if not self._showing:
            self.show(self.architecture.replace(self._chosen, self.operation.value))

    def _pressed(self, content: dict[str, Any]) -> None:
        edge = int(content["edge"])
        if content["kind"] == "turn" or edge == self._chosen:
            self._chosen = edge
            place = OPERATIONS.index(self.architecture.operations[edge]) + int(content.get("by", 1))
            operation = OPERATIONS[place % len(OPERATIONS)]
            self.show(self.architecture.replace(edge, operation))
        else:
            self._chosen = edge
            self.show(self.architecture)

    def _score(self) -> None:
        run, chosen = self._run, self.architecture
        if run is None:
            raise ConfigError("only a run can score an architecture")
        say(self.status, "scoring …")

        def keep(score: float) -> None:
            self._scored[format_architecture(chosen)] = score
            self.show(self.architecture)

        self.run(lambda: run.score(chosen), keep, slot="score")

    # -- what is known ----------------------------------------------------------------------

    def _know(self, architecture: Architecture, *, measured: bool) -> _Known:
        name = format_architecture(architecture)
        facts = [*self._scores(name), ("reference accuracy", self._reference_words(name))]
        run = self._run
        cost = count_cost(architecture, BENCHMARK) if run is None else run.cost(architecture)
        where = "in the benchmark's network" if run is None else "in the run's network"
        facts.append(("parameters", f"{cost.parameters:,} {where}"))
        facts.append(("FLOPs", f"{cost.flops:,} an image, counted as in the benchmark"))
        if not any(live_edges(EDGES, [(o,) for o in architecture.operations])):
            facts.append(("signal", "none: input and output are not connected"))
        profile = None
        if run is not None:
            facts.append(("leaf", run.tree.leaf_of(architecture).name))
            if measured:
                config = run.config.split
                estimator = ESTIMATORS[config.estimator]
                profile = run.measure(architecture).profile(k=config.k, estimator=estimator)
        return _Known(name, tuple(facts), profile)

    def _scores(self, name: str) -> list[tuple[str, str]]:
        if self._run is None:
            return []
        scores = self._run.scores
        facts = []
        if name in scores.index:
            for method in scores.columns:
                value = float(scores[method][name])
                place = int((scores[method] > value).sum()) + 1
                facts.append((f"score: {method}", f"{value:.4g}, place {place} of {len(scores)}"))
        else:
            visited = {**self._run.evaluated[FEW_SHOT], **self._scored}
            if name in visited:
                facts.append(("score: few_shot", f"{visited[name]:.4g}, outside the sample"))
        return facts or [("score", "none yet; press Score it")]

    def _reference_words(self, name: str) -> str:
        if self._reference is None:
            return "no table"
        value = accuracy_of(self._reference, name)
        if math.isnan(value):
            return "not in the table"
        accuracies = self._reference.accuracy
        above = int((accuracies > value).sum())
        own = "" if name in accuracies.index else " (of an isomorphic cell)"
        return f"{value:.4f}{own}, {above} of {len(accuracies):,} are better"

    def _tell(self, known: _Known) -> None:
        if known.name != format_architecture(self.architecture):
            return
        frame = pd.DataFrame(known.facts, columns=["property", "value"])
        self.facts.value = table(frame)
        if known.profile is not None:
            say(self.status, "")
            self.figure.show(_lid_figure(known.profile))

    def to_figure(self) -> go.Figure:
        """Return the cell as a plain figure, what is known in its caption."""
        known = self._know(self.architecture, measured=False)
        caption = "; ".join(f"{name} {value}" for name, value in known.facts[:3])
        return plot_cells([self.architecture], [caption], title=known.name)


def _given(architecture: str | Architecture | None, run: OpenRun | None) -> Architecture:
    if isinstance(architecture, Architecture):
        return nasbench201().check(architecture)
    if architecture is not None:
        return parse_architecture(architecture)
    if run is None:
        raise ConfigError("give an architecture or a run")
    if run.result is not None:
        return parse_architecture(run.result.history.best.architecture)
    return Architecture((OPERATIONS[1],) * len(EDGES))


def _lid_figure(profile: LIDProfile) -> dict[str, Any]:
    return {
        "data": lid_traces(lid_curves({"LID": profile})),
        "layout": {
            "height": 280,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
            "showlegend": False,
            "xaxis": {"title": {"text": LAYER_TITLE}, "type": "category"},
            "yaxis": {"title": {"text": LID_TITLE}, "rangemode": "tozero"},
        },
    }
