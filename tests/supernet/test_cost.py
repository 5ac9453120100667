import pytest
import torch
from torch import nn

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.runtime import generator
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.supernet.cost import Cost, count_cost
from naslid_toolkit.supernet.network import Skeleton, Supernet


def executed_flops(network: Supernet, shape: tuple[int, int, int]) -> int:
    total = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel() + module.bias.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.zeros(1, *shape))
    return total


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 7)])
def test_counts_are_those_of_the_network(space, affine, shape):
    skeleton = Skeleton(channels=6, cells=2, image_shape=shape, classes=7, affine=affine)
    for i in range(4):
        architecture = space.sample(generator=generator(1, i))
        full = Architecture(
            tuple(o if o != "none" else "skip_connect" for o in architecture.operations)
        )
        network = Supernet(space.only(full), skeleton, seed=0)

        cost = count_cost(full, skeleton)

        assert cost.parameters == sum(p.numel() for p in network.parameters())
        assert cost.flops == executed_flops(network.eval(), shape)


def test_the_largest_cell_costs_what_the_benchmark_says():
    cost = count_cost(Architecture(("nor_conv_3x3",) * 6), Skeleton(affine=True))

    assert round(cost.flops / 1e6, 2) == 220.12
    assert round(cost.parameters / 1e6, 3) == 1.532


def test_costs_add_up():
    assert Cost(1, 2) + Cost(3, 4) == Cost(4, 6)


def test_an_unknown_operation_is_not_counted_as_nothing():
    with pytest.raises(SpaceError, match="not for 'conv_5x5'"):
        count_cost(Architecture(("conv_5x5",)), Skeleton())
