"""``naslid search``."""

import argparse
import json
import multiprocessing
import os
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from glob import has_magic
from pathlib import Path
from types import FrameType
from typing import Any, Final, get_args

import torch

from naslid_toolkit.cli.numbers import WORKERS, of_setting, whole
from naslid_toolkit.cli.results import print_summary, say
from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import ConfigError, NaslidError, SearchCancelledError
from naslid_toolkit.image_tables import find_files
from naslid_toolkit.partition.split import MODES
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.report import write_report
from naslid_toolkit.runtime import Event, Remark
from naslid_toolkit.search.config import (
    DIGITS,
    CriterionName,
    RunConfig,
    load_task,
    load_truth,
    merged,
    mode_settings,
    preset_names,
    read_preset,
    read_toml,
)
from naslid_toolkit.search.control import RunControl
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.launch import free_folder
from naslid_toolkit.search.result import read_truth
from naslid_toolkit.search.steps import read_images
from naslid_toolkit.search.storage import RunStore

_LOOK_EVERY: Final = 0.5  # seconds
_SETTINGS: Final = ("space", "data", "criterion", "levels", "truth", "truth_column", "seed")
_IMAGE_SETTINGS: Final = ("test_data", "image_column", "label_column", "drop_unlabelled")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add_setting_options(parser)
    add("--space", choices=["nasbench201"], help="the search space")
    add("--criterion", choices=get_args(CriterionName), help="what a split rests on")
    add("--mode", choices=MODES, help="variant of the method")
    add("--levels", type=of_setting("levels"), metavar="N", help="splits on the way to a leaf")
    add(
        "--seed",
        type=of_setting("seed"),
        metavar="N",
        help="seed of everything random (default: 0)",
    )
    add("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda")
    add(
        "--workers",
        type=whole(1, WORKERS),
        default=1,
        metavar="N",
        help="processes to train, measure and score in (default: 1, this one)",
    )
    add(
        "--threads",
        type=whole(0, WORKERS),
        default=0,
        metavar="N",
        help="threads of a new run, with which every process of it computes, since they decide the "
        "last digits (default: as many as torch takes); 1 is best with several workers",
    )
    add("--out", metavar="RUN", help="folder of the run (default: a new one below runs/)")
    add("--resume", action="store_true", help="continue the run in --out")
    add("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.set_defaults(run=_search)


def add_setting_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that compose settings."""
    add = parser.add_argument
    add("--preset", choices=preset_names(), help="settings to start from (default: demo)")
    add("--config", metavar="FILE.toml", help="settings that go over the preset's")
    add(
        "--data",
        nargs="+",
        metavar="DATA",
        help="'digits', or Parquet files of images (Hugging Face): names, a pattern, or a folder",
    )
    add("--test-data", nargs="+", metavar="FILE", help="Parquet files of the test images")
    add("--image-column", metavar="NAME", help="column of the images, if that is not plain")
    add("--label-column", metavar="NAME", help="column of the labels, if that is not plain")
    add(
        "--drop-unlabelled",
        action="store_true",
        default=None,
        help="leave out images without a usable label",
    )
    add("--truth", metavar="FILE", help="table of reference accuracies, Parquet or CSV")
    add("--column", dest="truth_column", metavar="NAME", help="its column of accuracies")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, for instance training.learning_rate=0.05",
    )


def files_read(options: argparse.Namespace, config: RunConfig) -> list[str]:
    """Return the files that composed settings are read from, or name."""
    images = [config.data, config.images.test_data]
    found = [str(path) for data in images if data and data != DIGITS for path in find_files(data)]
    return [name for name in (options.config, config.truth, *found) if name]


def _search(options: argparse.Namespace) -> int:
    _check(options)
    config = _search_config(options)
    out = Path(options.out) if options.out else free_folder(Path("runs"), "search-{:03d}")
    store = RunStore.open(out) if options.resume else None
    task = load_task(config) if store is None else read_images(store)
    for note in task.notes:
        say(note)
    truth = load_truth(config) if store is None else read_truth(store)
    if options.threads:
        torch.set_num_threads(options.threads)
    with (
        worker_processes(options.workers) as executor,
        _cancellable(RunControl(out)) as cancelled,
        ProgressDisplay(quiet=options.quiet, total_steps=_total_steps(config, task)) as show,
    ):

        def on_event(event: Event) -> None:
            if not isinstance(event, Remark):  # said already
                show(event)
            if cancelled():
                raise SearchCancelledError("stopped")

        try:
            run = few_shot_search(
                config,
                task if executor is None else None,  # workers load the images themselves
                architectures=None if truth is None else truth.accuracy.index,
                out=out,
                resume=options.resume,
                device=options.device,
                executor=executor,
                on_event=on_event,
            )
        except SearchCancelledError:
            show.say(
                f"Stopped; everything so far is stored. Continue with:\n"
                f"  naslid search --resume --out {out}"
            )
            return 130
    print_summary(run, truth)
    say(f"Report: {write_report(out, reference=truth)}")
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.resume and not options.out:
        raise ConfigError("--resume needs --out, the folder of the run to continue")
    if options.threads and options.resume:
        raise ConfigError("--threads is for a new run; one that is resumed has its own")


@contextmanager
def worker_processes(count: int) -> Iterator[Executor | None]:
    """Give an executor of fresh processes, which end with this one; None for a single worker."""
    if count == 1:
        yield None
        return
    fresh = multiprocessing.get_context("spawn")
    # Threads of several processes that spin while they wait would slow each other many times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ProcessPoolExecutor(
        count, mp_context=fresh, initializer=_begin_worker, initargs=(os.getpid(),)
    ) as pool:
        yield pool


def _begin_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)  # nobody waits for what this process does


def _search_config(options: argparse.Namespace) -> RunConfig:
    """Compose the settings: preset or stored run, then file, then options."""
    if options.resume and options.preset is None:
        return composed_config(options, RunStore.open(options.out).config.to_dict())
    return composed_config(options, read_preset(options.preset or "demo"))


def composed_config(options: argparse.Namespace, base: Mapping[str, Any]) -> RunConfig:
    """Return settings with those of the options over them."""
    if options.config:
        base = merged(base, read_toml(options.config))
    base = merged(base, _given(options, _SETTINGS))
    base = merged(base, {"images": _given(options, _IMAGE_SETTINGS)})
    if getattr(options, "mode", None):
        base = merged(base, mode_settings(options.mode))
    for text in options.set:
        base = merged(base, _setting(text))
    try:
        return RunConfig.from_dict(_resolved(base))
    except ConfigError as error:
        if options.config:
            error.add_note(f"with the settings of {options.config}")
        raise


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the settings that options give."""
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _resolved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make names of files whole, so that a run can be resumed from any folder."""
    found = {name: _whole(value) for name, value in settings.items() if name in {"data", "truth"}}
    images = settings.get("images")
    if isinstance(images, Mapping) and "test_data" in images:
        found["images"] = {**images, "test_data": _whole(images["test_data"])}
    return {**settings, **found}


def _whole(value: Any) -> Any:  # noqa: ANN401 - TOML
    if isinstance(value, list | tuple):
        return _whole(value[0]) if len(value) == 1 else [_whole(one) for one in value]
    if not isinstance(value, str) or value in {"", DIGITS}:
        return value
    if Path(value).exists() or has_magic(value):
        return str(Path(value).absolute())
    return value


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


def _total_steps(config: RunConfig, task: ImageTask) -> int:
    methods = 2 if config.single else 1
    return methods * config.total_epochs * config.training.steps_per_epoch(task.train)


@contextmanager
def _cancellable(control: RunControl) -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C instead of dying of it; a second one stops at once.

    Workers, which this process only waits for, are asked through the folder of the run.
    """
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        with suppress(NaslidError, OSError):  # there may be no folder yet
            control.request("cancel")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
