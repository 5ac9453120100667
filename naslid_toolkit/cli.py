"""The ``naslid`` command: a thin skin over the functions a notebook calls."""

import argparse
import json
import re
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.table import Table

import naslid_toolkit
from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, NaslidError, SearchCancelledError, nearest_name
from naslid_toolkit.evaluation.benchmark import ReferenceTable, load_reference
from naslid_toolkit.evaluation.truth import build_digits_truth, connected_sample
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import MODES, EdgeCandidate, split_by
from naslid_toolkit.partition.stability import split_stability
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.report import summary_lines, summary_table, write_report
from naslid_toolkit.runtime import Event
from naslid_toolkit.search.config import (
    RunConfig,
    load_task,
    load_truth,
    merged,
    mode_settings,
    preset_names,
    read_preset,
    read_toml,
)
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.result import FewShotRun, load_neighbours, load_run
from naslid_toolkit.search.storage import RunStore

_SETTINGS: Final = ("space", "data", "criterion", "levels", "truth", "truth_column", "seed")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest legal word."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            word, legal = choice.group(1), re.findall(r"'?([\w-]+)'?", choice.group(2))
            message = f"unknown word {word!r}; {nearest_name(word, legal)}"
        super().error(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    0: done. 2: wrong input, explained on standard error. 130: stopped by Ctrl-C, everything
    stored.
    """
    parser, commands = _build_parser()
    options, extra = parser.parse_known_args(arguments)
    command = commands[options.command]
    if extra:
        known = re.findall(r"--[a-z][a-z-]*", command.format_usage())
        command.error(f"unknown option {extra[0]!r}; {nearest_name(extra[0], known)}")
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except NaslidError as error:
        notes = [f"  {note}" for note in getattr(error, "__notes__", ())]
        print("\n".join([f"naslid: error: {error}", *notes]), file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("naslid: stopped at once", file=sys.stderr)  # noqa: T201
        return 130


def _build_parser() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="naslid",
        description="Few-shot neural architecture search by local intrinsic dimensionality.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=naslid_toolkit.__version__)
    group = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = {}
    for name, add, text in (
        ("search", _search_options, "run a few-shot search"),
        ("evaluate", _evaluate_options, "compare a run's rankings with reference accuracies"),
        ("report", _report_options, "write one HTML page about a run"),
        ("split", _split_options, "split a node of a run anew, with other choices"),
        ("truth", _truth_options, "train architectures alone, for the digits reference table"),
    ):
        commands[name] = group.add_parser(
            name, help=text, description=text.capitalize() + ".", allow_abbrev=False
        )
        add(commands[name])
    return parser, commands


def _search_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", choices=preset_names(), help="settings to start from (default: demo)")
    add("--config", metavar="FILE.toml", help="settings that go over the preset's")
    add("--data", metavar="DATA", help="'digits', or a Parquet file of images (Hugging Face)")
    add("--space", choices=["nasbench201"], help="the search space")
    add("--criterion", choices=["lid", "random"], help="what a split rests on")
    add("--mode", choices=MODES, help="variant of the method")
    add("--levels", type=int, metavar="N", help="splits on the way to a leaf: 2^N leaves")
    add("--truth", metavar="FILE", help="table of reference accuracies, Parquet or CSV")
    add("--column", dest="truth_column", metavar="NAME", help="its column of accuracies")
    add("--seed", type=int, metavar="N", help="seed of everything random (default: 0)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, for instance training.learning_rate=0.05",
    )
    add("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda")
    add("--out", metavar="RUN", help="folder of the run (default: a new one below runs/)")
    add("--resume", action="store_true", help="continue the run in --out")
    add("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.set_defaults(run=_search)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _run_options(parser)
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    parser.set_defaults(run=_evaluate)


def _report_options(parser: argparse.ArgumentParser) -> None:
    _run_options(parser)
    parser.set_defaults(run=_report)


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--truth", metavar="FILE", help="another table of reference accuracies")
    parser.add_argument("--column", metavar="NAME", help="its column of accuracies")


def _split_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a run that kept its distances")
    add("--node", default="root", metavar="NODE", help="node of the split tree (default: root)")
    add("--k", type=int, metavar="N", help="neighbours (default: the run's)")
    add("--estimator", choices=ESTIMATORS, help="LID estimator (default: the run's)")
    add("--similarity", choices=SIMILARITIES, help="similarity (default: the run's)")
    add("--replicates", type=int, default=50, metavar="N", help="resamples (default: 50, 0: none)")
    parser.set_defaults(run=_split)


def _truth_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", default="digits_truth.parquet", metavar="FILE", help="the table to write")
    add("--count", type=int, default=208, metavar="N", help="architectures (default: 208)")
    add("--seeds", type=int, default=3, metavar="N", help="trainings of each (default: 3)")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=_truth)


def _search(options: argparse.Namespace) -> int:
    if options.resume and not options.out:
        raise ConfigError("--resume needs --out, the folder of the run to continue")
    config = _search_config(options)
    out = Path(options.out) if options.out else _free_folder(Path("runs"))
    task = load_task(config)
    truth = load_truth(config)
    with (
        _cancellable() as cancelled,
        ProgressDisplay(quiet=options.quiet, total_steps=_total_steps(config, task)) as show,
    ):

        def on_event(event: Event) -> None:
            show(event)
            if cancelled():
                raise SearchCancelledError("stopped")

        try:
            run = few_shot_search(
                config,
                task,
                architectures=None if truth is None else truth.accuracy.index,
                out=out,
                resume=options.resume,
                device=options.device,
                on_event=on_event,
            )
        except SearchCancelledError:
            show.say(
                f"Stopped; everything so far is stored. Continue with:\n"
                f"  naslid search --resume --out {out}"
            )
            return 130
    _print_summary(run, truth)
    _write_report(out, truth)
    return 0


def _search_config(options: argparse.Namespace) -> RunConfig:
    """Compose the settings: preset or stored run, then file, then options."""
    if options.resume and options.preset is None:
        base = RunStore.open(options.out).config.to_dict()
    else:
        base = read_preset(options.preset or "demo")
    if options.config:
        base = merged(base, read_toml(options.config))
    given = {name: getattr(options, name) for name in _SETTINGS}
    base = merged(base, {name: value for name, value in given.items() if value is not None})
    if options.mode:
        base = merged(base, mode_settings(options.mode))
    for text in options.set:
        base = merged(base, _setting(text))
    for name in ("data", "truth"):
        path = Path(str(base.get(name) or ""))
        if path.is_file():  # a run can be resumed from any folder
            base[name] = str(path.resolve())
    return RunConfig.from_dict(base)


def _setting(text: str) -> dict[str, Any]:
    """Read ``section.key=value``; a value that is not TOML is taken as text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set needs KEY=VALUE, got {text!r}")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        try:
            return tomllib.loads(f"{key} = {json.dumps(value)}")
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"--set cannot read {text!r}: {error}") from error


