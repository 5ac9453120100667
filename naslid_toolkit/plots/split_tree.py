"""The split tree as a figure."""

from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.plots._theme import INK, OTHER_STYLES, finish, plain, short

_LEAVES_ACROSS: Final = 8  # more leaves than this make the figure wider
_LEAF_WIDTH: Final = 150  # pixels for each of them


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node with its place: leaves are one unit apart, levels go down by one.

    ``branch`` says which operations lead here; ``label`` what happens at the node, for plotly.
    """

    name: str
    parent: str
    x: float
    level: int
    label: str
    branch: tuple[str, ...]
    leaf: bool


def tree_nodes(tree: SplitTree) -> tuple[TreeNode, ...]:
    """Return the nodes with their places, every parent before its children."""
    found: list[TreeNode] = []
    _place(tree, "", (), 0, found)
    return tuple(sorted(found, key=lambda node: (node.level, node.x)))


def _place(
    node: SplitTree, parent: str, branch: tuple[str, ...], leaves: int, found: list[TreeNode]
) -> tuple[float, int]:
    """Place a node over its children; return its x and the number of leaves so far."""
    size = f"{len(node.space):,} architectures"
    if node.split is None:
        x, label = float(leaves), f"<b>{plain(node.name)}</b><br>{size}"
        leaves += 1
    else:
        places = []
        for child, group in zip(node.children, node.split.chosen.groups, strict=True):
            place, leaves = _place(child, node.name, group, leaves, found)
            places.append(place)
        x = sum(places) / len(places)
        chosen = node.split.chosen
        edge = node.space.edge_name(chosen.edge)
        hand = " by hand" if node.split.by_hand else ""
        label = f"<b>{plain(node.name)}</b><br>{size}<br>split edge {edge}{hand}"
    short_branch = tuple(short(operation) for operation in branch)
    found.append(TreeNode(node.name, parent, x, node.level, label, short_branch, not node.children))
    return x, leaves


def plot_split_tree(tree: SplitTree, *, title: str = "Split tree") -> go.Figure:
    """Draw the split tree, the root at the top, on each branch the operations it keeps.

    Blue boxes are split further, red ones are the leaves, the finally trained sub-supernets.

    Parameters
    ----------
    tree
        The split tree.
    title
        Title of the figure.
    """
    nodes = tree_nodes(tree)
    places = {node.name: node for node in nodes}
    figure = go.Figure()
    for node in nodes:
        if node.parent:
            _draw_branch(figure, places[node.parent], node)
    for node in nodes:
        style = OTHER_STYLES[1 if node.leaf else 0]
        figure.add_annotation(
            x=node.x,
            y=-node.level,
            text=node.label,
            showarrow=False,
            bgcolor="white",
            bordercolor=style.colour,
            borderwidth=2,
            borderpad=5,
            font={"size": 12},
        )
    depth = max(node.level for node in nodes)
    leaves = sum(node.leaf for node in nodes)
    figure.update_xaxes(visible=False, range=[-0.6, leaves - 0.4])
    figure.update_yaxes(visible=False, range=[-depth - 0.4, 0.4])
    if leaves > _LEAVES_ACROSS:
        figure.update_layout(width=_LEAF_WIDTH * leaves)
    return finish(figure, title=title, height=200 + 190 * depth)


def _draw_branch(figure: go.Figure, above: TreeNode, node: TreeNode) -> None:
    """Draw the line from a node to its child, and the operations it keeps."""
    figure.add_scatter(
        x=[above.x, node.x],
        y=[-above.level, -node.level],
        mode="lines",
        line={"color": INK, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_annotation(
        x=(above.x + node.x) / 2,
        y=-(above.level + node.level) / 2,
        text="<br>".join(map(plain, node.branch)),
        showarrow=False,
        bgcolor="white",
        font={"size": 11},
    )
