"""Training-free scores of a network from one batch of images, for comparison.

Of every score, larger promises better; how well it ranks real cells stands with each, as Spearman's
correlation in networks of 5 cells and of 1 cell a stage (``docs/method.md``).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.batch_norm import (
    NORMS,
    batch_statistics,
    frozen_statistics,
    norms_replaced,
)
from naslid_toolkit.runtime import generator

Proxy = Callable[[nn.Module, Images], float]
_SMALL: Final = 1e-5  # as in the published code of the Jacobian covariance
_RECTIFIERS: Final = (torch.relu, torch.relu_, nn.functional.relu, Tensor.relu, Tensor.relu_)
_WEIGHTED: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def gradient_norm(network: nn.Module, images: Images) -> float:
    """Sum the norms of the loss's gradients of all convolutions and linear layers.

    Correlation with the accuracy: +0.55, +0.20.

    References
    ----------
    .. [1] M. Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021.
    """
    return sum(float(gradient.norm()) for _, gradient in _loss_gradients(network, images))


def snip(network: nn.Module, images: Images) -> float:
    """Sum ``|weight * gradient of the loss|`` over all convolutions and linear layers.

    Correlation with the accuracy: +0.55, +0.22.

    References
    ----------
    .. [1] N. Lee et al., "SNIP: Single-shot Network Pruning", ICLR 2019; as a score of
       architectures: M. Abdelfattah et al., ICLR 2021.
    """
    parts = _loss_gradients(network, images)
    return sum(float((weight * gradient).abs().sum()) for weight, gradient in parts)


def synflow(network: nn.Module, images: Images) -> float:
    """Return the logarithm of the synaptic flow: ``sum |w * dR/dw|`` on an image of ones.

    ``R`` is the sum of the outputs of the network with absolute weights and without batch norm,
    in float64; the logarithm keeps the order and the range. Correlation with the accuracy:
    +0.74, +0.73.

    References
    ----------
    .. [1] H. Tanaka et al., "Pruning neural networks without any data by iteratively conserving
       synaptic flow", NeurIPS 2020, equation 3.
    """
    shape = (1, *images.pixels.shape[1:])
    ones = torch.ones(shape, dtype=torch.float64, device=images.pixels.device)
    positive = {name: value.detach().double().abs() for name, value in network.named_parameters()}
    for value in positive.values():
        value.requires_grad_()
    buffers = {
        name: value.double() if value.is_floating_point() else value
        for name, value in network.named_buffers()
    }
    with norms_replaced(network, lambda _module, inputs: inputs), torch.enable_grad():
        output = torch.func.functional_call(network, {**positive, **buffers}, (ones,))
    weights = [positive[name] for name in _weight_names(network)]
    gradients = _gradients(output.sum(), weights)
    pairs = zip(weights, gradients, strict=True)
    flow = sum(float((w.detach() * g).abs().sum()) for w, g in pairs if g is not None)
    return math.log(flow) if flow > 0 else -math.inf


def jacobian_covariance(network: nn.Module, images: Images) -> float:
    """Score how differently the network reacts to different images, by its input gradients.

    ``-sum(log(v + 1e-5) + 1 / (v + 1e-5))`` over the eigenvalues ``v`` of the correlation
    matrix of the gradients of the summed outputs. Images with a gradient of zero are not
    defined; then the score is ``-inf``. Correlation with the accuracy: +0.76, +0.67.

    References
    ----------
    .. [1] J. Mellor et al., "Neural Architecture Search without Training", first version, 2020.
    """
    pixels = images.pixels.clone().requires_grad_()
    with batch_statistics(network), torch.enable_grad():
        output = network(pixels).sum()
        (raw,) = _gradients(output, [pixels])
    if raw is None:
        return -math.inf
    gradient = raw.flatten(1).double()
    centred = gradient - gradient.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        return -math.inf
    unit = centred / norms
    values = torch.linalg.eigvalsh(unit @ unit.T).clamp_min(0) + _SMALL
    return -float((values.log() + 1 / values).sum())


def naswot(network: nn.Module, images: Images) -> float:
    """Return the log-determinant of how often images share the state of a rectifier.

    Summed over all ReLUs that run; ``-inf`` where two images have the same states. Correlation
    with the accuracy: +0.75, +0.75.

    Raises
    ------
    ConfigError
        If the network has no ReLU.

    References
    ----------
    .. [1] J. Mellor et al., "Neural Architecture Search without Training", ICML 2021, section 3.
    """
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.pixels.device)
    with _RectifierStates(kernel), batch_statistics(network), torch.no_grad():
        network(images.pixels)
    if not bool(kernel.any()):  # an image shares every state with itself
        raise ConfigError("the network has no ReLU whose states could be compared")
    sign, value = torch.linalg.slogdet(kernel)
    return float(value) if float(sign) > 0 else -math.inf


def zen(network: nn.Module, images: Images, *, repeats: int = 4) -> float:
    """Return the Zen score: how far features move with Gaussian images, and batch norm scales.

    ``log E|f(x) - f(x + 0.01 e)|_1 + sum log sqrt(mean batch variance)`` with standard normal
    ``x`` and ``e`` of the images' shape; ``f`` are the features before global pooling, or before
    the last linear layer where there is no pooling. All weights of convolutions and linear
    layers are drawn from N(0, 1) too, biases are 0 and norms have no scale and shift: the score
    judges the architecture, not the weights it comes with, which stay as they are. Correlation
    with the accuracy: +0.32, +0.77.

    Parameters
    ----------
    network
        A network with enough batch norm to keep such weights from overflowing.
    images
        Only their shape counts.
    repeats
        Draws of weights and images over which the score is averaged (the published code: 32,
        and 1 in its search). They have fixed seeds of their own.

    Raises
    ------
    ConfigError
        If there is nothing to look at features before, no repeat, or the features overflow.

    References
    ----------
    .. [1] M. Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition",
       ICCV 2021, algorithm 1.
    """
    if repeats < 1:
        raise ConfigError(f"the Zen score needs at least one repeat, got {repeats}")
    return sum(_zen_once(network, images, repeat) for repeat in range(repeats)) / repeats


def _zen_once(network: nn.Module, images: Images, repeat: int) -> float:
    draw = generator(0, "zen", "images", repeat)
    shape, place = images.pixels.shape, images.pixels.device
    first, noise = (torch.randn(shape, generator=draw).to(place) for _ in range(2))
    weights = _gaussian_weights(network, repeat)
    variances: list[Tensor] = []
    features: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(batch_statistics(network))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_watched(_last_features(network), features))
        torch.func.functional_call(network, weights, (first + 0.01 * noise,))
        for module in network.modules():
            if isinstance(module, NORMS):
                stack.enter_context(_watched(module, variances))
        torch.func.functional_call(network, weights, (first,))
    moved = float((features[0] - features[1]).abs().flatten(1).sum(1).mean())
    dims = [tuple(d for d in range(value.ndim) if d != 1) for value in variances]
    spread = [float(v.var(d, unbiased=False).mean()) for v, d in zip(variances, dims, strict=True)]
    if not all(map(math.isfinite, (moved, *spread))):
        raise ConfigError(
            "features overflow with weights from N(0, 1): the Zen score needs batch norm after "
            "the convolutions"
        )
    if moved <= 0 or min(spread, default=1) <= 0:
        return -math.inf
    return math.log(moved) + sum(0.5 * math.log(value) for value in spread)


def _gaussian_weights(network: nn.Module, repeat: int) -> dict[str, Tensor]:
    """Draw every weight from N(0, 1), from a stream of its own name; norms get 1 and 0."""
    drawn = {}
    for name, module in network.named_modules():
        for kind, value in module.named_parameters(name, recurse=False):
            if isinstance(module, _WEIGHTED) and kind.endswith("weight"):
                draw = generator(0, "zen", kind, repeat)
                drawn[kind] = torch.randn(value.shape, generator=draw).to(value)
            elif isinstance(module, (*_WEIGHTED, *NORMS, nn.GroupNorm)):
                drawn[kind] = torch.full_like(value, float(kind.endswith("weight")))
    return drawn


def tangent_kernel(network: nn.Module, images: Images) -> Float[Tensor, "images images"]:
    """Return the empirical neural tangent kernel of the summed outputs, in float64.

    Batch norm would couple the images, so it is frozen at the statistics of these images.

    Parameters
    ----------
    network
        Any differentiable module.
    images
        At most some dozens: every image's gradient of all weights is kept.

    References
    ----------
    .. [1] A. Jacot et al., "Neural Tangent Kernel", NeurIPS 2018.
    """
    weights = {name: value.detach() for name, value in network.named_parameters()}
    buffers = {name: value.detach() for name, value in network.named_buffers()}

    def outputs(parameters: dict[str, Tensor]) -> Tensor:
        result: Tensor = torch.func.functional_call(
            network, {**parameters, **buffers}, (images.pixels,)
        )
        return result.sum(1)

    with frozen_statistics(network, images.pixels):
        gradients = torch.func.jacrev(outputs)(weights)
    kernel = images.pixels.new_zeros(len(images), len(images), dtype=torch.float64)
    for gradient in gradients.values():
        rows = gradient.flatten(1).double()
        kernel += rows @ rows.T
    return kernel


def tangent_smallest(network: nn.Module, images: Images) -> float:
    """Return the smallest eigenvalue of the tangent kernel; 0 where it is but rounding.

    Correlation with the accuracy: +0.53, +0.28.

    References
    ----------
    .. [1] Z. Zhu et al., "Generalization Properties of NAS under Activation and Skip Connection
       Search", NeurIPS 2022.
    """
    return float(_tangent_eigenvalues(network, images)[0])


def tangent_condition(network: nn.Module, images: Images) -> float:
    """Return minus the logarithm of the tangent kernel's condition number.

    ``-inf`` where the kernel is singular, as of a network whose output ignores the images. The
    paper's code takes the gradients of weights alone, and lets batch norm couple the images.
    Correlation with the accuracy: +0.55, +0.57.

    References
    ----------
    .. [1] W. Chen, X. Gong, Z. Wang, "Neural Architecture Search on ImageNet in Four GPU Hours"
       (TE-NAS), ICLR 2021, section 3.1.1.
    """
    values = _tangent_eigenvalues(network, images)
    return -math.log(float(values[-1] / values[0])) if float(values[0]) > 0 else -math.inf


def _tangent_eigenvalues(network: nn.Module, images: Images) -> Float[Tensor, " images"]:
    """Return the kernel's eigenvalues, ascending, 0 within rounding; NaN if it is not finite."""
    kernel = tangent_kernel(network, images)
    if not bool(kernel.isfinite().all()):
        return kernel.new_full((len(kernel),), math.nan)
    values: Tensor = torch.linalg.eigvalsh(kernel)
    rounding = torch.finfo(values.dtype).eps * len(values) * values[-1]
    return values.where(values > rounding, 0.0)


