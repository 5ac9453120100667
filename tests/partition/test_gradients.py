import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.criteria import Criterion, connected_paths
from naslid_toolkit.partition.gradients import GradientCriterion, coordinates
from naslid_toolkit.partition.similarity import cosine_similarity
from naslid_toolkit.partition.split import SplitConfig, split_by
from naslid_toolkit.supernet.network import Cell
from naslid_toolkit.supernet.operations import Reduction


@pytest.fixture
def batches(digits) -> tuple[Images, ...]:
    return digits.labelled_probe(batches=2, points=24, seed=0)


@pytest.fixture
def criterion(supernet, batches) -> GradientCriterion:
    return GradientCriterion(supernet, batches, contexts=3)


def plain_gradient(supernet, path, edge, batch) -> torch.Tensor:
    """All weights of cells and reductions but the edge's, zero where the path does not use them."""
    supernet.zero_grad()
    nn.functional.cross_entropy(supernet(batch.pixels, path), batch.labels).backward()
    parts = []
    for module in supernet.children():
        if isinstance(module, Cell | Reduction):
            for weight, value in module.named_parameters():
                if not weight.startswith(f"edges.{edge}."):
                    gradient = torch.zeros_like(value) if value.grad is None else value.grad
                    parts.append(gradient.flatten().double())
    supernet.zero_grad()
    return torch.cat(parts)


def test_similarity_is_the_cosine_of_plain_gradients(criterion, space, batches):
    (evidence,) = criterion(space, [3], seed=0)

    base = connected_paths(space, 3, seed=0)[1]
    rows = torch.stack(
        [
            plain_gradient(criterion.supernet, base.replace(3, o), 3, batches[1])
            for o in evidence.operations
        ]
    )
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    expected = unit @ unit.T
    found = cosine_similarity(evidence.vectors[1])
    known = rows.norm(dim=1) > 0
    assert torch.allclose(found[known][:, known], expected[known][:, known], atol=1e-6)
    assert torch.allclose(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(5, dtype=found.dtype))


def test_measuring_leaves_nothing_behind(criterion, space):
    before = {name: value.clone() for name, value in criterion.supernet.state_dict().items()}

    with torch.no_grad():
        criterion(space, [0], seed=0)

    after = criterion.supernet.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert all(parameter.grad is None for parameter in criterion.supernet.parameters())


def test_operations_with_identical_gradients_are_never_separated(supernet, space, batches):
    part = space.with_allowed(0, ["none"])  # node 1 is never reached, so edge 1→2 is dead
    criterion = GradientCriterion(supernet, batches, contexts=2)
    grouping = SplitConfig.of_mode("gradient_matching").grouping

    dead, alive = criterion(part, [2, 5], seed=0)
    split = split_by([dead, alive], similarity=cosine_similarity, grouping=grouping)

    assert (dead.vectors == dead.vectors[:, :1]).all()
    assert split.edge == 5
    assert len(split.candidates[0].groups) == 1


def test_the_whole_supernet_can_be_measured(supernet, space, batches):
    criterion = GradientCriterion(supernet, batches, others="all")

    (evidence,) = criterion(space, [1], seed=0)

    assert evidence.contexts == ("0 all", "1 all")
    assert isinstance(criterion, Criterion)
    assert cosine_similarity(evidence.vectors[0]).isfinite().all()


def test_impossible_settings_are_refused(supernet, batches):
    with pytest.raises(ConfigError, match="at least one context and one batch"):
        GradientCriterion(supernet, batches, contexts=0)
    with pytest.raises(ConfigError, match="at least one context and one batch"):
        GradientCriterion(supernet, ())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rank=st.integers(0, 5))
def test_coordinates_have_the_products_they_were_made_of(seed, rank):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(5, rank, generator=draw, dtype=torch.float64)
    rows[3] = rows[1]
    products = rows @ rows.T

    vectors = coordinates(products)

    assert torch.allclose(vectors @ vectors.T, products, atol=1e-6 * (1 + float(products.max())))
    assert torch.allclose(vectors[3], vectors[1], atol=1e-5)
