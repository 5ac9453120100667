import random

import numpy as np
import pytest
import torch
from torch import nn

from naslid_toolkit.errors import NaslidWarning, ShapeError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.features import select_layers
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.measure import lid_profile, measure_distances
from naslid_toolkit.lid.unchanged import unchanged_state


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.5))
        self.second = nn.Linear(12, 5)
        self.unused = nn.Linear(5, 5)
        self.dead = nn.Linear(5, 3)
        self.restless = self.fail = False
        nn.init.zeros_(self.dead.weight)

    def forward(self, images):
        images = self.second(self.first(images))
        if self.restless:
            np.random.rand()
            torch.rand(3)
            self.second.eval()
            self.first[1].running_mean = self.first[1].running_mean + 1
        if self.fail:
            raise RuntimeError("in the middle")
        return self.dead(images)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def probe(draw) -> list[torch.Tensor]:
    return [torch.randn(40, 6, generator=draw) for _ in range(3)]


def test_a_profile_is_what_the_stored_outputs_give(network, probe):
    network.eval()

    profile = lid_profile(network, probe, layers=["first", "second"], k=8)

    with torch.no_grad():
        outputs = [network.first(batch) for batch in probe]
    expected = [float(ESTIMATORS["harmonic"](pairwise_distances(o), k=8).lid) for o in outputs]
    assert profile.by_batch[:, 0].tolist() == expected
    assert profile.lid[0] == pytest.approx(sum(expected) / 3)
    assert profile.status == (("ok", "ok"),) * 3
    assert (profile.bound < 1e-4).all()


def test_many_layers_are_measured_as_each_alone(network, probe):
    network.eval()

    together = lid_profile(network, probe, layers=["first.0", "first", "second"], k=8)

    for i, name in enumerate(together.layers):
        alone = lid_profile(network, probe, layers=name, k=8)
        assert torch.equal(alone.by_batch[:, 0], together.by_batch[:, i])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fail", [True, False])
def test_measuring_leaves_no_trace(network, probe, training, fail):
    network.train(training)
    network.second.train(not training)
    network.restless, network.fail = True, fail
    network.second.weight.grad = torch.ones_like(network.second.weight)
    grad, buffer = network.second.weight.grad, network.first[1].running_mean
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()

    if fail:
        with pytest.raises(RuntimeError, match="in the middle"):
            lid_profile(network, probe, layers=["first"], k=8)
    else:
        lid_profile(network, probe, layers=["first"], k=8)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.first[1].running_mean is buffer
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    assert network.training is training
    assert network.second.training is not training
    assert not any(module._forward_hooks for module in network.modules())
    assert network.second.weight.grad is grad
    assert (grad == 1).all()
    assert all(p.grad is None for p in network.first.parameters())
    assert torch.is_grad_enabled()


def test_draws_of_the_networks_forward_pass_are_undone(network):
    before = random.getstate()  # type checkers of tests draw from it, too

    with unchanged_state(network):
        random.random()

    assert random.getstate() == before


def test_a_network_can_be_trained_after_measuring(network, probe):
    lid_profile(network, probe, layers=["first", "second"], k=8)

    network(probe[0]).sum().backward()

    assert network.first[0].weight.grad is not None


def test_a_forward_pass_that_writes_to_a_parameter_is_found_out(probe):
    class Restless(nn.Linear):
        def forward(self, images):
            with torch.no_grad():
                self.weight.mul_(0.9)
            return super().forward(images)

    with pytest.raises(ShapeError, match=r"writes to parameter '0.weight'; measure a deepcopy"):
        lid_profile(nn.Sequential(Restless(6, 4)), probe, k=8)


def test_an_output_that_is_not_finite_is_flagged_and_the_others_are_measured(network, probe):
    network.eval()
    with torch.no_grad():
        network.second.weight[0, 0] = float("nan")

    with pytest.warns(NaslidWarning, match="not finite: the output of second"):
        profile = lid_profile(network, probe, layers=["first", "second"], k=8)

    assert profile.lid.isnan().tolist() == [False, True]
    assert profile.status[0] == ("ok", "nonfinite")
    assert profile.undefined.tolist() == [0, 120]


def test_a_constant_layer_has_dimension_zero_and_says_so(network, probe):
    profile = lid_profile(network, probe, layers=["second", "dead"], k=8)

    assert profile.lid[1] == 0
    assert profile.undefined.tolist() == [0, 120]
    assert profile.status[0] == ("ok", "degenerate")


def test_the_status_names_copies_ties_and_a_lessened_k(probe):
    class Rounded(nn.Module):
        def forward(self, images):
            return (images[:, :1] > 0).float() * 2 + (images[:, 1:2] > 0).float()

    network = nn.Sequential(nn.Identity(), Rounded())

    profile = lid_profile(network, probe[0], k=8)
    again = lid_profile(network, probe[0], k=8, estimator=ESTIMATORS["mom"])

    assert profile.status == (("ok", "duplicates(36), k=3"),)
    assert again.status == profile.status


def test_a_profile_is_a_tidy_table(network, probe):
    frame = lid_profile(network, probe, layers=["first", "second"], k=8).to_frame()

    assert list(frame) == ["batch", "layer", "lid", "undefined", "status", "bound"]
    assert len(frame) == 6


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("*", ["first", "second", "unused", "dead"]),
        ("first.*", ["first.0", "first.1", "first.2"]),
        ("**", ["first", "first.0", "first.1", "first.2", "second", "unused", "dead"]),
        ("d??d", ["dead"]),
        (nn.Linear, ["first.0", "second", "unused", "dead"]),
        ([nn.BatchNorm1d, "second", "first"], ["first", "first.1", "second"]),
    ],
)
def test_layers_are_found_by_name_pattern_and_type(network, layers, expected):
    assert list(select_layers(network, layers)) == expected


