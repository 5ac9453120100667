"""Search for the best-scored architecture: regularised evolution and random search."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.evaluation.scores import Score
from naslid_toolkit.runtime import Event, OnEvent, generator, ignore_event
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture, parse_architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.cost import Cost, count_cost
from naslid_toolkit.supernet.network import Skeleton

_TRIES = 10_000  # draws in a row that may miss the limits or repeat before the search ends


@dataclass(frozen=True, slots=True)
class EvolutionConfig:
    """How architectures are searched.

    Parameters
    ----------
    strategy
        ``"evolution"`` (regularised) or ``"random"``.
    evaluations
        Different architectures to score.
    population
        Architectures alive at a time; the oldest dies when one is born.
    tournament
        Architectures drawn from the population, the best of which becomes the parent.
    max_flops, max_parameters
        Limits by :func:`~naslid_toolkit.supernet.cost.count_cost`; 0 sets no limit.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """

    strategy: Literal["evolution", "random"] = "evolution"
    evaluations: int = 200
    population: int = 50
    tournament: int = 10
    max_flops: int = 0
    max_parameters: int = 0

    def __post_init__(self) -> None:
        if min(self.evaluations, self.population, self.tournament) < 1:
            raise ConfigError(
                f"evaluations, population and tournament must be at least 1, got "
                f"{self.evaluations}, {self.population} and {self.tournament}"
            )
        if min(self.max_flops, self.max_parameters) < 0:
            raise ConfigError("max_flops and max_parameters must not be negative")

    def allows(self, cost: Cost) -> bool:
        """Say whether a cost keeps both limits."""
        return (not self.max_flops or cost.flops <= self.max_flops) and (
            not self.max_parameters or cost.parameters <= self.max_parameters
        )


@dataclass(frozen=True, slots=True)
class GenerationDone(Event):
    """As many evaluations as the population holds: how many so far, best score and who has it."""

    evaluations: int
    best_score: float
    best: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One scored architecture; ``parent`` is empty for a random one."""

    architecture: str
    score: float
    parameters: int
    flops: int
    parent: str


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """All scored architectures, in the order they were scored."""

    evaluated: tuple[Evaluated, ...]

    @property
    def best(self) -> Evaluated:
        """The architecture with the largest score; the first of them on a tie."""
        return max(self.evaluated, key=lambda evaluated: evaluated.score)

    def to_frame(self) -> pd.DataFrame:
        """Return one row an architecture: architecture, score, parameters, flops, parent."""
        return pd.DataFrame(self.evaluated)


def evolve(
    space: SearchSpace,
    score: Score,
    config: EvolutionConfig,
    *,
    skeleton: Skeleton,
    seed: int,
    on_event: OnEvent = ignore_event,
) -> SearchHistory:
    """Search a space for the architecture with the largest score.

    Parameters
    ----------
    space
        The space to search.
    score
        Turns an architecture into a number; larger is better.
    config
        Strategy, number of evaluations, limits.
    skeleton
        The network around the cells, for the limits.
    seed
        Seed of the search.
    on_event
        Receives :class:`GenerationDone`.

    Returns
    -------
    SearchHistory
        Every architecture once. Fewer than asked for if the space within the limits holds no
        more.

    Raises
    ------
    SpaceError
        If no architecture keeps the limits.

    References
    ----------
    .. [1] E. Real et al., "Regularized Evolution for Image Classifier Architecture Search",
       AAAI 2019, algorithm 1. Deviation: an architecture is scored and counted once.
    """
    draw = generator(seed, "evolution")
    population: deque[Evaluated] = deque(maxlen=config.population)
    found: dict[str, Evaluated] = {}
    misses = 0
    while len(found) < config.evaluations and misses < _TRIES:
        parent = _parent(population, config, draw)
        child = space.sample(generator=draw) if parent is None else _mutated(space, parent, draw)
        cost = count_cost(child, skeleton)
        name = format_architecture(child, space)
        if name in found or not config.allows(cost):
            misses += 1
            continue
        misses = 0
        origin = "" if parent is None else parent.architecture
        found[name] = Evaluated(name, score(child), cost.parameters, cost.flops, origin)
        population.append(found[name])
        if len(found) % config.population == 0 or len(found) == config.evaluations:
            best = SearchHistory(tuple(found.values())).best
            on_event(GenerationDone(len(found), best.score, best.architecture))
    if not found:
        raise SpaceError(
            f"no architecture within max_flops={config.max_flops} and "
            f"max_parameters={config.max_parameters} in {_TRIES} draws; this network needs at "
            f"least {_smallest(space, skeleton)}"
        )
    return SearchHistory(tuple(found.values()))


def _parent(
    population: deque[Evaluated], config: EvolutionConfig, draw: torch.Generator
) -> Evaluated | None:
    """Return the winner of a tournament, or None while architectures are drawn at random."""
    if config.strategy == "random" or len(population) < config.population:
        return None
    chosen = torch.randint(len(population), (config.tournament,), generator=draw).tolist()
    return max((population[i] for i in chosen), key=lambda evaluated: evaluated.score)


def _mutated(space: SearchSpace, parent: Evaluated, draw: torch.Generator) -> Architecture:
    """Change the operation of one edge that allows another."""
    architecture = parse_architecture(parent.architecture, space)
    free = [edge for edge, operations in enumerate(space.allowed) if len(operations) > 1]
    if not free:
        return architecture
    edge = free[int(torch.randint(len(free), (), generator=draw))]
    others = [o for o in space.allowed[edge] if o != architecture.operations[edge]]
    pick = int(torch.randint(len(others), (), generator=draw))
    return architecture.replace(edge, others[pick])


def _smallest(space: SearchSpace, skeleton: Skeleton) -> str:
    operations = [
        min(allowed, key=lambda o: count_cost(Architecture((o,)), skeleton).flops)
        for allowed in space.allowed
    ]
    cost = count_cost(Architecture(tuple(operations)), skeleton)
    return f"{cost.flops} FLOPs and {cost.parameters} parameters"
