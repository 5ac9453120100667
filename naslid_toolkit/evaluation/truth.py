"""Reference accuracy made by the project itself: architectures trained alone."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from naslid_toolkit.datasets import ImageTask, load_digits
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.runtime import (
    OnEvent,
    WorkDone,
    generator,
    ignore_event,
    replacing,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    canonical_architectures,
    convolution_depth,
    format_architecture,
    nasbench201,
)
from naslid_toolkit.supernet.accuracy import evaluate_path
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.stacked import (
    StackedNetworks,
    evaluate_stacked,
    train_stacked,
)
from naslid_toolkit.supernet.training import TrainingConfig, train

# The recipe of NB201-digits; changing it makes another benchmark.
DIGITS_SKELETON: Final = Skeleton(
    channels=8, cells=1, image_shape=(1, 8, 8), classes=10, affine=True, statistics="running"
)
DIGITS_TRAINING: Final = TrainingConfig(epochs=2, batch_size=32, learning_rate=0.1)
_SHARES: Final = ("test_accuracy", "valid_accuracy")
_BLOCK: Final = 128  # networks trained side by side; part of the recipe


@dataclass(frozen=True, slots=True)
class TrainedAlone:
    """The result of training one architecture alone with one seed.

    Accuracies are in [0, 1], losses in nats, costs those of
    :func:`~naslid_toolkit.supernet.cost.count_cost`.
    """

    architecture: str
    seed: int
    test_accuracy: float
    test_loss: float
    valid_accuracy: float
    valid_loss: float
    epochs: int
    steps: int
    parameters: int
    flops: int
    seconds: float


def connected_sample(count: int, *, seed: int) -> tuple[Architecture, ...]:
    """Draw different connected architectures of NAS-Bench-201, all equally likely.

    Raises
    ------
    ConfigError
        If more are asked for than there are (15,284).
    """
    space = nasbench201()
    codes = space.as_array()
    connected = np.flatnonzero(convolution_depth(codes) >= 0)
    if not 0 < count <= len(connected):
        raise ConfigError(f"{count} architectures asked for, there are {len(connected)} connected")
    order = torch.randperm(len(connected), generator=generator(seed, "truth sample"))
    return tuple(space.from_codes(codes[connected[i]]) for i in order[:count].tolist())


def train_alone(
    architecture: Architecture,
    task: ImageTask,
    *,
    skeleton: Skeleton,
    config: TrainingConfig,
    seed: int,
) -> TrainedAlone:
    """Train one architecture from scratch and test it.

    Parameters
    ----------
    architecture
        An architecture of NAS-Bench-201.
    task
        Images to train and to test on.
    skeleton
        The network around the cells; with ``statistics="running"`` an image's prediction does
        not depend on the images beside it.
    config
        The training.
    seed
        Seed of the weights and of the training.

    Returns
    -------
    TrainedAlone
        Results on the validation and the test images.
    """
    started = time.perf_counter()
    network = Supernet(nasbench201().only(architecture), skeleton, seed=seed)
    network.to(task.train.pixels.device)
    history = train(network, task.train, config, seed=seed, task="training alone")
    test_accuracy, test_loss = evaluate_path(network, task.test)
    valid_accuracy, valid_loss = evaluate_path(network, task.valid)
    cost = count_cost(architecture, skeleton)
    return TrainedAlone(
        architecture=format_architecture(architecture),
        seed=seed,
        test_accuracy=test_accuracy,
        test_loss=test_loss,
        valid_accuracy=valid_accuracy,
        valid_loss=valid_loss,
        epochs=config.epochs,
        steps=history.steps,
        parameters=cost.parameters,
        flops=cost.flops,
        seconds=time.perf_counter() - started,
    )


@lru_cache(maxsize=1)
def _digits() -> ImageTask:
    return load_digits()


def digits_blocks() -> tuple[tuple[Architecture, ...], ...]:
    """Return the cells of NB201-digits in the blocks that are trained side by side."""
    cells = canonical_architectures()
    return tuple(cells[start : start + _BLOCK] for start in range(0, len(cells), _BLOCK))


def train_block(block: int, seed: int) -> pd.DataFrame:
    """Train one block of cells with one seed by the recipe of NB201-digits.

    The result depends on nothing but the two numbers, so it is a unit of work for any executor.
    Runs in one thread, since sums in another order would give other networks.

    Returns
    -------
    pandas.DataFrame
        One row for each cell, the fields of :class:`TrainedAlone`; ``seconds`` is an equal
        share of the block's time.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    cells, task = digits_blocks()[block], _digits()
    supernet = Supernet(nasbench201(), DIGITS_SKELETON, seed=seed)
    networks = StackedNetworks(supernet, cells)
    train_stacked(networks, task.train, DIGITS_TRAINING, seed=seed)
    costs = [count_cost(cell, DIGITS_SKELETON) for cell in cells]
    columns: dict[str, Any] = {
        "architecture": [format_architecture(cell) for cell in cells],
        "seed": seed,
    }
    for part, images in (("test", task.test), ("valid", task.valid)):
        accuracies, losses = evaluate_stacked(networks, images)
        columns[f"{part}_accuracy"] = accuracies.numpy()
        columns[f"{part}_loss"] = losses.numpy()
    columns |= {
        "epochs": DIGITS_TRAINING.epochs,
        "steps": DIGITS_TRAINING.epochs * DIGITS_TRAINING.steps_per_epoch(task.train),
        "parameters": [cost.parameters for cost in costs],
        "flops": [cost.flops for cost in costs],
        "seconds": (time.perf_counter() - started) / len(cells),
    }
    return pd.DataFrame(columns)


