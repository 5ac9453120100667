"""Several paths in one pass against the same paths one by one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import OPERATIONS, nasbench201
from naslid_toolkit.space.search_space import cell_space
from naslid_toolkit.supernet.accuracy import evaluate_path, evaluate_paths
from naslid_toolkit.supernet.decomposed import DecomposedSupernet
from naslid_toolkit.supernet.joint import joint_logits
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.operations import convolution

SMALL = Skeleton(channels=3, cells=2, image_shape=(2, 8, 8), classes=4)
PATHS = st.lists(st.tuples(*[st.sampled_from(OPERATIONS)] * 6), min_size=1, max_size=12)


def pixels(count: int = 5) -> torch.Tensor:
    return torch.randn(count, *SMALL.image_shape, generator=generator(0, "pixels"))


def one_by_one(network: Supernet, images: torch.Tensor, paths: list[Architecture]) -> torch.Tensor:
    return torch.stack([network(images, path) for path in paths])


@settings(max_examples=30, deadline=None)
@given(PATHS, st.booleans())
def test_one_pass_gives_the_logits_of_separate_passes(chosen, affine):
    paths = [Architecture(operations) for operations in chosen]
    skeleton = Skeleton(channels=3, cells=2, image_shape=(2, 8, 8), classes=4, affine=affine)
    network = Supernet(nasbench201(), skeleton, seed=0)

    together = joint_logits(network, pixels(), paths)

    torch.testing.assert_close(together, one_by_one(network, pixels(), paths), rtol=1e-5, atol=1e-5)


def test_gradients_are_the_mean_of_separate_ones(space):
    network = Supernet(space, SMALL, seed=0)
    paths = [space.sample(generator=generator(seed)) for seed in range(8)]
    gradients = []
    for passes in (joint_logits, one_by_one):
        network.zero_grad()
        passes(network, pixels(), paths).square().mean().backward()
        gradients.append([weight.grad for weight in network.parameters()])

    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_paths_share_is_computed_once(space):
    network = Supernet(space, SMALL, seed=0)
    calls = []
    for name in ("stem", "stage1_cell1.edges.0.nor_conv_3x3.norm", "reduction1"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
    convolve, skip = OPERATIONS[2], OPERATIONS[1]
    first = Architecture((OPERATIONS[3], skip, skip, skip, skip, skip))
    paths = [first, first.replace(5, convolve), first.replace(5, OPERATIONS[0]), first]

    joint_logits(network, pixels(), paths)

    assert calls.count("stem") == 1
    assert calls.count("reduction1") == 3  # two of the four paths are the same
    assert calls.count("stage1_cell1.edges.0.nor_conv_3x3.norm") <= 1


def test_other_operations_and_other_networks_run_too(space):
    own = cell_space(3, ("skip_connect", "conv_5x5", "nor_conv_3x3"))
    network = Supernet(own, SMALL, seed=0, operations={"conv_5x5": convolution(5)})
    copies = DecomposedSupernet(space, SMALL, seed=0, copies=3)
    with torch.no_grad():
        for weight in copies.parameters():  # copies start alike
            weight.add_(torch.randn(weight.shape, generator=generator(weight.numel())), alpha=0.1)
    alone = Supernet(
        space.only(space.sample(generator=generator(1))),
        Skeleton(channels=3, cells=1, image_shape=(2, 8, 8), statistics="running"),
        seed=0,
    ).eval()

    for supernet in (network, copies, alone):
        paths = [supernet.space.sample(generator=generator(seed)) for seed in range(6)]
        together = joint_logits(supernet, pixels(), paths)
        apart = one_by_one(supernet, pixels(), paths)
        torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_paths_must_be_there_and_of_the_space(space):
    network = Supernet(space.only(Architecture((OPERATIONS[1],) * 6)), SMALL, seed=0)
    with pytest.raises(ConfigError, match="at least one architecture"):
        joint_logits(network, pixels(), [])
    with pytest.raises(SpaceError):
        joint_logits(network, pixels(), [Architecture((OPERATIONS[2],) * 6)])


def test_evaluation_in_one_pass_and_in_small_parts(supernet, space, digits, monkeypatch):
    paths = [space.sample(generator=generator(seed)) for seed in range(7)]
    apart = [evaluate_path(supernet, digits.valid, path) for path in paths]

    whole = evaluate_paths(supernet, digits.valid, paths)
    monkeypatch.setattr("naslid_toolkit.supernet.accuracy._EVALUATION_FLOATS", 1)
    parts = evaluate_paths(supernet, digits.valid, paths)

    for found in (whole, parts):
        assert [pair[0] for pair in found] == [pair[0] for pair in apart]
        assert [pair[1] for pair in found] == pytest.approx([pair[1] for pair in apart], rel=1e-5)
    assert not supernet.training or supernet.stem.training
