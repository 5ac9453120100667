"""The LID core against one matrix product, scikit-dimension and the published approach.

python -m benchmarks.lid [--quick] [--device cuda]

Ratios within one run, one thread, medians of interleaved repeats. Memory is the peak of a fresh
process over its state before; that of the forward pass is counted by the allocator's events.
"""

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

import skdim
import torch
from rich.console import Console
from rich.table import Table

from naslid_toolkit import (
    NeighbourStore,
    Skeleton,
    Supernet,
    TrainingConfig,
    generator,
    lid_profile,
    load_digits,
    load_image_parquet,
    nasbench201,
    pairwise_distances,
    train,
)
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.cost import allocated_peak
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.partition.store import MeasuredEdge

HARMONIC = ESTIMATORS["harmonic"]
K = 20
CPU = torch.device("cpu")


def features(points: int, count: int) -> torch.Tensor:
    """A layer whose dimension is that of real ones: 12 directions, bent, in many features."""
    draw = generator(0, "benchmark")
    axes = torch.randn(12, count, generator=draw)
    return torch.tanh(torch.randn(points, 12, generator=draw) @ axes / 3)


def product(rows: torch.Tensor) -> torch.Tensor:
    return rows @ rows.T


def toolkit(rows: torch.Tensor) -> float:
    return float(HARMONIC(pairwise_distances(rows), k=K).lid)


def stacked(rows: torch.Tensor) -> float:
    """17 layers, estimated together as in a profile."""
    layers = Distances.stack([pairwise_distances(rows) for _ in range(17)])
    return float(HARMONIC(layers, k=K).lid[0])


def double(rows: torch.Tensor) -> float:
    return float(HARMONIC(pairwise_distances(rows, precision="float64"), k=K).lid)


def subset(rows: torch.Tensor) -> float:
    return float(HARMONIC(pairwise_distances(rows, max_features=4096), k=K).lid)


def scikit_dimension(rows: torch.Tensor) -> float:
    return float(skdim.id.MLE().fit(rows.numpy(), n_neighbors=K).dimension_)


def published(rows: torch.Tensor) -> float:
    """The published approach: cdist of two copies, full sort, one loop step for each point."""
    copies = rows.clone().float(), rows.clone().float()
    distances = torch.cdist(*copies)
    ordered = distances.sort(dim=1).values[:, 1 : K + 1]
    values = [-K / (torch.log(row / (row[-1] + 1e-6)).sum() + 1e-6) for row in ordered]
    return float(torch.stack(values).mean())


WAYS: dict[str, Callable[[torch.Tensor], object]] = {
    "product": product,
    "toolkit": toolkit,
    "double": double,
    "subset": subset,
    "scikit_dimension": scikit_dimension,
    "published": published,
}


def interleaved(repeats: int, work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each piece of work, run in turn; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats + 1):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def scratch(way: str, points: int, count: int) -> int:
    """Peak bytes of one call in a fresh process, over those before it."""
    code = f"from benchmarks.lid import peak; peak({way!r}, {points}, {count})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def peak(way: str, points: int, count: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    WAYS[way](features(points, 256))  # loads libraries
    rows = features(points, count)
    gc.collect()
    with open("/proc/self/clear_refs", "w") as handle:  # noqa: PTH123 - resets the peak
        handle.write("5")
    before = memory("VmRSS")
    WAYS[way](rows)
    print(json.dumps((memory("VmHWM") - before) * 1024))


def memory(name: str) -> int:
    with open("/proc/self/status") as handle:  # noqa: PTH123
        return next(int(line.split()[1]) for line in handle if line.startswith(name))


