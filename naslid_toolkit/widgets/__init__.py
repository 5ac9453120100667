"""Dashboards for JupyterLab: LID curves, split trees, running searches, rankings, cells."""

from naslid_toolkit.widgets.architecture_view import ArchitectureView
from naslid_toolkit.widgets.explorer import Explorer, explore
from naslid_toolkit.widgets.lid_explorer import LIDExplorer
from naslid_toolkit.widgets.partition_explorer import PartitionExplorer
from naslid_toolkit.widgets.ranking_explorer import RankingExplorer
from naslid_toolkit.widgets.search_monitor import SearchMonitor

__all__ = [
    "ArchitectureView",
    "Explorer",
    "LIDExplorer",
    "PartitionExplorer",
    "RankingExplorer",
    "SearchMonitor",
    "explore",
]
