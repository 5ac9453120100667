"""LID of networks whose layers keep the images elsewhere than in the first dimension."""

import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from naslid_toolkit.errors import NaslidWarning, ShapeError
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.gram import pairwise_distances
from naslid_toolkit.lid.measure import lid_profile, measure_distances

IMAGES, WIDTH = 24, 8


class Calls(nn.Module):
    """Any function as a layer, so that it has an output to look at."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Sequences(nn.Module):
    """The same layers with the images first, or behind the steps as is PyTorch's default."""

    def __init__(self, kind: str, *, images_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.images_first, self.kind = images_first, kind
        self.embed = nn.Linear(3, WIDTH)
        if kind == "attention":
            self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=images_first)
        elif kind == "encoder":
            self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=images_first)
        else:
            made = {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
            self.layer = made(WIDTH, WIDTH, 2, bidirectional=True, batch_first=images_first)
        self.norm = nn.LayerNorm(WIDTH if kind in ("attention", "encoder") else 2 * WIDTH)

    def forward(self, images):
        steps = self.embed(images)
        steps = steps if self.images_first else steps.transpose(0, 1)
        output = self.layer(steps, steps, steps) if self.kind == "attention" else self.layer(steps)
        return self.norm(output if isinstance(output, torch.Tensor) else output[0])


def expected(features: torch.Tensor, k: int = 8) -> float:
    return float(ESTIMATORS["harmonic"](pairwise_distances(features), k=k).lid)


def lids(network: nn.Module, images: torch.Tensor, **options) -> dict[str, float]:
    profile = lid_profile(network.eval(), images, layers="**", k=8, **options)
    assert all(status == "ok" for row in profile.status for status in row)
    return dict(zip(profile.layers, profile.lid.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["lstm", "gru", "attention", "encoder"])
@pytest.mark.parametrize("steps", [IMAGES, 2, 5])
def test_sequence_first_layers_give_what_images_first_ones_give(kind, steps, draw):
    """With as many steps as images the first dimension looked right and gave a wrong number."""
    images = torch.randn(IMAGES, steps, 3, generator=draw)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an inner projection of attention does not run
        right = lids(Sequences(kind, images_first=True), images)
        found = lids(Sequences(kind, images_first=False), images)

    assert set(right) >= {"embed", "layer", "norm"}  # older torch fuses what images first allow
    assert {name: found[name] for name in right} == pytest.approx(right, rel=1e-4)


def test_a_sequence_as_long_as_the_batch_gives_what_scikit_dimension_gives(draw):
    skdim_id = pytest.importorskip("skdim.id")
    images = torch.randn(IMAGES, IMAGES, 3, generator=draw)
    network = Sequences("lstm", images_first=False).eval()

    profile = lid_profile(network, images, layers="norm", k=8)

    with torch.no_grad():
        rows = network(images).transpose(0, 1).flatten(1).double().numpy()
    right = skdim_id.MLE().fit(rows, n_neighbors=8).dimension_
    assert float(profile.lid) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("name", ["windows", "steps before images", "images in the middle"])
def test_the_order_of_the_images_does_not_matter(name, draw):
    network = nn.Sequential(nn.Linear(24, 24), Calls(FOLDS[name][0]))
    images = torch.randn(IMAGES, 24, generator=draw)

    found = lid_profile(network, images, k=8).lid

    mixed = images[torch.randperm(IMAGES, generator=draw)]
    torch.testing.assert_close(lid_profile(network, mixed, k=8).lid, found, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [1, 7, 11, IMAGES])
def test_sequence_first_layers_are_measured_in_micro_batches(size, draw):
    images = torch.randn(IMAGES, 11, 3, generator=draw)
    network = Sequences("lstm", images_first=False)

    found = lids(network, images, micro_batch=size)

    assert found == pytest.approx(lids(network, images), rel=1e-5)


FOLDS = {
    "windows": (lambda x: x.reshape(-1, 3, 4), lambda x: x),
    "steps before images": (
        lambda x: x.reshape(-1, 6, 4).transpose(0, 1).reshape(-1, 4),
        lambda x: x,
    ),
    "images in the middle": (
        lambda x: x.reshape(-1, 2, 3, 4).transpose(0, 1).reshape(-1, 4),
        lambda x: x,
    ),
    "channels of one image": (lambda x: x.reshape(1, -1, 4), lambda x: x),
    "two views": (lambda x: torch.cat([x, x.flip(1)]), lambda x: torch.cat([x, x.flip(1)], 1)),
    "all": (lambda x: x.flatten(), lambda x: x),
    "images last": (lambda x: x.T, lambda x: x),
}


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize("training", [True, False])
def test_rows_of_one_image_are_put_together(name, training, draw):
    fold, right = FOLDS[name]
    network = nn.Sequential(nn.BatchNorm1d(24), nn.Dropout(0.0), Calls(fold)).train(training)
    images = torch.randn(IMAGES, 24, generator=draw)

    profile = lid_profile(network, images, layers="2", k=8)

    with torch.no_grad():
        assert float(profile.lid) == pytest.approx(expected(right(network[:2](images))), rel=1e-6)


def test_rows_of_one_image_are_put_together_behind_dropout_in_training(draw):
    """Chance makes equal images differ, so their order is looked at without it."""
    network = nn.Sequential(nn.Dropout(0.5), Calls(lambda x: x.reshape(-1, 3, 4)))
    images = torch.randn(IMAGES, 24, generator=draw)
    torch.manual_seed(3)

    profile = lid_profile(network, images, layers="1", k=8)

    torch.manual_seed(3)
    assert float(profile.lid) == pytest.approx(expected(network[0](images)))


def test_the_first_columns_of_rows_put_together_are_those_of_rows_that_were(draw):
    images = torch.randn(IMAGES, 6, 4, generator=draw)
    steps_first = nn.Sequential(Calls(lambda x: x.transpose(0, 1).contiguous()))

    found = lid_profile(steps_first, images, k=8, max_features=7)

    right = lid_profile(nn.Sequential(nn.Identity()), images, k=8, max_features=7)
    assert torch.equal(found.by_batch, right.by_batch)


def routed(tokens: torch.Tensor) -> torch.Tensor:
    """Of each image's tokens as many as its first value says."""
    counts = tokens[:, 0, 0].abs().long()
    return tokens[torch.arange(tokens.shape[1]) < counts[:, None]]


@pytest.mark.parametrize(
    "counts", [[3.0, 3, 1, 5, 2, 4], [3.0, 3, 3, 1, 5, 3], [3.0, 1, 5, 3, 2, 4]]
)
def test_tokens_that_are_routed_by_content_are_left_out_even_if_their_number_fits(counts, draw):
    tokens = torch.randn(IMAGES, 6, 4, generator=draw)
    tokens[:, 0, 0] = torch.tensor(counts * (IMAGES // 6))
    assert len(routed(tokens)) == 3 * IMAGES
    network = nn.Sequential(nn.Identity(), Calls(routed))

    with pytest.warns(NaslidWarning, match=r"'1' gives shape \(72, 4\)"):
        profile = lid_profile(network, tokens, k=8)

    assert profile.layers == ("0",)


LEFT_OUT = {
    "a table as long as the batch": lambda _x: torch.arange(IMAGES * 5.0).view(IMAGES, 5),
    "a sum over the images": lambda x: x.sum(0),
    "pairs of images": lambda x: x.reshape(-1, 48) if len(x) % 2 == 0 else x,
    "one more row": lambda x: torch.cat([x, x[:1]]),
    "a scalar": lambda x: x.mean(),
    "nothing that differs": lambda x: torch.zeros(len(x) * 2, 3),
    "indices": lambda x: x.argmax(1),
    "a mask": lambda x: x > 0,
    "no tensor": lambda _x: "word",
    "no features": lambda x: x[:, :0],
    "a sparse tensor": lambda x: x.to_sparse(),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_does_not_follow_the_images_is_left_out_and_named(name, draw):
    network = nn.Sequential(nn.Identity(), Calls(lambda x: (x, LEFT_OUT[name](x))[0]))
    network.add_module("odd", Calls(LEFT_OUT[name]))
    images = torch.randn(IMAGES, 24, generator=draw)

    with pytest.warns(NaslidWarning, match="not measured: 'odd' gives"):
        profile = lid_profile(network, images, k=8)

    assert profile.layers == ("0", "1")
    assert list(profile.left_out) == ["odd"]
    frame = profile.to_frame()
    assert frame.layer.tolist() == ["0", "1", "odd"]
    assert frame.lid.isna().tolist() == [False, False, True]
    assert frame.status[2] == f"left out: {profile.left_out['odd']}"
    assert frame.undefined.tolist() == [0, 0, IMAGES]
    with pytest.raises(ShapeError, match="layer 'odd' gives"):
        lid_profile(network, images, layers=["0", "odd"], k=8)


@dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor


def packed(x: torch.Tensor) -> object:
    lengths = 2 + torch.arange(len(x)) % 3
    pack = nn.utils.rnn.pack_padded_sequence
    return pack(x.view(-1, 4, 6), lengths, batch_first=True, enforce_sorted=False)


def padded(x: torch.Tensor) -> torch.Tensor:
    steps = torch.arange(4) < 2 + torch.arange(len(x))[:, None] % 3
    return x.view(-1, 4, 6) * steps[..., None]


OUTPUTS = {
    "a dataclass, loss first": (lambda x: Output(x.sum(), x), lambda x: x),
    "a dict": (lambda x: {"loss": x.sum(), "indices": x.argmax(1), "logits": x}, lambda x: x),
    "a tuple of tuples": (lambda x: (None, (x.argmax(0), [x])), lambda x: x),
    "complex": (
        lambda x: torch.complex(x[:, :12], x[:, 12:]),
        lambda x: torch.stack([x[:, :12], x[:, 12:]], -1),
    ),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 10, torch.qint8),
        lambda x: torch.quantize_per_tensor(x, 0.1, 10, torch.qint8).dequantize(),
    ),
    "half precision": (lambda x: x.bfloat16(), lambda x: x.bfloat16()),
    "a packed sequence": (packed, padded),
    "a nested tensor": (
        lambda x: torch.nested.nested_tensor(
            [image[: 2 + i % 3] for i, image in enumerate(x.view(-1, 4, 6))]
        ),
        padded,
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quant.*:UserWarning")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_features_within_an_output_are_found(name, draw):
    given, right = OUTPUTS[name]
    images = torch.randn(IMAGES, 24, generator=draw)

    profile = lid_profile(nn.Sequential(nn.Identity(), Calls(given)), images, layers="1", k=8)

    assert float(profile.lid) == pytest.approx(expected(right(images)), rel=1e-6)


class WholeBatches(nn.Module):
    """Written for one size of batches only."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.steps = nn.Identity()
        self.first = first

    def forward(self, images):
        steps = images.view(IMAGES, IMAGES, 3)
        return self.steps(steps if self.first else steps.transpose(0, 1))


def test_a_network_for_whole_batches_only_is_measured(draw):
    images = torch.randn(IMAGES, IMAGES, 3, generator=draw)

    found = lids(WholeBatches(first=False), images)

    assert found == pytest.approx({"steps": expected(images)}, rel=1e-6)
    assert lids(WholeBatches(first=True), images) == pytest.approx(found, rel=1e-6)


def test_images_that_are_taken_as_steps_of_one_sequence_are_named(draw):
    network = nn.Sequential(nn.LSTM(3, 4))  # which is not batch_first, and gets images first

    with pytest.warns(NaslidWarning, match="taken as steps of one sequence by '0'"):
        lid_profile(network, torch.randn(IMAGES, 5, 3, generator=draw), k=8)


class Keeper(nn.Module):
    """Keeps things from one pass to the next, as plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.state, self.calls, self.seen = None, 0, []
        self.average = torch.zeros(6)
        self.draw = torch.Generator().manual_seed(0)
        self.register_buffer("cells", torch.ones(6))

    def forward(self, images):
        images = self.layer(images)
        if self.state is not None:
            images = images + self.state
        self.state = images.detach()
        self.calls += 1
        self.seen.append(len(images))
        self.average += images.mean(0)
        self.cells.mul_(2)
        return self.layer(images + torch.rand(6, generator=self.draw) * self.cells + self.average)


def test_what_a_network_keeps_between_passes_is_as_before_and_moves_no_number(draw):
    torch.manual_seed(0)
    network, images = Keeper(), torch.randn(IMAGES, 6, generator=draw)
    state = network.draw.get_state()

    profile = lid_profile(network, images, k=8)

    assert network.state is None
    assert (network.calls, network.seen) == (0, [])
    assert (network.average == 0).all()
    assert (network.cells == 1).all()
    assert torch.equal(network.draw.get_state(), state)
    outputs = []
    network.layer.register_forward_hook(lambda _m, _i, output: outputs.append(output.detach()))
    network(images)
    assert profile.lid.tolist() == [expected(output) for output in outputs]


def test_a_graph_made_before_measuring_can_still_be_differentiated(draw):
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval()
    images = torch.randn(IMAGES, 6, generator=draw)
    loss = network(images).sum()

    lid_profile(network, images, k=8)

    loss.backward()
    assert network[0].weight.grad is not None


@pytest.mark.parametrize("inference", [True, False])
def test_a_network_that_writes_to_its_images_gets_each_batch_as_it_is(inference, draw):
    network = nn.Sequential(Calls(lambda x: x.sub_(1).relu_()), nn.Linear(6, 4))
    images = torch.randn(IMAGES, 6, generator=draw)
    before = images.clone()

    with torch.inference_mode(inference):
        profile = lid_profile(network, images, k=8)

    assert torch.equal(images, before)
    assert float(profile.lid[0]) == pytest.approx(expected((before - 1).relu()))


@pytest.mark.parametrize("training", [True, False])
def test_the_trial_moves_no_number(training, draw):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.3), nn.ReLU(inplace=True)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 5)).train(training)
    images = [torch.randn(IMAGES, 3, 6, 6, generator=draw) for _ in range(2)]

    tried = lid_profile(network, images, k=8)

    promised = lid_profile(network, images, k=8, images_first=True)
    assert torch.equal(tried.by_batch, promised.by_batch)


def test_a_promise_saves_the_trial(draw):
    passes = []
    network = nn.Sequential(Calls(lambda x: (x, passes.append(len(x)))[0]))
    images = torch.randn(IMAGES, 6, generator=draw)

    lid_profile(network, [images, images], k=8, images_first=True)
    lid_profile(network, images, k=8, select=lambda _name, output: output.reshape(IMAGES, -1))
    lid_profile(network, [images, images], k=8)

    assert passes == [IMAGES] * 3 + [2, IMAGES, IMAGES]


def test_a_promise_that_is_broken_is_found_out(draw):
    images = torch.randn(IMAGES, 5, 3, generator=draw)

    with pytest.raises(ShapeError, match=r"layer 'layer' gives shape \(5, 24, 16\) for 24 images"):
        lid_profile(
            Sequences("lstm", images_first=False), images, layers="layer", images_first=True
        )


def test_a_layer_that_runs_in_some_batches_only_is_left_out(draw):
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.rare = nn.Linear(6, 4), nn.Linear(4, 4)

        def forward(self, images):
            features = self.always(images)
            return self.rare(features) if images[0, 0] > 0 else features

    batches = [torch.randn(IMAGES, 6, generator=draw) for _ in range(2)]
    batches[0][0, 0], batches[1][0, 0] = 1, -1

    with pytest.warns(NaslidWarning, match="'rare' ran in 1 of 2 batches only"):
        measured = measure_distances(Sometimes(), batches)

    assert measured.layers == ("always",)


def test_a_layer_that_training_drops_by_chance_is_measured_where_it_runs(draw):
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rare = nn.Dropout(0.5), nn.Linear(6, 4)

        def forward(self, images):
            features = self.first(images)
            dropped = self.training and len(images) < IMAGES  # as a draw after others may decide
            return features if dropped else self.rare(features)

    profile = lid_profile(Dropping(), torch.randn(IMAGES, 6, generator=draw), k=8)

    assert profile.layers == ("first", "rare")


def test_runs_that_a_small_batch_does_not_have_are_left_out(draw):
    class OneByOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, images):
            return torch.cat([self.layer(image[None]) for image in images])

    network = nn.Sequential(nn.Identity(), OneByOne())

    with pytest.warns(NaslidWarning, match=r"'1.layer' gives .*; and 16 more in left_out"):
        profile = lid_profile(network, torch.randn(IMAGES, 6, generator=draw), layers="**", k=8)

    assert profile.layers == ("0", "1")
    assert len(profile.left_out) == IMAGES


@pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"), reason="older torch fuses layers that are watched"
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_padded_sequences_are_measured_in_an_encoder_that_leaves_the_padding_out(draw):
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    network = Calls(nn.TransformerEncoder(layer, 2)).eval()
    network.forward = lambda x: network.function(x, src_key_padding_mask=(x == 0).all(-1))
    images = torch.randn(IMAGES, 4, WIDTH, generator=draw)
    images[::3, 2:] = 0

    profile = lid_profile(network, images, layers="**.norm2", k=8)

    outputs = network(images)
    assert profile.layers == ("function.layers.0.norm2", "function.layers.1.norm2")
    right = expected(outputs.detach() * (images != 0).any(-1, keepdim=True))
    assert float(profile.lid[1]) == pytest.approx(right, rel=1e-4)


def test_parts_with_other_numbers_of_features_are_not_put_together(draw):
    network = nn.Sequential(nn.Identity(), Calls(lambda x: x[:, : 3 + len(x) % 2]))

    with pytest.warns(NaslidWarning, match="'1' gives another number of features for every part"):
        profile = lid_profile(network, torch.randn(25, 6, generator=draw), k=8, micro_batch=10)

    assert profile.layers == ("0",)
