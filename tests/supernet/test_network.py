import pytest
import torch

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import OPERATIONS, nasbench201
from naslid_toolkit.space.search_space import cell_space
from naslid_toolkit.supernet.network import Skeleton, Supernet
from naslid_toolkit.supernet.operations import build_operation, convolution
from tests.conftest import TINY


@pytest.fixture
def images(draw) -> torch.Tensor:
    return torch.randn(16, 1, 8, 8, generator=draw)


def paths(count: int) -> list[Architecture]:
    return [nasbench201().sample(generator=generator(0, i)) for i in range(count)]


def test_a_path_gives_what_the_supernet_gives(supernet, images):
    for architecture in paths(12):
        path = supernet.path(architecture)

        assert torch.equal(path(images), supernet(images, architecture))


def test_a_path_shares_its_weights(supernet, images):
    architecture = Architecture(("nor_conv_3x3",) * 6)
    path = supernet.path(architecture)

    with torch.no_grad():
        next(path.parameters()).mul_(0.5)

    assert torch.equal(path(images), supernet(images, architecture))
    assert {id(p) for p in path.parameters()} <= {id(p) for p in supernet.parameters()}


def test_the_sum_of_operations_is_the_sum_written_out(supernet, images):
    mixed = supernet.space
    for edge in (0, 1, 2, 4, 5):
        mixed = mixed.with_allowed(edge, ["none"])  # edge 3, 0→3, alone reaches the output
    cell = supernet.stage1_cell1
    stem = supernet.stem(images)

    expected = sum(cell.operation(3, name)(stem) for name in OPERATIONS)
    seen = {}
    cell.register_forward_hook(lambda _m, _i, output: seen.update(cell=output))
    supernet(images, mixed)

    torch.testing.assert_close(seen["cell"], expected)


def test_a_whole_supernet_computes_every_operation(supernet, images):
    assert torch.equal(supernet(images), supernet(images, supernet.space))


@pytest.mark.parametrize("affine", [False, True])
def test_a_disconnected_architecture_ignores_its_input(space, draw, affine):
    skeleton = Skeleton(channels=4, cells=2, image_shape=(1, 8, 8), affine=affine)
    supernet = Supernet(space, skeleton, seed=0)
    first, second = (torch.randn(8, 1, 8, 8, generator=draw) for _ in range(2))
    dead = Architecture(("nor_conv_3x3", "none", "none", "none", "none", "nor_conv_1x1"))

    logits = supernet(first, dead)

    assert logits.isfinite().all()
    assert torch.equal(logits, supernet(second, dead))
    assert (logits == logits[0]).all()


def test_edges_without_a_signal_change_nothing(supernet, images):
    base = Architecture(("none", "skip_connect", "none", "none", "none", "nor_conv_3x3"))

    for operation in OPERATIONS:
        variant = base.replace(2, operation)  # 1→2, but node 1 is never reached

        assert torch.equal(supernet(images, base), supernet(images, variant))


def test_a_sub_supernet_starts_from_its_parent_and_is_its_own(supernet, images):
    part = supernet.space.split(1, [["none", "nor_conv_3x3"], OPERATIONS[1:3] + OPERATIONS[4:]])[0]
    architecture = Architecture(("nor_conv_1x1", "nor_conv_3x3") + ("skip_connect",) * 4)

    child = supernet.restrict(part)
    before = child(images, architecture)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.zero_()

    assert torch.equal(before, child(images, architecture))
    assert set(child.state_dict()) < set(supernet.state_dict())


def test_inheriting_copies_what_the_child_has(space, images):
    parent = Supernet(space, TINY, seed=1)
    part = space.with_allowed(0, ["none", "nor_conv_1x1"])
    child = Supernet(part, TINY, seed=2).inherit(parent)

    architecture = Architecture(("nor_conv_1x1",) * 6)
    assert torch.equal(child(images, architecture), parent(images, architecture))


def test_a_parent_that_lacks_a_weight_is_refused(space):
    part = space.with_allowed(0, ["none"])

    with pytest.raises(SpaceError, match=r"no stage1_cell1.edges.0.nor_conv_1x1"):
        Supernet(space, TINY, seed=0).inherit(Supernet(part, TINY, seed=0))


def test_an_operation_outside_a_sub_supernet_is_refused(supernet, images):
    part = supernet.restrict(supernet.space.with_allowed(2, ["none", "skip_connect"]))

    with pytest.raises(SpaceError, match=r"not allowed on edge 2"):
        part(images, Architecture(("nor_conv_3x3",) * 6))
    with pytest.raises(SpaceError, match=r"on edge 2 \(1→2\) is outside this supernet"):
        part(images, supernet.space)


def test_the_same_seed_gives_the_same_weights_in_every_sub_space(space):
    random_state = torch.get_rng_state()
    whole = Supernet(space, TINY, seed=3).state_dict()
    part = Supernet(space.with_allowed(4, ["nor_conv_3x3"]), TINY, seed=3).state_dict()

    assert all(torch.equal(whole[name], value) for name, value in part.items())
    assert not torch.equal(whole["stem.0.weight"], Supernet(space, TINY, seed=4).stem[0].weight)
    assert torch.equal(random_state, torch.get_rng_state())


def test_a_prediction_without_batch_statistics_does_not_depend_on_the_batch(space, images):
    skeleton = Skeleton(channels=4, cells=1, image_shape=(1, 8, 8), statistics="running")
    network = Supernet(space, skeleton, seed=0).path(Architecture(("nor_conv_3x3",) * 6)).eval()

    torch.testing.assert_close(network(images)[:3], network(images[:3]))


def test_odd_image_sizes_pass_through(space, draw):
    skeleton = Skeleton(channels=4, cells=1, image_shape=(3, 7, 9), classes=3)
    network = Supernet(space, skeleton, seed=0)

    logits = network(torch.randn(5, 3, 7, 9, generator=draw))

    assert logits.shape == (5, 3)
    assert skeleton.stages == ((4, 7, 9), (8, 4, 5), (16, 2, 3))


def test_the_benchmark_has_17_layers_to_look_at(space):
    network = Supernet(space.only(Architecture(("none",) * 6)), Skeleton(), seed=0)

    assert len(network.layer_names) == 17
    assert network.layer_names[5] == "reduction1"


def test_a_skeleton_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="positive numbers"):
        Skeleton(cells=0)


def test_an_unknown_operation_is_refused():
    with pytest.raises(SpaceError, match="did you mean 'nor_conv_3x3'"):
        build_operation("nor_conv_33", 4, affine=False, statistics="batch")


def test_operations_of_ones_own_are_built_trained_and_shared():
    space = cell_space(3, ["none", "skip_connect", "conv_5x5"])
    network = Supernet(space, TINY, seed=0, operations={"conv_5x5": convolution(5)})
    again = Supernet(space, TINY, seed=0, operations={"conv_5x5": convolution(5)})
    path = Architecture(("conv_5x5", "none", "conv_5x5"))
    images = torch.randn(4, 1, 8, 8)

    part = network.restrict(space.with_allowed(0, ["conv_5x5"]))

    assert network.stage1_cell1.operation(0, "conv_5x5").conv.kernel_size == (5, 5)
    torch.testing.assert_close(network(images, path), again(images, path), rtol=0, atol=0)
    torch.testing.assert_close(part(images, path), network(images, path), rtol=0, atol=0)
    with pytest.raises(SpaceError, match="no module for operation 'conv_5x5'"):
        Supernet(space, TINY, seed=0)
