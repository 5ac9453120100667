"""What a tree view shows of a split tree, beside another one."""

from collections.abc import Mapping
from typing import Any, Final

from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.partition.what_if import Evidence
from naslid_toolkit.plots._theme import short
from naslid_toolkit.plots.split_tree import tree_nodes

_MARKS: Final = {"same": "", "space": "≠", "split": "≠"}
_WORDS: Final = {
    "same": "",
    "space": "other architectures than in the other tree",
    "split": "split otherwise than in the other tree",
    "first only": "not in the other tree",
}
_BRANCH_WIDTH: Final = 26  # letters in a line above a box


def shown_nodes(
    tree: SplitTree,
    other: SplitTree,
    evidence: Mapping[str, Evidence] | None = None,
    *,
    new: bool = False,
) -> list[dict[str, Any]]:
    """Return the nodes of a tree for a view, marked where they differ from another tree.

    Parameters
    ----------
    tree, other
        The tree, and the one it is compared with.
    evidence
        What the splits rest on, where some are estimated.
    new
        Whether a node that is in this tree alone is marked as new, else as gone.
    """
    changes = dict(zip(*(tree.diff(other)[c] for c in ("node", "change")), strict=True))
    known, marks = evidence or {}, {**_MARKS, "first only": "+" if new else "−"}
    return [
        {
            "parent": place.parent,
            "branch": _lines(place.branch),
            **_node(tree.node(place.name), changes[place.name], known, marks),
        }
        for place in tree_nodes(tree)
    ]


def _node(
    node: SplitTree, change: str, known: Mapping[str, Evidence], marks: Mapping[str, str]
) -> dict[str, Any]:
    by_hand = node.split is not None and node.split.by_hand
    basis = known.get(node.name)
    estimated = node.split is not None and basis is not None and basis.estimated and not by_hand
    what = "leaf"
    if node.split is not None:
        what = f"split on edge {node.space.edge_name(node.split.edge)}"
    notes = [_WORDS[change], "by hand" if by_hand else ""]
    if estimated and basis is not None:
        notes.append(f"estimated from what was measured at {basis.source}")
    return {
        "id": node.name,
        "lines": [node.name, f"{len(node.space):,} architectures", f"{'≈ ' * estimated}{what}"],
        "status": "hand" if by_hand else "same" if change == "same" else "changed",
        "mark": "✎" if by_hand else marks[change],
        "note": "; ".join(filter(None, notes)),
    }


def _lines(words: tuple[str, ...]) -> list[str]:
    """Put words into short lines."""
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(joined) > _BRANCH_WIDTH:
            lines.append(word)
        else:
            lines[-1] = joined
    return [line for line in lines if line]


def in_words(groups: tuple[tuple[str, ...], ...]) -> str:
    """Return groups of operations in a line."""
    return " | ".join(", ".join(short(operation) for operation in group) for group in groups)
