"""Time the evaluation panel, side-by-side training, and the memory of an import.

python -m benchmarks.evaluation [--architectures 400]
"""

import argparse
import io
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from naslid_toolkit.datasets import Images, load_digits
from naslid_toolkit.evaluation.importing import import_benchmark
from naslid_toolkit.evaluation.panel import evaluate
from naslid_toolkit.evaluation.truth import DIGITS_SKELETON, digits_blocks, train_alone
from naslid_toolkit.space.nasbench201 import (
    benchmark_order,
    canonical_architectures,
    format_architecture,
    nasbench201,
)
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.stacked import StackedNetworks, train_stacked
from naslid_toolkit.supernet.training import TrainingConfig

SPLITS = {"cifar10-valid": ["x-valid", "ori-test"], "cifar10": ["ori-test"]}
SPLITS |= {name: ["x-valid", "x-test", "ori-test"] for name in ("cifar100", "ImageNet16-120")}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def panel_seconds() -> tuple[float, float]:
    """All 15,625 architectures, 1,000 resamples, four top fractions."""
    names = [format_architecture(architecture) for architecture in nasbench201()]
    draw = np.random.default_rng(0)
    truth = pd.Series(draw.beta(8, 2, len(names)), names).round(4)
    score = (truth + draw.normal(0, 0.1, len(names))).round(4)
    alone = seconds(lambda: evaluate(score, truth, seed=0, baselines=None))
    return alone, seconds(lambda: evaluate(score, truth, seed=0))


def stacked_factor(cells: int = 8) -> tuple[float, float]:
    """Seconds for one cell: trained alone, and within a block of 128."""
    digits = load_digits()
    part = Images(digits.train.pixels[:896], digits.train.labels[:896])
    few = Images(digits.valid.pixels[:64], digits.valid.labels[:64])
    task = replace(digits, train=part, valid=few, test=few)
    config = TrainingConfig(epochs=1, batch_size=32, learning_rate=0.1)
    block = digits_blocks()[20]

    def side_by_side() -> None:
        networks = StackedNetworks(Supernet(nasbench201(), DIGITS_SKELETON, seed=0), block)
        train_stacked(networks, part, config, seed=0)

    def one_by_one() -> None:
        for cell in block[:: len(block) // cells][:cells]:
            train_alone(cell, task, skeleton=DIGITS_SKELETON, config=config, seed=0)

    one_by_one()
    rounds = [(seconds(one_by_one) / cells, seconds(side_by_side) / len(block)) for _ in range(3)]
    alone, together = np.median(rounds, axis=0)
    return float(alone), float(together)


def write_official(path: Path, architectures: int) -> None:
    """Write records such as the official file's, all in one pickle with one memo."""
    draw = np.random.default_rng(0)
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)

    def opcodes(value: object) -> bytes:
        buffer.seek(0)
        buffer.truncate()
        pickler.dump(value)
        return buffer.getvalue()[2:-1]  # without the start and the end of a pickle

    with path.open("wb") as file:
        file.write(b"\x80\x02}" + opcodes("arch2infos") + b"}")
        for number, architecture in enumerate(benchmark_order()[:architectures]):
            name = format_architecture(architecture)
            info = {hp: _results(number, name, hp, draw) for hp in ("less", "full")}
            file.write(opcodes(number) + opcodes(info) + b"s")
        file.write(b"s.")


def _results(number: int, name: str, hp: str, draw: np.random.Generator) -> dict[str, object]:
    epochs = 12 if hp == "less" else 200
    results = {}
    for dataset, splits in SPLITS.items():
        for seed in (777, 888, 999):
            numbers = draw.random((3, epochs)).tolist()
            keys = [f"{split}@{epoch}" for split in splits for epoch in range(epochs)]
            results[dataset, seed] = {
                "arch_config": {"arch_str": name, "channel": 16},
                "train_acc1es": dict(enumerate(numbers[0])),
                "train_losses": dict(enumerate(numbers[1])),
                "train_times": dict(enumerate(numbers[2])),
                "params": 1.5,
                "flop": 200.0,
                "seed": seed,
                "epochs": epochs,
                "latency": [0.1],
                "eval_names": splits,
                "eval_acc1es": dict(zip(keys, draw.random(len(keys)).tolist(), strict=True)),
                "eval_losses": dict(zip(keys, draw.random(len(keys)).tolist(), strict=True)),
                "eval_times": dict.fromkeys(keys, 1.0),
            }
    return {"arch_index": number, "arch_str": name, "all_results": results}


def peak_megabytes(work: str, path: Path) -> float:
    """Peak memory that a piece of work in a process of its own adds to its imports."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--measure", work, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed)


def peak_kilobytes() -> int:
    """Largest resident size since this program started (getrusage would tell its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(work: str, path: Path) -> None:
    before = peak_kilobytes()
    if work == "import":
        import_benchmark(path, path.with_suffix(".parquet"))
    else:
        with path.open("rb") as file:
            pickle.load(file)  # noqa: S301 - written by this benchmark
    print((peak_kilobytes() - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=400, help="of the generated file")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    torch.set_num_threads(1)
    table = Table("what", "figure", title="1 thread")
    alone, whole = panel_seconds()
    table.add_row("evaluate, 15,625 architectures x 1,000 resamples", f"{alone:.1f} s")
    table.add_row("the same with three untrained baselines", f"{whole:.1f} s")
    alone, together = stacked_factor()
    cells = len(canonical_architectures())
    table.add_row("training one cell alone / in a block of 128", f"{alone / together:.1f} x")
    table.add_row(f"seconds a cell and epoch of 28 steps (of {cells})", f"{together:.3f}")
    with tempfile.TemporaryDirectory() as folder:
        for count in (options.architectures // 4, options.architectures):
            path = Path(folder) / f"NAS-Bench-201-{count}.pth"
            write_official(path, count)
            size = path.stat().st_size / 1e6
            read, load = (peak_megabytes(work, path) for work in ("import", "load"))
            text = f"+{read:.0f} MB against +{load:.0f} MB by unpickling"
            table.add_row(f"import of {count} architectures, {size:.0f} MB", text)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