def single_layers(console: Console, repeats: int) -> None:
    table = Table("points", "features", "way", "ms", "times one float32 product", "scratch MB")
    labels = {
        "product": "one product X @ X.T in float32",
        "distances": "toolkit: distances with certificate",
        "toolkit": "toolkit: LID (distances, neighbours, estimate)",
        "stacked": "toolkit: LID, as one of 17 layers",
        "double": "toolkit: the same in float64",
        "subset": "toolkit: 4096 random features",
        "scikit_dimension": "scikit-dimension MLE",
        "published": "published approach",
    }
    for points, count in [(128, 4096), (128, 16384), (128, 65536), (256, 65536)]:
        rows = features(points, count)
        work = {name: partial(run, rows) for name, run in WAYS.items()}
        work["distances"] = partial(pairwise_distances, rows)
        work["stacked"] = partial(stacked, rows)
        many = {n: work[n] for n in ("product", "distances", "toolkit", "stacked")}
        seconds = interleaved(repeats * (8 if count < 10_000 else 1), many)
        seconds["stacked"] /= 17
        base = seconds["product"]
        rest = {n: w for n, w in work.items() if n not in many or n == "product"}
        slow = interleaved(repeats, rest)
        seconds.update({n: t * base / slow["product"] for n, t in slow.items() if n not in many})
        for name, label in labels.items():
            size = f"{scratch(name, points, count) / 1e6:.1f}" if name in WAYS else ""
            table.add_row(
                str(points),
                f"{count:,}",
                label,
                f"{1000 * seconds[name]:.2f}",
                f"{seconds[name] / base:.2f}",
                size,
            )
        table.add_section()
    console.print(table)


def forward(console: Console, repeats: int, device: str) -> None:
    """A profile of the NAS-Bench-201 supernet against a plain forward pass."""
    space = nasbench201()
    network = Supernet(space, Skeleton(channels=16, cells=5), seed=0).to(device)
    images = torch.randn(128, 3, 32, 32, generator=generator(0, "images")).to(device)
    draw = generator(1)
    choices = {"all operations": space, "a sampled path": space.only(space.sample(generator=draw))}
    table = Table("network", "plain ms", "with LID", "plain peak MB", "LID adds MB", "kept KB")
    for label, choice in choices.items():
        view = network.view(choice)

        def plain(view: Supernet = view) -> None:
            with torch.inference_mode():
                view(images)
                synchronise(device)

        def measured(view: Supernet = view) -> None:
            lid_profile(view, images, layers=view.layer_names)
            synchronise(device)

        seconds = interleaved(repeats, {"plain": plain, "lid": measured})
        count = len(view.layer_names)
        kept = count * (128 * 127 // 2) * 8
        row = [label, f"{1000 * seconds['plain']:.0f}", f"{seconds['lid'] / seconds['plain']:.3f}"]
        if device == "cpu":
            before, after = allocated_peak(plain, CPU), allocated_peak(measured, CPU)
            row += [f"{before / 1e6:.1f}", f"{(after - before) / 1e6:+.1f}", f"{kept / 1e3:.0f}"]
        table.add_row(*row)
    console.print(table)


def in_steady_memory(options: list[str]) -> None:
    """Run this file in a process that gives no memory back to the system in between.

    Else a forward pass spends a third of its time on page faults, a different third each time.
    """
    steady = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "10000000000"}
    command = [sys.executable, "-m", "benchmarks.lid", *options]
    subprocess.run(command, check=True, env={**os.environ, **steady}, stderr=subprocess.DEVNULL)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def made_up_store() -> NeighbourStore:
    """6 edges x 5 operations x 17 layers of 128 points."""
    space = nasbench201()
    layers = [pairwise_distances(features(128, 64 + i)).to(torch.float32) for i in range(17)]
    one = Distances.stack([Distances.stack(layers)])
    networks = Distances.stack([one] * 30)
    edges = tuple(
        MeasuredEdge(e, space.allowed[e], ("0",), (tuple(range(5 * e, 5 * e + 5)),))
        for e in range(6)
    )
    return NeighbourStore(tuple(f"layer{i}" for i in range(17)), edges, networks)


