"""Points drawn from shapes of known dimension, to see what an estimator makes of them."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ConfigError
from naslid_toolkit.runtime import generator

Manifold = Literal["sphere", "ball", "gauss", "cube", "swiss_roll"]


def sample_manifold(
    kind: Manifold, dimension: int, *, points: int = 128, features: int | None = None, seed: int
) -> Float[Tensor, "points features"]:
    """Draw points from a shape of known intrinsic dimension.

    Parameters
    ----------
    kind
        ``"sphere"`` (the surface of a ball), ``"ball"``, ``"gauss"``, ``"cube"``, all uniform
        but the Gaussian; or ``"swiss_roll"``, a rolled rectangle times a cube, at least of
        dimension 2.
    dimension
        The intrinsic dimension.
    points
        Number of points.
    features
        Number of coordinates: the shape is turned at random into that many, which changes no
        distance. None takes as few as the shape needs.
    seed
        Seed of the points and of the rotation.

    Returns
    -------
    Tensor
        Shape ``(points, features)``, float64.

    Raises
    ------
    ConfigError
        If the shape is unknown, or does not fit.

    Examples
    --------
    >>> sample_manifold("sphere", 2, points=5, features=30, seed=0).shape
    torch.Size([5, 30])
    """
    if kind not in _SHAPES:
        raise ConfigError(f"unknown shape {kind!r}: {', '.join(_SHAPES)}")
    if dimension < (2 if kind == "swiss_roll" else 1) or points < 1:
        raise ConfigError(f"no {kind} of dimension {dimension} with {points} points")
    draw = generator(seed, "manifold", kind, dimension)
    rows = _SHAPES[kind](points, dimension, draw)
    if features is None:
        return rows
    if features < rows.shape[1]:
        raise ConfigError(f"a {kind} of dimension {dimension} needs {rows.shape[1]} features")
    axes = torch.randn(features, rows.shape[1], generator=draw, dtype=torch.float64)
    turned: Tensor = rows @ torch.linalg.qr(axes).Q.T
    return turned


def _uniform(points: int, dimension: int, draw: torch.Generator) -> Tensor:
    return torch.rand(points, dimension, generator=draw, dtype=torch.float64)


def _gauss(points: int, dimension: int, draw: torch.Generator) -> Tensor:
    return torch.randn(points, dimension, generator=draw, dtype=torch.float64)


def _sphere(points: int, dimension: int, draw: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(_gauss(points, dimension + 1, draw), dim=1)


def _ball(points: int, dimension: int, draw: torch.Generator) -> Tensor:
    direction = torch.nn.functional.normalize(_gauss(points, dimension, draw), dim=1)
    return direction * _uniform(points, 1, draw).pow(1 / dimension)


def _swiss_roll(points: int, dimension: int, draw: torch.Generator) -> Tensor:
    angle = 1.5 * torch.pi * (1 + 2 * _uniform(points, 1, draw))
    flat = 21 * _uniform(points, dimension - 1, draw)
    return torch.cat([angle * angle.cos(), angle * angle.sin(), flat], dim=1)


_SHAPES: Final[Mapping[str, Callable[[int, int, torch.Generator], Tensor]]] = {
    "sphere": _sphere,
    "ball": _ball,
    "gauss": _gauss,
    "cube": _uniform,
    "swiss_roll": _swiss_roll,
}
