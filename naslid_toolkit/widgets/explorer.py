"""A whole run in tabs."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import plotly.graph_objects as go
from ipywidgets import Tab, VBox

from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.widgets._base import Dashboard, heading
from naslid_toolkit.widgets.architecture_view import ArchitectureView
from naslid_toolkit.widgets.lid_explorer import LIDExplorer
from naslid_toolkit.widgets.partition_explorer import PartitionExplorer
from naslid_toolkit.widgets.ranking_explorer import RankingExplorer
from naslid_toolkit.widgets.search_monitor import SearchMonitor

TABS: Final = ("Search", "LID curves", "Split tree", "Ranking", "Architecture")


class Explorer(Dashboard):
    """All that can be seen of a run, in tabs; each is made when it is first opened.

    A press on a point of the ranking shows that architecture in its tab.

    Parameters
    ----------
    run
        The folder of a run.
    background
        See :class:`~naslid_toolkit.widgets._base.Dashboard`.

    Raises
    ------
    DataError
        If it is not the folder of a run.
    """

    def __init__(self, run: OpenRun | str | Path, *, background: bool = True) -> None:
        source = OpenRun.of(run)
        super().__init__(background=background)
        self.source = source
        self.dashboards: dict[str, Dashboard] = {}
        self.tabs = Tab([VBox() for _ in TABS], titles=TABS, selected_index=0)
        self.tabs.add_class("nl-tabs")
        self.arrange(heading(f"Run {self.source.name}, {self.source.store.task}"), self.tabs)
        self.watch(self.tabs, self._open, "selected_index")
        self._guarded(self._open)

    def tab(self, title: str) -> Dashboard:
        """Open the tab of that title and return its dashboard."""
        self.tabs.selected_index = TABS.index(title)
        return self.dashboards[title]

    def _open(self) -> None:
        index = self.tabs.selected_index
        if index is None or TABS[index] in self.dashboards:
            return
        run, background = self.source, self.background
        makers: dict[str, Callable[[], Dashboard]] = {
            "Search": lambda: SearchMonitor(run, background=background),
            "LID curves": lambda: LIDExplorer(run, background=background),
            "Split tree": lambda: PartitionExplorer(run, background=background),
            "Ranking": lambda: RankingExplorer(run, background=background),
            "Architecture": lambda: ArchitectureView(run=run, background=background),
        }
        title = TABS[index]
        made = self.dashboards[title] = makers[title]()
        self.tabs.children[index].children = (made,)
        if isinstance(made, RankingExplorer):
            self.watch(made, lambda: self._show_picked(made), "picked")
        self.errors.value = ""

    def _show_picked(self, ranking: RankingExplorer) -> None:
        shown = self.dashboards.get("Architecture")
        if isinstance(shown, ArchitectureView):
            shown.show(ranking.picked)

    def to_figure(self) -> go.Figure:
        """Return the picture of the open tab as a plain figure."""
        return self.dashboards[TABS[self.tabs.selected_index or 0]].to_figure()

    def close(self) -> None:
        """Close all tabs."""
        if not self.closed:
            for dashboard in self.dashboards.values():
                dashboard.close()
        super().close()


def explore(run: OpenRun | str | Path) -> Explorer:
    """Show everything about a run in tabs.

    Parameters
    ----------
    run
        The folder of a run, finished or not.

    Returns
    -------
    Explorer
        Display it by leaving it in the last line of a cell.

    Raises
    ------
    DataError
        If it is not the folder of a run.
    """
    return Explorer(run)
