"""Exact distances of every point to its nearest other points, from a streamed Gram matrix."""

import itertools
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from naslid_toolkit.errors import ShapeError

_CHUNK: Final = 8192  # features in one block: large enough for a fast product, small in memory
_BLOCK_ROWS: Final = 4  # upper-triangular block rows: 62.5 % of the work of a full product
_UNRESOLVED: Final = 1e-9  # relative squared distance below which a pair is computed anew
_PAIRS: Final = 128  # pairs computed anew at a time


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Squared distances of every point to its ``k`` nearest other points.

    Parameters
    ----------
    squared
        Shape ``(points, k)``, float64, ascending, the point itself left out by its index.
    constant
        Whether all points coincide, as behind a disconnected cell.
    """

    squared: Float[Tensor, "points k"]
    constant: bool


def nearest_neighbours(features: Float[Tensor, "points ..."], *, k: int = 20) -> Neighbours:
    """Find the distances of every point to its ``k`` nearest other points, exactly.

    The features go once, in blocks, through a centred float64 product; no copy of them is
    kept. Pairs so close that cancellation could rule are computed again from their rows, so
    equal points are at distance exactly zero.

    Parameters
    ----------
    features
        One point a row; further dimensions are flattened. Any floating dtype and device.
    k
        Number of neighbours, at least 2 and less than the number of points.

    Returns
    -------
    Neighbours
        On the device of the features.

    Raises
    ------
    ShapeError
        If there are too few points for ``k``, or a feature is not finite.
    """
    points = len(features)
    if not 2 <= k < points:
        raise ShapeError(f"k={k} neighbours need k >= 2 and more than k points, got {points}")
    rows = features.detach().reshape(points, -1)
    squared = _squared_distances(rows)
    if not bool(squared.isfinite().all()):
        raise ShapeError("the features hold a value that is not finite")
    constant = bool((squared == 0).all())
    squared.fill_diagonal_(float("inf"))
    nearest = squared.topk(k, dim=1, largest=False, sorted=True).values
    return Neighbours(nearest, constant)


def _squared_distances(rows: Float[Tensor, "points features"]) -> Float[Tensor, "points points"]:
    gram = _centred_gram(rows)
    norms = gram.diagonal()
    sums = norms[:, None] + norms[None, :]
    squared = (sums - 2 * gram).clamp_min_(0)
    squared.fill_diagonal_(0)
    _recompute(squared, rows, squared <= _UNRESOLVED * sums)
    return squared


def _centred_gram(rows: Float[Tensor, "points features"]) -> Float[Tensor, "points points"]:
    """Return the inner products of the rows less their mean, one block of features at a time."""
    points = len(rows)
    gram = torch.zeros(points, points, dtype=torch.float64, device=rows.device)
    edges = [points * i // _BLOCK_ROWS for i in range(_BLOCK_ROWS + 1)]
    for block in torch.split(rows, _CHUNK, dim=1):
        part = block.double()
        part = part - part.mean(dim=0)
        for start, stop in itertools.pairwise(edges):
            gram[start:stop, start:].addmm_(part[start:stop], part[start:].T)
    upper = gram.triu()
    return upper + upper.triu(1).T


def _recompute(
    squared: Float[Tensor, "points points"],
    rows: Float[Tensor, "points features"],
    doubtful: Bool[Tensor, "points points"],
) -> None:
    """Replace the distances of doubtful pairs by those of the rows themselves, in place."""
    left, right = doubtful.triu(1).nonzero(as_tuple=True)
    if not len(left):
        return
    if bool((rows == rows[:1]).all()):
        squared.zero_()
        return
    exact = squared.new_zeros(len(left))
    for block in torch.split(rows, _CHUNK, dim=1):
        for part in torch.split(torch.arange(len(left), device=rows.device), _PAIRS):
            difference = block[left[part]].double() - block[right[part]].double()
            exact[part] += difference.square_().sum(dim=1)
    squared[left, right] = exact
    squared[right, left] = exact
