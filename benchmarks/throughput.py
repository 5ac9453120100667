r"""Images a second in training and scoring: ratios within one run, medians of interleaved repeats.

python -m benchmarks.throughput [--config configs/cifar10_cpu.toml] [--device auto] [--report]

An image counts once for every path it passes through. `plain loop` calls the same modules one
path after the other, as torch and the C library are set when they start: its published shape, at
batch 64, one path a step and float32. `supernet in a plain loop` calls the toolkit's network the
same way. The others are `train`, with more paths a step, and `evaluate_paths`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd
import torch
from torch import Tensor

from benchmarks.reported import PAGE, replace_section
from naslid_toolkit import RunConfig, Supernet, generator
from naslid_toolkit.batches import batches
from naslid_toolkit.cli.results import print_frame
from naslid_toolkit.datasets import Images
from naslid_toolkit.search.steps import resolve_device
from naslid_toolkit.space.architecture import NONE, Architecture, live_part
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.supernet.accuracy import evaluate_paths
from naslid_toolkit.supernet.network import Cell, Skeleton
from naslid_toolkit.supernet.sampling import SAMPLERS
from naslid_toolkit.supernet.training import TrainingConfig, train
from naslid_toolkit.tables import markdown

CONFIG: Final = Path("configs/cifar10_cpu.toml")
STEPS: Final = 24
SCORED: Final = 96
SPACE: Final = nasbench201()
PATHS: Final = (1, 4, 8)
PLAIN: Final = "plain loop"
SUPERNET: Final = "supernet in a plain loop"
Pass = Callable[[Supernet, Tensor, Architecture], Tensor]


def drawn(skeleton: Skeleton, count: int, device: torch.device) -> Images:
    """Images of noise: time does not depend on what they show."""
    draw = generator(0, "throughput")
    pixels = torch.randn(count, *skeleton.image_shape, generator=draw)
    labels = torch.randint(skeleton.classes, (count,), generator=draw)
    return Images(pixels, labels).to(device)


def plain_pass(network: Supernet, images: Tensor, path: Architecture) -> Tensor:
    """Run a path through its modules, in the layout that torch has by default."""
    live = live_part(SPACE.edges, path).operations
    for block in network.children():
        if not isinstance(block, Cell):
            images = block(images)
            continue
        nodes = {0: images}
        for edge, (source, target) in enumerate(SPACE.edges):
            if live[edge] != NONE:
                result = block.operation(edge, live[edge])(nodes[source])
                nodes[target] = nodes[target] + result if target in nodes else result
        images = nodes.get(block.output, torch.zeros_like(images))
    return images


def plain_loop(run: Pass, network: Supernet, images: Images, config: TrainingConfig) -> None:
    """Train one path a step, on the batches and paths of the toolkit."""
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
    paths = SAMPLERS[config.sampler](SPACE, 0, STEPS, seed=0)
    draw = generator(0, "batches", 0)
    stream = batches(images, config.batch_size, draw=draw, augmentation=config.augmentation)
    for path, batch in zip(paths, stream, strict=True):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(run(network, batch.pixels, path), batch.labels)
        loss.backward()
        used = [weight for weight in network.parameters() if weight.grad is not None]
        torch.nn.utils.clip_grad_norm_(used, config.gradient_clip)
        optimiser.step()


def plain_scoring(
    run: Pass, network: Supernet, images: Images, paths: Sequence[Architecture]
) -> None:
    network.eval()
    with torch.inference_mode():
        for path in paths:
            int((run(network, images.pixels, path).argmax(1) == images.labels).sum())
    network.train()


def measure(name: str, config: RunConfig, device: torch.device, repeats: int) -> dict[str, float]:
    """Return images a second of one way of working, in this process."""
    skeleton, training = skeleton_of(config), replace(config.training, epochs=1, snapshots=1)
    network = Supernet(SPACE, skeleton, seed=0).to(device)
    valid = drawn(skeleton, 256, device)
    draw = generator(1, "scored")
    some = [SPACE.sample(generator=draw) for _ in range(SCORED)]
    some.sort(key=lambda path: path.operations)
    images = drawn(skeleton, STEPS * training.batch_size, device)
    if name in {PLAIN, SUPERNET}:
        run: Pass = plain_pass if name == PLAIN else Supernet.__call__
        work = {
            "training": (lambda: plain_loop(run, network, images, training), len(images)),
            "scoring": (lambda: plain_scoring(run, network, valid, some), SCORED * len(valid)),
        }
    else:
        each = int(name.split()[1])
        training = replace(training, paths_per_step=each)
        work = {
            "training": (lambda: train(network, images, training, seed=0), each * len(images)),
            "scoring": (lambda: evaluate_paths(network, valid, some), SCORED * len(valid)),
        }
    return {kind: count / seconds(task, device, repeats) for kind, (task, count) in work.items()}


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
    parser.add_argument("--report", action="store_true", help="write to docs/results.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    if options.child:
        config = RunConfig.from_toml(options.config)
        print(json.dumps(measure(options.child, config, device, options.repeats)))
        return
    names = (PLAIN, SUPERNET, *(f"toolkit, {each} path(s) a step" for each in PATHS))
    rows = [
        {"loop": name, "round": number, **child(name, options)}
        for number in range(options.rounds)
        for name in names
    ]
    table = ratios(pd.DataFrame(rows), names)
    title = f"{options.config.name}, {device.type}, {options.threads} thread(s)"
    print_frame(table, title)
    if options.report:
        report(table, options, device)


def ratios(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return medians over the rounds, and how many times the plain loop each is, with the range."""
    rows = []
    for name in names:
        row = {"loop": name}
        for kind in ("training", "scoring"):
            wide = frame.pivot_table(index="round", columns="loop", values=kind)
            times = wide[name] / wide[PLAIN]
            row[f"{kind}, images/s"] = f"{wide[name].median():,.0f}"
            row[f"{kind}, ratio"] = f"{times.median():.2f} [{times.min():.2f}, {times.max():.2f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def report(table: pd.DataFrame, options: argparse.Namespace, device: torch.device) -> None:
    """Write the ratios into docs/results.md."""
    config = RunConfig.from_toml(options.config)
    size, network = config.images.size or 32, config.network
    text = f"""`python -m benchmarks.throughput --config {options.config} --device {device.type}
--threads {options.threads} --report`: {network.channels} channels, {network.cells} cell(s) a stage,
images of {size} x {size}, batches of {config.training.batch_size}, {config.training.precision},
sampling {config.training.sampler}. An image counts once for every path it passes. Ratios to the
plain loop over the same modules (batch {config.training.batch_size}, one path a step, the default
layout and allocator): medians of {options.rounds} rounds and their range, each in fresh processes.

{markdown(table)}"""
    replace_section(PAGE, f"Throughput ({device.type})", text)


if __name__ == "__main__":
    main()
