"""The distances behind a split: change k, estimator, layers or similarity without a network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from naslid_toolkit.errors import DataError, SpaceError, nearest_name
from naslid_toolkit.lid.distances import Distances, check_neighbours
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import (
    LayerEstimate,
    LIDEstimator,
    MaximumLikelihood,
    log_ratio_sums,
)
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.partition.evidence import EdgeEvidence, check_operations
from naslid_toolkit.space.search_space import SearchSpace

_READY: Final = 64  # numbers of neighbours for which the sums are kept ready
_AT_ONCE: Final = 256  # layers prepared at a time


@dataclass(frozen=True, slots=True)
class MeasuredEdge:
    """Which network of a store stands for which operation of an edge.

    Parameters
    ----------
    edge
        The edge, counted from 0.
    operations
        Its operations.
    contexts
        The architectures whose other edges the operations were tried with.
    networks
        Place in the store of each operation in each context, ``networks[context][operation]``.
        Equal networks have one place.
    """

    edge: int
    operations: tuple[str, ...]
    contexts: tuple[str, ...]
    networks: tuple[tuple[int, ...], ...]

    def check(self, space: SearchSpace) -> None:
        """Check that it is about an edge of a space.

        Raises
        ------
        SpaceError
            If there is no such edge, or it does not allow the operations.
        """
        check_operations(space, self.edge, self.operations)

    def evidence(
        self,
        entries: tuple[str, ...],
        lid: Float[Tensor, "networks layers"],
        undefined: Int[Tensor, "networks layers"],
    ) -> EdgeEvidence:
        """Arrange one LID and one count for each network and layer by context and operation."""
        places = torch.tensor(self.networks)
        return EdgeEvidence(
            edge=self.edge,
            operations=self.operations,
            entries=entries,
            contexts=self.contexts,
            vectors=lid[places],
            undefined=undefined[places],
        )


@dataclass(frozen=True, eq=False)
class NeighbourStore:
    """The distances kept for every edge, operation and layer of a split.

    Every choice that follows the measurement can be changed here: the number of neighbours, the
    estimator, the layers, the images, and, with :func:`~naslid_toolkit.partition.split.split_by`,
    similarity and grouping. The first question sorts the distances (0.2 s for 500 layers of 128
    points); another ``k`` or maximum-likelihood estimator then takes milliseconds.

    Parameters
    ----------
    layers
        Names of the layers.
    edges
        What was measured, edge by edge.
    distances
        Shape ``(networks, batches, layers)``; in float32, 32 KiB for a layer of 128 points.
    """

    layers: tuple[str, ...]
    edges: tuple[MeasuredEdge, ...]
    distances: Distances
    _ready: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def lid(
        self, *, k: int = 20, estimator: LIDEstimator = ESTIMATORS["harmonic"]
    ) -> LayerEstimate:
        """Return the LID of every network, batch and layer.

        Raises
        ------
        ShapeError
            If there are too few points for ``k``.
        """
        check_neighbours(k, self.distances.points)
        if not isinstance(estimator, MaximumLikelihood) or k > _READY:
            return estimator(self.distances, k=k)
        if not self._ready:
            self._ready.update(_prepared(self.distances))
        found = self._ready["found"].clamp_max(k)
        sums = self._ready["sums"]
        if bool((found == k).all()):
            return estimator.of_sums(sums[k - 1], found)
        place = (found - 1).clamp_min(0)[None, ..., None]
        return estimator.of_sums(sums.take_along_dim(place, dim=0)[0], found)

    def evidence(
        self,
        *,
        k: int = 20,
        estimator: LIDEstimator = ESTIMATORS["harmonic"],
        layers: Sequence[str] | None = None,
    ) -> tuple[EdgeEvidence, ...]:
        """Return what a criterion with these settings would have measured of each edge.

        Parameters
        ----------
        k, estimator
            See :meth:`lid`.
        layers
            Which layers to compare; None compares all.

        Raises
        ------
        ShapeError
            If there are too few points for ``k``.
        SpaceError
            If a layer does not exist.
        """
        estimate = self.lid(k=k, estimator=estimator)
        return self.evidence_of(
            estimate.lid.nanmean(dim=1), estimate.undefined.sum(dim=1), layers=layers
        )

    def evidence_of(
        self,
        lid: Float[Tensor, "networks layers"],
        undefined: Tensor | None = None,
        *,
        layers: Sequence[str] | None = None,
    ) -> tuple[EdgeEvidence, ...]:
        """Arrange one LID for each network and layer, of a resample for instance, by edges."""
        names = self.layers if layers is None else tuple(layers)
        for name in names:
            if name not in self.layers:
                raise SpaceError(
                    f"no layer {name!r} in the store; {nearest_name(name, self.layers)}"
                )
        columns = [self.layers.index(name) for name in names]
        counts = torch.zeros(lid.shape, dtype=torch.int64) if undefined is None else undefined
        lid, counts = lid[:, columns], counts[:, columns]
        return tuple(edge.evidence(names, lid, counts) for edge in self.edges)

    def network(self, edge: int, operation: str, *, context: int = 0) -> LayerDistances:
        """Return the distances of one operation in one context, for its profile or interval.

        Raises
        ------
        SpaceError
            If it was not measured.
        """
        for measured in self.edges:
            if measured.edge == edge and operation in measured.operations:
                column = measured.operations.index(operation)
                if not 0 <= context < len(measured.contexts):
                    raise SpaceError(f"no context {context}, there are {len(measured.contexts)}")
                place = measured.networks[context][column]
                return LayerDistances(self.layers, self.distances[place])
        raise SpaceError(f"{operation!r} on edge {edge} was not measured")

    def of_points(self, points: Sequence[int]) -> "NeighbourStore":
        """Return the store of some of the images alone, in every batch."""
        return replace(self, distances=self.distances.subset(points))

    @classmethod
    def joined(cls, parts: Sequence["NeighbourStore"]) -> "NeighbourStore":
        """Return one store of what was measured edge by edge, in the same layers."""
        edges, before = [], 0
        for part in parts:
            for edge in part.edges:
                rows = tuple(tuple(before + place for place in row) for row in edge.networks)
                edges.append(replace(edge, networks=rows))
            before += len(part.distances.exponent)
        together = {
            f.name: torch.cat([getattr(part.distances, f.name) for part in parts])
            for f in fields(Distances)
        }
        return cls(parts[0].layers, tuple(edges), Distances(**together))

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that is stored as tensors, by name."""
        return {f.name: getattr(self.distances, f.name) for f in fields(Distances)}

    def description(self) -> str:
        """Return everything else as JSON."""
        edges = [asdict(edge) for edge in self.edges]
        return json.dumps({"layers": self.layers, "edges": edges})

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], description: str) -> "NeighbourStore":
        """Return the store that :meth:`tensors` and :meth:`description` were taken of.

        Raises
        ------
        DataError
            If they do not fit together.
        """
        distances = Distances(**tensors)
        data = json.loads(description)
        edges = tuple(
            MeasuredEdge(
                edge=int(edge["edge"]),
                operations=tuple(edge["operations"]),
                contexts=tuple(edge["contexts"]),
                networks=tuple(tuple(int(place) for place in row) for row in edge["networks"]),
            )
            for edge in data["edges"]
        )
        store = cls(tuple(map(str, data["layers"])), edges, distances)
        store._check()
        return store

    def _check(self) -> None:
        shape = self.distances.exponent.shape
        pairs, points = self.distances.pairs.shape, self.distances.points
        rest = (getattr(self.distances, f.name).shape for f in fields(Distances)[1:])
        whole = (*shape, points * (points - 1) // 2)
        if len(shape) != 3 or pairs != whole or any(other != shape for other in rest):
            raise DataError(f"distances of the shape {tuple(pairs)} do not fit {tuple(shape)}")
        networks, _, layers = shape
        places = [place for e in self.edges for row in e.networks for place in row]
        if layers != len(self.layers) or not all(0 <= place < networks for place in places):
            raise DataError(f"distances of {networks} networks and {layers} layers do not fit")
        for edge in self.edges:
            wide = {len(row) for row in edge.networks}
            if wide != {len(edge.operations)} or len(edge.networks) != len(edge.contexts):
                raise DataError(f"edge {edge.edge} has other networks than operations and contexts")


def _prepared(distances: Distances) -> dict[str, Tensor]:
    """Return the log-ratio sums for every number of neighbours, the number first."""
    flat = distances.flat()
    k = min(_READY, flat.points - 1)
    count = len(flat.exponent)
    sums = torch.empty(k, count, flat.points)
    found = torch.empty(count, dtype=torch.int64)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        neighbours = flat[part].neighbours(k)
        sums[:, part] = log_ratio_sums(neighbours.squared).movedim(-1, 0).float()
        found[part] = neighbours.found
    shape = distances.exponent.shape
    return {"sums": sums.reshape(k, *shape, flat.points), "found": found.reshape(shape)}
