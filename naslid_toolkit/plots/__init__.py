"""Figures made from records."""

from naslid_toolkit.plots.cell import plot_cells
from naslid_toolkit.plots.evaluation import plot_audit, plot_evaluation
from naslid_toolkit.plots.lid_curves import plot_lid
from naslid_toolkit.plots.ranking import plot_history, plot_ranking
from naslid_toolkit.plots.similarity import plot_similarity
from naslid_toolkit.plots.split_tree import plot_split_tree
from naslid_toolkit.plots.study import plot_costs, plot_study

__all__ = [
    "plot_audit",
    "plot_cells",
    "plot_costs",
    "plot_evaluation",
    "plot_history",
    "plot_lid",
    "plot_ranking",
    "plot_similarity",
    "plot_split_tree",
    "plot_study",
]
