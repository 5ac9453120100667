"""LID of what people pass as images, and of networks that are not plain modules."""

import warnings
from collections import UserDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import NaslidError, NaslidWarning, NetworkError, ShapeError
from naslid_toolkit.lid.features import plain_network, watch_layers
from naslid_toolkit.lid.measure import lid_profile, measure_distances

IMAGES = 24
Pair = namedtuple("Pair", ["pixels", "labels"])


@dataclass
class Batch:
    pixels: torch.Tensor
    names: list[str]


class One(nn.Module):
    """A network with one required input, and others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.last = nn.Linear(6, 12), nn.Linear(12, 5)

    def forward(self, pixels, mask=None, *, scale=1.0):
        pixels = pixels if mask is None else pixels * mask
        return self.last(self.layer(pixels * scale).relu())


class Two(One):
    """A network with two required inputs."""

    def forward(self, pixels, marks):
        return super().forward(pixels + marks.reshape(len(marks), -1))


@pytest.fixture
def pixels(draw) -> torch.Tensor:
    return torch.randn(3 * IMAGES, 6, generator=draw)


@pytest.fixture
def labels(pixels) -> torch.Tensor:
    return torch.arange(len(pixels)) % 3


def lid(network: nn.Module, images: object, **options) -> torch.Tensor:
    return lid_profile(network, images, k=8, **options).by_batch


def batches(tensor: torch.Tensor) -> list[torch.Tensor]:
    return list(tensor.split(IMAGES))


class Stream(IterableDataset):
    def __init__(self, parts) -> None:
        super().__init__()
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)


SEVERAL = {
    "a list": batches,
    "a tuple": lambda x: tuple(batches(x)),
    "a generator": lambda x: (part for part in batches(x)),
    "an iterator": lambda x: iter(batches(x)),
    "a map": lambda x: map(torch.clone, batches(x)),
    "arrays": lambda x: [part.numpy() for part in batches(x)],
    "float64 arrays": lambda x: (part.double().numpy() for part in batches(x)),
    "lists of one": lambda x: DataLoader(TensorDataset(x), batch_size=IMAGES),
    "pairs": lambda x: DataLoader(TensorDataset(x, torch.arange(len(x))), batch_size=IMAGES),
    "pairs of arrays": lambda x: [(part.numpy(), np.arange(IMAGES)) for part in batches(x)],
    "pairs in tuples": lambda x: tuple((part, torch.zeros(IMAGES).bool()) for part in batches(x)),
    "with names": lambda x: [(part, ["a name"] * IMAGES) for part in batches(x)],
    "named tuples": lambda x: [Pair(part, torch.arange(IMAGES)) for part in batches(x)],
    "dataclasses": lambda x: [Batch(part, ["a name"] * IMAGES) for part in batches(x)],
    "images of the toolkit": lambda x: (
        Images(part.view(-1, 1, 2, 3), torch.arange(IMAGES)) for part in batches(x)
    ),
    "dicts": lambda x: ({"pixels": part} for part in batches(x)),
    "dicts with labels beside": lambda x: [
        ({"pixels": p}, torch.arange(IMAGES)) for p in batches(x)
    ],
    "mappings": lambda x: [UserDict(pixels=part, scale=1.0) for part in batches(x)],
    "an iterable data set": lambda x: Stream(batches(x)),
    "a loader of batches": lambda x: DataLoader(Stream(batches(x)), batch_size=None),
}


class Flat(One):
    def forward(self, pixels, *, mask=None, scale=1.0):
        return super().forward(pixels.flatten(1), mask, scale=scale)


@pytest.mark.parametrize("name", SEVERAL)
def test_batches_of_every_kind_give_the_same(name, pixels):
    """A generator lost its first batch, and a loader of pairs was two points."""
    network = Flat()

    found = lid(network, SEVERAL[name](pixels))

    assert torch.equal(found, lid(network, batches(pixels)))
    measured = measure_distances(network, SEVERAL[name](pixels))
    assert torch.equal(measured.profile(k=8).by_batch, found)


ONE = {
    "an array": lambda x: x.numpy(),
    "a backward array": lambda x: x.numpy()[::-1][::-1],
    "a big-endian array": lambda x: x.numpy().astype(">f8"),
    "a pair": lambda x: [x, torch.arange(len(x))],
    "a pair of arrays": lambda x: (x.numpy(), np.arange(len(x))),
    "a tuple of one": lambda x: (x,),
    "a dict": lambda x: {"pixels": x},
    "a dict of arrays": lambda x: {"pixels": x.numpy(), "scale": 1.0},
    "a mapping": lambda x: UserDict(pixels=x, mask=torch.ones(len(x), 1)),
    "the batch of a loader": lambda x: next(
        iter(DataLoader(TensorDataset(x, torch.arange(len(x))), batch_size=len(x)))
    ),
    "images of the toolkit": lambda x: Images(x.view(-1, 1, 2, 3), torch.arange(len(x))),
    "inputs and labels, nested": lambda x: ((x,), torch.arange(len(x))),
    "with names": lambda x: (x, ["a name"] * len(x)),
}


@pytest.mark.parametrize("name", ONE)
def test_one_batch_of_every_kind_gives_the_same(name, pixels):
    network = Flat()

    found = lid(network, ONE[name](pixels))

    assert torch.equal(found, lid(network, pixels))


@pytest.mark.parametrize(
    "given",
    [
        lambda x, y: (x, y),
        lambda x, y: [(x, y)],
        lambda x, y: {"marks": y, "pixels": x},
        lambda x, y: iter([{"marks": y, "pixels": x}]),
        lambda x, y: (x, y, torch.arange(len(x))),
        lambda x, y: [((x, y), torch.arange(len(x)))],
        lambda x, y: [(x, y[:, 0].long())],  # required, so no label
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=len(x)),
    ],
)
def test_all_inputs_of_a_network_are_given_to_it(given, pixels):
    marks = torch.ones(len(pixels), 1).cumsum(0) % 5

    found = lid(Two(), given(pixels, marks))

    assert torch.equal(found, lid(One(), pixels + marks))


def test_inputs_that_are_the_same_for_all_images_are_not_taken_apart(pixels):
    mask = torch.rand(6, generator=torch.Generator().manual_seed(0))
    images = {"mask": mask, "scale": torch.tensor(2.0), "pixels": pixels}

    for size in (None, 10):
        found = lid(One(), images, micro_batch=size)

        torch.testing.assert_close(found, lid(One(), pixels * mask * 2), rtol=1e-5, atol=0)


def test_an_incomplete_last_batch_is_left_out_and_said(pixels):
    with pytest.warns(NaslidWarning, match="the last batch, of 12 images, was left out.* have 30"):
        found = lid(One(), pixels.split(30))

    assert torch.equal(found, lid(One(), [pixels[:30], pixels[30:60]]))


def test_entries_that_forward_does_not_take_are_left_out_and_said(pixels, labels):
    with pytest.warns(NaslidWarning, match=r"forward does not take \['labels'\]") as warned:
        found = lid(One(), [{"pixels": pixels, "labels": labels}] * 2)

    assert len(warned) == 1
    assert torch.equal(found[0], lid(One(), pixels)[0])


def test_what_is_not_evidently_a_label_is_left_out_and_said(pixels):
    targets = torch.rand(len(pixels), 2, 2)

    with pytest.warns(NaslidWarning, match=r"entry 2 of each batch, of shape \(72, 2, 2\), was"):
        found = lid(Flat(), (pixels, targets))

    assert torch.equal(found, lid(One(), pixels))


def test_a_whole_number_an_image_is_no_label_without_a_word_if_forward_might_take_it(
    pixels, labels
):
    plain = nn.Sequential(One())

    with pytest.warns(
        NaslidWarning, match=r"entry 2 of each batch, of shape \(72,\), was taken as"
    ):
        found = lid(plain[0], (pixels, labels))

    assert torch.equal(found, lid(plain[0], pixels))
    assert torch.equal(lid(plain, (pixels, labels))[:, 0], found[:, 1])


def test_micro_batches_are_refused_where_an_input_may_be_the_same_for_all_images(pixels):
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near = nn.CosineSimilarity(dim=-1)

        def forward(self, pixels, prototypes):
            return self.near(pixels[:, None], prototypes)

    images = {"pixels": pixels, "prototypes": pixels.flip(0)}

    assert lid(Prototypes(), images).isfinite().all()
    with pytest.raises(ShapeError, match="an input of 72 rows .* one for each image or the same"):
        lid(Prototypes(), images, micro_batch=10)
    two = lid(Two(), (pixels, pixels), micro_batch=10)
    torch.testing.assert_close(two, lid(Two(), (pixels, pixels)), rtol=1e-4, atol=0)


def test_any_number_of_inputs(pixels, labels):
    class Sum(One):
        def forward(self, *inputs, **named):
            return super().forward(sum(inputs) + sum(named.values()))

    found = [lid(Sum(), given) for given in ((pixels, pixels * 2.0, labels), {"any": pixels * 3})]

    assert torch.equal(found[0], lid(One(), pixels + pixels * 2))
    assert torch.equal(found[1], lid(One(), pixels * 3))


def test_random_batches_are_drawn_as_they_are_without_measuring(pixels):
    """The network's own draws go on from batch to batch, and those of the loader do, too."""
    loader = DataLoader(pixels, batch_size=IMAGES, shuffle=True)
    network = nn.Sequential(nn.Dropout(0.5), One())
    torch.manual_seed(0)
    drawn, after = list(loader), torch.rand(1)

    torch.manual_seed(0)
    found = lid(network, loader)

    assert torch.rand(1) == after
    torch.manual_seed(0)
    list(loader)
    torch.manual_seed(0)
    assert torch.equal(found, lid(network, drawn))


