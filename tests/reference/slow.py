"""Slow, obvious versions of what the package computes fast: loops in float64."""

import itertools
import math

import numpy as np


def lid_by_loops(points: np.ndarray, k: int, numerator: int, mean: str) -> float:
    """LID of a layer by the definition: distances one by one, then the mean over points."""
    points = points.astype(np.float64)
    values = []
    for i in range(len(points)):
        distances = sorted(
            math.sqrt(float(((points[i] - points[j]) ** 2).sum()))
            for j in range(len(points))
            if j != i
        )[:k]
        total = sum(math.log(distances[-1] / r) for r in distances[:-1])
        values.append(numerator / total)
    if mean == "harmonic":
        return len(values) / sum(1 / value for value in values)
    return sum(values) / len(values)


def tau_by_pairs(first: list[float], second: list[float]) -> float:
    """Kendall's tau-b over all pairs."""
    agree = ties_first = ties_second = 0
    for i, j in itertools.combinations(range(len(first)), 2):
        a = np.sign(first[i] - first[j])
        b = np.sign(second[i] - second[j])
        agree += a * b
        ties_first += a == 0
        ties_second += b == 0
    pairs = len(first) * (len(first) - 1) / 2
    return float(agree / math.sqrt((pairs - ties_first) * (pairs - ties_second)))


def groupings_by_masks(count: int) -> set[frozenset[frozenset[int]]]:
    """All partitions into two groups, by counting in binary."""
    found = set()
    for mask in range(1, 2**count - 1):
        first = frozenset(i for i in range(count) if mask >> i & 1)
        found.add(frozenset({first, frozenset(range(count)) - first}))
    return found


def depth_by_paths(edges, operations) -> int:
    """Most convolutions on a path from node 0 to node 3; -1 if there is none."""
    best = -1

    def walk(node: int, count: int) -> None:
        nonlocal best
        if node == 3:
            best = max(best, count)
        for (source, target), operation in zip(edges, operations, strict=True):
            if source == node and operation != "none":
                walk(target, count + operation.startswith("nor_conv"))

    walk(0, 0)
    return best
