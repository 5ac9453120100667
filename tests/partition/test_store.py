import pytest
import torch
from safetensors.torch import save_file

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import ConfigError, DataError, ShapeError, SpaceError
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.manifolds import sample_manifold
from naslid_toolkit.partition.criteria import LIDCriterion
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import split_by
from naslid_toolkit.partition.stability import split_stability
from naslid_toolkit.partition.store import MeasuredEdge, NeighbourStore
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.creating import create_store
from naslid_toolkit.search.result import load_neighbours
from naslid_toolkit.search.storage import RunStore
from tests.search.folders import unlisted_copy


@pytest.fixture
def criterion(supernet, digits) -> LIDCriterion:
    return LIDCriterion(supernet, digits.probe(batches=2, points=40, seed=0), contexts=2, k=10)


@pytest.fixture
def store(criterion, space) -> NeighbourStore:
    return criterion.measure(space, [0, 3], seed=0)


@pytest.mark.parametrize(
    "name", ["harmonic", "arithmetic", "median", "official_code", "ess", "twonn"]
)
@pytest.mark.parametrize("k", [5, 10, 39])
def test_the_store_answers_what_measuring_anew_would(criterion, space, store, name, k):
    estimator = ESTIMATORS[name]
    anew = LIDCriterion(criterion.supernet, criterion.probe, contexts=2, k=k, estimator=estimator)(
        space, [0, 3], seed=0
    )

    found = store.evidence(k=k, estimator=estimator)

    for mine, theirs in zip(found, anew, strict=True):
        assert (mine.edge, mine.operations, mine.contexts, mine.entries) == (
            theirs.edge,
            theirs.operations,
            theirs.contexts,
            theirs.entries,
        )
        torch.testing.assert_close(mine.vectors, theirs.vectors, rtol=2e-5, atol=0, equal_nan=True)
        assert torch.equal(mine.undefined, theirs.undefined)


def test_the_ready_sums_give_what_the_estimator_itself_gives(store):
    for k in (2, 7, 20):
        for name in ("harmonic", "geometric", "unbiased", "paper", "median"):
            ready = store.lid(k=k, estimator=ESTIMATORS[name])
            direct = ESTIMATORS[name](store.distances, k=k)
            torch.testing.assert_close(ready.lid, direct.lid, rtol=1e-5, atol=0, equal_nan=True)
            assert torch.equal(ready.undefined, direct.undefined)


def test_every_similarity_splits_what_is_stored(store):
    edges = {
        name: split_by(store.evidence(k=8), similarity=s).edge for name, s in SIMILARITIES.items()
    }

    assert set(edges.values()) <= {0, 3}


def test_layers_can_be_chosen(store):
    (evidence, _) = store.evidence(k=8, layers=["stage3_cell1", "reduction1"])

    whole = store.evidence(k=8)[0]
    assert evidence.entries == ("stage3_cell1", "reduction1")
    assert torch.equal(evidence.vectors, whole.vectors[..., [4, 1]])
    with pytest.raises(SpaceError, match="did you mean 'reduction"):
        store.evidence(layers=["reduction"])


def test_fewer_images_can_be_looked_at(store):
    part = store.of_points(range(20))

    assert part.distances.points == 20
    assert part.evidence(k=10)[0].vectors.shape == store.evidence(k=10)[0].vectors.shape
    with pytest.raises(ShapeError, match="k=20 neighbours"):
        part.evidence(k=20)


def test_one_operation_has_its_profile(criterion, store):
    profile = store.network(3, "nor_conv_3x3", context=1).profile(k=10)

    evidence = store.evidence(k=10)[1]
    place = evidence.operations.index("nor_conv_3x3")
    torch.testing.assert_close(profile.lid, evidence.vectors[1, place], rtol=1e-5, atol=0)
    with pytest.raises(SpaceError, match="'conv' on edge 3 was not measured"):
        store.network(3, "conv")
    with pytest.raises(SpaceError, match="no context 5, there are 2"):
        store.network(3, "none", context=5)


