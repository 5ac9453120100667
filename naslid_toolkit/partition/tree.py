"""The split tree: a space, the split of it, and the trees of its parts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.partition.grouping import Grouping, Groups, value_of
from naslid_toolkit.partition.split import EdgeCandidate, Split
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True, eq=False)
class SplitTree:
    """A node of the split tree with everything below it.

    Parameters
    ----------
    name
        ``"root"``, or the parent's name with the number of the group, as in ``root-0``.
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

    def chain(self, name: str) -> tuple[SearchSpace, ...]:
        """Return the spaces from the root down to a node.

        Raises
        ------
        SpaceError
            If there is no such node.
        """
        parts = self.node(name).name.split("-")
        return tuple(self.node("-".join(parts[:i])).space for i in range(1, len(parts) + 1))

    def override(self, name: str, edge: int, groups: Sequence[Sequence[str]]) -> "SplitTree":
        """Return the tree with a person's choice at one node.

        Parameters
        ----------
        name
            The node to split otherwise; a leaf is split anew.
        edge
            The edge, counted from 0.
        groups
            Groups of its operations in the node's space, at least two.

        Returns
        -------
        SplitTree
            The split is marked ``by_hand`` and keeps the measured similarities. A part that is
            the same space as a part before keeps everything below it; other parts are leaves,
            which a search splits further.

        Raises
        ------
        SpaceError
            If there is no such node or edge, or the groups are no partition of its operations.
        """
        node = self.node(name)
        node.space.split(edge, groups)  # checks edge and groups
        order = node.space.allowed[edge]
        numbers = tuple(
            sorted(tuple(sorted(order.index(operation) for operation in g)) for g in groups)
        )
        chosen = EdgeCandidate(edge, order, _unknown(len(order)), Grouping(numbers, -math.inf))
        others: tuple[EdgeCandidate, ...] = ()
        if node.split is not None:
            others = tuple(c for c in node.split.candidates if c.edge != edge)
            for candidate in node.split.candidates:
                if candidate.edge == edge:
                    chosen = _regrouped(candidate, numbers)
        candidates = tuple(sorted((chosen, *others), key=lambda c: c.edge))
        tree = self.replaced(name, SplitTree(node.name, node.space))
        tree = tree.with_split(name, Split(edge, candidates, by_hand=True))
        before = {child.space: child for child in node.children}
        for child in tree.node(name).children:
            if child.space in before:
                tree = tree.replaced(child.name, before[child.space].renamed(child.name))
        return tree

    def renamed(self, name: str) -> "SplitTree":
        """Return the same tree under another name, as are all nodes below."""
        children = tuple(
            child.renamed(name + child.name.removeprefix(self.name)) for child in self.children
        )
        return SplitTree(name, self.space, self.split, children)

    def replaced(self, name: str, node: "SplitTree") -> "SplitTree":
        """Return the tree with another node, and what is below it, in the place of one."""
        if name == self.name:
            return node
        children = tuple(
            child.replaced(name, node) if f"{name}-".startswith(f"{child.name}-") else child
            for child in self.children
        )
        return SplitTree(self.name, self.space, self.split, children)

    def diff(self, other: "SplitTree") -> pd.DataFrame:
        """Compare with another tree, node by node.

        Returns
        -------
        pandas.DataFrame
            One row for each node of either tree: ``node``; ``change``: ``"same"`` (space and
            split), ``"space"``, ``"split"``, ``"first only"`` or ``"second only"``; and what
            each tree does there, ``first`` and ``second``.
        """
        mine = {node.name: node for node in self.nodes()}
        theirs = {node.name: node for node in other.nodes()}
        rows = []
        for name in dict.fromkeys((*mine, *theirs)):
            one, two = mine.get(name), theirs.get(name)
            rows.append(
                {
                    "node": name,
                    "change": _change(one, two),
                    "first": one.summary() if one else "",
                    "second": two.summary() if two else "",
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Return what happens at this node in one line."""
        if self.split is None:
            return f"leaf of {len(self.space)}"
        chosen = self.split.chosen
        groups = " | ".join(", ".join(group) for group in chosen.groups)
        hand = " (by hand)" if self.split.by_hand else ""
        return f"{self.space.edge_name(chosen.edge)}: {groups}{hand}"

    def with_split(self, name: str, split: Split) -> "SplitTree":
        """Return the tree with one of its leaves split."""
        node = self.node(name)
        parts = node.space.split(split.edge, split.chosen.groups)
        children = tuple(SplitTree(f"{name}-{i}", part) for i, part in enumerate(parts))
        return self.replaced(name, SplitTree(name, node.space, split, children))

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
        """Return the tree that :meth:`to_dict` wrote.

        Raises
        ------
        SpaceError
            If nodes are not called by their place, or do not hold what the splits make them hold.
        """
        tree = cls(
            name=data["name"],
            space=SearchSpace.from_dict(data["space"]),
            split=Split.from_dict(data["split"]) if data["split"] else None,
            children=tuple(cls.from_dict(child) for child in data["children"]),
        )
        tree._check_children()
        return tree

    def _check_children(self) -> None:
        names = [child.name for child in self.children]
        if names != [f"{self.name}-{number}" for number in range(len(names))]:
            raise SpaceError(f"the parts of node {self.name!r} are called {names}")
        split = self.split
        if split is not None:
            split.check(self.space)
        parts = () if split is None else self.space.split(split.edge, split.chosen.groups)
        if tuple(child.space for child in self.children) != parts:
            raise SpaceError(f"the parts of node {self.name!r} are not those of its split")


def _unknown(count: int) -> Tensor:
    """Return the similarities of operations that were not measured."""
    return torch.full((count, count), math.nan, dtype=torch.float64)


def _regrouped(candidate: EdgeCandidate, groups: Groups) -> EdgeCandidate:
    """Return a measured edge in other groups; its score is their separation."""
    matrix = candidate.similarity.tolist()
    score = value_of("separation", matrix, groups)
    return replace(candidate, grouping=Grouping(groups, score))


def _change(one: SplitTree | None, two: SplitTree | None) -> str:
    if one is None or two is None:
        return "second only" if one is None else "first only"
    if one.space != two.space:
        return "space"
    splits = [node.split and node.split.choice for node in (one, two)]
    return "same" if splits[0] == splits[1] else "split"
