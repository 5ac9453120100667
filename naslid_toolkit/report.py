"""The summary of a run: a table, and one self-contained HTML page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import plotly.graph_objects as go
import tomli_w

from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import Evaluation, accuracy_of
from naslid_toolkit.evaluation.ranking import tau_difference
from naslid_toolkit.evaluation.verdicts import ON_THESE_WEIGHTS, RESERVATION, difference_text
from naslid_toolkit.partition.split import Split
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.plain_text import as_html, html_table
from naslid_toolkit.plots.evaluation import plot_evaluation
from naslid_toolkit.plots.lid_curves import plot_lid
from naslid_toolkit.plots.ranking import plot_history, plot_ranking
from naslid_toolkit.plots.similarity import plot_similarity
from naslid_toolkit.plots.split_tree import plot_split_tree
from naslid_toolkit.runtime import replacing
from naslid_toolkit.search.result import FewShotRun, load_run, read_truth
from naslid_toolkit.search.reuse import FEW_SHOT, SINGLE
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.tables import panel_lines, panel_table

_SCATTERS: Final = 3  # panels that fit beside each other
CRITERION_LABELS: Final[Mapping[str, str]] = {
    "lid": "LID",
    "gradient": "gradient",
    "convolution_count": "convolution count",
    "exhaustive": "exhaustive",
    "random": "random",
}
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2a44; max-width: 1100px; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } th, td { padding: .35rem .8rem; text-align: right; }
th { border-bottom: 2px solid #1f2a44; } td:first-child, th:first-child { text-align: left; }
tr:nth-child(even) td { background: #f4f6fa; }
pre { background: #f4f6fa; padding: 1rem; overflow-x: auto; font-size: 14px; }
.note { color: #44506b; }
"""


def method_label(method: str, run: FewShotRun) -> str:
    """Return what a method is called in tables."""
    criterion = CRITERION_LABELS[run.config.criterion]
    labels = {
        FEW_SHOT: f"few-shot ({criterion} split, {len(run.tree.leaves)} leaves)",
        SINGLE: "single supernet, same steps",
        "convolution_count": "convolution count (untrained)",
        "parameter_count": "parameter count (untrained)",
    }
    return labels.get(method, method)


def summary_table(run: FewShotRun, reference: ReferenceTable) -> pd.DataFrame:
    """Return the final table of a run, one row a method, as text.

    Columns: method, Kendall's tau with its 95 % bootstrap interval over architectures,
    Spearman's rho, reference accuracy of the method's pick, optimiser steps, training seconds.
    """
    rows = []
    for row in run.compare(reference.accuracy).to_dict("records"):
        known = row["method"] in run.costs.index
        steps = f"{run.costs.loc[row['method'], 'steps']:,.0f}" if known else "0"
        seconds = f"{run.costs.loc[row['method'], 'seconds']:.0f}" if known else "0"
        rows.append(
            {
                "method": method_label(str(row["method"]), run),
                "Kendall tau": f"{row['tau']:.3f}",
                "95 % interval": f"[{row['low']:.3f}, {row['high']:.3f}]",
                "Spearman": f"{row['spearman']:.3f}",
                "accuracy of its pick": f"{row['pick']:.3f}",
                "steps": steps,
                "seconds": seconds,
            }
        )
    return pd.DataFrame(rows)


def summary_lines(run: FewShotRun, reference: ReferenceTable | None) -> list[str]:
    """Return what the table does not say: the comparison, its protocol, the search's pick."""
    lines = []
    if reference is not None:
        compared = run.scores.index.intersection(reference.accuracy.index)
        values = reference.accuracy[compared]
        lines.append(
            f"Reference: {reference.column} of {reference.source}, {reference.rows} row(s) for "
            f"each of {len(compared)} architectures (best {values.max():.3f}, "
            f"mean {values.mean():.3f})."
        )
        read = reference.reading
        if read is not None and (read.notes or read.form != "Parquet"):
            lines += read.lines("Read", verbose=False)
        if SINGLE in run.scores:
            scores = (run.scores[FEW_SHOT], run.scores[SINGLE])
            change, low, high = tau_difference(*scores, reference.accuracy, seed=run.config.seed)
            told = difference_text("Few-shot", "single", change, low, high)
            lines.append(f"{told}; {RESERVATION}.")
    else:
        lines.append(
            "No reference accuracies: rank correlations need a table, "
            "see 'naslid evaluate --help' (--truth)."
        )
    lines.append(pick_line(run, reference))
    return lines


def pick_line(run: FewShotRun, reference: ReferenceTable | None) -> str:
    """Return what the search picked."""
    best = run.history.best
    return (
        f"Picked by the search among {len(run.history.evaluated)}: {best.architecture} "
        f"(score {best.score:.3f}, {best.parameters:,} parameters, {best.flops:,} FLOPs"
        f"{_reference_of(best.architecture, reference)})."
    )


def _reference_of(architecture: str, reference: ReferenceTable | None) -> str:
    if reference is None:
        return ""
    accuracy = accuracy_of(reference, architecture)
    if math.isnan(accuracy):
        return ", not in the reference table"
    return f", reference accuracy {accuracy:.3f}"


