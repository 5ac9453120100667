"""``naslid evaluate``."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from naslid_toolkit.cli.numbers import of_setting, weight, whole
from naslid_toolkit.cli.outputs import add_csv_option, check_outputs, write_csv
from naslid_toolkit.cli.results import (
    add_truth_options,
    chosen_rows,
    chosen_truth,
    key_of,
    print_frame,
    reading_lines,
    say,
)
from naslid_toolkit.errors import ConfigError, DataError, SpaceError
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import (
    ReferenceTable,
    digits_truth_path,
    load_reference,
    read_scores,
)
from naslid_toolkit.evaluation.keyed import Reading
from naslid_toolkit.evaluation.notations import is_cell
from naslid_toolkit.evaluation.panel import BENCHMARK, PICKS, Evaluation, evaluate
from naslid_toolkit.evaluation.priors import combine
from naslid_toolkit.report import pick_line, write_panel
from naslid_toolkit.search.checking import files_of_run
from naslid_toolkit.search.result import FewShotRun, load_run, read_truth
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.tables import panel_lines, panel_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("scores", metavar="SCORES", help="a table of scores in any dress, or a run's folder")
    add_truth_options(parser)
    _add_score_options(parser)
    add(
        "--prior",
        action="append",
        default=[],
        type=weight,
        metavar="NAME=WEIGHT",
        help="also judge the rank sum with a prior: convolution_count, parameter_count, flop_count",
    )
    add("--isomorphic", choices=["keep", "average"], default="keep", help="isomorphic cells")
    add(
        "--top",
        type=whole(1, 10_000_000),
        nargs="+",
        default=PICKS,
        metavar="K",
        help="picks (default: 1 10 100)",
    )
    add(
        "--resamples",
        type=whole(2, 1_000_000),
        default=1000,
        metavar="N",
        help="of the bootstrap (default: 1000)",
    )
    add(
        "--seed",
        type=of_setting("seed"),
        default=0,
        metavar="N",
        help="of the bootstrap (default: 0)",
    )
    add("--json", action="store_true", help="print everything as JSON")
    add_csv_option(parser, "also write all numbers as one tidy table")
    add("--html", metavar="FILE", help="also write the figures as one page")
    parser.set_defaults(run=_evaluate)


def _add_score_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is asked about the table of scores."""
    for name, metavar, text in (
        ("--method", "NAME", "column of scores to judge (default: all that may be scores)"),
        ("--rows", "KEY=VALUE", "rows of SCORES to take, for instance epoch=199"),
        ("--lower-is-better", "NAME", "column of which small values are good"),
        ("--higher-is-better", "NAME", "column of which large values are good, whatever its name"),
    ):
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse if a score is missing or its architecture is not in the reference",
    )


def _evaluate(options: argparse.Namespace) -> int:
    run = load_run(options.scores) if Path(options.scores).is_dir() else None
    check_outputs(options.csv, options.html, inputs=_inputs(options, run))
    _check_key(options, run)
    truth = _truth(options, run)
    scores, reading = _scores(options, run, truth)
    declarations = _add_combinations(dict(options.prior), scores)
    result = evaluate(
        scores,
        truth,
        seed=options.seed,
        picks=options.top,
        isomorphic=options.isomorphic,
        resamples=options.resamples,
        strict=options.strict,
    )
    readings = {"scores": reading, "reference": truth.reading}
    if options.json:
        read = {name: one and one.to_dict() for name, one in readings.items()}
        data = {**result.to_dict(), "combinations": declarations, **_search_pick(run), "read": read}
        sys.stdout.write(json.dumps(data, indent=1, default=float, allow_nan=False) + "\n")
    else:
        for line in reading_lines(reading, truth.reading):
            say(line)
        _print(result, declarations, run, truth)
    if options.csv:
        write_csv(result.to_frame(), options.csv)
    if options.html:
        write_panel(options.html, result, scores, truth)
    return 0


def _inputs(options: argparse.Namespace, run: FewShotRun | None) -> list[str | Path]:
    """Return the files that are read."""
    truth = options.truth or digits_truth_path()
    if run is None:
        return [options.scores, truth]
    return [run.config.truth, truth, *files_of_run(options.scores)]


def _check_key(options: argparse.Namespace, run: FewShotRun | None) -> None:
    """Refuse a column of names that neither table has."""
    tables = [options.scores] * (run is None) + [options.truth] * bool(options.truth)
    if options.key and not any(key_of(path, options.key) for path in tables):
        raise DataError(f"no column {options.key!r} of names in {' or '.join(tables)}")


def _truth(options: argparse.Namespace, run: FewShotRun | None) -> ReferenceTable:
    own = {"key": key_of(options.truth, options.key)} if options.truth else {}
    truth = chosen_truth(argparse.Namespace(**{**vars(options), **own}))
    if truth is None and run is not None:
        truth = read_truth(RunStore.open(options.scores))
        if truth is None:
            raise ConfigError("the run has no reference accuracies; name a table with --truth")
    return truth if truth is not None else load_reference(digits_truth_path())


def _scores(
    options: argparse.Namespace, run: FewShotRun | None, truth: ReferenceTable
) -> tuple[pd.DataFrame, Reading | None]:
    """Return the methods' scores; a run's trivial ones come with the evaluation."""
    if run is None:
        table = read_scores(
            options.scores,
            methods=options.method,
            smaller=options.lower_is_better,
            larger=options.higher_is_better,
            where=chosen_rows(options.rows),
            key=key_of(options.scores, options.key),
            notation=options.notation,
            known=tuple(map(str, truth.accuracy.index)),
        )
        return table.scores, table.reading
    frame = run.scores.drop(columns=["convolution_count", "parameter_count"], errors="ignore")
    missing = [name for name in options.method if name not in frame]
    if missing:
        raise DataError(f"{options.scores} has no scores {missing[0]!r}, only {list(frame)}")
    return (frame[options.method] if options.method else frame), None


def _add_combinations(weights: Mapping[str, float], scores: pd.DataFrame) -> list[str]:
    """Add the declared rank sum of every method with the priors; return the declarations."""
    if not weights:
        return []
    cells = [str(name) for name in scores.index if is_cell(str(name))]
    if not cells:
        raise SpaceError("priors are known of cells of NAS-Bench-201 only, and no name is one")
    trivial = trivial_scores(cells, BENCHMARK)
    declarations = []
    for method in [str(name) for name in scores]:
        parts = trivial.assign(**{method: scores[method]}).dropna()
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
