import pytest

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.search.evolution import EvolutionConfig, GenerationDone, evolve
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.space.search_space import cell_space
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton

SKELETON = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8))


def score(architecture: Architecture) -> float:
    """Reward 3x3 convolutions, most of all on the last edges: one optimum."""
    operations = enumerate(architecture.operations)
    return sum((i + 1.0 for i, o in operations if o == "nor_conv_3x3"), start=0.0)


@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_every_architecture_is_scored_once_and_repeatably(space, strategy):
    config = EvolutionConfig(strategy=strategy, evaluations=120, population=20, tournament=5)

    runs = [evolve(space, score, config, skeleton=SKELETON, seed=s) for s in (0, 0, 1)]

    names = [evaluated.architecture for evaluated in runs[0].evaluated]
    assert len(set(names)) == 120
    assert runs[0] == runs[1] != runs[2]
    assert all(parse_architecture(name) in space for name in names)


def test_evolution_finds_the_optimum_that_random_search_misses(space):
    results = {}
    for strategy in ("evolution", "random"):
        config = EvolutionConfig(strategy=strategy, evaluations=300, population=30, tournament=10)
        runs = [
            evolve(space, score, config, skeleton=SKELETON, seed=s).best.score for s in range(5)
        ]
        results[strategy] = sum(runs) / 5

    assert results["evolution"] == 21
    assert results["random"] < 20


@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_limits_are_kept(space, strategy):
    limit = count_cost(Architecture(("nor_conv_3x3",) * 2 + ("none",) * 4), SKELETON)
    config = EvolutionConfig(
        strategy=strategy,
        evaluations=60,
        population=10,
        tournament=5,
        max_flops=limit.flops,
        max_parameters=limit.parameters,
    )

    history = evolve(space, score, config, skeleton=SKELETON, seed=0)

    assert len(history.evaluated) == 60
    for evaluated in history.evaluated:
        cost = count_cost(parse_architecture(evaluated.architecture), SKELETON)
        assert (evaluated.flops, evaluated.parameters) == (cost.flops, cost.parameters)
        assert cost.flops <= limit.flops
        assert cost.parameters <= limit.parameters


def test_a_limit_below_everything_says_what_is_needed(space):
    least = count_cost(Architecture(("none",) * 6), SKELETON)

    with pytest.raises(SpaceError, match=f"needs at least {least.flops} FLOPs"):
        evolve(space, score, EvolutionConfig(max_flops=1), skeleton=SKELETON, seed=0)


def test_a_small_space_is_searched_to_its_end(space):
    part = space.only(space.sample(generator=generator(0))).with_allowed(0, space.vocabulary)
    config = EvolutionConfig(evaluations=50, population=3, tournament=2)

    history = evolve(part, score, config, skeleton=SKELETON, seed=0)

    assert len(history.evaluated) == 5


def test_a_space_of_one_is_that_one(space):
    one = space.sample(generator=generator(0))
    config = EvolutionConfig(evaluations=5, population=1, tournament=1)

    history = evolve(space.only(one), score, config, skeleton=SKELETON, seed=0)

    assert len(history.evaluated) == 1


def test_generations_are_reported(space):
    events = []
    config = EvolutionConfig(evaluations=25, population=10, tournament=3)

    history = evolve(space, score, config, skeleton=SKELETON, seed=0, on_event=events.append)

    assert [e.evaluations for e in events if isinstance(e, GenerationDone)] == [10, 20, 25]
    assert events[-1].best_score == history.best.score
    assert list(history.to_frame()) == ["architecture", "score", "parameters", "flops", "parent"]


def test_another_cell_is_searched_by_its_own_strings():
    space = cell_space(3, ["none", "skip_connect", "nor_conv_3x3"])
    config = EvolutionConfig(evaluations=20, population=5, tournament=2)

    history = evolve(space, score, config, skeleton=SKELETON, seed=0)

    best = parse_architecture(history.best.architecture, space)
    assert set(best.operations) == {"nor_conv_3x3"}
