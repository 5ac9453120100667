"""Training of a supernet on sampled paths."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from naslid_toolkit.batches import Augmentation, batches
from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, DataError, DivergedError
from naslid_toolkit.runtime import (
    WORK_CLOCK,
    Event,
    OnEvent,
    WorkDone,
    generator,
    ignore_event,
    keep_freed_memory,
)
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.joint import joint_logits
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.sampling import SAMPLERS
from naslid_toolkit.supernet.weights import fitting, named_snapshots, snapshots_in

_CHECK_EVERY: Final = 20  # steps between looks at the loss, each of which waits for the device


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a supernet is trained.

    Parameters
    ----------
    epochs
        Length of the cosine schedule in epochs: the whole way from the root to a leaf.
    batch_size
        Images in a batch.
    learning_rate, minimum_learning_rate
        Start and end of the cosine schedule.
    momentum, nesterov, weight_decay
        Settings of stochastic gradient descent.
    gradient_clip
        Largest norm of the gradient of one step.
    sampler
        ``"uniform"``, ``"fair"``, ``"balanced"``, or ``"markov"`` as in the published code.
    paths_per_step
        Paths whose gradients are averaged in one step, on the same batch and in one pass that
        computes what they have in common once
        (:func:`~naslid_toolkit.supernet.joint.joint_logits`).
    augmentation
        ``"none"``, ``"shift"`` or ``"crop_flip"``.
    precision
        ``"float32"``, or ``"bfloat16"`` for the products of forward and backward pass
        (autocast); weights, batch statistics and optimiser stay in float32.
    snapshots
        Epochs at the end of a training whose weights are kept, the last among them; scores are
        means over them. At a high learning rate single weights rank by chance what their mean
        ranks well.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 0.025
    minimum_learning_rate: float = 0.001
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    gradient_clip: float = 5.0
    sampler: Literal["uniform", "fair", "balanced", "markov"] = "uniform"
    paths_per_step: int = 1
    augmentation: Augmentation = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    snapshots: int = 1

    def __post_init__(self) -> None:
        positive = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "gradient_clip": self.gradient_clip,
            "paths_per_step": self.paths_per_step,
            "snapshots": self.snapshots,
        }
        for name, value in positive.items():
            if value <= 0:
                raise ConfigError(f"{name} must be positive, got {value}")
        finite = (self.learning_rate, self.momentum, self.weight_decay, self.gradient_clip)
        if not (all(map(math.isfinite, finite)) and 0 <= self.momentum < 1):
            raise ConfigError(f"momentum must be in [0, 1) and every number finite, got {self}")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay must not be negative, got {self.weight_decay:g}")
        if not 0 <= self.minimum_learning_rate <= self.learning_rate:
            raise ConfigError(
                f"minimum_learning_rate must lie between 0 and learning_rate = "
                f"{self.learning_rate:g}, got {self.minimum_learning_rate:g}"
            )

    def steps_per_epoch(self, images: Images) -> int:
        """Optimiser steps in one epoch on these images; an incomplete batch is left out."""
        return len(images) // self.batch_size

    def rate_at(self, epoch: float) -> float:
        """Learning rate after ``epoch`` epochs of the cosine schedule."""
        swing = 0.5 * (1 + math.cos(math.pi * min(epoch / self.epochs, 1.0)))
        return self.minimum_learning_rate + swing * (
            self.learning_rate - self.minimum_learning_rate
        )

    def optimiser(self, weights: Iterable[nn.Parameter]) -> torch.optim.SGD:
        """Return a new optimiser of these weights."""
        return torch.optim.SGD(
            weights,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
            foreach=True,
        )


@dataclass(frozen=True, slots=True)
class EpochDone(Event):
    """One epoch of training: its number from 1, mean loss, last learning rate, seconds."""

    task: str
    epoch: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """What a training leaves beside the weights.

    Parameters
    ----------
    losses
        Mean loss of every epoch.
    steps
        Optimiser steps.
    snapshots
        The weights after each of the last epochs but the very last, by name, as many as the
        settings ask for and the training has.
    """

    losses: tuple[float, ...]
    steps: int
    snapshots: tuple[Mapping[str, Tensor], ...] = ()


@runtime_checkable
class Checkpoint(Protocol):
    """A place that keeps the state of an unfinished training."""

    def load(self) -> Mapping[str, Tensor] | None:
        """Return the tensors saved last, or None."""
        ...  # pragma: no cover

    def save(self, tensors: Mapping[str, Tensor], event: Event, /) -> None:
        """Keep these tensors instead of the ones before, and the event of which they come."""
        ...  # pragma: no cover


def train(
    supernet: Supernet,
    images: Images,
    config: TrainingConfig,
    *,
    seed: int,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    task: str = "training",
    checkpoint: Checkpoint | None = None,
    on_event: OnEvent = ignore_event,
) -> TrainingHistory:
    """Train a supernet on one or a few sampled paths a step.

    Parameters
    ----------
    supernet
        Trained in place, on its own device.
    images
        Training images on the same device.
    config
        Schedule, optimiser, sampler. ``config.epochs`` is the length of the cosine schedule.
    seed
        Seed of the batches, the augmentation and the paths.
    first_epoch, last_epoch
        Part of the schedule to run, from ``first_epoch`` up to, not including, ``last_epoch``
        (None: to its end).
    task
        What events call this training.
    checkpoint
        Where to keep the state after every epoch and to continue from; the result is the same
        as without an interruption.
    on_event
        Receives :class:`EpochDone` and :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    TrainingHistory
        Mean loss of each epoch, and the steps done (including those before an interruption);
        earlier snapshots, if the settings ask for more than one.

    Raises
    ------
    DivergedError
        If the loss is not finite; says at which step and how to lower the learning rate.
    ConfigError
        If there are fewer images than one batch.
    """
    keep_freed_memory()
    last_epoch = config.epochs if last_epoch is None else last_epoch
    steps = config.steps_per_epoch(images)
    optimiser = config.optimiser(supernet.parameters())
    losses, earlier = _resume(supernet, optimiser, checkpoint)
    total = steps * (last_epoch - first_epoch)
    for epoch in range(first_epoch + len(losses), last_epoch):
        started = WORK_CLOCK.now()
        if losses and config.snapshots > 1:
            earlier = [*earlier, _copied(supernet)][1 - config.snapshots :]
        paths = _paths(supernet.space, config, steps, epoch, seed)
        batch_losses: list[Tensor] = []
        stream = epoch_batches(images, config, optimiser, epoch=epoch, seed=seed)
        for step, batch in enumerate(stream):
            batch_losses.append(_step(supernet, batch, paths[step], optimiser, config))
            if step % _CHECK_EVERY == _CHECK_EVERY - 1 or step == steps - 1:
                _check_finite(batch_losses, task, epoch * steps, config)
                done = (epoch - first_epoch) * steps + step + 1
                on_event(WorkDone(task, done, total, "steps"))
        losses.append(float(torch.stack(batch_losses).mean()))
        rate = config.rate_at(float(epoch + 1))
        event = EpochDone(task, epoch + 1, losses[-1], rate, WORK_CLOCK.now() - started)
        if checkpoint is not None:
            checkpoint.save(_state(supernet, optimiser, losses) | named_snapshots(earlier), event)
        on_event(event)
    return TrainingHistory(tuple(losses), steps * len(losses), tuple(earlier))


def epoch_batches(
    images: Images,
    config: TrainingConfig,
    optimiser: torch.optim.SGD,
    *,
    epoch: int,
    seed: int,
) -> Iterator[Images]:
    """Yield the batches of one epoch, with the optimiser at each one's learning rate."""
    draw, steps = generator(seed, "batches", epoch), config.steps_per_epoch(images)
    stream = batches(images, config.batch_size, draw=draw, augmentation=config.augmentation)
    for step, batch in enumerate(stream):
        for group in optimiser.param_groups:
            group["lr"] = config.rate_at(epoch + step / steps)
        yield batch


