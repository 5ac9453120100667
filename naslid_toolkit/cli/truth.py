"""``naslid truth``: make, import and examine tables of reference accuracies."""

import argparse
from pathlib import Path
from typing import Final

import pandas as pd

from naslid_toolkit.cli.numbers import SEEDS, WORKERS, whole
from naslid_toolkit.cli.outputs import check_outputs
from naslid_toolkit.cli.results import add_name_options, chosen_rows, print_frame, say
from naslid_toolkit.cli.search import worker_processes
from naslid_toolkit.errors import ConfigError, nearest_name
from naslid_toolkit.evaluation.audit import audit_operations
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference, read_columns
from naslid_toolkit.evaluation.columns import kind_of
from naslid_toolkit.evaluation.converting import convert_table
from naslid_toolkit.evaluation.importing import import_benchmark
from naslid_toolkit.evaluation.keyed import Reading
from naslid_toolkit.evaluation.labels import column_agreement, reliability, separation
from naslid_toolkit.evaluation.plain_pickles import TrainingsError
from naslid_toolkit.evaluation.truth import build_digits_truth
from naslid_toolkit.progress import ProgressDisplay

_ZIP: Final = b"PK"  # an archive of torch
_SHARDS: Final = 100_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    group = parser.add_subparsers(required=True, metavar="ACTION")
    for name, add, text in (
        ("build", _build_options, "train every cell of NB201-digits alone"),
        (
            "import",
            _import_options,
            "turn a benchmark file or a table in any dress into a plain one",
        ),
        ("audit", _audit_options, "say what a table tells about operations and its own noise"),
        ("agree", _agree_options, "say how far columns of a table rank alike"),
    ):
        action = group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        action.set_defaults(command=action)
        add(action)


def _build_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", default="nb201_digits.parquet", metavar="FILE", help="the table to write")
    add(
        "--seeds",
        type=whole(1, SEEDS),
        default=3,
        metavar="N",
        help="trainings of each cell (default: 3)",
    )
    shards = whole(1, _SHARDS)
    add("--shards", type=shards, default=1, metavar="N", help="parts the work is divided into")
    shard = whole(0, _SHARDS - 1)
    add("--shard", type=shard, default=0, metavar="I", help="the part to do, from 0")
    add("--workers", type=whole(1, WORKERS), default=2, metavar="N", help="processes (default: 2)")
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=_build)


def _import_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        metavar="FILE",
        help="NAS-Bench-201 .pth, NATS .pickle.pbz2 or its folder; or a table: CSV, TSV, JSON, "
        "Parquet, a plain pickle, packed or not",
    )
    add("--out", metavar="FILE", help="the table to write (default: FILE's name .parquet)")
    add_name_options(parser)
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=_import)


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="?", metavar="FILE", help="default: NB201-digits")
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="rows to take"
    )
    add_name_options(parser)


def _audit_options(parser: argparse.ArgumentParser) -> None:
    _table_options(parser)
    parser.add_argument("--column", metavar="NAME", help="its column of accuracies")
    parser.set_defaults(run=_audit)


def _agree_options(parser: argparse.ArgumentParser) -> None:
    _table_options(parser)
    parser.add_argument(
        "--columns", nargs="+", metavar="NAME", help="columns to compare (default: all accuracies)"
    )
    parser.set_defaults(run=_agree)


def _build(options: argparse.Namespace) -> int:
    if options.shard >= options.shards:
        raise ConfigError(f"--shard must be below --shards {options.shards}, got {options.shard}")
    check_outputs(options.out)
    with (
        ProgressDisplay(quiet=options.quiet) as show,
        worker_processes(options.workers) as executor,
    ):
        progress = build_digits_truth(
            Path(options.out),
            seeds=range(options.seeds),
            shards=options.shards,
            shard=options.shard,
            executor=executor,
            on_event=show,
        )
    seeds = ", ".join(map(str, progress.seeds)) or "none"
    say(f"{progress.done} of {progress.wanted} blocks done; complete seeds: {seeds}")
    if progress.seeds:
        say(f"Table: {options.out}")
    return 0


def _import(options: argparse.Namespace) -> int:
    source = Path(options.source)
    target = Path(options.out) if options.out else Path(source.name).with_suffix(".parquet")
    check_outputs(target, inputs=[source])
    reading = None if _is_packed_benchmark(source) else _convert(source, target, options)
    if reading is not None:
        say(f"{reading.architectures:,} architectures in {target}")
        for line in reading.lines("Found"):
            say(line)
        return 0
    if options.key or options.notation:
        raise ConfigError("--key and --notation are for tables; an official file names its cells")
    with ProgressDisplay(quiet=options.quiet) as show:
        found = import_benchmark(source, target, on_event=show)
    say(
        f"{found.architectures:,} architectures, {found.trainings:,} trainings, "
        f"{found.rows:,} rows in {target}"
    )
    return 0


def _is_packed_benchmark(source: Path) -> bool:
    """Say whether only the importer of official files can read it, or say what is wrong."""
    if not source.is_file():
        return True
    with source.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def _convert(source: Path, target: Path, options: argparse.Namespace) -> Reading | None:
    """Convert a table; None if the file holds trainings of a benchmark instead."""
    try:
        return convert_table(source, target, key=options.key, notation=options.notation)
    except TrainingsError:
        return None


def _audit(options: argparse.Namespace) -> int:
    path = options.table or digits_truth_path()
    truth = load_reference(
        path,
        column=options.column,
        where=chosen_rows(options.where),
        key=options.key,
        notation=options.notation,
    )
    audit = audit_operations(truth.accuracy)
    name = f"{truth.column} of {truth.source}"
    print_frame(_text(audit.without), f"Best accuracy without an operation, {name}")
    print_frame(_text(audit.counts), "Accuracy by the number of edges with an operation")
    print_frame(_text(audit.edges), "Accuracy by operation and edge")
    say(", ".join(f"{key} {value:.6g}" for key, value in audit.summary.items()))
    if truth.seeds.shape[1] > 1:
        labels, best = reliability(truth.seeds), separation(truth.seeds)
        say(
            f"Labels: {labels.seeds} seeds; tau between disjoint halves {labels.half:.3f}, between "
            f"two such tables {labels.full:.3f}, ceiling for a perfect score {labels.ceiling:.3f}."
        )
        say(
            f"The best {best.best} by the other seeds beat the rest of the best tenth by "
            f"{best.gain:.4f} on the seed left out; standard error of one mean {best.error:.4f}."
        )
    return 0


def _agree(options: argparse.Namespace) -> int:
    path = options.table or digits_truth_path()
    where = chosen_rows(options.where)
    frame = read_columns(path, where=where, key=options.key, notation=options.notation)
    known = [str(name) for name in frame]
    found = options.columns or [n for n in known if kind_of(n) in {"accuracy", "score"}]
    columns = list(dict.fromkeys(found))
    for name in columns:
        if name not in known:
            raise ConfigError(f"no column {name!r} in {path}; {nearest_name(name, known)}")
    print_frame(_text(column_agreement(frame[columns])), f"Kendall's tau between columns of {path}")
    return 0


def _text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of text; accuracies get four decimals."""
    return frame.map(lambda value: f"{value:.4f}" if isinstance(value, float) else str(value))
