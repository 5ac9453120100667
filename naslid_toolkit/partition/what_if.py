"""The split tree that would follow from other choices, without training anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.grouping import ExhaustiveGrouping, GroupingRule
from naslid_toolkit.partition.similarity import Similarity, log_similarity
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.space.search_space import SearchSpace

Chain = tuple[SearchSpace, ...]


@dataclass(frozen=True, slots=True)
class HandSplit:
    """A person's choice at a node: the edge, and the groups of its operations by name."""

    edge: int
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is known about the edges of a space.

    Parameters
    ----------
    edges
        Of each edge that can be split.
    source
        Name of the node that was measured; empty if nothing had to be.
    estimated
        Whether that is another node, above this one: its measurements stand in for those that
        a search would make here.
    """

    edges: tuple[EdgeEvidence, ...]
    source: str = ""
    estimated: bool = False


EvidenceOf = Callable[[str, Chain], Evidence]


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """A split tree that would follow.

    Parameters
    ----------
    tree
        The tree.
    evidence
        What each split rests on, by the node's name.
    dropped
        Nodes at which a person's choice was left out, since it no longer fits their space.
    """

    tree: SplitTree
    evidence: Mapping[str, Evidence]
    dropped: tuple[str, ...]

    def to_train(self, trained: SplitTree) -> SplitTree:
        """Return the tree to start a run from.

        Splits that rest on another node's measurements are left to the search, which measures
        there; splits other than those of ``trained`` are marked as a person's choice.
        """
        return self._kept(self.tree, {node.name: node for node in trained.nodes()})

    def _kept(self, node: SplitTree, trained: Mapping[str, SplitTree]) -> SplitTree:
        if node.split is None:
            return node
        before = trained.get(node.name)
        same = (
            before is not None
            and before.split is not None
            and before.space == node.space
            and before.split.choice == node.split.choice
        )
        if not (same or node.split.by_hand) and self.evidence[node.name].estimated:
            return SplitTree(node.name, node.space)
        split = node.split if same else replace(node.split, by_hand=True)
        children = tuple(self._kept(child, trained) for child in node.children)
        return SplitTree(node.name, node.space, split, children)


def what_if(
    space: SearchSpace,
    evidence_of: EvidenceOf,
    *,
    levels: int,
    similarity: Similarity = log_similarity,
    grouping: GroupingRule = ExhaustiveGrouping(),
    by_hand: Mapping[str, HandSplit] | None = None,
) -> WhatIf:
    """Grow the split tree that evidence and choices lead to.

    Parameters
    ----------
    space
        The space of the root.
    evidence_of
        Returns what is known at a node, from its name and the spaces from the root to it; see
        :func:`measured_evidence`.
    levels
        Splits between the root and a leaf.
    similarity, grouping
        See :func:`~naslid_toolkit.partition.split.split_by`.
    by_hand
        A person's choices by the name of the node.

    Returns
    -------
    WhatIf
        A node where no two operations can be told apart stays a leaf.
    """
    chosen = dict(by_hand or {})
    found: dict[str, Evidence] = {}
    dropped: list[str] = []

    def grow(name: str, chain: Chain) -> SplitTree:
        node = SplitTree(name, chain[-1])
        if node.level >= levels:
            return node
        known = found[name] = evidence_of(name, chain)
        try:
            node = node.with_split(
                name, split_by(known.edges, similarity=similarity, grouping=grouping)
            )
        except SpaceError:
            if name not in chosen:
                return node
        if name in chosen:
            try:
                node = node.override(name, chosen[name].edge, chosen[name].groups)
            except SpaceError:
                dropped.append(name)
        children = tuple(grow(child.name, (*chain, child.space)) for child in node.children)
        return SplitTree(name, node.space, node.split, children)

    return WhatIf(grow("root", (space,)), found, tuple(dropped))


def measured_evidence(
    tree: SplitTree, evidence: Callable[[str], Sequence[EdgeEvidence]]
) -> EvidenceOf:
    """Return the evidence that a trained tree gives about any node.

    Parameters
    ----------
    tree
        The trained tree.
    evidence
        Returns what was measured at a node, by its name; nothing if it was not.

    Returns
    -------
    callable
        For a node that was trained and measured, its own evidence. For another, that of the
        deepest measured node of which it is a part: its edges, in the sampled paths that lie in
        the sub-space (in all of them if none does).
    """
    measured = {tree.chain(node.name): node.name for node in tree.nodes() if node.split}

    def known(_name: str, chain: Chain) -> Evidence:
        if chain in measured:
            own = tuple(evidence(measured[chain]))
            if own:
                return Evidence(own, measured[chain])
        space = chain[-1]
        for other in sorted(measured, key=lambda c: (-len(c), len(c[-1]))):
            found = tuple(evidence(measured[other])) if _holds(other[-1], space) else ()
            if found:
                parts = (_part(item, space) for item in found if item.edge in space.unsplit_edges)
                return Evidence(tuple(parts), measured[other], estimated=True)
        return Evidence(())

    return known


def _holds(space: SearchSpace, part: SearchSpace) -> bool:
    pairs = zip(space.allowed, part.allowed, strict=True)
    return all(set(inner) <= set(outer) for outer, inner in pairs)


def _part(item: EdgeEvidence, space: SearchSpace) -> EdgeEvidence:
    """Return the evidence in the contexts that lie in a sub-space, if there are any."""
    inside = [i for i, text in enumerate(item.contexts) if _lies_in(text, space)]
    if not inside or len(inside) == len(item.contexts):
        return item
    return replace(
        item,
        contexts=tuple(item.contexts[i] for i in inside),
        vectors=item.vectors[inside],
        undefined=item.undefined[inside],
    )


def _lies_in(context: str, space: SearchSpace) -> bool:
    """Whether a sampled path lies in a space, whose unsplit edges allow everything."""
    operations = context.partition(" ")[2].split("/")
    return len(operations) == len(space.edges) and all(
        operation in allowed for operation, allowed in zip(operations, space.allowed, strict=True)
    )
