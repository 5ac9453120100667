r"""Train supernets on CIFAR-10, judge their rankings by NAS-Bench-201, report in docs/results.md.

python -m benchmarks.reproduction configs/cifar10_cpu.toml configs/cifar10_cpu_lid.toml \
    --data ../shared/data --seeds 3 --workers 2 --out runs/cifar10_cpu

Every file is the settings of one row. Runs are kept below --out; the same command goes on where
it was stopped. The cells of the benchmark are divided in two fixed halves: settings were chosen
by the first, the second is what is reported. Isomorphic cells are in the same half.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from benchmarks.cells import Cells, choose_cells
from benchmarks.reported import CURVE, PAGE, USED, write_section
from naslid_toolkit import RunConfig
from naslid_toolkit.datasets import ImageTask
from naslid_toolkit.errors import SearchCancelledError
from naslid_toolkit.evaluation.benchmark import load_reference
from naslid_toolkit.evaluation.scores import LeafScore, score_architectures
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.runtime import WORK_CLOCK, Event, append_json_line, read_json_lines
from naslid_toolkit.search.config import load_task, merged, read_toml
from naslid_toolkit.search.few_shot import few_shot_search, finished
from naslid_toolkit.search.steps import Place, resolve_device
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.supernet.training import EpochDone

IMAGES: Final = "cifar10-train.parquet"
TRUTH: Final = "nb201_accuracies.parquet"
DATA: Final = Path("../shared/data")
CONFIGS: Final = Path(__file__).parents[1] / "configs"
COLUMN: Final = "cifar10_test_200"
_POINTS: Final = 8  # of a curve


@dataclass(frozen=True, slots=True)
class Job:
    """One row with one seed; ``donors`` are the earlier rows, for the weights they share."""

    config: RunConfig
    folder: Path
    cells: Cells
    device: str
    deadline: float
    donors: tuple[Path, ...]

    @property
    def done(self) -> bool:
        return (self.folder / "scores.parquet").exists()


def read_row(path: Path, data: Path | None, seed: int, cells: int) -> RunConfig:
    """Return the settings of a row for one seed; ``data`` is the folder of images and truth."""
    over: dict[str, Any] = {"seed": seed, "single": False, "sample": cells}
    over["evolution"] = {"evaluations": 2, "population": 2, "tournament": 1}  # the pick is scored
    if data is not None:
        over |= {"data": str(data / IMAGES)}
    return RunConfig.from_dict(merged(read_toml(path), over))


class Recorder:
    """Stops at a deadline, and scores some cells along the training of a single supernet."""

    def __init__(self, job: Job, task: ImageTask) -> None:
        self.job, self.task = job, task
        epochs = job.config.total_epochs
        self.marks = {round(epochs * (point + 1) / _POINTS) for point in range(_POINTS)}

    def __call__(self, event: Event) -> None:
        single = not self.job.config.levels
        if single and isinstance(event, EpochDone) and event.epoch in self.marks:
            with WORK_CLOCK.standing():
                self.measure(event)
        if time.time() > self.job.deadline:
            raise SearchCancelledError("the time is over; the same command goes on")

    def measure(self, event: EpochDone) -> None:
        """Score with the weights of the checkpoint that was just stored."""
        job, path = self.job, self.job.folder / CURVE
        weights = RunStore.open(job.folder).load_weights("root.unfinished")
        if weights is None or any(row["epoch"] == event.epoch for row in read_json_lines(path)):
            return
        steps, space = Place(job.folder, job.device, self.task).steps(), job.config.search_space()
        network = steps.supernet(space)
        network.load_state_dict({key: weights[f"weights.{key}"] for key in network.state_dict()})
        root = SplitTree.root(space)
        score = LeafScore(root, {"root": network}, steps.task.valid, job.config.score)
        cells = map(parse_architecture, job.cells.on_curve().names)
        scores = score_architectures(cells, score)
        append_json_line(path, {"epoch": event.epoch, "scores": scores.to_dict()})


def run_job(job: Job) -> None:
    """Run one row with one seed, or what is missing of it, until the deadline."""
    started = time.perf_counter()
    task = load_task(job.config)
    begun = (job.folder / "config.toml").exists()
    try:
        few_shot_search(
            job.config,
            task,
            architectures=job.cells.names,
            out=job.folder,
            resume=begun,
            device=job.device,
            donors=job.donors,
            on_event=Recorder(job, task),
        )
    except SearchCancelledError:
        print(f"{job.folder.name}: stopped at the deadline", flush=True)
    used = {"seconds": time.perf_counter() - started, "megabytes": peak_megabytes(job.device)}
    append_json_line(job.folder / USED, used)


def peak_megabytes(device: str) -> float:
    """Return the largest memory so far: of all tensors on the GPU, or of the whole process."""
    if resolve_device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def run_jobs(jobs: Sequence[Job], workers: int) -> int:
    """Run all that is not done, as many at a time as workers; return how many were begun.

    Each has a process of its own, whose memory is that of one run.
    """
    missing = [job for job in jobs if not job.done and time.time() < job.deadline]
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=torch.set_num_threads,
        initargs=(threads,),
        max_tasks_per_child=1,
    ) as executor:
        work = {job.folder.name: (run_job, job) for job in missing}
        for name, _ in finished(executor, work):
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
    return len(missing)


def plan(
    paths: Sequence[Path], options: argparse.Namespace, accuracy: pd.Series
) -> dict[str, list[Job]]:
    """Return the jobs of every row; seeds of the first rows come first."""
    cells = choose_cells(accuracy, options.cells)
    deadline = time.time() + 60 * options.minutes if options.minutes else float("inf")
    jobs: dict[str, list[Job]] = {}
    for path in paths:
        for seed in range(options.seeds):
            config = read_row(path, options.data, seed, len(cells.names))
            folder = options.out / f"{path.stem}-seed{seed}"
            donors = tuple(row[seed].folder for row in jobs.values() if len(row) > seed)
            job = Job(config, folder, cells, options.device, deadline, donors)
            jobs.setdefault(path.stem, []).append(job)
    return jobs


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=DATA, help=f"folder of {IMAGES} and {TRUTH}")
    add("--seeds", type=int, default=3, help="seeds 0, 1, ... of every row")
    add("--cells", type=int, default=1000, help="cells of each half; 0: all")
    add("--minutes", type=float, default=0, help="stop then; the same command goes on (0: no end)")
    add("--workers", type=int, default=1, help="runs at a time")
    add("--device", default="auto")
    add("--report", type=Path, default=PAGE, help="page to write the section to")
    return parser


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("rows", type=Path, nargs="+", help="files of settings")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--title", default="CIFAR-10 on two CPU cores", help="of the section")
    options = parser.parse_args()
    truth = load_reference(options.data / TRUTH, column=COLUMN)
    jobs = plan(options.rows, options, truth.accuracy)
    run_jobs([job for row in jobs.values() for job in row], options.workers)
    rows = " ".join(map(str, options.rows))
    command = f"python -m benchmarks.reproduction {rows} --seeds {options.seeds} --out RUNS"
    write_section(options.title, jobs, options.data / TRUTH, options.report, command=command)


if __name__ == "__main__":
    main()
