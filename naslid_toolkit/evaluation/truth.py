"""Reference accuracy made by the project itself: architectures trained alone."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from naslid_toolkit.datasets import ImageTask, load_digits
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.runtime import (
    OnEvent,
    WorkDone,
    append_json_line,
    generator,
    ignore_event,
    read_json_lines,
    replacing,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    convolution_depth,
    format_architecture,
    nasbench201,
    parse_architecture,
)
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.training import TrainingConfig, evaluate_path, train

# The recipe of the table that ships with the project; changing it makes another benchmark.
DIGITS_SKELETON: Final = Skeleton(
    channels=8, cells=1, image_shape=(1, 12, 12), classes=10, affine=True, statistics="running"
)
DIGITS_TRAINING: Final = TrainingConfig(epochs=10, learning_rate=0.1)


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


def train_digits_alone(architecture: str, seed: int) -> TrainedAlone:
    """Train one architecture, given as its official string, by the recipe of the digits table.

    Runs in one thread, so that the result does not depend on the machine's number of cores.
    """
    torch.set_num_threads(1)
    return train_alone(
        parse_architecture(architecture),
        _digits(),
        skeleton=DIGITS_SKELETON,
        config=DIGITS_TRAINING,
        seed=seed,
    )


def build_digits_truth(
    path: Path,
    architectures: Iterable[Architecture],
    *,
    seeds: Sequence[int],
    executor: Executor | None = None,
    on_event: OnEvent = ignore_event,
) -> pd.DataFrame:
    """Train architectures alone on the digits task and write the table of results.

    Every result is kept as soon as it exists, in ``PATH.partial.jsonl`` beside the table; the
    same call continues from there. Whole seeds are finished first.

    Parameters
    ----------
    path
        The Parquet file to write.
    architectures
        The architectures.
    seeds
        Each architecture is trained once with every seed.
    executor
        Where to train; None trains one after the other in this process.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    pandas.DataFrame
        The table: one row for each architecture and seed.
    """
    partial = path.with_name(f"{path.name}.partial.jsonl")
    partial.parent.mkdir(parents=True, exist_ok=True)
    names = [format_architecture(architecture) for architecture in architectures]
    wanted = [(name, seed) for seed in seeds for name in names]
    done = {(row["architecture"], row["seed"]): row for row in read_json_lines(partial)}
    missing = [pair for pair in wanted if pair not in done]
    run: Callable[..., Iterable[TrainedAlone]] = executor.map if executor else map
    results = run(train_digits_alone, [name for name, _ in missing], [seed for _, seed in missing])
    for pair, result in zip(missing, results, strict=True):
        done[pair] = asdict(result)
        append_json_line(partial, done[pair])
        on_event(WorkDone("training alone", len(done), len(wanted), "networks"))
    frame = pd.DataFrame([done[pair] for pair in wanted])
    _write(path, frame)
    return frame


def _write(path: Path, frame: pd.DataFrame) -> None:
    """Write the table with its recipe in the file's metadata."""
    metadata: dict[str, Any] = {
        "task": _digits().name,
        "recipe": repr((DIGITS_SKELETON, DIGITS_TRAINING)),
        "torch": torch.__version__.split("+")[0],
        "licence": "MIT; images: scikit-learn's digits (Alpaydin and Kaynak, UCI, CC BY 4.0)",
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
