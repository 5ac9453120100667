"""``naslid report`` and ``naslid split``, and what all commands print about a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.benchmark import ReferenceTable, load_reference
from naslid_toolkit.evaluation.keyed import Reading
from naslid_toolkit.evaluation.notations import NAMES, NOTATIONS
from naslid_toolkit.evaluation.reading import read_raw
from naslid_toolkit.evaluation.verdicts import ON_THESE_WEIGHTS
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import EdgeCandidate, split_by
from naslid_toolkit.partition.stability import split_stability
from naslid_toolkit.report import summary_lines, summary_table, write_report
from naslid_toolkit.search.config import load_truth
from naslid_toolkit.search.result import FewShotRun, load_neighbours, load_run
from naslid_toolkit.search.storage import RunStore

_ENDLESS = 10_000  # columns of text: as many as a table wants


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``naslid report``."""
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run")
    add_truth_options(parser)
    parser.set_defaults(run=_report)


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``naslid split``."""
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a run that kept its distances")
    add("--node", default="root", metavar="NODE", help="node of the split tree (default: root)")
    add("--k", type=int, metavar="N", help="neighbours (default: the run's)")
    add("--estimator", choices=ESTIMATORS, help="LID estimator (default: the run's)")
    add("--similarity", choices=SIMILARITIES, help="similarity (default: the run's)")
    add("--replicates", type=int, default=50, metavar="N", help="resamples (default: 50, 0: none)")
    parser.set_defaults(run=_split)


def add_truth_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a table of reference accuracies."""
    add = parser.add_argument
    add("--truth", metavar="FILE", help="table of reference accuracies: Parquet, CSV, JSON")
    add("--column", metavar="NAME", help="its column of accuracies")
    add("--validation", metavar="NAME", help="its column of validation accuracies, for a ceiling")
    add(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="its rows to take, for instance dataset=cifar10 (may be repeated)",
    )
    add_name_options(parser)


def add_name_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say where the names of architectures are and what they are."""
    parser.add_argument(
        "--key", metavar="NAME", help="column of the architectures' names (default: recognised)"
    )
    parser.add_argument(
        "--notation",
        choices=[*NOTATIONS, NAMES],
        help="how they are written, where that is not clear; 'names' compares them as they are",
    )


def chosen_truth(options: argparse.Namespace) -> ReferenceTable | None:
    """Load the table that the options name; None if they name none."""
    if options.truth:
        return load_reference(
            options.truth,
            column=options.column,
            validation=options.validation,
            where=chosen_rows(options.where),
            key=options.key,
            notation=options.notation,
        )
    alone = () if hasattr(options, "scores") else ("key", "notation")  # those of scores as well
    for name in ("column", "validation", "where", *alone):
        if getattr(options, name):
            raise ConfigError(f"--{name} needs --truth, the table it is in")
    return None


def key_of(path: str, key: str | None) -> str | None:
    """Return the column of names that was asked for if a table has it; else it finds its own."""
    return key if key and key in read_raw(Path(path)).frame else None


def chosen_rows(texts: Sequence[str]) -> dict[str, str]:
    """Read ``KEY=VALUE`` pairs."""
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]
    if wrong:
        raise ConfigError(f"--where needs KEY=VALUE, got {wrong[0]!r}")
    return {key: value for key, _, value in pairs}


def reading_lines(scores: Reading | None, reference: Reading | None) -> list[str]:
    """Return what was read of both tables; of the reference not every column left out."""
    lines = scores.lines("Scores") if scores else []
    return lines + (reference.lines("Reference", verbose=False) if reference else [])


def say(line: str) -> None:
    """Print one line as it is; what is no text in the name of a file as an escape."""
    text = line.encode("utf-8", "backslashreplace").decode()
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print a frame of text as a table: in a narrow terminal by more lines, never cut."""
    table = Table(title=Text(title), title_justify="left")
    for place, name in enumerate(map(str, frame)):
        table.add_column(Text(name), justify="left" if place == 0 else "right", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*map(Text, row))  # names from files are no markup
    console = Console()
    whole = Measurement.get(console, console.options.update(max_width=_ENDLESS), table).maximum
    Console(width=console.width if console.is_terminal else whole).print(table)


def print_summary(run: FewShotRun, truth: ReferenceTable | None) -> None:
    """Print the final table of a run and what belongs to it."""
    if truth is not None:
        print_frame(summary_table(run, truth), f"Ranking on {run.task}")
    for line in summary_lines(run, truth):
        say(line)


def _report(options: argparse.Namespace) -> int:
    truth = chosen_truth(options) or load_truth(load_run(options.folder).config)
    say(f"Report: {write_report(options.folder, reference=truth)}")
    return 0


def _split(options: argparse.Namespace) -> int:
    store = RunStore.open(options.folder)
    kept = load_neighbours(options.folder, options.node)
    settings, node = store.config.split, store.load_tree().node(options.node)
    k = options.k or settings.k
    estimator = ESTIMATORS[options.estimator or settings.estimator]
    similarity = SIMILARITIES[options.similarity or settings.similarity]
    title = f"Split of {options.node}; shares: resamples of the images, {ON_THESE_WEIGHTS}"
    heads = ("edge", "groups", "score", "chosen in", "grouped alike in")
    table = Table(*heads, title=title, title_justify="left")
    shares: dict[int, tuple[str, str]] = {}
    if options.replicates and isinstance(estimator, MaximumLikelihood):
        with Console(stderr=True).status(f"resampling the images {options.replicates} times"):
            stability = split_stability(
                kept,
                k=k,
                estimator=estimator,
                similarity=similarity,
                grouping=settings.grouping,
                replicates=options.replicates,
                seed=store.config.seed,
            )
        split = stability.split
        for edge, _, chosen, alike in stability.edges.itertuples(index=False):
            shares[edge] = f"{chosen:.0%}", f"{alike:.0%}"
    else:
        evidence = kept.evidence(k=k, estimator=estimator)
        split = split_by(evidence, similarity=similarity, grouping=settings.grouping)
    for candidate in split.candidates:
        groups = _groups(candidate)
        name = node.space.edge_name(candidate.edge)
        label = f"{name} (chosen)" if candidate.edge == split.edge else name
        row = shares.get(candidate.edge, ("", ""))
        table.add_row(label, groups, candidate.grouping.score_text, *row)
    console = Console()
    console.print(table)
    trained = node.split
    if trained is not None:
        same = trained.edge == split.edge and set(trained.chosen.groups) == set(split.chosen.groups)
        console.print(f"The run split edge {node.space.edge_name(trained.edge)}", end=" ")
        console.print("into the same groups." if same else f"otherwise: {_groups(trained.chosen)}")
    return 0


def _groups(candidate: EdgeCandidate) -> str:
    return " | ".join(", ".join(group) for group in candidate.groups)
