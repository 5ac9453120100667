"""What is measured of every operation of an edge: the evidence on which a split rests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ConfigError, NaslidError, SpaceError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import LIDEstimator
from naslid_toolkit.lid.measure import measure_distances
from naslid_toolkit.lid.profile import LayerDistances, LIDProfile
from naslid_toolkit.lid.unchanged import left_unchanged
from naslid_toolkit.partition.evidence import EdgeEvidence
from naslid_toolkit.partition.store import MeasuredEdge, NeighbourStore
from naslid_toolkit.runtime import OnEvent, WorkDone, generator, ignore_event
from naslid_toolkit.space.architecture import Architecture, live_edges, live_part
from naslid_toolkit.space.nasbench201 import convolution_depth
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Supernet

_TRIES = 1000  # draws of a connected path before a space counts as disconnected


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


Choice = Architecture | SearchSpace
Measured = TypeVar("Measured")


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
        Turns the distances of a layer into its LID.
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

    def profile(self, choice: Choice) -> LIDProfile:
        """Return the profile of one path, or of a sub-space's sum of operations."""
        return self.distances(choice).profile(k=self.k, estimator=self.estimator)

    def distances(self, choice: Choice, *, dtype: torch.dtype = torch.float64) -> LayerDistances:
        """Return the distances at every layer of a path, or of a sub-space's sum."""
        if isinstance(choice, Architecture):
            choice = self.supernet.space.only(choice)
        network = self.supernet.view(choice)
        layers = network.layer_names
        return measure_distances(network, self.probe, layers=layers, images_first=True, dtype=dtype)

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,
        on_event: OnEvent = ignore_event,
    ) -> tuple[EdgeEvidence, ...]:
        """Measure the operations of each edge of ``space``; the distances are not kept."""
        plan = self.plan(space, edges, seed=seed)
        with left_unchanged(self.supernet):
            profiles = plan.measure(self.profile, on_event)
        lid = torch.stack([profile.lid for profile in profiles])
        undefined = torch.stack([profile.undefined for profile in profiles])
        return tuple(edge.evidence(profiles[0].layers, lid, undefined) for edge in plan.edges)

    def measure(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        *,
        seed: int,
        on_event: OnEvent = ignore_event,
    ) -> NeighbourStore:
        """Measure the operations of each edge of ``space`` and keep the distances.

        Parameters
        ----------
        space
            The space to split, within the supernet's.
        edges
            The edges to measure.
        seed
            Seed of the contexts.
        on_event
            Receives the progress.

        Returns
        -------
        NeighbourStore
            In float32; ``.evidence(k=..., estimator=...)`` is what calling the criterion gives,
            up to that rounding.
        """
        plan = self.plan(space, edges, seed=seed)
        look = partial(self.distances, dtype=torch.float32)
        with left_unchanged(self.supernet):
            kept = plan.measure(look, on_event)
        together = Distances.stack([item.distances for item in kept])
        return NeighbourStore(kept[0].layers, plan.edges, together)

    def plan(self, space: SearchSpace, edges: Sequence[int], *, seed: int) -> "LIDPlan":
        """List the different networks to measure, and which of them stands for what."""
        count = self.contexts if self.others == "path" else 1
        bases = connected_paths(space, count, seed=seed)
        places: dict[Choice, int] = {}
        choices: list[tuple[Choice, str]] = []
        measured = []
        for edge in edges:
            rows = []
            for base in bases:
                row = []
                for operation in space.allowed[edge]:
                    path = base.replace(edge, operation)
                    key: Choice = live_part(space.edges, path)
                    choice: Choice = path
                    if self.others == "all":
                        key = choice = space.with_allowed(edge, (operation,))
                    label = f"{operation!r} on edge {space.edge_name(edge)}"
                    if key not in places:
                        places[key] = len(choices)
                        choices.append((choice, label))
                    row.append(places[key])
                rows.append(tuple(row))
            names = tuple(f"{i} {base}" for i, base in enumerate(bases))
            measured.append(MeasuredEdge(edge, space.allowed[edge], names, tuple(rows)))
        return LIDPlan(tuple(choices), tuple(measured))


@dataclass(frozen=True, slots=True)
class LIDPlan:
    """The networks to measure, each with the first thing it stands for, and all they stand for."""

    choices: tuple[tuple[Choice, str], ...]
    edges: tuple[MeasuredEdge, ...]

    def measure(self, look: Callable[[Choice], Measured], on_event: OnEvent) -> list[Measured]:
        """Look at each network once."""
        found = []
        for number, (choice, label) in enumerate(self.choices, start=1):
            try:
                found.append(look(choice))
            except NaslidError as error:
                error.add_note(f"while measuring {label}")
                raise
            on_event(WorkDone("measuring LID", number, len(self.choices), "networks"))
        return found


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


@dataclass(frozen=True, slots=True)
class ConvolutionCountCriterion:
    """How many convolutions the architectures of the space have that carry an operation.

    An operation's vector is the distribution of the largest number of convolutions on any path
    through the cell (disconnected, 0, 1, 2, 3), over all architectures of the space with the
    operation on the edge. Needs no network.

    References
    ----------
    .. [1] Y. Oh et al., "Efficient Few-Shot Neural Architecture Search by Counting the Number of
       Nonlinear Functions", AAAI 2025. There architectures are grouped by this number directly;
       here it says which operations of an edge behave alike, so that a split is one of an edge
       as with every other criterion.
    """

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,  # noqa: ARG002 - part of the protocol
        on_event: OnEvent = ignore_event,  # noqa: ARG002 - part of the protocol
    ) -> tuple[EdgeEvidence, ...]:
        """Count the convolutions of all architectures of ``space``."""
        codes = space.as_array()
        depth = convolution_depth(codes) + 1
        evidence = []
        for edge in edges:
            operations = space.allowed[edge]
            rows = [
                np.bincount(depth[codes[:, edge] == space.vocabulary.index(o)], minlength=5)
                for o in operations
            ]
            shares = torch.tensor(np.array([row / row.sum() for row in rows]))[None]
            evidence.append(
                EdgeEvidence(
                    edge=edge,
                    operations=operations,
                    entries=("disconnected", *(f"{count} convolutions" for count in range(4))),
                    contexts=("0 all",),
                    vectors=shares,
                    undefined=torch.zeros(shares.shape, dtype=torch.int64),
                )
            )
        return tuple(evidence)