def test_batches_may_come_from_gradients(pixels):
    network = One()

    def attacked():
        for part in batches(pixels):
            moved = part.clone().requires_grad_()
            network(moved).sum().backward()
            yield part + moved.grad

    assert torch.equal(lid(network, attacked()), lid(network, list(attacked())))


def test_an_error_of_the_iterator_is_its_own(pixels):
    def broken():
        yield pixels
        raise KeyError("the disk")

    with pytest.raises(KeyError, match="the disk"):
        lid(One(), broken())


BAD = [
    ([], "at least one probe batch is needed"),
    ("images.npy", "not a str"),
    (["images.npy"], "not a str"),
    ([None], "not a NoneType"),
    (torch.randn(3, 64, 64), r"got 3, of 3 images of shape \(3, 64, 64\) \(the first dim"),
    (torch.randn(1, 6), r"a batch needs several images, got 1 images of shape \(1, 6\)"),
    (TensorDataset(torch.randn(40, 6)), "TensorDataset gives single examples; wrap the data set"),
    ([(torch.randn(3, 8, 8), 7)] * 9, r"holds one example and its label \(7\); wrap the data set"),
    ([(torch.randn(6), torch.tensor(7))] * 9, "holds one example and its label"),
    ({"inputs": torch.randn(40, 6)}, r"forward needs \['pixels'\], and a batch has \['inputs'\]"),
    ({"pixels": [[1, 2], [3, 4]]}, r"no tensor with a row for each image, but \['list'\]"),
    (np.array(["a", "b"]), "an array of <U1 cannot be images"),
    (np.array([object()] * 40), "an array of object cannot be images"),
    (torch.randn(40, 6, device="meta"), "images on the meta device have no values"),
    ([torch.randn(30, 6), torch.randn(20, 6), torch.randn(30, 6)], r"size: \[30, 20, 30\]"),
    (
        nn.utils.rnn.pack_sequence([torch.randn(3, 6)] * 9),
        "a packed sequence has no row for each image",
    ),
    (torch.randn(40, 7), r"the network fails on 40 images of shape \(40, 7\).*RuntimeError: mat1"),
    (torch.randn(40, 6).double(), "the network fails on 40 images.* dtype"),
]


