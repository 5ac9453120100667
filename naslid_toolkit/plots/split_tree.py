"""The split tree as a figure."""

from dataclasses import dataclass

import plotly.graph_objects as go

from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.plots._theme import INK, OTHER_STYLES, finish, short


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node with its place: leaves are one unit apart, levels go down by one.

    ``branch`` says which operations lead here; ``label`` what happens at the node.
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
        x, label = float(leaves), f"<b>{node.name}</b><br>{size}"
        leaves += 1
    else:
        places = []
        for child, group in zip(node.children, node.split.chosen.groups, strict=True):
            place, leaves = _place(child, node.name, group, leaves, found)
            places.append(place)
        x = sum(places) / len(places)
        chosen = node.split.chosen
        edge = node.space.edge_name(chosen.edge)
        label = f"<b>{node.name}</b><br>{size}<br>split edge {edge}"
    short_branch = tuple(short(operation) for operation in branch)
    found.append(TreeNode(node.name, parent, x, node.level, label, short_branch, not node.children))
    return x, leaves


def plot_split_tree(tree: SplitTree, *, title: str = "Split tree") -> go.Figure:
    """Draw the split tree, the root at the top, on each branch the operations it keeps.

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
            above = places[node.parent]
            figure.add_scatter(
                x=[above.x, node.x],
                y=[-above.level, -node.level],
                mode="lines",
                line={"color": INK, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
            figure.add_annotation(
                x=0.4 * above.x + 0.6 * node.x,
                y=-0.4 * above.level - 0.6 * node.level,
                text="<br>".join(node.branch),
                showarrow=False,
                bgcolor="white",
                font={"size": 11},
            )
    for kind, style in zip((False, True), OTHER_STYLES, strict=False):
        some = [node for node in nodes if node.leaf is kind]
        figure.add_scatter(
            x=[node.x for node in some],
            y=[-node.level for node in some],
            text=[node.label for node in some],
            mode="markers+text",
            textposition="bottom center" if kind else "top center",
            marker={"size": 16, "color": style.colour, "symbol": style.marker},
            name="sub-supernet (leaf)" if kind else "split node",
            hovertemplate="%{text}<extra></extra>",
        )
    depth = max(node.level for node in nodes)
    widest = max(node.x for node in nodes)
    figure.update_xaxes(visible=False, range=[-0.6, widest + 0.6])
    figure.update_yaxes(visible=False, range=[-depth - 0.5, 0.6])
    return finish(figure, title=title, height=220 + 190 * depth)