def test_layers_that_a_pattern_finds_need_not_run(network, probe):
    with pytest.warns(NaslidWarning, match="not measured: 'unused' did not run"):
        profile = lid_profile(network, probe, layers="*", k=8)

    assert profile.layers == ("first", "second", "dead")
    assert list(profile.left_out) == ["unused"]


def test_a_module_that_runs_twice_counts_twice(probe):
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(6, 9), shared, nn.Linear(9, 7), shared)

    profile = lid_profile(network, probe, layers=[nn.ReLU], k=8)

    assert profile.layers == ("1", "1#2")
    assert profile.by_batch[0, 0] != profile.by_batch[0, 1]


def test_the_first_tensor_of_a_tuple_is_measured(draw):
    network = nn.Sequential(nn.GRU(6, 4, batch_first=True))
    images = torch.randn(40, 3, 6, generator=draw)

    profile = lid_profile(network, images, layers="0", k=8)

    output, state = network[0](images)
    expected = ESTIMATORS["harmonic"](pairwise_distances(output), k=8).lid
    assert torch.equal(profile.by_batch[0], expected[None])
    chosen = lid_profile(network, images, k=8, select=lambda _name, output: output[1][0])
    expected = ESTIMATORS["harmonic"](pairwise_distances(state[0]), k=8).lid
    assert torch.equal(chosen.by_batch[0], expected[None])


def test_micro_batches_change_nothing(draw):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    network = network.eval().to(memory_format=torch.channels_last)
    images = torch.randn(41, 3, 9, 9, generator=draw).contiguous(memory_format=torch.channels_last)

    whole = lid_profile(network, images, k=8)
    for size in (1, 16, 100):
        parts = lid_profile(network, images, k=8, micro_batch=size)
        torch.testing.assert_close(parts.by_batch, whole.by_batch, rtol=1e-5, atol=0)

    few = lid_profile(network, images, k=8, micro_batch=16, max_features=64)
    same = lid_profile(network, images, k=8, max_features=64)
    torch.testing.assert_close(few.by_batch, same.by_batch, rtol=1e-5, atol=0)


def test_micro_batches_are_refused_where_they_would_change_the_network(network, probe):
    with pytest.raises(ShapeError, match=r"'first.1' normalises by the statistics of its batch"):
        lid_profile(network.train(), probe, k=8, micro_batch=4)
    with pytest.raises(ShapeError, match="at least 1, got 0"):
        lid_profile(network.eval(), probe, k=8, micro_batch=0)


def test_memory_format_changes_nothing(draw):
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))
    images = torch.randn(40, 3, 9, 9, generator=draw)

    plain = lid_profile(network, images, k=8)

    last = lid_profile(network, images.contiguous(memory_format=torch.channels_last), k=8)
    torch.testing.assert_close(last.by_batch, plain.by_batch, rtol=1e-5, atol=0)


def test_distances_answer_later_questions(network, probe):
    network.eval()

    layers = ["first", "second", "dead"]

    kept = measure_distances(network, probe, layers=layers)

    for k in (3, 8, 30):
        for name in ("harmonic", "ess", "twonn"):
            estimator = ESTIMATORS[name]
            anew = lid_profile(network, probe, layers=layers, k=k, estimator=estimator)
            again = kept.profile(k=k, estimator=estimator)
            assert torch.equal(again.by_batch.nan_to_num(), anew.by_batch.nan_to_num())
            assert again.status == anew.status


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["secnd"], "no layer 'secnd'; did you mean 'second'"),
        (["unused"], "layer 'unused' did not run"),
        ("un*", "layer 'unused' did not run"),
        (nn.Conv2d, "no layer of type Conv2d"),
    ],
)
def test_a_layer_that_cannot_be_measured_is_named(network, probe, layers, message):
    with pytest.raises(ShapeError, match=message):
        lid_profile(network, probe, layers=layers, k=8)


@pytest.mark.parametrize(
    ("images", "k", "message"),
    [
        ([], 8, "at least one probe batch"),
        ([torch.randn(30, 6), torch.randn(40, 6)], 8, r"differ in size: \[30, 40\]"),
        (torch.randn(40, 6), 40, "k=40 neighbours need"),
    ],
)
def test_an_unusable_probe_is_refused(network, images, k, message):
    with pytest.raises(ShapeError, match=message):
        lid_profile(network.eval(), images, layers="second", k=k)


def test_an_output_without_the_images_is_refused(draw):
    network = nn.Sequential(nn.Flatten(0, 1))
    images = torch.randn(1, 40, 6, generator=draw).expand(40, 40, 6)

    with pytest.raises(ShapeError, match=r"layer '0' gives shape \(1600, 6\), where it cannot be"):
        lid_profile(network, torch.zeros_like(images), k=8)
    with pytest.raises(
        ShapeError, match=r"'0' gives shape \(1600, 6\) for 40 images; its first dim"
    ):
        lid_profile(network, images, k=8, images_first=True)


def test_an_output_without_a_tensor_is_refused(draw):
    class Words(nn.Module):
        def forward(self, images):
            return {"words": ["a", "b"], "more": ()}

    with pytest.raises(ShapeError, match="layer '0' gives no tensor but a dict"):
        lid_profile(nn.Sequential(Words()), torch.randn(40, 6, generator=draw), k=8)
