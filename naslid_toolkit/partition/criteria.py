"""What is measured of every operation of an edge: the evidence on which a split rests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from naslid_toolkit.errors import ConfigError, DataError, NaslidError, SpaceError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import LIDEstimator
from naslid_toolkit.lid.measure import lid_profile
from naslid_toolkit.lid.profile import LIDProfile
from naslid_toolkit.runtime import OnEvent, WorkDone, generator, ignore_event
from naslid_toolkit.space.architecture import Architecture, live_edges, live_part
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Supernet

_TRIES = 1000  # draws of a connected path before a space counts as disconnected


@dataclass(frozen=True, slots=True, eq=False)
class EdgeEvidence:
    """What a criterion measured of the operations of one edge.

    Parameters
    ----------
    edge
        The edge, counted from 0.
    operations
        Its operations, in the order of the vectors.
    entries
        What the entries of a vector are: the layers, for LID.
    contexts
        The architectures whose other edges the operations were tried with.
    vectors
        Shape ``(contexts, operations, entries)``, float64; NaN where undefined.
    undefined
        Points without a defined value, same shape.
    """

    edge: int
    operations: tuple[str, ...]
    entries: tuple[str, ...]
    contexts: tuple[str, ...]
    vectors: Float[Tensor, "contexts operations entries"]
    undefined: Int[Tensor, "contexts operations entries"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each context, operation and layer."""
        index = pd.MultiIndex.from_product(
            [self.contexts, self.operations, self.entries],
            names=["context", "operation", "layer"],
        )
        frame = pd.DataFrame(
            {"lid": self.vectors.flatten().numpy(), "undefined": self.undefined.flatten().numpy()},
            index=index,
        ).reset_index()
        frame.insert(0, "edge", self.edge)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "EdgeEvidence":
        """Return the evidence of one edge that :meth:`to_frame` wrote.

        Raises
        ------
        DataError
            If rows are missing.
        """
        names = [tuple(frame[c].unique()) for c in ("context", "operation", "layer")]
        shape = tuple(len(values) for values in names)
        if len(frame) != np.prod(shape):
            raise DataError(f"evidence of {len(frame)} rows, expected {shape} of them")
        return cls(
            edge=int(frame["edge"].iloc[0]),
            operations=names[1],
            entries=names[2],
            contexts=names[0],
            vectors=torch.from_numpy(frame["lid"].to_numpy(copy=True)).reshape(shape),
            undefined=torch.from_numpy(frame["undefined"].to_numpy(copy=True)).reshape(shape),
        )