@pytest.mark.parametrize(("images", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_what_is_no_batch_of_images_is_refused(images, message):
    with pytest.raises(NaslidError, match=message):
        lid(One(), images)


def test_too_few_inputs_are_refused(pixels):
    with pytest.raises(ShapeError, match=r"forward needs \['pixels', 'marks'\].* has 1 entries"):
        lid(Two(), [(pixels,)])
    with pytest.raises(NetworkError, match="the network fails on 72 images"):
        lid(Two(), pixels)


eager = pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"), reason="compiled code runs as it is before torch 2.6"
)


class Compiled(nn.Module):
    """Compiled in every way there is: a part, a part in place, and a function."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.part = torch.compile(nn.Sequential(nn.Linear(6, 8), nn.ReLU()), backend="eager")
        self.place = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.place.compile(backend="eager")
        self.last = nn.Linear(8, 4)

    @torch.compile(backend="eager")
    def forward(self, images):
        return self.last(self.place(self.part(images)))


@eager
@pytest.mark.parametrize("ran", [True, False])
def test_the_layers_of_compiled_networks_are_seen(ran, pixels):
    """Hooks of compiled modules are not called, so layers vanished without a word."""
    network = Compiled()
    if ran:
        network(pixels)

    profile = lid_profile(network, pixels, layers="**", k=8)

    parts = ["part", "part.0", "part.1", "place", "place.0", "place.1", "last"]
    assert sorted(profile.layers) == sorted(parts)
    assert not profile.left_out
    plain = nn.Sequential(*network.part._orig_mod, *network.place, network.last)
    right = lid_profile(plain, pixels, k=8)
    for name, value in zip(["part.0", "part", "place.0", "place", "last"], right.lid, strict=True):
        assert profile.lid[profile.layers.index(name)] == value


@eager
@pytest.mark.parametrize("name", ["part.0", "part._orig_mod.0", "_orig_mod.part.0"])
def test_wrappers_have_no_part_in_names(name, pixels):
    network = torch.compile(Compiled(), backend="eager")

    profile = lid_profile(network, pixels, layers=name, k=8)

    assert profile.layers == ("part.0",)


@pytest.mark.parametrize("name", ["layer", "module.layer"])
def test_data_parallel_networks_are_those_within(name, pixels):
    network = One()

    found = lid(nn.DataParallel(network), pixels, layers=name)

    assert torch.equal(found, lid(network, pixels, layers="layer"))


def test_a_network_made_in_inference_mode_is_measured(pixels):
    with torch.inference_mode():
        network = nn.Sequential(One(), nn.BatchNorm1d(5)).eval()
        inside = lid(network, pixels)

    assert torch.equal(lid(network, pixels), inside)
    assert torch.equal(lid(network[0], pixels), lid(One(), pixels))
    with pytest.raises(NetworkError, match="Inplace update to inference tensor"):
        lid(network.train(), pixels)


def test_a_write_to_a_parameter_is_found_out_in_inference_mode(pixels):
    class Restless(nn.Linear):
        def forward(self, images):
            with torch.no_grad():
                self.weight.mul_(0.9)
            return super().forward(images)

    network = nn.Sequential(Restless(6, 4))

    with torch.inference_mode(), pytest.raises(ShapeError, match="writes to parameter '0.weight'"):
        lid(network, pixels)


UNUSABLE = {
    "scripted or traced": lambda: torch.jit.script(nn.Sequential(nn.Linear(6, 5))),
    "traced, so its layers": lambda: torch.jit.trace(
        nn.Sequential(nn.Linear(6, 5)), torch.ones(2, 6)
    ),
    "on the meta device": lambda: nn.Sequential(nn.Linear(6, 5)).to("meta"),
    "'0.weight' is not initialised yet": lambda: nn.Sequential(nn.LazyLinear(5)),
    "no forward of its own": lambda: nn.ModuleList([nn.Linear(6, 5)]),
}


@pytest.mark.parametrize("message", UNUSABLE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Lazy modules:UserWarning")
def test_a_network_that_cannot_be_looked_into_is_refused(message, pixels):
    network = UNUSABLE[message]()

    for call in (lid, measure_distances):
        with pytest.raises(NetworkError, match=message):
            call(network, pixels)


def test_something_else_than_a_network_is_refused():
    with pytest.raises(NetworkError, match=r"must be a torch.nn.Module, got function"):
        plain_network(lambda x: x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_layer_is_measured_and_those_within_are_named(pixels):
    network = nn.Sequential(nn.Linear(6, 5), torch.jit.script(nn.Sequential(nn.ReLU(), nn.Tanh())))

    with pytest.warns(NaslidWarning, match="'1.0' did not run: '1' is scripted"):
        profile = lid_profile(network, pixels, layers="**", k=8)

    assert profile.layers == ("0", "1")
    assert set(profile.left_out) == {"1.0", "1.1"}
    plain = nn.Sequential(network[0], nn.ReLU(), nn.Tanh())
    assert profile.lid[1] == lid_profile(plain, pixels, k=8).lid[2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_statically_quantised_network_is_measured(pixels):
    from torch.ao import quantization

    torch.manual_seed(0)
    network = nn.Sequential(
        quantization.QuantStub(), nn.Linear(6, 5), nn.ReLU(), quantization.DeQuantStub()
    ).eval()
    network.qconfig = quantization.default_qconfig
    ready = quantization.prepare(network)
    ready(pixels)
    network = quantization.convert(ready)

    profile = lid_profile(network, pixels, k=8)

    assert profile.layers == ("0", "1", "2", "3")
    right = lid_profile(nn.Sequential(nn.Identity()), network(pixels), k=8)
    assert profile.lid[2] == profile.lid[3] == right.lid[0]


def test_graph_modules_are_measured(pixels):
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))

    found = lid(torch.fx.symbolic_trace(network), pixels)

    assert torch.equal(found, lid(network, pixels))


@pytest.mark.parametrize("training", [True, False])
def test_fused_layers_that_do_not_run_are_named(training, pixels):
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True).train(training)
    images = pixels.view(IMAGES, 3, 6)

    with pytest.warns(
        NaslidWarning, match="'0.self_attn.out_proj' did not run: '0.self_attn' is f"
    ):
        profile = lid_profile(nn.Sequential(layer), images, layers="**", k=8)

    named = {name for name, _ in nn.Sequential(layer).named_modules() if name}
    assert {*profile.layers, *profile.left_out} == named
    assert len(profile.left_out) == 1 or not training  # older torch fuses the whole layer


def test_containers_are_no_layers_and_second_names_are_explained(pixels):
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(6, 6), nn.ReLU()])
            self.again = self.layers[0]

        def forward(self, images):
            return self.again(self.layers[1](self.layers[0](images)))

    profile = lid_profile(Shared(), pixels, layers="**", k=8)

    assert profile.layers == ("layers.0", "layers.1", "layers.0#2")
    with pytest.raises(ShapeError, match="layer 'again' is the module 'layers.0' once more"):
        lid(Shared(), pixels, layers="again")
    with pytest.raises(ShapeError, match="layer 'layers' is a ModuleList, which never runs itself"):
        lid(Shared(), pixels, layers="layers")


def test_outputs_replaced_by_hooks_are_what_is_measured(pixels):
    network = nn.Sequential(nn.Linear(6, 5))
    network[0].register_forward_hook(lambda _module, _inputs, output: output.relu())

    found = lid(network, pixels)

    assert torch.equal(found, lid(nn.Sequential(network[0], nn.Identity()), pixels)[:, 1:])


def test_hooks_and_the_ways_of_torch_are_as_before(pixels):
    network = One()

    with pytest.raises(KeyError), watch_layers(network, ["layer"], lambda _run, _output: None):
        assert not torch.is_grad_enabled()
        raise KeyError

    assert torch.is_grad_enabled()
    assert not network.layer._forward_hooks
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.compile(network, backend="eager")(pixels).requires_grad
