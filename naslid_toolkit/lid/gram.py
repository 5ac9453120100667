"""All squared distances of a feature map, from a streamed Gram matrix, with a certificate."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.distances import ROUNDING, Distances, condensed, pair_indices
from naslid_toolkit.lid.likelihood import lid_mle
from naslid_toolkit.runtime import generator

Precision = Literal["auto", "float32", "float64", "tf32"]

TOLERANCE: Final = 1e-4  # relative error of a LID above which "auto" turns to float64
_CHUNK: Final = 8192  # features at a time: enough for a fast product, small in memory
_BLOCK: Final = 64  # rows of an upper-triangular block
_NEAR: Final = {"float64": 1e-8, "float32": 2.0**-20, "tf32": 2.0**-7}  # cancellation rules
# Of sums in float32 a little above half a unit: kernels for wide registers add in another order.
_ROUNDING: Final = {"float64": 2.0**-48, "float32": 1.25 * 2.0**-24, "tf32": 2.0**-11}
_PAIRS: Final = 128  # pairs computed anew at a time
_NOISE: Final = 30.0  # roundings of a point within which its neighbours are not resolved
_SOME: Final = 10  # neighbours for a first look at the dimension
_STEEP: Final = 25.0  # sensitivity of a LID of 100, the largest that needs no closer look
_TINY: Final = 2.0**-80  # squared norms below which float32 products lose bits


def pairwise_distances(
    features: Shaped[Tensor, "*shape"],
    *,
    precision: Precision = "auto",
    max_features: int | None = None,
    seed: int = 0,
) -> Distances:
    """Compute the squared distances between all points, in one pass over the features.

    The features go in blocks through a Gram matrix whose upper triangle alone is computed: centred
    where that gains a bit, float32 products, float64 sums. No copy of them is kept. Pairs so near
    that cancellation could rule are computed again from their rows, so equal points, and only
    they, are at distance exactly zero. A certificate bounds what the rest can do to the LID; where
    ``"auto"`` finds it above 1e-4, or an overflow, it does the product in float64.

    Parameters
    ----------
    features
        One point a row; further dimensions are flattened, in the order they have in memory.
        Any floating dtype and device; bfloat16 and float16 are widened block by block, and
        float64 features always have float64 products.
    precision
        ``"auto"``; ``"float64"``; ``"float32"``, which never falls back; or ``"tf32"``, the
        same with tensor cores, for CUDA only.
    max_features
        At most so many features, drawn at random without replacement, the same ones for every
        layer of the same size; None uses all. An approximation, and its error depends on the
        images: in the wide layers (8,192 and 16,384 features) of a briefly trained supernet,
        128 CIFAR-10 images and ``k = 20``, 4096 features move the LID by 0.7 % (root mean
        square; 1.5 % at most), 1024 by 2.3 % (5 %); for noisy digits it is 4 % and 13 %.
        ``benchmarks/lid.py`` measures it.
    seed
        Seed of the drawn features.

    Returns
    -------
    Distances
        Of one layer, float64, on the device of the features. Non-finite features are not an
        error: the distances are NaN, and ``finite`` is false.

    Raises
    ------
    ShapeError
        If there are fewer than two points, no feature, or the dtype is not floating; if
        ``"tf32"`` is asked for elsewhere than on CUDA.

    Notes
    -----
    The certificate is ``u * kappa`` with ``kappa = max (|x|^2 + |y|^2) / d(x, y)^2`` over pairs
    of centred points, and ``u`` the rounding unit of the products (float64: 2**-48, which
    covers long sums and the reference it was compared with). An error of the distances
    moves a LID in proportion to the LID itself, hence the factor in
    :meth:`~naslid_toolkit.lid.distances.Distances.lid_bound`. It is a rule, not a proof.
    """
    rows = feature_matrix(features.detach(), max_features, seed=seed)
    if len(rows) < 2:
        raise ShapeError(f"distances need two points, got {len(rows)}")
    if precision == "tf32" and rows.device.type != "cuda":
        raise ShapeError(f"precision 'tf32' needs features on CUDA, got {rows.device.type}")
    with _plain_products(rows.device, tf32=precision == "tf32"):
        if precision != "float64" and rows.dtype != torch.float64:
            word = "tf32" if precision == "tf32" else "float32"
            found = _measure(rows, word, strict=precision == "auto")
            if found is not None:
                return found
        found = _measure(rows, "float64", strict=False)
    return found if found is not None else _not_finite(rows)


def feature_matrix(
    features: Shaped[Tensor, "*shape"], max_features: int | None = None, *, seed: int = 0
) -> Float[Tensor, "points features"]:
    """Return one row a point, in the order of memory, of all features or a random part of them.

    Without ``max_features`` it is a view wherever the memory allows.

    Raises
    ------
    ShapeError
        If there is no feature, or the dtype is not floating.
    """
    if not features.is_floating_point():
        raise ShapeError(f"features must be floating point, got {features.dtype}")
    if not features.ndim or not features.numel():
        raise ShapeError(f"no features in a tensor of shape {tuple(features.shape)}")
    order = sorted(range(1, features.ndim), key=features.stride, reverse=True)
    rows = features.permute(0, *order).reshape(len(features), -1)
    count = rows.shape[1]
    if max_features is None or max_features >= count:
        return rows
    if max_features < 1:
        raise ShapeError(f"max_features must be at least 1, got {max_features}")
    draw = generator(seed, "features", count)
    logical = torch.randperm(count, generator=draw)[:max_features]
    shape = features.shape[1:]
    place = torch.zeros_like(logical)
    coordinates = torch.unravel_index(logical, shape) if shape else (logical,)
    for dim in order:
        place = place * features.shape[dim] + coordinates[dim - 1]
    columns = place.sort().values  # in memory order: seven times faster than unsorted
    return rows.index_select(1, columns.to(rows.device))


@contextmanager
def _plain_products(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Keep autocast, and TF32 unless it is asked for, out of matrix products."""
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        before, wanted = torch.get_float32_matmul_precision(), "high" if tf32 else "highest"
        if before != wanted:
            torch.set_float32_matmul_precision(wanted)
            stack.callback(torch.set_float32_matmul_precision, before)
        yield


