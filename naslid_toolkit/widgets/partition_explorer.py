"""The split tree that was trained, and the one that other choices lead to."""

from pathlib import Path
from typing import Final

import plotly.graph_objects as go
from ipywidgets import HTML, Dropdown, HBox, IntSlider, Text, VBox

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.stability import SplitStability, context_stability
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.partition.what_if import (
    HandSplit,
    WhatIf,
    what_if,
)
from naslid_toolkit.plots._theme import short
from naslid_toolkit.plots.similarity import plot_similarity
from naslid_toolkit.plots.split_tree import plot_split_tree
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import FewShotRun
from naslid_toolkit.search.reuse import derive_run
from naslid_toolkit.widgets._base import (
    Dashboard,
    button,
    control,
    heading,
    named,
    pane,
    row,
    say,
    table,
)
from naslid_toolkit.widgets._partitions import (
    CRITERIA,
    candidate_table,
    free_name,
    grouping_rules,
    hand_splits,
    measured_part,
    trained_tree,
)
from naslid_toolkit.widgets._trees import shown_nodes
from naslid_toolkit.widgets._views import FigureView, GroupView, TreeView
from naslid_toolkit.widgets.search_monitor import SearchMonitor

_REPLICATES: Final = 100
_DEEPEST: Final = 4


