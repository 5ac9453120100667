"""Training several sub-supernets side by side, each learning from the others' predictions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError, DivergedError
from naslid_toolkit.runtime import OnEvent, WorkDone, ignore_event
from naslid_toolkit.supernet.network import Supernet
from naslid_toolkit.supernet.sampling import SAMPLERS
from naslid_toolkit.supernet.training import TrainingConfig, epoch_batches


def train_siblings(
    supernets: Sequence[Supernet],
    images: Images,
    config: TrainingConfig,
    *,
    seed: int,
    first_epoch: int,
    last_epoch: int,
    distillation: float = 1.0,
    task: str = "training siblings",
    on_event: OnEvent = ignore_event,
) -> int:
    """Train sub-supernets on the same batches, with mutual distillation.

    In every step each sub-supernet runs one path of its own space. Its loss is the cross-entropy
    with the labels plus ``distillation`` times the Kullback-Leibler divergence of its prediction
    from the mean prediction of the others, which counts as given.

    Parameters
    ----------
    supernets
        Trained in place; each has its own weights.
    images
        Training images on their device.
    config
        Schedule and optimiser; one path a step.
    seed
        Seed of batches and paths; paths of different spaces are drawn independently.
    first_epoch, last_epoch
        Part of the schedule to run.
    distillation
        Weight of the others' predictions; 0 trains each sub-supernet by itself.
    task
        What events call this training.
    on_event
        Receives :class:`~naslid_toolkit.runtime.WorkDone`.

    Returns
    -------
    int
        Optimiser steps, of all sub-supernets together.

    Raises
    ------
    DivergedError
        If a loss is not finite.
    ConfigError
        If the weight is negative.

    References
    ----------
    .. [1] Y. Zhang et al., "Deep Mutual Learning", CVPR 2018, for the loss; used between
       sub-supernets by HEP-NAS (arXiv 2412.10723).
    """
    if not distillation >= 0:
        raise ConfigError(f"the weight of distillation must not be negative, got {distillation}")
    optimisers = [config.optimiser(network.parameters()) for network in supernets]
    steps = config.steps_per_epoch(images)
    total = steps * (last_epoch - first_epoch)
    for epoch in range(first_epoch, last_epoch):
        sampler = SAMPLERS[config.sampler]
        paths = [
            sampler(network.space, epoch * steps, steps, seed=seed + place)
            for place, network in enumerate(supernets)
        ]
        losses = torch.zeros(())
        for step, batch in enumerate(
            epoch_batches(images, config, optimisers[0], epoch=epoch, seed=seed)
        ):
            for optimiser in optimisers:
                optimiser.param_groups[0]["lr"] = optimisers[0].param_groups[0]["lr"]
                optimiser.zero_grad()
            logits = [
                network(batch.pixels, own[step])
                for network, own in zip(supernets, paths, strict=True)
            ]
            losses = mutual_losses(logits, batch.labels, distillation)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for network, optimiser in zip(supernets, optimisers, strict=True):
                used = [weight for weight in network.parameters() if weight.grad is not None]
                nn.utils.clip_grad_norm_(used, config.gradient_clip)
                optimiser.step()
        if not bool(losses.isfinite().all()):
            raise DivergedError(
                f"a loss of {task} is not finite after epoch {epoch + 1}; lower "
                f"training.learning_rate (now {config.learning_rate:g})"
            )
        on_event(WorkDone(task, (epoch + 1 - first_epoch) * steps, total, "steps"))
    return total * len(supernets)


def mutual_losses(logits: Sequence[Tensor], labels: Tensor, distillation: float) -> Tensor:
    """Return the loss of each network, shape ``(networks,)``; see :func:`train_siblings`."""
    losses = [nn.functional.cross_entropy(own, labels) for own in logits]
    if distillation > 0 and len(logits) > 1:
        shares = torch.stack([own.detach().softmax(dim=1) for own in logits])
        for place, own in enumerate(logits):
            others = (shares.sum(dim=0) - shares[place]) / (len(logits) - 1)
            divergence = nn.functional.kl_div(own.log_softmax(dim=1), others, reduction="batchmean")
            losses[place] = losses[place] + distillation * divergence
    return torch.stack(losses)