def write_report(folder: str | Path, *, reference: ReferenceTable | None = None) -> Path:
    """Write ``report.html`` into the folder of a finished run and return its path.

    Parameters
    ----------
    folder
        The folder of the run.
    reference
        Reference accuracies; None takes those the run is configured with, if any.

    Raises
    ------
    DataError
        If the run is not finished, or a file is damaged.
    """
    store = RunStore.open(folder)
    run = load_run(folder)
    reference = reference if reference is not None else read_truth(store)
    path = store.folder / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(_page(run, store, reference), encoding="utf-8")
    return path


def write_panel(
    path: str | Path, evaluation: Evaluation, scores: pd.DataFrame, reference: ReferenceTable
) -> None:
    """Write an evaluation as one page: table, tests, scatter, tau by top fraction, regret.

    Parameters
    ----------
    path
        The HTML file to write.
    evaluation
        The evaluation of ``scores`` by ``reference``.
    scores
        One column a method; the first ones are drawn as a scatter.
    reference
        Reference accuracies.
    """
    title = f"Ranking by {reference.column} of {reference.source}"
    parts = [f"<h1>{as_html(title)}</h1>"]
    parts.append(html_table(panel_table(evaluation)))
    parts += [f"<p>{as_html(line)}</p>" for line in panel_lines(evaluation)]
    drawn, seed = scores.dropna()[scores.columns[:_SCATTERS]], evaluation.protocol["seed"]
    for number, figure in enumerate(
        (
            plot_ranking(drawn, reference.accuracy, seed=seed, evaluation=evaluation),
            plot_evaluation(evaluation),
        )
    ):
        parts.append(figure.to_html(full_html=False, include_plotlyjs=not number))
    with replacing(Path(path)) as temporary:
        temporary.write_text(_document(title, parts), encoding="utf-8")


def _page(run: FewShotRun, store: RunStore, reference: ReferenceTable | None) -> str:
    """Put the page together; every text is escaped, nothing is loaded from elsewhere."""
    title = f"Few-shot search on {run.task}"
    parts = [f"<h1>{as_html(title)}</h1>"]
    if reference is not None:
        parts.append(html_table(summary_table(run, reference)))
        parts.append(
            f"<p class='note'>Intervals: bootstrap over architectures, {ON_THESE_WEIGHTS}, not "
            f"over seeds of the search; one run has one seed.</p>"
        )
    parts += [f"<p>{as_html(line)}</p>" for line in summary_lines(run, reference)]
    library: bool = True
    for heading, text, figure in _figures(run, reference):
        picture = figure.to_html(full_html=False, include_plotlyjs=library)
        parts.append(f"<h2>{as_html(heading)}</h2><p>{as_html(text)}</p>{picture}")
        library = False
    environment = "\n".join(f"{key}: {value}" for key, value in store.environment.items())
    for heading, text in (
        ("Settings", tomli_w.dumps(run.config.to_dict())),
        ("Environment", environment),
    ):
        parts.append(f"<h2>{heading}</h2><pre>{as_html(text)}</pre>")
    return _document(title, parts)


def _document(title: str, parts: Sequence[str]) -> str:
    """Put parts into one page that loads nothing."""
    body = "\n".join(parts)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{as_html(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _figures(run: FewShotRun, reference: ReferenceTable | None) -> list[tuple[str, str, go.Figure]]:
    """Return heading, explanation and figure of every section."""
    figures = [
        (
            "Split tree",
            "Each node is a space with its own supernet; a branch keeps the operations written "
            "on it. Sub-supernets inherit their parent's weights.",
            plot_split_tree(run.tree),
        )
    ]
    for node in run.tree.nodes():
        if node.split is not None:
            figures += _split_figures(run, node, node.split)
    if reference is not None:
        methods = {m: run.scores[m] for m in (FEW_SHOT, SINGLE) if m in run.scores}
        figures.append(
            (
                "Ranking",
                "Each point is an architecture of the reference table, trained alone for the "
                "vertical axis.",
                plot_ranking(methods, reference.accuracy, seed=run.config.seed),
            )
        )
    figures.append(
        (
            "Search",
            "Architectures in the order they were scored, with the weights of their leaf.",
            plot_history(run.history),
        )
    )
    return figures


def _split_figures(
    run: FewShotRun, node: SplitTree, split: Split
) -> list[tuple[str, str, go.Figure]]:
    """Return curves and matrices of one split."""
    name, edge = node.name, node.space.edge_name(split.edge)
    if all(item.edge != split.edge for item in run.evidence[name]):
        return []  # split by hand where nothing was measured
    evidence = run.chosen_evidence(name)
    figures = []
    if run.config.criterion == "lid":
        figures.append(
            (
                f"LID curves of {name}",
                f"Edge {edge}, the one chosen for the split: each operation in "
                f"{len(evidence.contexts)} sampled paths, mean and standard error over the paths.",
                plot_lid(evidence, title=f"{name}: LID by operation of edge {edge}"),
            )
        )
    figures.append(
        (
            f"Similarity matrices of {name}",
            "Every edge that could be split; white lines separate the two groups found.",
            plot_similarity(split, node.space, title=f"{name}: similarity of operations"),
        )
    )
    return figures