class PartitionExplorer(Dashboard):
    """The trained split tree, beside the tree that would follow from other choices.

    Another similarity, grouping, ``k``, estimator or criterion shows at once which splits would
    change. A node can be split by hand: pick its edge, drag operations between groups (or move
    them by arrow keys), apply. The branches that change can then be trained, as a new run that
    shares everything else with the old one.

    Parameters
    ----------
    source
        The folder of a run, or the result of one (which cannot change ``k`` or train).
    background
        See :class:`~naslid_toolkit.widgets._base.Dashboard`.

    Notes
    -----
    A node of the other tree that was not trained has no measurements of its own; the deepest
    measured node above it stands in, and the box says so with "≈".

    Examples
    --------
    >>> explorer = PartitionExplorer("runs/demo")  # doctest: +SKIP
    >>> explorer.similarity.value = "cosine"  # doctest: +SKIP
    """

    def __init__(
        self, source: OpenRun | str | Path | FewShotRun, *, background: bool = True
    ) -> None:
        trained = trained_tree(source)
        super().__init__(background=background)
        self._trained = trained
        self.by_hand: dict[str, HandSplit] = hand_splits(self._trained.tree)
        self.found: WhatIf | None = None
        self.stability: SplitStability | None = None
        self.monitor: SearchMonitor | None = None
        self._make_controls()
        self._make_views()
        self._connect()
        self._regrow()
        self.run(self._warm, lambda _: None, slot="warm")

    def _make_controls(self) -> None:
        trained, settings = self._trained, self._trained.config
        self.criterion = control(Dropdown, "criterion", "criterion", options=CRITERIA)
        self.similarity = control(
            Dropdown,
            "similarity",
            "similarity",
            options=tuple(SIMILARITIES),
            value=settings.similarity,
        )
        self.grouping = control(
            Dropdown, "grouping", "grouping", options=tuple(grouping_rules(settings.grouping, 2))
        )
        self.groups = control(
            IntSlider, "group-number", "groups", min=2, max=4, value=settings.groups
        )
        most = min(settings.probe_points - 1, 64)
        self.k = control(IntSlider, "k", "neighbours k", min=2, max=most, value=settings.k)
        self.estimator = control(
            Dropdown, "estimator", "estimator", options=tuple(ESTIMATORS), value=settings.estimator
        )
        self.levels = control(
            IntSlider, "levels", "levels", min=1, max=_DEEPEST, value=max(1, trained.levels)
        )
        self.k.disabled = self.estimator.disabled = not trained.has_distances
        self.edge = control(Dropdown, "hand-edge", "split on edge", options=[])
        self.apply = button("apply", "Split so", "split the selected node on this edge so")
        self.forget = button("forget", "Forget edits", "go back to the splits that follow")
        self.out = control(Text, "out", "new run", value=free_name(trained.run))
        self.out.layout.width = "420px"
        self.retrain = button(
            "retrain", "Train changed branches", "train what differs, as a new run"
        )
        self.retrain.layout.width = "190px"

    def _make_views(self) -> None:
        tree = self._trained.tree
        nodes = shown_nodes(tree, tree)
        self.before = named(TreeView(description="trained split tree", nodes=nodes), "nl-before")
        self.after = named(TreeView(description="split tree that would follow"), "nl-after")
        self.matrices = named(FigureView(description="similarity matrices"), "nl-matrices")
        self.candidates: HTML = pane("nl-candidates")
        self.difference: HTML = pane("nl-difference")
        self.hand = named(GroupView(description="groups of operations"), "nl-hand-groups")
        self.training = VBox()
        if self._trained.run is None:
            self.out.layout.display = self.retrain.layout.display = "none"
        self.arrange(
            row([self.criterion, self.similarity, self.grouping, self.groups]),
            row([self.k, self.estimator, self.levels]),
            named(
                HBox(
                    [
                        VBox([heading("As trained"), self.before]),
                        VBox([heading("What would follow"), self.after]),
                    ]
                ),
                "nl-side",
            ),
            self.difference,
            heading("Edges of the selected node"),
            self.candidates,
            self.matrices,
            heading("Split it by hand"),
            row([self.edge, self.apply, self.forget]),
            self.hand,
            row([self.out, self.retrain]),
            self.training,
        )

    def _connect(self) -> None:
        for widget in (self.criterion, self.similarity, self.grouping, self.groups):
            self.watch(widget, self._regrow)
        for widget in (self.k, self.estimator, self.levels):
            self.watch(widget, self._regrow)
        self.watch(self.before, lambda: self._follow(self.before, self.after), "selected")
        self.watch(self.after, lambda: self._follow(self.after, self.before), "selected")
        self.watch(self.edge, self._offer_groups)
        self.press(self.apply, self._apply)
        self.press(self.forget, self._forget)
        self.press(self.retrain, self._retrain)

    # -- the tree that follows --------------------------------------------------------------

    def _regrow(self) -> None:
        self.groups.disabled = self.grouping.index == 0  # as trained, which has its own number
        self.run(self._grow, self._show)

    def _grow(self) -> WhatIf:
        trained = self._trained
        rules = grouping_rules(trained.config.grouping, self.groups.value)
        return what_if(
            trained.tree.space,
            trained.evidence_of(self.criterion.value, self.k.value, self.estimator.value),
            levels=self.levels.value,
            similarity=SIMILARITIES[self.similarity.value],
            grouping=rules[self.grouping.value],
            by_hand=dict(self.by_hand),
        )

    def _show(self, found: WhatIf) -> None:
        self.found = found
        trained = self._trained.tree
        self.before.nodes = shown_nodes(trained, found.tree)
        self.after.nodes = shown_nodes(found.tree, trained, found.evidence, new=True)
        self._show_difference(found)
        self._look_at_node()

    def _show_difference(self, found: WhatIf) -> None:
        frame = self._trained.tree.diff(found.tree)
        changed = frame[frame["change"] != "same"]
        words = f"{len(changed)} of {len(frame)} nodes differ"
        estimated = sum(basis.estimated for basis in found.evidence.values())
        if estimated:
            words += f"; {estimated} splits are estimated from a node above (≈)"
        if found.dropped:
            words += f"; splits by hand that no longer fit: {', '.join(found.dropped)}"
        say(self.difference, "The trees are the same." if not len(changed) else f"{words}.")

    def _warm(self) -> None:
        """Sort the distances before another ``k`` is asked for."""
        run = self._trained.run
        if run is None or not self.background:
            return
        for node in run.tree.nodes():
            kept = run.neighbours(node.name) if not self.closed else None
            if kept is not None:
                kept.lid(k=self.k.value)

    # -- the selected node ------------------------------------------------------------------

    @property
    def selected(self) -> str:
        """Name of the selected node of the tree that would follow."""
        return str(self.after.selected)

    def _follow(self, moved: TreeView, other: TreeView) -> None:
        if moved.selected in [node["id"] for node in other.nodes]:
            other.selected = moved.selected
        if moved is self.after:
            self._look_at_node()

    def _look_at_node(self) -> None:
        found = self.found
        if found is None:
            return
        node = found.tree.node(self.selected)
        self.stability = None
        self._offer_edges(node)
        self._list_candidates(node)
        if node.split is None:
            self.matrices.layout.display = "none"
            return
        self.matrices.layout.display = ""
        self.run(lambda: (node, found), self._draw_matrices, slot="matrices")
        self.run(lambda: self._resample(node, found), self._show_stability, slot="stability")

    def _draw_matrices(self, chosen: tuple[SplitTree, WhatIf]) -> None:
        node, _ = chosen
        if node.split is not None and node.name == self.selected:
            known = measured_part(node.split)
            if known is not None:
                self.matrices.show(plot_similarity(known, node.space, title=""))

    def _resample(
        self, node: SplitTree, found: WhatIf
    ) -> tuple[str, WhatIf, SplitStability] | None:
        evidence = found.evidence[node.name].edges
        if not evidence or len(evidence[0].contexts) < 2:
            return None
        rules = grouping_rules(self._trained.config.grouping, self.groups.value)
        measured = context_stability(
            evidence,
            similarity=SIMILARITIES[self.similarity.value],
            grouping=rules[self.grouping.value],
            replicates=_REPLICATES,
            seed=self._trained.seed,
        )
        return node.name, found, measured

    def _show_stability(self, result: tuple[str, WhatIf, SplitStability] | None) -> None:
        if result is None or self.found is not result[1] or self.selected != result[0]:
            return
        self.stability = result[2]
        self._list_candidates(self.found.tree.node(self.selected))

    def _list_candidates(self, node: SplitTree) -> None:
        if node.split is None:
            say(self.candidates, f"{node.name} is a leaf of {len(node.space):,} architectures.")
            return
        self.candidates.value = table(candidate_table(node, node.split, self.stability))

    # -- by hand ----------------------------------------------------------------------------

    def _offer_edges(self, node: SplitTree) -> None:
        options = [
            (node.space.edge_name(edge), edge)
            for edge, allowed in enumerate(node.space.allowed)
            if len(allowed) > 1
        ]
        wanted = node.split.edge if node.split is not None else options[0][1]
        if tuple(self.edge.options) != tuple(options):
            self.edge.options = options
        self.edge.value = wanted
        self._offer_groups()

    def _offer_groups(self) -> None:
        if self.found is None or self.edge.value is None:
            return
        node = self.found.tree.node(self.selected)
        allowed = node.space.allowed[self.edge.value]
        groups: tuple[tuple[str, ...], ...] = (allowed,)
        if node.split is not None:
            for candidate in node.split.candidates:
                if candidate.edge == self.edge.value:
                    groups = candidate.groups
        self.hand.labels = {operation: short(operation) for operation in allowed}
        self.hand.groups = [list(group) for group in groups]

    def _apply(self) -> None:
        groups = tuple(tuple(group) for group in self.hand.groups if group)
        if len(groups) < 2:
            raise ConfigError("move at least one operation to another group first")
        self.by_hand[self.selected] = HandSplit(self.edge.value, groups)
        self._regrow()

    def _forget(self) -> None:
        self.by_hand = hand_splits(self._trained.tree)
        self._regrow()

    # -- training ---------------------------------------------------------------------------

    def _retrain(self) -> None:
        trained, found = self._trained, self.found
        if trained.run is None or found is None:
            raise ConfigError("only a run in a folder can be trained further")
        if self.monitor is not None and self.monitor.is_running:
            raise ConfigError(f"the run in {self.monitor.folder} is still being trained")
        tree = found.to_train(trained.tree)
        if (trained.tree.diff(tree)["change"] == "same").all():
            raise ConfigError("the trees are the same, there is nothing to train")
        store = derive_run(trained.run.store.folder, tree, self.out.value)
        if self.monitor is not None:
            self.monitor.close()
        self.monitor = SearchMonitor(store.folder, background=self.background)
        self.training.children = (
            heading(f"Training {store.folder.name}"),
            self.monitor,
        )
        self.monitor.start()
        self.out.value = free_name(trained.run)

    def to_figure(self) -> go.Figure:
        """Return the tree that would follow as a plain figure."""
        tree = self._trained.tree if self.found is None else self.found.tree
        return plot_split_tree(tree, title="Split tree that would follow")