@runtime_checkable
class Criterion(Protocol):
    """Turns the operations of some edges into comparable vectors."""

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,
        on_event: OnEvent = ignore_event,
    ) -> tuple[EdgeEvidence, ...]:
        """Return the evidence of each edge, in order."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True, eq=False)
class LIDCriterion:
    """LID profiles of the operations, on the same images and the same sampled paths.

    For every edge and each of ``contexts`` sampled connected paths, the path is measured with
    each operation on that edge. Paths that differ only where no signal flows are the same
    network and are measured once, so their profiles are equal bit by bit.

    Parameters
    ----------
    supernet
        The trained supernet; unchanged by measuring.
    probe
        Fixed probe batches, on the supernet's device; the same for all edges and operations.
    contexts
        Sampled paths.
    k
        Neighbours.
    estimator
        Turns neighbour distances into the LID of a layer.
    others
        ``"path"``: the other edges hold the sampled path's operation; ``"all"``: the sum of
        all allowed operations (there is one context then).

    Raises
    ------
    ConfigError
        If there is no context.
    """

    supernet: Supernet
    probe: Sequence[Float[Tensor, "points channels height width"]]
    contexts: int = 8
    k: int = 20
    estimator: LIDEstimator = field(default=ESTIMATORS["harmonic"])
    others: Literal["path", "all"] = "path"

    def __post_init__(self) -> None:
        if self.contexts < 1:
            raise ConfigError(f"at least one context is needed, got {self.contexts}")

    def profile(self, choice: Architecture | SearchSpace) -> LIDProfile:
        """Return the profile of one path, or of a sub-space's sum of operations."""
        if isinstance(choice, Architecture):
            choice = self.supernet.space.only(choice)
        network = self.supernet.view(choice)
        return lid_profile(
            network,
            self.probe,
            layers=network.layer_names,
            k=self.k,
            estimator=self.estimator,
        )

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,
        on_event: OnEvent = ignore_event,
    ) -> tuple[EdgeEvidence, ...]:
        """Measure the operations of each edge of ``space``."""
        count = self.contexts if self.others == "path" else 1
        bases = connected_paths(space, count, seed=seed)
        known: dict[Architecture | SearchSpace, LIDProfile] = {}
        evidence: list[EdgeEvidence] = []
        for number, edge in enumerate(edges, start=1):
            rows = [
                [self._measured(space, base, edge, o, known) for o in space.allowed[edge]]
                for base in bases
            ]
            evidence.append(_evidence(space, edge, bases, rows))
            on_event(WorkDone("measuring LID", number, len(edges), "edges"))
        return tuple(evidence)

    def _measured(
        self,
        space: SearchSpace,
        base: Architecture,
        edge: int,
        operation: str,
        known: dict[Architecture | SearchSpace, LIDProfile],
    ) -> LIDProfile:
        """Measure one operation in one context, unless the same network is known already."""
        path = base.replace(edge, operation)
        key: Architecture | SearchSpace = live_part(space.edges, path)
        choice: Architecture | SearchSpace = path
        if self.others == "all":
            key = choice = space.with_allowed(edge, (operation,))
        if key not in known:
            try:
                known[key] = self.profile(choice)
            except NaslidError as error:
                error.add_note(f"while measuring {operation!r} on edge {space.edge_name(edge)}")
                raise
        return known[key]


def _evidence(
    space: SearchSpace, edge: int, bases: Sequence[Architecture], rows: list[list[LIDProfile]]
) -> EdgeEvidence:
    return EdgeEvidence(
        edge=edge,
        operations=space.allowed[edge],
        entries=rows[0][0].layers,
        contexts=tuple(f"{i} {base}" for i, base in enumerate(bases)),
        vectors=torch.stack([torch.stack([p.lid for p in row]) for row in rows]),
        undefined=torch.stack([torch.stack([p.undefined for p in row]) for row in rows]),
    )


def connected_paths(space: SearchSpace, count: int, *, seed: int) -> tuple[Architecture, ...]:
    """Draw connected architectures, the same ones for every edge that is measured.

    Raises
    ------
    SpaceError
        If no connected architecture is found.
    """
    draw = generator(seed, "contexts")
    found: list[Architecture] = []
    for _ in range(_TRIES * count):
        path = space.sample(generator=draw)
        if any(live_edges(space.edges, [(o,) for o in path.operations])):
            found.append(path)
        if len(found) == count:
            return tuple(found)
    raise SpaceError(f"no connected architecture among {_TRIES * count} draws from the space")


@dataclass(frozen=True, slots=True)
class RandomCriterion:
    """Random vectors: the control that every other criterion has to beat.

    With it the edge and the groups are chosen by chance; all edges, and all operations of an
    edge, are equally likely in every role.
    """

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,
        on_event: OnEvent = ignore_event,  # noqa: ARG002 - part of the protocol
    ) -> tuple[EdgeEvidence, ...]:
        """Draw a vector for every operation of each edge."""
        evidence = []
        for edge in edges:
            operations = space.allowed[edge]
            draw = generator(seed, "random criterion", edge)
            vectors = torch.rand(1, len(operations), 4, generator=draw, dtype=torch.float64)
            evidence.append(
                EdgeEvidence(
                    edge=edge,
                    operations=operations,
                    entries=tuple(f"random{i}" for i in range(4)),
                    contexts=("0 random",),
                    vectors=vectors,
                    undefined=torch.zeros(vectors.shape, dtype=torch.int64),
                )
            )
        return tuple(evidence)