PROXIES: Final[Mapping[str, Proxy]] = {
    "gradient_norm": gradient_norm,
    "snip": snip,
    "synflow": synflow,
    "jacobian_covariance": jacobian_covariance,
    "naswot": naswot,
    "zen": zen,
    "tangent_smallest": tangent_smallest,
    "tangent_condition": tangent_condition,
}


def _weight_names(network: nn.Module) -> list[str]:
    """Name the weights of convolutions and linear layers."""
    return [
        f"{name}.weight" if name else "weight"
        for name, module in network.named_modules()
        if isinstance(module, _WEIGHTED)
    ]


def _loss_gradients(network: nn.Module, images: Images) -> list[tuple[Tensor, Tensor]]:
    """Return weights and gradients of the cross-entropy; nothing is left in the network."""
    parameters = dict(network.named_parameters())
    weights = [parameters[name] for name in _weight_names(network)]
    if not weights:
        raise ConfigError("the network has no convolution and no linear layer to score")
    with batch_statistics(network), torch.enable_grad():
        loss = nn.functional.cross_entropy(network(images.pixels), images.labels)
        gradients = _gradients(loss, weights)
    pairs = zip(weights, gradients, strict=True)
    return [(weight.detach(), gradient) for weight, gradient in pairs if gradient is not None]