@dataclass(frozen=True, slots=True)
class TruthProgress:
    """How far a table is: the seeds that are complete, and the units of work done and wanted."""

    seeds: tuple[int, ...]
    done: int
    wanted: int


def build_digits_truth(
    path: str | Path,
    *,
    seeds: Sequence[int],
    shards: int = 1,
    shard: int = 0,
    executor: Executor | None = None,
    on_event: OnEvent = ignore_event,
) -> TruthProgress:
    """Train every cell of NB201-digits with every seed, and write the table of whole seeds.

    A unit of work is one block of cells with one seed. Every result is kept as soon as it
    exists, in the folder ``PATH.parts`` beside the table; the same call continues from there.
    Several machines share the work by the same ``path`` on a common disk, or by copying their
    parts together; whoever finds all blocks of a seed writes them into the table.

    Parameters
    ----------
    path
        The Parquet file to write.
    seeds
        Each cell is trained once with every seed; seeds are finished in this order.
    shards, shard
        Do only every ``shards``-th unit, from number ``shard`` on.
    executor
        Where to train; None trains in this process.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    TruthProgress
        What is complete; without a complete seed no table is written.

    Raises
    ------
    ConfigError
        If the shard is not one of the shards.
    DataError
        If a part is damaged, is that of another block or seed, or was made by another recipe.
    """
    path = Path(path)
    if not 0 <= shard < shards:
        raise ConfigError(f"shard must be 0 to {shards - 1}, got {shard}")
    blocks = len(digits_blocks())
    units = [(block, seed) for seed in seeds for block in range(blocks)]
    mine = units[shard::shards]
    missing = [unit for unit in mine if not _part(path, *unit).exists()]
    done = len(mine) - len(missing)
    for (block, seed), frame in _results(missing, executor):
        _write(_part(path, block, seed), frame, block=block, seed=seed)
        done += 1
        on_event(WorkDone("training alone", done, len(mine), f"blocks of {_BLOCK} cells"))
    finished = [unit for unit in units if _part(path, *unit).exists()]
    complete = tuple(
        seed for seed in seeds if all((block, seed) in finished for block in range(blocks))
    )
    if complete:
        parts = [_read_part(_part(path, *unit), *unit) for unit in units if unit[1] in complete]
        _write(path, pd.concat(parts, ignore_index=True))
    return TruthProgress(complete, len(finished), len(units))


def _results(
    units: Sequence[tuple[int, int]], executor: Executor | None
) -> Iterator[tuple[tuple[int, int], pd.DataFrame]]:
    """Yield every unit's result as soon as there is one."""
    if executor is None:
        for unit in units:
            yield unit, train_block(*unit)
        return
    futures = {executor.submit(train_block, *unit): unit for unit in units}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _part(path: Path, block: int, seed: int) -> Path:
    return path.with_name(f"{path.name}.parts") / f"seed{seed}-block{block:03d}.parquet"


def _recipe() -> str:
    return repr((_digits().name, DIGITS_SKELETON, DIGITS_TRAINING, _BLOCK))


def _read_part(path: Path, block: int, seed: int) -> pd.DataFrame:
    """Read the results of one block with one seed, and see that they are those."""
    again = "delete it and run the same command again"
    if not path.is_file():
        raise DataError(f"{path} is no file; {again}")
    try:
        table = pq.read_table(path)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; {again}") from error
    if (table.schema.metadata or {}).get(b"recipe") != _recipe().encode():
        raise DataError(f"{path} was made by another recipe; delete it, or name another --out")
    own = table.schema.metadata.get(b"part")  # which parts of earlier versions do not say
    if own not in {None, _about_part(block, seed).encode()}:
        raise DataError(f"{path} holds {own.decode(errors='replace')}; {again}")
    expected = [format_architecture(cell) for cell in digits_blocks()[block]]
    columns = {field.name for field in fields(TrainedAlone)}
    if columns != set(frame) or frame["architecture"].tolist() != expected:
        raise DataError(f"{path} holds other cells than block {block}; {again}")
    if not frame["seed"].eq(seed).all():
        raise DataError(f"{path} holds results of another seed than {seed}; {again}")
    if not all(frame[share].between(0, 1).all() for share in _SHARES):
        raise DataError(f"{path} holds accuracies outside of [0, 1]; {again}")
    return frame


def _about_part(block: int, seed: int) -> str:
    return f"block {block} with seed {seed}"


def _write(
    path: Path, frame: pd.DataFrame, *, block: int | None = None, seed: int | None = None
) -> None:
    """Write a table with its recipe, and what part it is, in the file's metadata."""
    metadata: dict[str, Any] = {
        "task": _digits().name,
        "recipe": _recipe(),
        "cells": "one for each class of isomorphic connected cells",
        "torch": torch.__version__.split("+")[0],
        "licence": "MIT; images: scikit-learn's digits (Alpaydin and Kaynak, UCI, CC BY 4.0)",
    }
    if block is not None and seed is not None:
        metadata["part"] = _about_part(block, seed)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=19)
