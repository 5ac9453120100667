"""What the partition explorer knows of a trained tree, and the rules it offers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from naslid_toolkit.errors import DataError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.criteria import ConvolutionCountCriterion, RandomCriterion
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.grouping import (
    ExhaustiveGrouping,
    GroupingRule,
    NormalisedCutGrouping,
    SpectralGrouping,
)
from naslid_toolkit.partition.split import Split, SplitConfig
from naslid_toolkit.partition.stability import SplitStability
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.partition.what_if import (
    Chain,
    Evidence,
    EvidenceOf,
    HandSplit,
    measured_evidence,
)
from naslid_toolkit.runtime import derive_seed
from naslid_toolkit.search.launch import free_folder
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import FewShotRun
from naslid_toolkit.widgets._trees import in_words

MEASURED: Final = "as measured"
COUNT: Final = "convolution count"
RANDOM: Final = "random"
CRITERIA: Final = (MEASURED, COUNT, RANDOM)
AS_TRAINED: Final = "as trained"


def grouping_rules(trained: GroupingRule, groups: int) -> dict[str, GroupingRule]:
    """Return the rules to choose from; the first is that of the run."""
    return {
        AS_TRAINED: trained,
        "separation": ExhaustiveGrouping(groups=groups),
        "separation, balanced": ExhaustiveGrouping(balanced=True, groups=groups),
        "within (paper)": ExhaustiveGrouping("within", "within", balanced=True, groups=groups),
        "within, edge by between (official code)": ExhaustiveGrouping(
            "within", "between", balanced=True, groups=groups
        ),
        "spectral": SpectralGrouping(groups),
        "normalised cut": NormalisedCutGrouping(groups),
    }


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTree:
    """The trained tree and what is known about it, from a run's folder or from its record."""

    tree: SplitTree
    config: SplitConfig
    levels: int
    seed: int
    evidence: Mapping[str, Sequence[EdgeEvidence]]
    run: OpenRun | None

    def at(self, node: str, k: int, estimator: str) -> Sequence[EdgeEvidence]:
        """Return the evidence of a node with any ``k`` and estimator."""
        as_trained = (k, estimator) == (self.config.k, self.config.estimator)
        if self.run is None:
            return self.evidence.get(node, ())
        if as_trained:
            return self.run.evidence(node)
        kept = self.run.neighbours(node)
        return () if kept is None else kept.evidence(k=k, estimator=ESTIMATORS[estimator])

    def evidence_of(self, criterion: str, k: int, estimator: str) -> EvidenceOf:
        """Return what a criterion says about any node, with these settings."""
        if criterion == MEASURED:
            known: dict[str, Sequence[EdgeEvidence]] = {}

            def at(node: str) -> Sequence[EdgeEvidence]:
                if node not in known:
                    known[node] = self.at(node, k, estimator)
                return known[node]

            return measured_evidence(self.tree, at)
        rule = ConvolutionCountCriterion() if criterion == COUNT else RandomCriterion()

        def counted(name: str, chain: Chain) -> Evidence:
            seed = derive_seed(self.seed, "split", name)
            return Evidence(rule(chain[-1], chain[-1].unsplit_edges, seed=seed))

        return counted

    @property
    def has_distances(self) -> bool:
        """Whether ``k`` and estimator can be changed."""
        folder = None if self.run is None else self.run.store.folder / "distances"
        return folder is not None and folder.is_dir()


def trained_tree(source: OpenRun | str | Path | FewShotRun) -> TrainedTree:
    if isinstance(source, FewShotRun):
        config = source.config
        return TrainedTree(
            source.tree, config.split, config.levels, config.seed, source.evidence, None
        )
    run = OpenRun.of(source)
    config = run.config
    if run.tree.split is None:
        raise DataError(f"the run in {run.store.folder} has no split yet")
    return TrainedTree(run.tree, config.split, config.levels, config.seed, {}, run)


def hand_splits(tree: SplitTree) -> dict[str, HandSplit]:
    """Return the splits of a trained tree that were a person's choice."""
    return {
        node.name: HandSplit(node.split.edge, node.split.chosen.groups)
        for node in tree.nodes()
        if node.split is not None and node.split.by_hand
    }


def free_name(run: OpenRun | None) -> str:
    """Return a folder beside the run's that does not exist."""
    if run is None:
        return ""
    folder = run.store.folder
    name = folder.name.replace("{", "{{").replace("}", "}}")
    return str(free_folder(folder.parent, f"{name}-edited-{{}}"))


def measured_part(split: Split) -> Split | None:
    """Return the split without edges that were not measured; None if none was."""
    known = tuple(c for c in split.candidates if not c.similarity.isnan().any())
    return Split(split.edge, known, split.by_hand) if known else None


def candidate_table(
    node: SplitTree, split: Split, stability: SplitStability | None
) -> pd.DataFrame:
    """Return the edges of a node, the best first, with how often resamples agree."""
    found = {} if stability is None else stability.edges.set_index("edge").to_dict("index")
    ordered = sorted(split.candidates, key=lambda c: -c.grouping.score)
    rows = []
    for candidate in ordered:
        agree = found.get(candidate.edge)
        star = "★ " if candidate.edge == split.edge else ""
        rows.append(
            {
                "edge": f"{star}{node.space.edge_name(candidate.edge)}",
                "score": candidate.grouping.score_text,
                "chosen in resamples": f"{agree['chosen']:.0%}" if agree else "…",
                "same groups": f"{agree['same_groups']:.0%}" if agree else "…",
                "groups": in_words(candidate.groups),
            }
        )
    return pd.DataFrame(rows)
