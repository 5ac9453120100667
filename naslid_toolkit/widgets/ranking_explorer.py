"""Scores against reference accuracies: brush a region and see what lies in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import traitlets
from ipywidgets import HTML, Dropdown, FloatRangeSlider

from naslid_toolkit.errors import ConfigError, DataError, SpaceError
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import BENCHMARK, Evaluation, evaluate
from naslid_toolkit.evaluation.ranking import aligned, kendall_tau, tau_b
from naslid_toolkit.evaluation.verdicts import RESERVATION, difference_text
from naslid_toolkit.plots.ranking import plot_ranking, tau_traces
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import FewShotRun
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.widgets._base import Dashboard, control, heading, named, pane, row, say, table
from naslid_toolkit.widgets._rankings import (
    ORDERS,
    Panel,
    cell_of,
    circle_step,
    circled,
    ordered,
    scatters,
    share_table,
    to_circle,
)
from naslid_toolkit.widgets._views import CellView, FigureView

Source = OpenRun | str | Path | FewShotRun | pd.DataFrame | pd.Series
_CELLS: Final = 6
_RESAMPLES: Final = 200
_NOTHING: Final = "nothing"


class RankingExplorer(Dashboard):
    """Scores against reference accuracies, with tau, ceilings and untrained baselines beside.

    Brush a region of the first scatter (or move the two ranges by keyboard): the same
    architectures are marked in the second one, and their cells, their tau and the operations
    they are made of are shown. The reference is what is being judged against; choosing by it is
    an oracle's step, good for looking, not for selecting.

    Parameters
    ----------
    source
        The folder of a run, its result, or scores by architecture string, a column a method.
    other
        A second run or table, drawn beside; None draws another method of the first.
    reference
        Reference accuracies; None takes those of the run.
    seed
        Seed of the bootstrap intervals.
    background
        See :class:`~naslid_toolkit.widgets._base.Dashboard`.

    Raises
    ------
    DataError
        If there are no reference accuracies, or too few architectures have one.

    Examples
    --------
    >>> explorer = RankingExplorer("runs/demo", "runs/demo-edited-1")  # doctest: +SKIP
    """

    picked = traitlets.Unicode()

    def __init__(
        self,
        source: Source,
        other: Source | None = None,
        *,
        reference: ReferenceTable | pd.Series | None = None,
        seed: int = 0,
        background: bool = True,
    ) -> None:
        judge = reference if reference is not None else _reference_of(source)
        columns = _columns(source, "" if other is None else f"{_name(source)}: ")
        second = len(columns) if other is not None else 1
        if other is not None:
            columns |= _columns(other, f"{_name(other)}: ")
        super().__init__(background=background)
        self._seed, self._reference, self._columns = seed, judge, columns
        self._accuracy = judge.accuracy if isinstance(judge, ReferenceTable) else judge
        self._panels: tuple[Panel, ...] = ()
        self.evaluation: Evaluation | None = None
        self.selection: tuple[str, ...] = ()
        self._holding = False
        self._make(second)
        self._connect()
        self._redraw()

    def _make(self, second: int) -> None:
        methods = tuple(self._columns)
        beside = methods[second] if len(methods) > second else _NOTHING
        self.first = control(Dropdown, "first", "scores", options=methods)
        self.second = control(
            Dropdown, "second", "beside", options=(_NOTHING, *methods), value=beside
        )
        self.order = control(Dropdown, "order", "cells shown", options=ORDERS)
        self.score_range = control(
            FloatRangeSlider, "score-range", "scores", readout_format=".3f", step=0.001
        )
        self.reference_range = control(
            FloatRangeSlider, "reference-range", "references", readout_format=".3f", step=0.001
        )
        for slider in (self.score_range, self.reference_range):
            slider.layout.width = "420px"
        self.figure = named(FigureView(description="scores against references"), "nl-ranking")
        self.words: HTML = pane("nl-selection")
        self.shares: HTML = pane("nl-shares")
        self.cells = named(CellView(description="cells of the selection"), "nl-gallery")
        self.arrange(
            row([self.first, self.second, self.order]),
            self.figure,
            row([self.score_range, self.reference_range]),
            self.words,
            heading("Cells of the selection"),
            self.cells,
            self.shares,
        )

    def _connect(self) -> None:
        self.watch(self.first, self._redraw)
        self.watch(self.second, self._redraw)
        self.watch(self.order, self._reselect)
        self.watch(self.score_range, self._reselect)
        self.watch(self.reference_range, self._reselect)
        self.hear(self.figure, self._heard)

    # -- the scatters -----------------------------------------------------------------------

    def _redraw(self) -> None:
        self.run(self._collect, self._show)

    def _collect(self) -> tuple[Panel, ...]:
        chosen = [self.first.value]
        if self.second.value not in {_NOTHING, self.first.value}:
            chosen.append(self.second.value)
        panels = []
        for method in chosen:
            frame = aligned({method: self._columns[method]}, self._accuracy)
            panels.append(Panel(method, frame, tau_b(frame[method], frame["reference"])))
        return tuple(panels)

    def _show(self, panels: tuple[Panel, ...]) -> None:
        self._panels = panels
        self.figure.show(scatters(panels))
        self._set_ranges(panels[0].scores, panels[0].frame["reference"])
        self._reselect()
        say(self.status, "comparing with baselines and ceilings …")
        self.run(lambda: self._judge(panels), self._show_taus, slot="judge")

    def _judge(self, panels: tuple[Panel, ...]) -> tuple[tuple[Panel, ...], Evaluation]:
        scores = pd.concat([panel.scores for panel in panels], axis=1, join="inner")
        found = evaluate(
            scores,
            self._reference,
            seed=self._seed,
            fractions=(1.0,),
            picks=(1,),
            baselines=BENCHMARK if _are_cells(scores.index) else None,
            resamples=_RESAMPLES,
        )
        return panels, found

    def _show_taus(self, judged: tuple[tuple[Panel, ...], Evaluation]) -> None:
        panels, evaluation = judged
        if panels is not self._panels:
            return
        self.evaluation = evaluation
        traces = [{**trace, "xaxis": "x3", "yaxis": "y3"} for trace in tau_traces(evaluation)]
        self.figure.patch = {**self.figure.patch, **{str(4 + i): t for i, t in enumerate(traces)}}
        compared = evaluation.protocol["architectures"]
        words = f"{compared} architectures; 95 % intervals over architectures"
        if len(evaluation.differences):
            change = evaluation.differences.iloc[0]
            if len(panels) > 1 and change["against"] == panels[1].method:
                names = panels[0].method, panels[1].method
                told = difference_text(*names, *change[["difference", "low", "high"]])
                words += f"; {told}; {RESERVATION}"
        say(self.status, words)

    # -- the selection ----------------------------------------------------------------------

    def _heard(self, content: dict[str, Any]) -> None:
        if content["kind"] == "select":
            self._brushed(content.get("range"))
        elif content["kind"] == "click" and content["curve"] in {0, 1}:
            panel = self._panels[content["curve"]]
            self.picked = str(panel.frame.index[int(content["point"])])
            if _are_cells(panel.frame.index):
                self.cells.show([cell_of(self.picked, panel)])

    def _brushed(self, found: Mapping[str, Any] | None) -> None:
        panel = self._panels[0]
        if found is None or "x" not in found:
            self._set_ranges(panel.scores, panel.frame["reference"])
        else:
            self._set_ranges(np.asarray(found["x"]), np.asarray(found["y"]))
        self._reselect()

    def _set_ranges(self, scores: Any, references: Any) -> None:  # noqa: ANN401 - any sequence
        panel = self._panels[0]
        self._holding = True
        for slider, whole, part in (
            (self.score_range, panel.scores, scores),
            (self.reference_range, panel.frame["reference"], references),
        ):
            low, high = float(whole.min()), float(whole.max())
            step = (high - low or 1.0) / 500
            with slider.hold_sync(), slider.hold_trait_notifications():
                slider.min, slider.max, slider.step = low - step, high + step, step
                slider.value = (float(min(part)) - step, float(max(part)) + step)
        self._holding = False

    def _reselect(self) -> None:
        if not self._holding and self._panels:
            self.run(self._select, self._show_selection, slot="selection")

    def _select(self) -> tuple[Panel, pd.DataFrame, str]:
        panel = self._panels[0]
        inside = panel.scores.between(*self.score_range.value) & panel.frame["reference"].between(
            *self.reference_range.value
        )
        return panel, panel.frame[inside], self._say_selection(panel, panel.frame[inside])

    def _say_selection(self, panel: Panel, chosen: pd.DataFrame) -> str:
        words = f"{len(chosen):,} of {len(panel.frame):,} architectures"
        if len(chosen) < 3:
            return f"{words}: too few to rank. τ over all: {panel.tau:.3f}"
        tau = kendall_tau(
            chosen[panel.method], chosen["reference"], seed=self._seed, resamples=_RESAMPLES
        )
        step = circle_step(len(chosen))
        if step > 1 and len(chosen) < len(panel.frame):
            words += f" (one in {step} is circled)"
        return (
            f"{words}: τ within the selection {tau.tau:.3f} [{tau.low:.3f}, {tau.high:.3f}], "
            f"over all {panel.tau:.3f}; their reference accuracy {chosen['reference'].mean():.4f} "
            f"on average, {chosen['reference'].max():.4f} at best"
        )

    def _show_selection(self, found: tuple[Panel, pd.DataFrame, str]) -> None:
        panel, chosen, words = found
        if not self._panels or panel is not self._panels[0]:
            return
        self.selection = tuple(str(name) for name in chosen.index)
        say(self.words, words)
        whole = len(chosen) == len(panel.frame)
        names = chosen.index[:0] if whole else to_circle(chosen)
        marks = [circled(each, names, number) for number, each in enumerate(self._panels)]
        self.figure.patch = {
            **self.figure.patch,
            **{str(2 + number): mark for number, mark in enumerate(marks)},
        }
        if not _are_cells(panel.frame.index):
            say(self.shares, "These names are no cells of NAS-Bench-201; none is drawn.")
            return
        best = ordered(panel, chosen, self.order.value)[:_CELLS]
        self.cells.show([cell_of(str(name), panel) for name in best])
        self.shares.value = table(share_table(panel.frame, chosen))

    def to_figure(self) -> go.Figure:
        """Return the scatters with baselines and ceilings as a plain figure."""
        if not self._panels:
            raise DataError("nothing is drawn yet")
        scores = {panel.method: panel.scores for panel in self._panels}
        return plot_ranking(scores, self._accuracy, seed=self._seed, evaluation=self.evaluation)


def _reference_of(source: Source) -> ReferenceTable:
    if isinstance(source, str | Path | OpenRun):
        found = OpenRun.of(source).reference
        if found is not None:
            return found
    raise DataError(
        "there are no reference accuracies: give reference=, for instance of load_reference"
    )


def _name(source: Source) -> str:
    if isinstance(source, str | Path | OpenRun):
        return OpenRun.of(source).name
    return "run" if isinstance(source, FewShotRun) else "scores"


def _columns(source: Source, prefix: str) -> dict[str, pd.Series]:
    """Return the scores of a source by method."""
    if isinstance(source, pd.Series):
        source = source.to_frame(str(source.name or "score"))
    if isinstance(source, pd.DataFrame):
        scores = source
    elif isinstance(source, FewShotRun):
        scores = source.scores
    else:
        run = OpenRun.of(source)
        scores = run.scores
        if not len(scores.columns):
            raise DataError(f"the run in {run.store.folder} has no scores yet")
    if not len(scores.columns):
        raise ConfigError("the table of scores has no column")
    return {f"{prefix}{name}": scores[name].dropna() for name in scores.columns}


def _are_cells(names: pd.Index) -> bool:
    try:
        parse_architecture(str(names[0]))
    except SpaceError:
        return False
    return True
