"""``naslid evaluate``."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from naslid_toolkit.cli.results import add_truth_options, chosen_truth, print_frame, say
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import (
    ReferenceTable,
    digits_truth_path,
    load_reference,
    read_columns,
)
from naslid_toolkit.evaluation.panel import BENCHMARK, PICKS, Evaluation, evaluate
from naslid_toolkit.evaluation.priors import combine
from naslid_toolkit.report import pick_line, write_panel
from naslid_toolkit.runtime import replacing
from naslid_toolkit.search.config import load_truth
from naslid_toolkit.search.result import FewShotRun, load_run
from naslid_toolkit.tables import panel_lines, panel_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("scores", metavar="SCORES", help="a table of scores (Parquet, CSV) or a run's folder")
    add_truth_options(parser)
    add("--method", action="append", default=[], metavar="NAME", help="column of scores to judge")
    add(
        "--prior",
        action="append",
        default=[],
        metavar="NAME=WEIGHT",
        help="also judge the rank sum with a prior: convolution_count, parameter_count, flop_count",
    )
    add("--isomorphic", choices=["keep", "average"], default="keep", help="isomorphic cells")
    add("--top", type=int, nargs="+", default=PICKS, metavar="K", help="picks (default: 1 10 100)")
    add("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    add("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default: 0)")
    add("--json", action="store_true", help="print everything as JSON")
    add("--csv", metavar="FILE", help="also write all numbers as one tidy table")
    add("--html", metavar="FILE", help="also write the figures as one page")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    run = load_run(options.scores) if Path(options.scores).is_dir() else None
    truth = _truth(options, run)
    scores = _scores(options, run)
    declarations = _add_combinations(options.prior, scores)
    result = evaluate(
        scores,
        truth,
        seed=options.seed,
        picks=options.top,
        isomorphic=options.isomorphic,
        resamples=options.resamples,
    )
    if options.json:
        data = {**result.to_dict(), "combinations": declarations, **_search_pick(run)}
        sys.stdout.write(json.dumps(data, indent=1, default=float, allow_nan=False) + "\n")
    else:
        _print(result, declarations, run, truth)
    if options.csv:
        with replacing(Path(options.csv)) as temporary:
            result.to_frame().to_csv(temporary, index=False)
    if options.html:
        write_panel(options.html, result, scores, truth)
    return 0


def _truth(options: argparse.Namespace, run: FewShotRun | None) -> ReferenceTable:
    truth = chosen_truth(options)
    if truth is None and run is not None:
        truth = load_truth(run.config)
        if truth is None:
            raise ConfigError("the run has no reference accuracies; name a table with --truth")
    return truth if truth is not None else load_reference(digits_truth_path())


def _scores(options: argparse.Namespace, run: FewShotRun | None) -> pd.DataFrame:
    """Return the methods' scores; a run's trivial ones come with the evaluation."""
    if run is not None:
        frame = run.scores.drop(columns=["convolution_count", "parameter_count"], errors="ignore")
    else:
        frame = read_columns(options.scores)
    missing = [name for name in options.method if name not in frame]
    if missing:
        raise DataError(f"{options.scores} has no scores {missing[0]!r}, only {list(frame)}")
    return frame[options.method] if options.method else frame


def _add_combinations(priors: list[str], scores: pd.DataFrame) -> list[str]:
    """Add the declared rank sum of every method with the priors; return the declarations."""
    weights = {}
    for text in priors:
        name, equals, weight = text.partition("=")
        try:
            weights[name] = float(weight) if equals else 1.0
        except ValueError as error:
            raise ConfigError(f"--prior needs NAME=WEIGHT, got {text!r}") from error
    if not weights:
        return []
    trivial = trivial_scores(map(str, scores.index), BENCHMARK)
    declarations = []
    for method in [str(name) for name in scores]:
        parts = trivial.assign(**{method: scores[method]})
        combination = combine(parts, {method: 1.0, **weights})
        scores[f"{method} + prior"] = combination.scores
        declarations.append(combination.declaration)
    return declarations


def _search_pick(run: FewShotRun | None) -> dict[str, object]:
    if run is None:
        return {}
    best = run.history.best
    return {"pick": {"architecture": best.architecture, "score": best.score}}


def _print(
    result: Evaluation, declarations: list[str], run: FewShotRun | None, truth: ReferenceTable
) -> None:
    print_frame(panel_table(result), f"Kendall's tau with {truth.column} of {truth.source}")
    for line in [*panel_lines(result), *declarations]:
        say(line)
    if run is not None:
        say(pick_line(run, truth))