def slider(console: Console, repeats: int) -> None:
    store = made_up_store()
    started = time.perf_counter()
    store.lid(k=K)
    first = time.perf_counter() - started
    steps = iter(range(1_000_000))
    names = ["harmonic", "median", "geometric", "unbiased"]
    seconds = interleaved(
        20 * repeats,
        {
            "k": lambda: store.evidence(k=5 + next(steps) % 40),
            "estimator": lambda: store.lid(k=K, estimator=ESTIMATORS[names[next(steps) % 4]]),
            "split": lambda: split_by(store.evidence(k=5 + next(steps) % 40)),
        },
    )
    table = Table("from the store of 6 edges x 5 operations x 17 layers", "ms")
    table.add_row("first question (sorts the distances)", f"{1000 * first:.0f}")
    table.add_row("another k: all LIDs, arranged by edge", f"{1000 * seconds['k']:.1f}")
    table.add_row("another maximum-likelihood estimator", f"{1000 * seconds['estimator']:.1f}")
    table.add_row("another k, and the split that follows", f"{1000 * seconds['split']:.1f}")
    table.add_row("size of the store", f"{store.distances.bytes_per_layer / 1024:.1f} KiB a layer")
    console.print(table)


def subset_error(console: Console, images: str | None) -> None:
    """How far random features move the LID of the wide layers of a trained supernet."""
    task = load_image_parquet(images, limit=3000) if images else load_digits(canvas=32)
    size = Skeleton(channels=16, cells=2, image_shape=task.image_shape)
    network = Supernet(nasbench201(), size, seed=0)
    train(network, task.train, TrainingConfig(epochs=3), seed=0)
    (probe,) = task.probe(batches=1, points=128, seed=0)
    table = Table("random features", "root mean square error", "largest", "bias", title=task.name)
    for count in (4096, 1024):
        errors = []
        for seed in range(4):
            view = network.path(network.space.sample(generator=generator(seed, "paths")))
            wide = [n for n in view.layer_names if n.startswith(("stage1", "stage2"))]
            whole = lid_profile(view, probe, layers=wide).lid
            part = lid_profile(view, probe, layers=wide, max_features=count).lid
            errors += [e for e in (part / whole - 1).tolist() if math.isfinite(e)]
        square = statistics.fmean(e * e for e in errors) ** 0.5
        row = [square, max(map(abs, errors)), statistics.fmean(errors)]
        table.add_row(str(count), *(f"{value:+.2%}" for value in row))
    console.print(table)


def on_gpu(console: Console, repeats: int) -> None:
    if not torch.cuda.is_available():
        console.print("No CUDA device here: nothing was measured.")
        return
    console.print(torch.cuda.get_device_name())
    table = Table(
        "points", "features", "precision", "ms", "times X @ X.T", "against float64 on CPU"
    )
    for points, count in [(128, 65536), (512, 65536), (1024, 65536)]:
        rows = features(points, count)
        true, moved = double(rows), rows.cuda()
        for precision in ("auto", "float64", "tf32"):

            def run(precision: str = precision, moved: torch.Tensor = moved) -> float:
                return float(HARMONIC(pairwise_distances(moved, precision=precision), k=K).lid)

            def base(moved: torch.Tensor = moved) -> float:
                return float((moved @ moved.T)[0, 0])

            seconds = interleaved(repeats, {"run": run, "base": base})
            table.add_row(
                str(points),
                f"{count:,}",
                precision,
                f"{1000 * seconds['run']:.2f}",
                f"{seconds['run'] / seconds['base']:.2f}",
                f"{run() / true - 1:+.1e}",
            )
    console.print(table)
    forward(console, repeats, "cuda")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--images", help="a Parquet file of images for the last table")
    parser.add_argument("--forward", action="store_true", help="only the forward pass")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    console, repeats = Console(width=110), 3 if options.quick else 9
    if options.device == "cuda":
        on_gpu(console, repeats)
        return
    if options.forward:
        forward(console, repeats, "cpu")
        return
    single_layers(console, repeats)
    in_steady_memory(["--forward"] + ["--quick"] * options.quick)
    slider(console, repeats)
    subset_error(console, options.images)


if __name__ == "__main__":
    main()