def _paths(
    space: SearchSpace, config: TrainingConfig, steps: int, epoch: int, seed: int
) -> list[tuple[Architecture, ...]]:
    """Draw the paths of every step of one epoch."""
    each = config.paths_per_step
    sampler = SAMPLERS[config.sampler]
    paths = sampler(space, epoch * steps * each, steps * each, seed=seed)
    return [paths[start : start + each] for start in range(0, len(paths), each)]


def _step(
    supernet: Supernet,
    batch: Images,
    paths: tuple[Architecture, ...],
    optimiser: torch.optim.SGD,
    config: TrainingConfig,
) -> Tensor:
    """Take one optimiser step on the mean loss of the paths; return that loss."""
    optimiser.zero_grad()
    half = config.precision == "bfloat16"
    with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=half):
        if len(paths) == 1:
            logits = supernet(batch.pixels, paths[0])
        else:
            logits = joint_logits(supernet, batch.pixels, paths).flatten(0, 1)
    loss = nn.functional.cross_entropy(logits.float(), batch.labels.repeat(len(paths)))
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    weights = optimiser.param_groups[0]["params"]  # a list; the network would walk all modules
    used = [weight for weight in weights if weight.grad is not None]
    nn.utils.clip_grad_norm_(used, config.gradient_clip, foreach=True)
    optimiser.step()
    return loss.detach()