def _free_folder(parent: Path) -> Path:
    numbers = (f"search-{number:03d}" for number in range(1, 1000))
    return next(parent / name for name in numbers if not (parent / name).exists())


def _total_steps(config: RunConfig, task: ImageTask) -> int:
    methods = 2 if config.single else 1
    return methods * config.total_epochs * config.training.steps_per_epoch(task.train)


def _truth_of(options: argparse.Namespace, run: FewShotRun) -> ReferenceTable | None:
    if options.truth:
        return load_reference(options.truth, column=options.column)
    if options.column:
        raise ConfigError("--column needs --truth, the table it is in")
    return load_truth(run.config)


def _evaluate(options: argparse.Namespace) -> int:
    run = load_run(options.folder)
    truth = _truth_of(options, run)
    if options.json:
        if truth is None:
            raise ConfigError("the run has no reference accuracies; name a table with --truth")
        rows = run.compare(truth.accuracy).to_dict("records")
        source = {"source": truth.source, "column": truth.column, "rows": truth.rows}
        best = {"architecture": run.history.best.architecture, "score": run.history.best.score}
        result = {"reference": source, "methods": rows, "pick": best}
        sys.stdout.write(json.dumps(result, indent=1, default=float) + "\n")
    else:
        _print_summary(run, truth)
    return 0


def _report(options: argparse.Namespace) -> int:
    truth = _truth_of(options, load_run(options.folder))
    _write_report(options.folder, truth)
    return 0


def _split(options: argparse.Namespace) -> int:
    store = RunStore.open(options.folder)
    kept = load_neighbours(options.folder, options.node)
    settings, node = store.config.split, store.load_tree().node(options.node)
    k = options.k or settings.k
    estimator = ESTIMATORS[options.estimator or settings.estimator]
    similarity = SIMILARITIES[options.similarity or settings.similarity]
    table = Table("edge", "groups", "score", "chosen in", "grouped alike in")
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
        table.add_row(label, groups, f"{candidate.grouping.score:.3f}", *row)
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


def _truth(options: argparse.Namespace) -> int:
    if min(options.count, options.seeds, options.workers) < 1:
        raise ConfigError("--count, --seeds and --workers must be at least 1")
    with (
        ProgressDisplay(quiet=options.quiet) as show,
        ProcessPoolExecutor(options.workers) as executor,
    ):
        frame = build_digits_truth(
            Path(options.out),
            connected_sample(options.count, seed=0),
            seeds=range(options.seeds),
            executor=executor,
            on_event=show,
        )
    sys.stdout.write(f"{len(frame)} rows in {options.out}\n")
    return 0


def _write_report(folder: str | Path, truth: ReferenceTable | None) -> None:
    path = write_report(folder, reference=truth)
    Console(soft_wrap=True).print(f"Report: {path}", markup=False, highlight=False)


def _print_summary(run: FewShotRun, truth: ReferenceTable | None) -> None:
    console = Console(soft_wrap=True)
    if truth is not None:
        frame = summary_table(run, truth)
        table = Table(title=f"Ranking on {run.task}", title_justify="left")
        for name in map(str, frame):
            table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
        for row in frame.itertuples(index=False):
            table.add_row(*row)
        Console(width=max(console.width, 130)).print(table)
    for line in summary_lines(run, truth):
        console.print(line, markup=False, highlight=False)


@contextmanager
def _cancellable() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C instead of dying of it; a second one stops at once."""
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
