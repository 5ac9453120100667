"""Images a second in training and scoring: ratios within one run, medians of interleaved repeats.

python -m benchmarks.throughput [--config configs/cifar10_cpu.toml] [--device auto] [--csv FILE]

An image counts once for every path it passes through. `plain` is the usual loop over the same
modules: one path after the other, torch's defaults, glibc's defaults. `published shape` is that
loop at batch 64, one path a step, 16 channels and float32.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from naslid_toolkit import RunConfig, Supernet, generator
from naslid_toolkit.batches import batches
from naslid_toolkit.datasets import Images
from naslid_toolkit.runtime import keep_freed_memory
from naslid_toolkit.search.steps import resolve_device
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.supernet.accuracy import evaluate_paths
from naslid_toolkit.supernet.network import Skeleton
from naslid_toolkit.supernet.sampling import SAMPLERS
from naslid_toolkit.supernet.training import TrainingConfig, train

CONFIG: Final = Path("configs/cifar10_cpu.toml")
STEPS: Final = 24
SCORED: Final = 96
SPACE: Final = nasbench201()


def drawn(skeleton: Skeleton, count: int, device: torch.device) -> Images:
    """Images of noise: time does not depend on what they show."""
    draw = generator(0, "throughput")
    pixels = torch.randn(count, *skeleton.image_shape, generator=draw)
    labels = torch.randint(skeleton.classes, (count,), generator=draw)
    return Images(pixels, labels).to(device)


def plain_loop(network: Supernet, images: Images, config: TrainingConfig) -> None:
    """Train by the usual loop over the same modules; the same paths and batches."""
    each = config.paths_per_step
    optimiser = torch.optim.SGD(
        network.parameters(), lr=config.learning_rate, momentum=0.9, nesterov=True
    )
    paths = SAMPLERS[config.sampler](SPACE, 0, STEPS * each, seed=0)
    draw = generator(0, "batches", 0)
    stream = batches(images, config.batch_size, draw=draw, augmentation=config.augmentation)
    for step, batch in enumerate(stream):
        optimiser.zero_grad()
        for path in paths[step * each : (step + 1) * each]:
            loss = torch.nn.functional.cross_entropy(network(batch.pixels, path), batch.labels)
            (loss / each).backward()
        used = [weight for weight in network.parameters() if weight.grad is not None]
        torch.nn.utils.clip_grad_norm_(used, config.gradient_clip)
        optimiser.step()


def sampled(count: int) -> list[Architecture]:
    draw = generator(1, "scored")
    return [SPACE.sample(generator=draw) for _ in range(count)]


def measure(name: str, config: RunConfig, device: torch.device, repeats: int) -> dict[str, float]:
    """Return images a second of one way of working, in this process."""
    skeleton, training = skeleton_of(config), config.training
    network = Supernet(SPACE, skeleton, seed=0).to(device)
    valid = drawn(skeleton, 256, device)
    paths = sorted(sampled(SCORED), key=lambda path: path.operations)

    def scored_apart() -> None:
        network.eval()
        with torch.inference_mode():
            for path in paths:
                int((network(valid.pixels, path).argmax(1) == valid.labels).sum())
        network.train()

    if name == "published shape":
        training = replace(training, batch_size=64, paths_per_step=1, precision="float32")
        network = Supernet(SPACE, replace(skeleton, channels=16), seed=0).to(device)
    images = drawn(skeleton, STEPS * training.batch_size, device)
    passed = len(images) * training.paths_per_step
    if name == "toolkit":
        keep_freed_memory()
        training = replace(training, epochs=1)
        work = {
            "training": (lambda: train(network, images, training, seed=0), passed),
            "scoring": (lambda: evaluate_paths(network, valid, paths), SCORED * len(valid)),
        }
    else:
        work = {"training": (lambda: plain_loop(network, images, training), passed)}
        if name == "plain":
            work["scoring"] = (scored_apart, SCORED * len(valid))
    return {kind: count / seconds(run, device, repeats) for kind, (run, count) in work.items()}


def skeleton_of(config: RunConfig) -> Skeleton:
    size = config.images.size or 32
    network = config.network
    return Skeleton(network.channels, network.cells, (3, size, size), 10, network.affine)


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median time of one piece of work, after a round that warms up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def child(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure in a process of its own: an allocator that was told otherwise stays so."""
    command = [sys.executable, "-m", "benchmarks.throughput", "--child", name]
    command += ["--config", str(options.config), "--device", options.device]
    command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind, in turn")
    parser.add_argument("--csv", type=Path, help="where to write the rates")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    if options.child:
        config = RunConfig.from_toml(options.config)
        print(json.dumps(measure(options.child, config, device, options.repeats)))
        return
    names = ("plain", "published shape", "toolkit")
    rows = [
        {"loop": name, "round": number, **child(name, options)}
        for number in range(options.rounds)
        for name in names
    ]
    frame = pd.DataFrame(rows)
    if options.csv:
        frame.to_csv(options.csv, index=False)
    rates = frame.groupby("loop")[["training", "scoring"]].median().loc[list(names)]
    title = f"{options.config.name}, {device.type}, {options.threads} thread(s)"
    table = Table("loop", "training, images/s", "ratio", "scoring, images/s", "ratio", title=title)
    for name in names:
        cells = []
        for kind in ("training", "scoring"):
            rate, best = rates.loc[name, kind], rates.loc["toolkit", kind]
            known = rate == rate  # noqa: PLR0124 - not a number where it was not measured
            cells += [f"{rate:,.0f}", f"{best / rate:.2f}"] if known else ["", ""]
        table.add_row(name, *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