def _measure(rows: Tensor, word: str, *, strict: bool) -> Distances | None:
    """Return the distances from products of one precision; None if they will not do."""
    gram = _streamed_gram(rows, word, exponent=0)
    if not gram.in_range:
        low, high = torch.aminmax(rows)
        top = max(-float(low), float(high))
        if not math.isfinite(top):
            return None
        gram = _streamed_gram(rows, word, exponent=math.frexp(top)[1])
    return _distances(gram, rows, word, strict=strict)


def _not_finite(rows: Tensor) -> Distances:
    points = len(rows)
    pairs = rows.new_full((points * (points - 1) // 2,), math.nan, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.int64, device=rows.device)
    return Distances(pairs, zero, pairs.new_tensor(math.nan), zero, zero == 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Gram:
    """What is known of the scaled and shifted rows.

    Their squared norms and the largest of them, the squared distances of their pairs before any
    correction, the squared norm of the shift, and the exponent of the scale.
    """

    norms: Float[Tensor, " points"]
    largest: float
    squared: Float[Tensor, " pairs"]
    shift: float
    exponent: int

    @property
    def in_range(self) -> bool:
        """Whether float32 neither overflowed nor lost bits."""
        return _TINY < self.largest < math.inf


def _streamed_gram(rows: Tensor, word: str, *, exponent: int) -> _Gram:
    points = len(rows)
    dtype = torch.float64 if word == "float64" else torch.float32
    chunk = _CHUNK // 2 if word == "float64" else _CHUNK
    products = torch.zeros(points, points, dtype=torch.float64, device=rows.device)
    partial = torch.zeros(points, points, dtype=dtype, device=rows.device)
    edges = [(i, min(i + _BLOCK, points)) for i in range(0, points, _BLOCK)]
    buffer: Tensor | None = None
    shift = 0.0
    for block in torch.split(rows, chunk, dim=1):
        centre, length = _centre(block, dtype, exponent)
        part = block
        if length or exponent or block.dtype != dtype:
            if buffer is None:
                buffer = torch.empty(points, block.shape[1], dtype=dtype, device=rows.device)
            part = buffer[:, : block.shape[1]].copy_(block)
        if exponent:
            part.mul_(2.0**-exponent)
        if length:
            part.sub_(centre)
            shift += length
        for start, stop in edges:
            partial[start:stop, start:].addmm_(part[start:stop], part[start:].T, beta=0)
        products += partial
    norms = products.diagonal().clone()
    squared = condensed(products.mul_(-2).add_(norms).add_(norms[:, None]))
    return _Gram(norms, float(norms.amax()), squared, shift, exponent)


def _centre(block: Tensor, dtype: torch.dtype, exponent: int) -> tuple[Tensor, float]:
    """Return the scaled mean of two rows and its squared length; 0 if it is to be left alone.

    The mean is exact for a constant feature and near for any other. Distances do not depend on
    what is subtracted, so an approximate mean costs no accuracy; and where it is not long against
    the distance of the two rows, subtracting would gain nothing and is not worth a copy.
    """
    first, second = block[0].to(dtype), block[len(block) // 2].to(dtype)
    if exponent:
        first, second = first * 2.0**-exponent, second * 2.0**-exponent
    lengths = float(first.dot(first)) + float(second.dot(second))
    product = 2 * float(first.dot(second))
    if lengths + product <= 2 * (lengths - product):
        return first, 0.0
    centre: Tensor = (first + second) / 2
    return centre, (lengths + product) / 4


def _distances(gram: _Gram, rows: Tensor, word: str, *, strict: bool) -> Distances | None:
    """Correct the nearest pairs of a Gram matrix and certify the others.

    If ``strict``, None where the certificate does not reach the tolerance.
    """
    squared, near = gram.squared, None
    nearest = float(squared.amin())
    kappa = 2 * gram.largest / nearest if nearest > 0 else math.inf
    if _ROUNDING[word] * kappa * _STEEP > TOLERANCE:  # look closer, pair by pair
        left, right = pair_indices(len(rows), rows.device)
        sums = gram.norms[left] + gram.norms[right]
        near = squared <= _NEAR[word] * sums
        kappa = float((sums / squared).masked_fill(near, 1.0).amax())
        some = bool(near.any())
        if some and not _recompute(squared, rows, near, gram.exponent, few_only=strict):
            return None
    bound = _ROUNDING[word] * (1 + kappa)
    if strict and near is not None and bound * _sensitivity(squared) > TOLERANCE:
        return None
    noise = (_NOISE * _input_rounding(rows.dtype)) ** 2
    resolved = near is None and nearest > noise * (gram.largest + gram.shift)
    unresolved = 0 if resolved else _unresolved(squared, noise * (gram.norms + gram.shift))
    return Distances(
        pairs=squared,
        exponent=torch.tensor(2 * gram.exponent, device=rows.device),
        bound=squared.new_tensor(bound),
        unresolved=torch.tensor(unresolved, device=rows.device),
        doubled=torch.tensor(word == "float64", device=rows.device),
    )


def _sensitivity(squared: Float[Tensor, " pairs"]) -> float:
    """Return by what the relative error of distances has to be multiplied for that of the LID."""
    zero = squared.new_zeros((), dtype=torch.int64)
    distances = Distances(squared, zero, squared.new_zeros(()), zero, zero == 0)
    if distances.points < 3:
        return math.inf
    neighbours = distances.neighbours(min(_SOME, distances.points - 1))
    inverse = float((1 / lid_mle(neighbours.squared.sqrt())).nanmean())
    return max(1.0, 0.25 / inverse) if inverse else math.inf


def _input_rounding(dtype: torch.dtype) -> float:
    return ROUNDING.get(dtype) or torch.finfo(dtype).eps / 2


def _unresolved(squared: Float[Tensor, " pairs"], noise: Float[Tensor, " points"]) -> int:
    """Count the points whose nearest distinct neighbour lies within their rounding noise."""
    close = (squared < noise.amax()) & (squared > 0)
    left, right = pair_indices(len(noise), noise.device)
    ends = torch.cat([left[close], right[close]])
    return len(torch.unique(ends[squared[close].repeat(2) < noise[ends]]))


def _recompute(
    squared: Float[Tensor, " pairs"],
    rows: Tensor,
    near: Bool[Tensor, " pairs"],
    exponent: int,
    *,
    few_only: bool,
) -> bool:
    """Replace the distances of near pairs by those of the rows themselves, in place.

    Return false, with nothing done, if only a few were to be computed and there are many.
    """
    left, right = (ends[near] for ends in pair_indices(len(rows), rows.device))
    group = _equal_rows(rows, left, right)
    equal = group[left] == group[right]
    if few_only and int((~equal).sum()) > 4 * len(rows):
        return False
    exact = squared.new_zeros(len(left))
    others = (~equal).nonzero().flatten()
    for block in torch.split(rows, _CHUNK, dim=1):
        for part in torch.split(others, _PAIRS):
            difference = block[left[part]].double() - block[right[part]].double()
            exact[part] += difference.mul_(2.0**-exponent).square_().sum(dim=1)
    squared[near] = exact
    return True


def _equal_rows(rows: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Give every row the number of an equal row, the same one for a whole class of copies.

    Each point is compared with the first point near it alone: dead layers would have all pairs.
    """
    points = torch.arange(len(rows), device=rows.device)
    first = points.scatter_reduce(0, right, left, "amin")
    same = torch.ones_like(points, dtype=torch.bool)
    for block in torch.split(rows, _CHUNK, dim=1):
        same &= (block == block[first]).all(dim=1)
    return torch.where(same, first, points)
