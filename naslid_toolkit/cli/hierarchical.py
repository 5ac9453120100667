"""``naslid hierarchical``: narrow the space node by node until one architecture is left."""

import argparse
from pathlib import Path

import pandas as pd

from naslid_toolkit.cli.numbers import SEEDS, real, whole
from naslid_toolkit.cli.outputs import add_csv_option, check_outputs, write_csv
from naslid_toolkit.cli.results import print_frame, say
from naslid_toolkit.cli.search import add_setting_options, composed_config, files_read
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import accuracy_of
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.search.config import RunConfig, load_truth, merged, read_preset
from naslid_toolkit.search.hierarchical import hierarchical_search


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add_setting_options(parser)
    add(
        "--seeds",
        type=whole(1, SEEDS),
        default=1,
        metavar="N",
        help="searches, with seeds from 0 (default: 1)",
    )
    add(
        "--distillation",
        type=real(0, 1000),
        default=1.0,
        metavar="W",
        help="weight of the siblings' predictions; 0 trains each by itself (default: 1)",
    )
    add("--out", required=True, metavar="FOLDER", help="folder of the searches; continued if there")
    add("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda")
    add_csv_option(parser)
    add("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.set_defaults(run=_hierarchical)


def _hierarchical(options: argparse.Namespace) -> int:
    base = composed_config(options, read_preset(options.preset or "demo"))
    check_outputs(options.csv, inputs=files_read(options, base), folder=options.out)
    truth = load_truth(base)
    rows = []
    with ProgressDisplay(quiet=options.quiet) as show:
        for seed in range(options.seeds):
            run = hierarchical_search(
                RunConfig.from_dict(merged(base.to_dict(), {"seed": seed})),
                distillation=options.distillation,
                out=Path(options.out) / f"seed{seed}",
                device=options.device,
                on_event=show,
            )
            row: dict[str, object] = {"seed": seed, "architecture": run.architecture}
            row |= {"steps": run.steps, "splits": len(run.splits)}
            if truth is not None:
                own = accuracy_of(truth, run.architecture)
                row |= {"accuracy": own, "better": float((truth.accuracy > own).mean())}
            rows.append(row)
    table = pd.DataFrame(rows)
    _print(table, truth, options.distillation)
    if options.csv:
        write_csv(table, options.csv)
    return 0


def _print(table: pd.DataFrame, truth: ReferenceTable | None, distillation: float) -> None:
    text = table.drop(columns="architecture")
    for name, form in (("accuracy", "{:.4f}"), ("better", "{:.1%}"), ("steps", "{:,}")):
        if name in text:
            text[name] = text[name].map(form.format)
    print_frame(text.astype(str), f"What is left, distillation {distillation:g}")
    for seed, architecture in zip(table["seed"], table["architecture"], strict=True):
        say(f"seed {seed}: {architecture}")
    if truth is not None:
        say(
            f"Reference: {truth.column} of {truth.source}, best {truth.accuracy.max():.4f}; mean "
            f"of the searches {table['accuracy'].mean():.4f}. 'better': share of all architectures "
            f"that are."
        )
