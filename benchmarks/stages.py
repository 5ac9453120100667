"""Time the stages of the demo: ratios within one run, medians of interleaved repeats.

python -m benchmarks.stages [--repeats 5] [--threads 1]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from naslid_toolkit import LIDCriterion, RunConfig, Supernet, accuracy, generator, load_task
from naslid_toolkit.batches import batches
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.memory import StoredCheckpoint
from naslid_toolkit.search.steps import SupernetTrained
from naslid_toolkit.supernet.sampling import uniform_paths
from naslid_toolkit.supernet.training import train

CONFIG = RunConfig.preset("demo")
TASK = load_task(CONFIG)
SPACE = CONFIG.search_space()
STEPS = CONFIG.training.steps_per_epoch(TASK.train)
EPOCHS = 3


def fresh() -> Supernet:
    return Supernet(SPACE, CONFIG.skeleton(TASK), seed=0)


def by_hand() -> None:
    """The plain loop: same modules, same paths, no events, no storage, no checks."""
    network, config = fresh(), CONFIG.training
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
    )
    for epoch in range(EPOCHS):
        paths = uniform_paths(SPACE, epoch * STEPS, STEPS, seed=0)
        stream = batches(TASK.train, config.batch_size, draw=generator(0, "batches", epoch))
        for path, batch in zip(paths, stream, strict=True):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(batch.pixels, path), batch.labels)
            loss.backward()
            used = [p for p in network.parameters() if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(used, config.gradient_clip)
            optimiser.step()


def by_toolkit() -> None:
    """The same training with events, a checkpoint each epoch, and stored weights."""
    with tempfile.TemporaryDirectory() as folder:
        store = create_store(Path(folder) / "run", CONFIG, task=TASK)
        network, checkpoint = fresh(), StoredCheckpoint(store, "root")
        train(
            network,
            TASK.train,
            CONFIG.training,
            seed=0,
            last_epoch=EPOCHS,
            checkpoint=checkpoint,
            on_event=lambda event: store.record(event),  # noqa: PLW0108 - all events, WorkDone too
        )
        store.save_weights("root", network.state_dict())
        store.record(SupernetTrained("root", EPOCHS * STEPS, 0.0))


def interleaved(repeats: int, **work: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of each piece of work, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats + 1):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def import_seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table("stage", "figure", "per second", title=f"{options.threads} thread(s)")

    both = interleaved(options.repeats, hand=by_hand, toolkit=by_toolkit)
    rate = EPOCHS * STEPS / both["toolkit"]
    table.add_row(
        "training against a loop by hand",
        f"{both['hand'] / both['toolkit']:.2f}",
        f"{rate:.0f} steps",
    )

    network = fresh()
    path = SPACE.sample(generator=generator(3))
    split = CONFIG.split
    probe = TASK.probe(batches=split.probe_batches, points=split.probe_points, seed=0)
    criterion = LIDCriterion(network, probe, k=split.k)

    def forward() -> None:
        view = network.path(path)
        with torch.inference_mode():
            for batch in probe:
                view(batch)

    both = interleaved(options.repeats, plain=forward, lid=lambda: criterion.profile(path))
    table.add_row(
        "LID profile against a plain forward pass",
        f"{both['lid'] / both['plain']:.2f}",
        f"{1 / both['lid']:.1f} profiles",
    )

    scored = interleaved(options.repeats, score=lambda: accuracy(network, TASK.valid, path))
    table.add_row("scoring one architecture", "", f"{1 / scored['score']:.1f} architectures")

    both = interleaved(
        options.repeats,
        torch=lambda: import_seconds("import torch"),
        toolkit=lambda: import_seconds("import torch, naslid_toolkit"),
    )
    extra = both["toolkit"] - both["torch"]
    table.add_row("importing the toolkit over importing torch", f"{extra:+.2f} s", "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
