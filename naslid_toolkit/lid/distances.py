"""The distances between all points of a layer, and each point's nearest other points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from naslid_toolkit.errors import ShapeError

ROUNDING: Final = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Squared distances of every distinct point to its nearest other distinct points.

    Equal points are one point: the first of them stands for all.

    Parameters
    ----------
    squared
        Shape ``(..., points, k)``, float64, ascending, the point itself left out by its index.
        NaN for a point that equals an earlier one, infinite where there is no such neighbour.
    index
        Which points they are, of the same shape.
    found
        Neighbours that exist, at most ``k``: distinct points less one. Shape ``(...,)``.
    """

    squared: Float[Tensor, "*layers points k"]
    index: Int[Tensor, "*layers points k"]
    found: Int[Tensor, "*layers"]


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Squared distances between all points of one layer or of many, and how exact they are.

    One record answers every later question: another number of neighbours, another estimator,
    a resample of the points. In float32 it takes 32 KiB a layer for 128 points.

    Parameters
    ----------
    pairs
        Squared distances of the pairs ``i < j`` row by row, divided by ``2 ** exponent``;
        shape ``(..., pairs)``, float32 or float64. Exactly 0 for equal points and for no
        others. All NaN if a feature was not finite.
    exponent
        Powers of two taken out, so that no layer overflows. Shape ``(...,)``, as all below.
    bound
        The certificate: bound on the relative error of the nearest squared distances; see
        :meth:`lid_bound`. NaN if a feature was not finite.
    unresolved
        Points whose nearest distinct neighbour is nearer than 30 roundings of the features'
        own number format: there the distance is noise, however exactly it is computed.
    doubled
        Whether the layer needed float64 products.
    """

    pairs: Float[Tensor, "*layers pairs"]
    exponent: Int[Tensor, "*layers"]
    bound: Float[Tensor, "*layers"]
    unresolved: Int[Tensor, "*layers"]
    doubled: Bool[Tensor, "*layers"]

    @property
    def points(self) -> int:
        """Points of a layer."""
        return (1 + math.isqrt(1 + 8 * self.pairs.shape[-1])) // 2

    @property
    def finite(self) -> Bool[Tensor, "*layers"]:
        """Whether all features of a layer were finite."""
        return ~self.bound.isnan()

    def lid_bound(self, lid: Float[Tensor, "*layers"]) -> Float[Tensor, "*layers"]:
        """Bound the relative error of maximum-likelihood LIDs: ``bound * max(1, lid / 4)``."""
        return self.bound * (lid / 4).clamp_min(1)

    @property
    def bytes_per_layer(self) -> int:
        """Bytes that the distances of one layer take."""
        return self.pairs.shape[-1] * self.pairs.element_size()

    def square(self) -> Float[Tensor, "*layers points points"]:
        """Return the full symmetric matrices, 0 on the diagonal, divided by ``2 ** exponent``."""
        return self._square(0.0)

    def _square(self, diagonal: float) -> Float[Tensor, "*layers points points"]:
        points = self.points
        flat = self.pairs.index_select(-1, _mirrored(points, self.pairs.device))
        square = flat.view(*self.pairs.shape[:-1], points, points)
        square.diagonal(dim1=-2, dim2=-1).fill_(diagonal)
        return square

    def copies(self) -> Bool[Tensor, "*layers points"] | None:
        """Return which points equal an earlier one; None if no point of any layer does."""
        if bool(self.pairs.all()):  # nothing is zero
            return None
        return (self.square() == 0).tril(-1).any(dim=-1)

    def neighbours(self, k: int, *, distinct: bool = True) -> Neighbours:
        """Return the ``k`` nearest other points of every point.

        Parameters
        ----------
        k
            Number of neighbours, at least 2 and less than the number of points.
        distinct
            Whether equal points count as one; otherwise they are neighbours at distance 0.

        Raises
        ------
        ShapeError
            If there are too few points for ``k``.
        """
        check_neighbours(k, self.points)
        points = self.points
        square = self._square(math.inf)
        found = torch.full_like(self.exponent, k)
        copies = self.copies() if distinct else None
        if copies is not None:
            square.masked_fill_(copies[..., None, :], math.inf)
            found = (points - 1 - copies.sum(dim=-1)).clamp_max(k)
        squared, index = _smallest(square, k)
        if copies is not None:
            squared.masked_fill_(copies[..., None], math.nan)
        return Neighbours(squared, index, found)

    def subset(self, points: Sequence[int]) -> "Distances":
        """Return the distances between some of the points, in the order given.

        The certificate stays that of all points, which is the larger one.

        Raises
        ------
        ShapeError
            If a point does not exist or is named twice.
        """
        if len(set(points)) < len(points) or not all(0 <= p < self.points for p in points):
            raise ShapeError(f"a subset names points below {self.points}, each at most once")
        chosen = torch.tensor(points, device=self.pairs.device)
        left, right = pair_indices(len(points), self.pairs.device)
        ends = torch.stack([chosen[left], chosen[right]])
        low, high = ends.amin(dim=0), ends.amax(dim=0)
        place = low * self.points - low * (low + 3) // 2 + high - 1
        return replace(self, pairs=self.pairs.index_select(-1, place))

    def flat(self) -> "Distances":
        """Return the same layers along one dimension."""
        ends = [(-1, self.pairs.shape[-1])] + [(-1,)] * (len(fields(self)) - 1)
        columns = zip(fields(self), ends, strict=True)
        return Distances(*(getattr(self, f.name).reshape(end) for f, end in columns))

    def to(self, place: torch.device | torch.dtype | str) -> "Distances":
        """Return the record on another device, or with its pairs rounded to another dtype."""
        if not isinstance(place, torch.dtype):
            return Distances(*(getattr(self, f.name).to(place) for f in fields(self)))
        if place == self.pairs.dtype:
            return self
        if place == torch.float64:
            return replace(self, pairs=self.pairs.double())
        top = self.pairs.amax(dim=-1)
        power = 2 * (torch.frexp(top.nan_to_num(nan=0.0)).exponent // 2)  # of an even exponent
        pairs = torch.ldexp(self.pairs, -power[..., None].to(self.pairs.dtype)).to(place)
        exponent = self.exponent + power
        return replace(self, pairs=pairs, exponent=exponent, bound=self.bound + ROUNDING[place])

    def __getitem__(self, index: object) -> "Distances":
        """Return some of the layers, as the index would select them from ``exponent``."""
        place = index if isinstance(index, tuple) else (index,)
        first, *others = (getattr(self, f.name) for f in fields(self))
        return Distances(first[*place, :], *(other[place] for other in others))

    @classmethod
    def stack(cls, parts: Sequence["Distances"]) -> "Distances":
        """Put records of equal shape behind one another along a new first dimension.

        Raises
        ------
        ShapeError
            If their shapes differ, as those of batches of different sizes do.
        """
        shapes = {tuple(part.pairs.shape) for part in parts}
        if len(shapes) != 1:
            points = sorted({part.points for part in parts})
            raise ShapeError(f"distances of different shapes cannot be stacked: {points} points")
        return cls(*(torch.stack([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def check_neighbours(k: int, points: int) -> None:
    """Raise a ShapeError if there are too few points for ``k`` neighbours."""
    if not 2 <= k < points:
        raise ShapeError(f"k={k} neighbours need k >= 2 and more than k points, got {points}")


def condensed(
    square: Float[Tensor, "*layers points points"],
) -> Float[Tensor, "*layers pairs"]:
    """Return the pairs ``i < j`` of matrices, row by row."""
    points = square.shape[-1]
    return square.flatten(-2).index_select(-1, _upper(points, square.device))


def _smallest(
    values: Float[Tensor, "*layers points n"], k: int
) -> tuple[Float[Tensor, "*layers points k"], Int[Tensor, "*layers points k"]]:
    """Return the ``k`` smallest in each row, ascending, in float64, and where they are.

    None may be negative.

    Non-negative floats are in the order of their bits, and integers are sorted three times
    faster than floats, which might be NaN.
    """
    bits = values.view(torch.int64 if values.dtype == torch.float64 else torch.int32)
    smallest, index = bits.topk(k, dim=-1, largest=False, sorted=True)
    return smallest.view(values.dtype).double(), index


@lru_cache(maxsize=16)
def pair_indices(
    points: int, device: torch.device
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Return both ends of the pairs ``i < j``, row by row."""
    left, right = torch.triu_indices(points, points, offset=1, device=device)
    return left, right


@lru_cache(maxsize=16)
def _upper(points: int, device: torch.device) -> Int[Tensor, " pairs"]:
    """Return the place of every pair in a flattened matrix."""
    left, right = pair_indices(points, device)
    return left * points + right


@lru_cache(maxsize=16)
def _mirrored(points: int, device: torch.device) -> Int[Tensor, " cells"]:
    """Return which pair every cell of a flattened matrix holds; any, on the diagonal."""
    left, right = pair_indices(points, device)
    places = torch.zeros((points, points), dtype=torch.int64, device=device)
    places[left, right] = places[right, left] = torch.arange(len(left), device=device)
    return places.flatten()