def _gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Return gradients; None where the output does not depend on an input."""
    return list(torch.autograd.grad(output, inputs, allow_unused=True))


def _last_features(network: nn.Module) -> nn.Module:
    """Return the module whose input are the features before pooling, or the last linear layer."""
    modules = list(network.modules())
    for kinds in ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), (nn.Linear,)):
        fitting = [module for module in modules if isinstance(module, kinds)]
        if fitting:
            return fitting[-1]
    raise ConfigError("the network has neither global pooling nor a linear layer to look before")


class _RectifierStates(TorchFunctionMode):
    """Adds up, over all rectifiers, how many units two images have in the same state."""

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.kernel = kernel

    def __torch_function__(
        self,
        function: Callable[..., Any],
        _types: object,
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> object:
        if function in _RECTIFIERS:
            given = arguments[0] if arguments else (options or {})["input"]
            active = (given > 0).flatten(1).float()
            self.kernel += active @ active.T + (1 - active) @ (1 - active).T
        return function(*arguments, **(options or {}))


@contextmanager
def _watched(module: nn.Module, inputs: list[Tensor]) -> Iterator[None]:
    """Collect the inputs of a module."""
    handle = module.register_forward_pre_hook(lambda _module, args: inputs.append(args[0].detach()))
    try:
        yield
    finally:
        handle.remove()