def _check_finite(losses: list[Tensor], task: str, before: int, config: TrainingConfig) -> None:
    recent = torch.stack(losses[-_CHECK_EVERY:])
    bad = (~recent.isfinite()).nonzero()
    if len(bad):
        step = before + len(losses) - len(recent) + int(bad[0]) + 1
        raise DivergedError(
            f"the loss of {task} is {float(recent[bad[0]])} at step {step}; lower "
            f"training.learning_rate (now {config.learning_rate:g}), for instance to "
            f"{config.learning_rate / 4:.2g}"
        )


def _state(
    supernet: Supernet, optimiser: torch.optim.SGD, losses: list[float]
) -> dict[str, Tensor]:
    """Collect all that a resumed training needs, as named tensors."""
    tensors = {f"weights.{name}": value for name, value in supernet.state_dict().items()}
    for name, parameter in supernet.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            tensors[f"momentum.{name}"] = buffer
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    return tensors


def _copied(supernet: Supernet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in supernet.state_dict().items()}


def _resume(
    supernet: Supernet, optimiser: torch.optim.SGD, checkpoint: Checkpoint | None
) -> tuple[list[float], list[dict[str, Tensor]]]:
    """Put a saved state back; return losses of the epochs that are done, earlier snapshots."""
    tensors = checkpoint.load() if checkpoint is not None else None
    if tensors is None:
        return [], []
    try:
        return _put_back(supernet, optimiser, tensors)
    except DataError as error:
        raise DataError(f"{checkpoint} is not the state of this training: {error}") from error


def _put_back(
    supernet: Supernet, optimiser: torch.optim.SGD, tensors: Mapping[str, Tensor]
) -> tuple[list[float], list[dict[str, Tensor]]]:
    supernet.load_state_dict(fitting(tensors, supernet, "weights."))
    for name, parameter in supernet.named_parameters():
        buffer = tensors.get(f"momentum.{name}")
        if buffer is not None:
            if buffer.shape != parameter.shape:
                raise DataError(f"'momentum.{name}' has the shape {tuple(buffer.shape)}")
            optimiser.state[parameter]["momentum_buffer"] = buffer.to(parameter.device)
    losses = tensors.get("losses", torch.empty(0, 0))
    if losses.ndim != 1 or not bool(losses.isfinite().all()):
        raise DataError("there is no list of finite losses")
    return losses.tolist(), [fitting(weights, supernet) for weights in snapshots_in(tensors)]
