"""Few-shot neural architecture search by local intrinsic dimensionality, for notebooks.

The names below load their module when first used, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from naslid_toolkit.datasets import Images, ImageTask, load_digits, load_image_parquet
    from naslid_toolkit.errors import NaslidError
    from naslid_toolkit.evaluation.audit import audit_operations
    from naslid_toolkit.evaluation.baselines import trivial_scores
    from naslid_toolkit.evaluation.benchmark import (
        ReferenceTable,
        digits_truth_path,
        load_reference,
        read_columns,
    )
    from naslid_toolkit.evaluation.importing import import_benchmark
    from naslid_toolkit.evaluation.labels import column_agreement, reliability, separation
    from naslid_toolkit.evaluation.panel import Evaluation, accuracy_of, evaluate
    from naslid_toolkit.evaluation.priors import combine, cross_fit
    from naslid_toolkit.evaluation.proxies import PROXIES
    from naslid_toolkit.evaluation.ranking import RankCorrelation, compare_rankings, kendall_tau
    from naslid_toolkit.evaluation.scores import LeafScore, score_architectures, score_proxies
    from naslid_toolkit.evaluation.verdicts import over_seeds
    from naslid_toolkit.exercises import check_answer
    from naslid_toolkit.lid.bootstrap import bootstrap_profile, compare_profiles
    from naslid_toolkit.lid.estimators import ESTIMATORS
    from naslid_toolkit.lid.geometry import ScikitDimension
    from naslid_toolkit.lid.gram import pairwise_distances
    from naslid_toolkit.lid.likelihood import MaximumLikelihood, lid_mle
    from naslid_toolkit.lid.manifolds import sample_manifold
    from naslid_toolkit.lid.measure import lid_profile, measure_distances
    from naslid_toolkit.lid.profile import LayerDistances, LIDProfile
    from naslid_toolkit.packing import pack_images, write_images
    from naslid_toolkit.partition.cost import compare_costs
    from naslid_toolkit.partition.criteria import (
        ConvolutionCountCriterion,
        LIDCriterion,
        RandomCriterion,
    )
    from naslid_toolkit.partition.gradients import GradientCriterion
    from naslid_toolkit.partition.grouping import (
        ExhaustiveGrouping,
        NormalisedCutGrouping,
        SpectralGrouping,
    )
    from naslid_toolkit.partition.similarity import (
        correlation_similarity,
        cosine_similarity,
        euclidean_similarity,
        log_similarity,
    )
    from naslid_toolkit.partition.split import Split, SplitConfig, choose_split, split_by
    from naslid_toolkit.partition.stability import context_stability, split_stability
    from naslid_toolkit.partition.store import NeighbourStore
    from naslid_toolkit.partition.tree import SplitTree
    from naslid_toolkit.progress import ProgressDisplay
    from naslid_toolkit.runtime import generator
    from naslid_toolkit.search.config import RunConfig, load_task, load_truth
    from naslid_toolkit.search.evolution import EvolutionConfig, evolve
    from naslid_toolkit.search.few_shot import few_shot_search
    from naslid_toolkit.search.hierarchical import hierarchical_search
    from naslid_toolkit.search.judging import judge_study, separability
    from naslid_toolkit.search.result import FewShotRun, load_neighbours, load_run
    from naslid_toolkit.search.reuse import derive_run
    from naslid_toolkit.search.storage import RunStore
    from naslid_toolkit.search.study import ARMS, load_study, run_study
    from naslid_toolkit.shipped import example_run, example_study
    from naslid_toolkit.space.architecture import Architecture
    from naslid_toolkit.space.nasbench201 import (
        format_architecture,
        nasbench201,
        parse_architecture,
    )
    from naslid_toolkit.space.search_space import SearchSpace, cell_space
    from naslid_toolkit.supernet.accuracy import accuracy
    from naslid_toolkit.supernet.decomposed import DecomposedSupernet
    from naslid_toolkit.supernet.network import Skeleton, Supernet
    from naslid_toolkit.supernet.stacked import StackedNetworks, evaluate_stacked, train_stacked
    from naslid_toolkit.supernet.training import TrainingConfig, train
    from naslid_toolkit.tables import (
        cost_table,
        findings,
        panel_table,
        separability_tables,
        study_costs,
        study_table,
    )
    from naslid_toolkit.widgets.explorer import explore

__version__ = "0.1.0"

_HOMES: Final = {
    "ARMS": "search.study",
    "Architecture": "space.architecture",
    "ConvolutionCountCriterion": "partition.criteria",
    "DecomposedSupernet": "supernet.decomposed",
    "ESTIMATORS": "lid.estimators",
    "Evaluation": "evaluation.panel",
    "EvolutionConfig": "search.evolution",
    "ExhaustiveGrouping": "partition.grouping",
    "FewShotRun": "search.result",
    "GradientCriterion": "partition.gradients",
    "ImageTask": "datasets",
    "Images": "datasets",
    "LIDCriterion": "partition.criteria",
    "LIDProfile": "lid.profile",
    "LayerDistances": "lid.profile",
    "LeafScore": "evaluation.scores",
    "MaximumLikelihood": "lid.likelihood",
    "NaslidError": "errors",
    "NeighbourStore": "partition.store",
    "NormalisedCutGrouping": "partition.grouping",
    "PROXIES": "evaluation.proxies",
    "ProgressDisplay": "progress",
    "RandomCriterion": "partition.criteria",
    "RankCorrelation": "evaluation.ranking",
    "ReferenceTable": "evaluation.benchmark",
    "RunConfig": "search.config",
    "RunStore": "search.storage",
    "ScikitDimension": "lid.geometry",
    "SearchSpace": "space.search_space",
    "Skeleton": "supernet.network",
    "SpectralGrouping": "partition.grouping",
    "Split": "partition.split",
    "SplitConfig": "partition.split",
    "SplitTree": "partition.tree",
    "StackedNetworks": "supernet.stacked",
    "Supernet": "supernet.network",
    "TrainingConfig": "supernet.training",
    "accuracy": "supernet.accuracy",
    "accuracy_of": "evaluation.panel",
    "audit_operations": "evaluation.audit",
    "bootstrap_profile": "lid.bootstrap",
    "cell_space": "space.search_space",
    "check_answer": "exercises",
    "choose_split": "partition.split",
    "column_agreement": "evaluation.labels",
    "combine": "evaluation.priors",
    "compare_costs": "partition.cost",
    "compare_profiles": "lid.bootstrap",
    "compare_rankings": "evaluation.ranking",
    "context_stability": "partition.stability",
    "correlation_similarity": "partition.similarity",
    "cosine_similarity": "partition.similarity",
    "cost_table": "tables",
    "cross_fit": "evaluation.priors",
    "derive_run": "search.reuse",
    "digits_truth_path": "evaluation.benchmark",
    "euclidean_similarity": "partition.similarity",
    "evaluate": "evaluation.panel",
    "evaluate_stacked": "supernet.stacked",
    "evolve": "search.evolution",
    "example_run": "shipped",
    "example_study": "shipped",
    "explore": "widgets.explorer",
    "few_shot_search": "search.few_shot",
    "findings": "tables",
    "format_architecture": "space.nasbench201",
    "generator": "runtime",
    "hierarchical_search": "search.hierarchical",
    "import_benchmark": "evaluation.importing",
    "judge_study": "search.judging",
    "kendall_tau": "evaluation.ranking",
    "lid_mle": "lid.likelihood",
    "lid_profile": "lid.measure",
    "load_digits": "datasets",
    "load_image_parquet": "datasets",
    "load_neighbours": "search.result",
    "load_reference": "evaluation.benchmark",
    "load_run": "search.result",
    "load_study": "search.study",
    "load_task": "search.config",
    "load_truth": "search.config",
    "log_similarity": "partition.similarity",
    "measure_distances": "lid.measure",
    "nasbench201": "space.nasbench201",
    "over_seeds": "evaluation.verdicts",
    "pack_images": "packing",
    "pairwise_distances": "lid.gram",
    "panel_table": "tables",
    "parse_architecture": "space.nasbench201",
    "read_columns": "evaluation.benchmark",
    "reliability": "evaluation.labels",
    "run_study": "search.study",
    "sample_manifold": "lid.manifolds",
    "score_architectures": "evaluation.scores",
    "score_proxies": "evaluation.scores",
    "separability": "search.judging",
    "separability_tables": "tables",
    "separation": "evaluation.labels",
    "split_by": "partition.split",
    "split_stability": "partition.stability",
    "study_costs": "tables",
    "study_table": "tables",
    "train": "supernet.training",
    "train_stacked": "supernet.stacked",
    "trivial_scores": "evaluation.baselines",
    "write_images": "packing",
}

__all__ = [
    "ARMS",
    "ESTIMATORS",
    "PROXIES",
    "Architecture",
    "ConvolutionCountCriterion",
    "DecomposedSupernet",
    "Evaluation",
    "EvolutionConfig",
    "ExhaustiveGrouping",
    "FewShotRun",
    "GradientCriterion",
    "ImageTask",
    "Images",
    "LIDCriterion",
    "LIDProfile",
    "LayerDistances",
    "LeafScore",
    "MaximumLikelihood",
    "NaslidError",
    "NeighbourStore",
    "NormalisedCutGrouping",
    "ProgressDisplay",
    "RandomCriterion",
    "RankCorrelation",
    "ReferenceTable",
    "RunConfig",
    "RunStore",
    "ScikitDimension",
    "SearchSpace",
    "Skeleton",
    "SpectralGrouping",
    "Split",
    "SplitConfig",
    "SplitTree",
    "StackedNetworks",
    "Supernet",
    "TrainingConfig",
    "accuracy",
    "accuracy_of",
    "audit_operations",
    "bootstrap_profile",
    "cell_space",
    "check_answer",
    "choose_split",
    "column_agreement",
    "combine",
    "compare_costs",
    "compare_profiles",
    "compare_rankings",
    "context_stability",
    "correlation_similarity",
    "cosine_similarity",
    "cost_table",
    "cross_fit",
    "derive_run",
    "digits_truth_path",
    "euclidean_similarity",
    "evaluate",
    "evaluate_stacked",
    "evolve",
    "example_run",
    "example_study",
    "explore",
    "few_shot_search",
    "findings",
    "format_architecture",
    "generator",
    "hierarchical_search",
    "import_benchmark",
    "judge_study",
    "kendall_tau",
    "lid_mle",
    "lid_profile",
    "load_digits",
    "load_image_parquet",
    "load_neighbours",
    "load_reference",
    "load_run",
    "load_study",
    "load_task",
    "load_truth",
    "log_similarity",
    "measure_distances",
    "nasbench201",
    "over_seeds",
    "pack_images",
    "pairwise_distances",
    "panel_table",
    "parse_architecture",
    "read_columns",
    "reliability",
    "run_study",
    "sample_manifold",
    "score_architectures",
    "score_proxies",
    "separability",
    "separability_tables",
    "separation",
    "split_by",
    "split_stability",
    "study_costs",
    "study_table",
    "train",
    "train_stacked",
    "trivial_scores",
    "write_images",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
