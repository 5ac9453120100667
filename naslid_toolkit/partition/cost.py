"""What measuring the edges of a supernet costs: peak memory and time, criterion by criterion."""

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
import torch

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.criteria import Criterion, LIDCriterion
from naslid_toolkit.partition.gradients import GradientCriterion
from naslid_toolkit.runtime import Event, OnEvent, WorkDone, generator, ignore_event
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Skeleton, Supernet

Others = Literal["path", "all"]
PLAIN: Final = "plain forward"
_FEW: Final = (4, 8)  # images that are measured where the batch asked for is too large


@dataclass(frozen=True, slots=True)
class SweepCost(Event):
    """The cost of measuring all edges once, with one sampled path.

    Parameters
    ----------
    criterion
        ``"lid"``, ``"gradient"``, or ``"plain forward"``: the same forward passes without
        measuring anything.
    others
        What the other edges hold, ``"path"`` or ``"all"``.
    pixels, batch
        Height and width of the images, and their number.
    megabytes
        Largest amount of memory that tensors took at once, beside weights and images (1e6
        bytes).
    seconds
        Of the sweep.
    scaled
        Whether the numbers were not measured but extended along a line from smaller batches.
    """

    criterion: str
    others: str
    pixels: int
    batch: int
    megabytes: float
    seconds: float
    scaled: bool


def allocated_peak(work: Callable[[], object], device: torch.device) -> int:
    """Return the largest number of bytes that tensors allocated during the work held at once.

    On CUDA the allocator's own statistics, on the CPU its events.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    profile = torch.profiler.profile(profile_memory=True, record_shapes=False)
    with _silent_library():
        profile.start()
    try:
        work()
    finally:
        with _silent_library():
            profile.stop()
    held = largest = 0
    kineto: Any = profile.profiler
    events = [e for e in kineto.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        largest = max(largest, held)
    return largest


@contextmanager
def _silent_library() -> Iterator[None]:
    """Keep the profiler's C++ part, which logs every start and stop, from standard error."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def sweep_cost(
    space: SearchSpace,
    skeleton: Skeleton,
    *,
    others: Others,
    batch: int,
    criterion: str,
    device: torch.device | str = "cpu",
    edges: Sequence[int] | None = None,
    seed: int = 0,
) -> SweepCost:
    """Measure one sweep over the edges of an untrained supernet on random images.

    Memory and time do not depend on what weights and pixels are.

    Parameters
    ----------
    space
        The space; every edge is measured once with each operation, around one sampled path.
    skeleton
        Size of network and images.
    others, batch, criterion
        See :class:`SweepCost`.
    device
        Where to measure.
    edges
        The edges to measure; None measures all. Seconds are extended to all of them.
    seed
        Seed of weights, images and path.

    Raises
    ------
    ConfigError
        If there is no such criterion.
    """
    place = torch.device(device)
    network = Supernet(space, skeleton, seed=seed).to(place)
    draw = generator(seed, "cost")
    pixels = torch.randn(batch, *skeleton.image_shape, generator=draw).to(place)
    labels = torch.randint(skeleton.classes, (batch,), generator=draw).to(place)
    measure = _sweeps(network, Images(pixels, labels), others)
    if criterion not in measure:
        raise ConfigError(f"no criterion {criterion!r} to measure, only {', '.join(measure)}")
    rule, count = measure[criterion], len(space.edges)
    chosen = range(count) if edges is None else edges

    def sweep() -> None:
        rule(space, chosen, seed=seed)
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    peak = allocated_peak(sweep, place)
    started = time.perf_counter()
    sweep()
    return SweepCost(
        criterion=criterion,
        others=others,
        pixels=skeleton.image_shape[1],
        batch=batch,
        megabytes=peak / 1e6,
        seconds=(time.perf_counter() - started) * count / len(chosen),
        scaled=False,
    )


def _sweeps(network: Supernet, images: Images, others: Others) -> Mapping[str, Criterion]:
    lid = LIDCriterion(
        network, [images.pixels], contexts=1, k=min(20, len(images) - 1), others=others
    )
    gradient = GradientCriterion(network, [images], contexts=1, others=others)

    def plain(
        space: SearchSpace, edges: Sequence[int], /, *, seed: int, on_event: OnEvent = ignore_event
    ) -> tuple[()]:
        """Run the networks that LID measures, and nothing else."""
        plan = lid.plan(space, edges, seed=seed)
        for choice, _ in plan.choices:
            part = choice if isinstance(choice, SearchSpace) else space.only(choice)
            with torch.inference_mode():
                network.view(part)(images.pixels)
        on_event(WorkDone("plain forward", 1, 1, "sweeps"))
        return ()

    return {PLAIN: plain, "lid": lid, "gradient": gradient}


def compare_costs(
    space: SearchSpace,
    *,
    channels: int = 16,
    cells: int = 5,
    pixels: Sequence[int] = (32, 224),
    batches: Sequence[int] = (32, 128),
    measured_pixels: int = 64,
    device: torch.device | str = "cpu",
    seed: int = 0,
    on_event: OnEvent = ignore_event,
) -> pd.DataFrame:
    """Measure LID, gradients and plain forward passes in every combination.

    Parameters
    ----------
    space
        The space.
    channels, cells
        Size of the supernet (NAS-Bench-201: 16 and 5).
    pixels, batches
        Sizes of images, and of batches.
    measured_pixels
        Larger images are measured on the last edge with batches of 4 and 8; memory is extended
        along a line to the batches asked for, time in proportion (``scaled``).
    device, seed
        As of :func:`sweep_cost`.
    on_event
        Receives every :class:`SweepCost`.

    Returns
    -------
    pandas.DataFrame
        The fields of :class:`SweepCost`, and ``share``: memory as a share of gradient
        matching's.
    """
    rows: list[SweepCost] = []
    kinds: tuple[Others, ...] = ("path", "all")
    for size, others, name in itertools.product(pixels, kinds, (PLAIN, "lid", "gradient")):
        skeleton = Skeleton(channels=channels, cells=cells, image_shape=(3, size, size))
        measured = partial(
            sweep_cost,
            space,
            skeleton,
            others=others,
            criterion=name,
            device=device,
            seed=seed,
        )
        if size <= measured_pixels:
            found = [measured(batch=batch) for batch in batches]
        else:
            few = [measured(batch=batch, edges=[len(space.edges) - 1]) for batch in _FEW]
            found = [_extended(few, batch) for batch in batches]
        for row in found:
            on_event(row)
        rows += found
    frame = pd.DataFrame([row.to_dict() for row in rows]).drop(columns="event")
    keys = ["others", "pixels", "batch"]
    gradient = frame[frame["criterion"] == "gradient"].set_index(keys)["megabytes"]
    whole = gradient.reindex(pd.MultiIndex.from_frame(frame[keys])).to_numpy()
    return frame.assign(share=frame["megabytes"] / whole)


def _extended(few: Sequence[SweepCost], batch: int) -> SweepCost:
    """Extend memory along the line through two measurements, and the longer time in proportion."""
    first, second = few
    steps = (batch - first.batch) / (second.batch - first.batch)
    return replace(
        first,
        batch=batch,
        megabytes=first.megabytes + steps * (second.megabytes - first.megabytes),
        seconds=second.seconds * batch / second.batch,
        scaled=True,
    )