def test_equal_networks_are_kept_once(store):
    places = [place for edge in store.edges for row in edge.networks for place in row]

    assert len(places) == 20
    assert len(store.distances.exponent) == len(set(places)) < 20


def test_128_points_take_less_than_64_kilobytes_a_layer(supernet, digits, space):
    probe = digits.probe(batches=1, points=128, seed=0)

    store = LIDCriterion(supernet, probe, contexts=1).measure(space, [0], seed=0)

    assert store.distances.bytes_per_layer <= 32 * 1024


def test_a_run_keeps_its_distances(tiny_folder):
    run = RunStore.open(tiny_folder)
    config = run.config

    kept = load_neighbours(tiny_folder)

    settings = config.split
    evidence = kept.evidence(k=settings.k, estimator=ESTIMATORS[settings.estimator])
    for mine, stored in zip(evidence, run.load_evidence("root"), strict=True):
        assert torch.equal(mine.vectors, stored.vectors)
        assert torch.equal(mine.undefined, stored.undefined)
    assert split_by(evidence).edge == run.load_tree().split.edge
    with pytest.raises(DataError, match="keeps no distances of node 'root-0'"):
        load_neighbours(tiny_folder, "root-0")


def test_a_damaged_file_is_named(tmp_path, store):
    listed = create_store(tmp_path / "listed", RunConfig.preset("tiny"), task=load_digits())
    listed.save_neighbours("root", store)
    run = RunStore.open(unlisted_copy(listed.folder, tmp_path / "run"))
    path = run.folder / "distances" / "root.safetensors"

    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="expected neighbour distances"):
        run.load_neighbours("root")
    save_file(store.tensors(), path)
    with pytest.raises(DataError, match="expected neighbour distances"):
        run.load_neighbours("root")
    fewer = {name: value[:3].contiguous() for name, value in store.tensors().items()}
    save_file(fewer, path, metadata={"store": store.description()})
    with pytest.raises(DataError, match="distances of 3 networks and 5 layers do not fit"):
        run.load_neighbours("root")


def test_stability_is_the_share_of_resamples_that_agree(store):
    found = split_stability(store, k=8, replicates=20, seed=0)

    assert found.split.edge == split_by(store.evidence(k=8)).edge
    assert list(found.edges) == ["edge", "score", "chosen", "same_groups"]
    assert found.edges["chosen"].sum() == pytest.approx(1)
    assert 0 <= found.same_split <= min(found.same_edge, found.same_groups) <= 1
    again = split_stability(store, k=8, replicates=20, seed=0)
    assert again.edges.equals(found.edges)


def made_up(dimensions: dict[int, list[int]]) -> NeighbourStore:
    """A store whose operations have features of these dimensions, on each edge."""
    layers, edges = [], []
    for edge, row in dimensions.items():
        places = tuple(range(len(layers), len(layers) + len(row)))
        names = tuple(f"operation{i}" for i in range(len(row)))
        edges.append(MeasuredEdge(edge, names, ("0 base",), (places,)))
        layers += [sample_manifold("gauss", d, seed=100 * edge + i) for i, d in enumerate(row)]
    networks = [Distances.stack([Distances.stack([pairwise_distances(x)])]) for x in layers]
    return NeighbourStore(("layer",), tuple(edges), Distances.stack(networks))


def test_a_clear_split_is_stable_and_noise_is_not():
    clear = split_stability(made_up({0: [5, 5, 5], 1: [2, 2, 9]}), replicates=40, seed=0)
    noise = split_stability(made_up({0: [5, 5, 5], 1: [5, 5, 5]}), replicates=40, seed=0)

    assert clear.split.edge == 1
    assert set(clear.split.chosen.groups) == {("operation0", "operation1"), ("operation2",)}
    assert clear.same_edge == clear.same_groups == clear.same_split == 1
    assert noise.same_split < 0.9


def test_stability_needs_maximum_likelihood(store):
    with pytest.raises(ConfigError, match="at least 2 replicates"):
        split_stability(store, k=8, replicates=1, seed=0)
