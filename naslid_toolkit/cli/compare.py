"""``naslid compare``: splitting criteria against each other at equal budget."""

import argparse

import torch

from naslid_toolkit.cli.numbers import SEEDS, whole
from naslid_toolkit.cli.outputs import add_csv_option, check_outputs, write_csv
from naslid_toolkit.cli.results import print_frame, say
from naslid_toolkit.cli.search import add_setting_options, composed_config, files_read
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.runtime import generator
from naslid_toolkit.search.config import RunConfig, load_truth, read_preset
from naslid_toolkit.search.judging import judge_study, separability, splitting_memory
from naslid_toolkit.search.study import ARMS, FIRST_ARM, Study, load_study, run_study
from naslid_toolkit.tables import separability_tables, study_costs, study_lines, study_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add_setting_options(parser)
    add("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=_arms_help())
    add("--seeds", type=whole(1, SEEDS), default=3, metavar="N", help=_seeds_help())
    add(
        "--architectures",
        type=whole(3, 1_000_000),
        default=1000,
        metavar="N",
        help="to score (default: 1000)",
    )
    add("--out", required=True, metavar="FOLDER", help="folder of the study; continued if there")
    add("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda")
    add("--judge-only", action="store_true", help="only judge the seeds that are finished in --out")
    add_csv_option(parser)
    add("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.set_defaults(run=_compare)


def _seeds_help() -> str:
    return (
        "trainings of each arm (default: 3), over which the arms are tested: 1 gives no test, "
        "3 show large differences only, 10 most of 0.02 in tau"
    )


def _arms_help() -> str:
    return (
        f"what to compare with lid, or with the first of them (default: all of {', '.join(ARMS)})"
    )


def _compare(options: argparse.Namespace) -> int:
    base = composed_config(options, read_preset(options.preset or "demo"))
    check_outputs(options.csv, inputs=files_read(options, base), folder=options.out)
    truth = load_truth(base)
    if truth is None:
        raise ConfigError("a comparison needs reference accuracies; name a table with --truth")
    if options.judge_only:
        study = load_study(options.out, arms=options.arms)
    else:
        study = _run(options, base, truth)
    first = FIRST_ARM if FIRST_ARM in options.arms else options.arms[0]
    table = judge_study(study, truth, first=first, seed=0)
    print_frame(study_table(study, table, truth), "Ranking at equal budget")
    memory = splitting_memory(options.out, arms=options.arms, base=base)
    costs = study_costs(study, table, first, memory=memory)
    print_frame(costs, f"{first} against the others, and what they cost")
    for line in study_lines(table, first, truth):
        say(line)
    measured = [arm for arm in ("lid", "gradient") if arm in options.arms]
    if len(measured) == 2:  # the paper's comparison
        by_edge, stable = separability_tables(*separability(options.out, arms=measured))
        print_frame(by_edge, "Variance of the cosines of all pairs of operations, root")
        print_frame(stable, "Share of resampled contexts with the same split, root")
    if options.csv:
        write_csv(table, options.csv)
    return 0


def _run(options: argparse.Namespace, base: RunConfig, truth: ReferenceTable) -> Study:
    names = sorted(map(str, truth.accuracy.index))
    draw = generator(0, "study sample")
    count = min(options.architectures, len(names))
    chosen = [names[i] for i in torch.randperm(len(names), generator=draw)[:count].tolist()]
    with ProgressDisplay(quiet=options.quiet) as show:
        return run_study(
            base,
            chosen,
            arms=options.arms,
            seeds=range(options.seeds),
            out=options.out,
            device=options.device,
            on_event=show,
        )
