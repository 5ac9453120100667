"""The split tree: a space, the split of it, and the trees of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.partition.split import Split
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True, eq=False)
class SplitTree:
    """A node of the split tree with everything below it.

    Parameters
    ----------
    name
        ``"root"``, or the parent's name with ``-0`` or ``-1``.
    space
        The architectures of this node.
    split
        How the space is split; None at a leaf.
    children
        One tree for each group of the split; empty at a leaf.
    """

    name: str
    space: SearchSpace
    split: Split | None = None
    children: tuple["SplitTree", ...] = ()

    @classmethod
    def root(cls, space: SearchSpace) -> "SplitTree":
        """Return the tree of an unsplit space."""
        return cls("root", space)

    @property
    def level(self) -> int:
        """Number of splits above this node."""
        return self.name.count("-")

    def nodes(self) -> Iterator["SplitTree"]:
        """Go through all nodes, level by level."""
        queue: list[SplitTree] = [self]
        for node in queue:
            yield node
            queue.extend(node.children)

    @property
    def leaves(self) -> tuple["SplitTree", ...]:
        """The nodes that are not split; together they hold every architecture once."""
        return tuple(node for node in self.nodes() if node.split is None)

    def leaf_of(self, architecture: Architecture) -> "SplitTree":
        """Return the leaf that holds an architecture.

        Raises
        ------
        SpaceError
            If the architecture is outside the space.
        """
        self.space.check(architecture)
        node = self
        while node.children:
            node = next(child for child in node.children if architecture in child.space)
        return node

    def node(self, name: str) -> "SplitTree":
        """Return the node of that name.

        Raises
        ------
        SpaceError
            If there is none.
        """
        for node in self.nodes():
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes())
        raise SpaceError(f"the tree has no node {name!r}, only {names}")

    def with_split(self, name: str, split: Split) -> "SplitTree":
        """Return the tree with one of its leaves split."""
        if name == self.name:
            parts = self.space.split(split.edge, split.chosen.groups)
            children = tuple(SplitTree(f"{name}-{i}", part) for i, part in enumerate(parts))
            return SplitTree(self.name, self.space, split, children)
        children = tuple(
            child.with_split(name, split) if f"{name}-".startswith(f"{child.name}-") else child
            for child in self.children
        )
        return SplitTree(self.name, self.space, self.split, children)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a node: name, level, architectures, edge, groups, score."""
        rows = []
        for node in self.nodes():
            chosen = node.split.chosen if node.split else None
            rows.append(
                {
                    "node": node.name,
                    "level": node.level,
                    "architectures": len(node.space),
                    "edge": node.space.edge_name(chosen.edge) if chosen else "",
                    "groups": " | ".join(", ".join(g) for g in chosen.groups) if chosen else "",
                    "score": chosen.grouping.score if chosen else float("nan"),
                }
            )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as JSON-able data."""
        return {
            "name": self.name,
            "space": self.space.to_dict(),
            "split": self.split.to_dict() if self.split else None,
            "children": [child.to_dict() for child in self.children],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SplitTree":
        """Return the tree that :meth:`to_dict` wrote."""
        return cls(
            name=data["name"],
            space=SearchSpace.from_dict(data["space"]),
            split=Split.from_dict(data["split"]) if data["split"] else None,
            children=tuple(cls.from_dict(child) for child in data["children"]),
        )
