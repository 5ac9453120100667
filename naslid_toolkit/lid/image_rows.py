"""Which dimension of a layer's output the images run along, found by trial and not by its size."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from naslid_toolkit.errors import NaslidError, ShapeError
from naslid_toolkit.lid.features import Select, layer_of, named_layers, watch_layers
from naslid_toolkit.lid.inputs import Call
from naslid_toolkit.lid.marks import unwritten
from naslid_toolkit.lid.unchanged import unchanged_state

Shape = tuple[int, ...]
Place = tuple[int, int, int]  # dimension of the images, rows of each, and how many lie together

_MIRRORED: Final = 5  # images of the second trial: a prime, so that few folds are ambiguous
_ALIKE: Final = 0.02  # difference of equal images over that of all features; else it is about 1


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What small batches showed of the outputs of every run of a layer.

    Parameters
    ----------
    images
        Images in the batch of the shapes; 0 if the network fails on any batch but the full one.
    shapes
        Shapes of the tensors that each run gave.
    places
        Where, in each of these tensors, equal images give equal rows: looked for only where the
        shapes do not tell.
    writes
        Whether the network writes to its inputs.
    mixed
        Recurrent and attention layers that take the images as the steps of a sequence.
    """

    images: int
    shapes: Mapping[str, tuple[Shape, ...]]
    places: Mapping[str, tuple[frozenset[Place], ...]]
    writes: bool
    mixed: tuple[str, ...] = ()

    def rows(self, run: str, output: object, images: int) -> Tensor:
        """Return the first tensor within an output that follows the images, one row an image.

        Raises
        ------
        ShapeError
            If there is none, or it cannot be told how; says why, without the layer's name.
        """
        tensors = tensors_in(output)
        known = self.shapes.get(run, ()) if self.images else [()] * len(tensors)
        if len(known) != len(tensors):
            raise ShapeError(
                f"gives {len(tensors)} tensors for {images} images, and for {self.images} it gives "
                f"{len(known)} or does not run (see select=)"
            )
        for part, tensor in enumerate(tensors):
            if why_no_features(tensor):
                continue
            followers = self._followers(tensor.shape, known[part], images)
            if followers:
                place = self._place(run, part, tensor.shape, followers)
                return _one_row_an_image(tensor, place, images)
        raise ShapeError(_why_none(output, tensors, known, images=images, trial=self.images))

    def _followers(self, shape: Sequence[int], known: Shape, images: int) -> dict[int, int]:
        """Return the dimensions that grow with the images, and their sizes for one image."""
        if not self.images:
            return {d: size // images for d, size in enumerate(shape) if size % images == 0}
        if len(known) != len(shape):
            return {}
        return {
            d: size // images
            for d, (size, before) in enumerate(zip(shape, known, strict=True))
            if size and size % images == 0 and size * self.images == before * images
        }

    def _place(self, run: str, part: int, shape: Sequence[int], followers: dict[int, int]) -> Place:
        if self.images:
            for dim, fold in followers.items():
                if fold == 1:
                    return dim, 1, 1
        seen = self.places.get(run, ())[part : part + 1]
        found = [place for places in seen for place in places if place[:2] in followers.items()]
        if len(found) != 1:
            raise ShapeError(
                f"gives shape {tuple(shape)}, where it cannot be told which rows belong to which "
                f"image (see select=)"
            )
        return found[0]


def selected_rows(select: Select, run: str, output: object, images: int) -> Tensor:
    """Return what a choice of the caller makes of an output.

    Raises
    ------
    ShapeError
        If it has no row for each image.
    """
    return _checked(select(layer_of(run), output), images)


def first_rows(_run: str, output: object, images: int) -> Tensor:
    """Return the first tensor within an output whose first dimension is the images.

    Raises
    ------
    ShapeError
        If there is none.
    """
    tensors = tensors_in(output)
    if not tensors:
        raise ShapeError(_why_none(output, tensors, (), images=images, trial=0))
    fit = [t for t in tensors if not why_no_features(t) and t.ndim and len(t) == images]
    return _checked(fit[0] if fit else tensors[0], images)


def _checked(features: Tensor, images: int) -> Tensor:
    reason = why_no_features(features)
    if reason:
        raise ShapeError(reason)
    if not features.ndim or len(features) != images:
        raise ShapeError(
            f"gives shape {tuple(features.shape)} for {images} images; "
            f"its first dimension must be the images (see select=)"
        )
    return plain_features(features)


def try_out(network: nn.Module, call: Call, layers: Sequence[str], sizes: set[int]) -> Trial:
    """Run a network on a few images to see which dimensions of its layers' outputs follow them.

    Two images show it by the shapes. Where several rows belong to an image, such as windows that
    are folded into the batch, five images, of which the last two are the first two mirrored, show
    in which order: equal images give equal rows. A network that fails on two images is run on a
    whole batch, mirrored likewise. Nothing of this leaves a trace.

    Parameters
    ----------
    network
        Any module.
    call
        The first batch.
    layers
        Names of the layers to look at.
    sizes
        Images in the batches that will be measured; the trial takes another number.

    Returns
    -------
    Trial
        Without any shape or place if every trial failed.
    """
    images = min({2, 3, 4} - sizes)
    few = call.pick([i * call.images // images for i in range(images)])
    seen: dict[str, tuple[Shape, ...]] = {}
    unclear: list[str] = []

    def look(run: str, output: object) -> None:
        tensors = tensors_in(output)
        if run not in seen and _is_folded(tensors, images):
            unclear.append(run)
        seen.setdefault(run, tuple(tuple(tensor.shape) for tensor in tensors))

    with _watch_sequences(network, images) as mixed:
        ran = _ran(network, few, layers, look)
    if ran and _is_training(network) and not seen.keys() >= set(layers):
        _ran(network, few, layers, look, evaluating=True)  # layers that training drops by chance
    if not ran:
        whole = call.pick(_mirrored(range(call.images)))
        places = _compare(network, whole, layers, None)
        return Trial(0, {}, places, writes=_written(few) or _written(whole))
    watched = [name for name in layers if name in set(map(layer_of, unclear))]
    places = {}
    if unclear:  # look at other images, in case that their number of rows depends on their content
        others = [(1 + i * call.images // _MIRRORED) % call.images for i in range(_MIRRORED)]
        places = _compare(network, call.pick(_mirrored(others)), watched, unclear)
    return Trial(images, seen, places, writes=_written(few), mixed=tuple(dict.fromkeys(mixed)))


def check_parts(network: nn.Module, call: Call) -> None:
    """Check that micro-batches may take all inputs apart that are as long as the batch.

    Raises
    ------
    ShapeError
        If the network also takes few images with all rows of another input, which may then be the
        same for all images.
    """
    if len(call.rows) < 2:
        return
    whole = call.pick([0, 1], first_only=True)
    if _ran(network, whole, [], lambda _run, _output: None):
        raise ShapeError(
            f"an input of {call.images} rows may be one for each image or the same for all, which "
            f"micro_batch would change; leave micro_batch out"
        )


def _mirrored(index: Sequence[int]) -> list[int]:
    """Return an index whose second half is its first, mirrored."""
    half = (len(index) + 1) // 2
    return [*index[:half], *index[: len(index) - half][::-1]]


def _written(call: Call) -> bool:
    return any(tensor._version for tensor in call.tensors)  # noqa: SLF001 - the only trace


def _ran(
    network: nn.Module,
    call: Call,
    layers: Sequence[str],
    look: Callable[[str, object], None],
    *,
    evaluating: bool = False,
) -> bool:
    """Run a network without a trace; return whether it ran to its end."""
    try:
        with (
            unchanged_state(network),
            unwritten(network),
            watch_layers(network, layers, look),
        ):
            if evaluating:
                network.eval()
            call.run(network)
    except NaslidError:
        raise
    except Exception:  # noqa: BLE001 - that it fails on a batch made up is an answer
        return False
    return True


def _is_training(network: nn.Module) -> bool:
    return any(module.training for module in network.modules())


def _compare(
    network: nn.Module, mirrored: Call, layers: Sequence[str], runs: Sequence[str] | None
) -> dict[str, tuple[frozenset[Place], ...]]:
    """Look for equal rows of equal images, if need be without the chance of training mode."""
    places: dict[str, tuple[frozenset[Place], ...]] = {}

    def look(run: str, output: object) -> None:
        if (runs is None or run in runs) and not any(places.get(run, ())):
            tensors = tensors_in(output)
            places[run] = tuple(frozenset(_equal_rows(t, mirrored.images)) for t in tensors)

    _ran(network, mirrored, layers, look)
    if not all(map(any, places.values())) and _is_training(network):
        _ran(network, mirrored, layers, look, evaluating=True)
    return places


def _equal_rows(tensor: Tensor, images: int) -> Iterator[Place]:
    """Return where a mirrored batch gives a mirrored output."""
    if why_no_features(tensor):
        return
    values = plain_features(tensor)
    values = values if values.dtype == torch.float64 else values.float()
    spread = float((values - values.mean()).norm())
    if not 0 < spread < math.inf:
        return
    for dim, size in enumerate(tensor.shape):
        fold = size // images if size % images == 0 else 0
        for inner in _divisors(fold):
            rows = _split(values, dim, images, inner)
            if float((rows - rows.flip(dim + 1)).norm()) < _ALIKE * spread:
                yield dim, fold, inner


def _divisors(number: int) -> list[int]:
    return [i for i in range(1, number + 1) if number % i == 0]


@contextmanager
def _watch_sequences(network: nn.Module, images: int) -> Iterator[list[str]]:
    """Collect the layers to whom the images are the steps of a sequence."""
    mixed: list[str] = []
    with ExitStack() as stack:
        for name, module in named_layers(network).items():
            if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
                hook = partial(_before_a_run, partial(mixed.append, name), images)
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        yield mixed


def _before_a_run(
    note: Callable[[], None],
    images: int,
    module: nn.Module,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    given = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
    sizes = None if given is None or given.is_nested else given.shape
    if sizes is not None and _is_sequence_of(sizes, images, batch_first=bool(module.batch_first)):
        note()


def _is_sequence_of(sizes: Sequence[int], images: int, *, batch_first: bool) -> bool:
    if len(sizes) == 2:  # one sequence, without a batch
        return sizes[0] == images
    steps, batch = (1, 0) if batch_first else (0, 1)
    return sizes[steps] == images != sizes[batch]


def tensors_in(output: object) -> list[Tensor]:
    """Return all tensors within tuples, lists, mappings and dataclasses, in order.

    Sequences of several lengths, packed or nested, are one tensor with zeros after their ends.
    """
    if isinstance(output, Tensor):
        return [torch.nested.to_padded_tensor(output, 0.0) if output.is_nested else output]
    parts: Sequence[object] = ()
    if isinstance(output, PackedSequence):
        return [pad_packed_sequence(output, batch_first=True)[0]]
    if isinstance(output, Mapping):
        parts = tuple(output.values())
    elif isinstance(output, tuple | list):
        parts = output
    elif is_dataclass(output) and not isinstance(output, type):
        parts = [getattr(output, field.name) for field in fields(output)]
    return [tensor for part in parts for tensor in tensors_in(part)]


def why_no_features(tensor: Tensor) -> str:
    """Say why a tensor cannot be the features of images; nothing if it can."""
    if tensor.layout != torch.strided:
        return "gives a sparse tensor (see select=)"
    if not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized):
        return f"gives {tensor.dtype} of shape {tuple(tensor.shape)}, which are no features"
    return "" if tensor.numel() else f"gives no features but shape {tuple(tensor.shape)}"


def plain_features(tensor: Tensor) -> Tensor:
    """Return real floating-point features: those of quantised and of complex ones."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor.dequantize() if tensor.is_quantized else tensor


def _is_folded(tensors: Sequence[Tensor], images: int) -> bool:
    """Whether the first tensor that may follow the images may have several rows for each."""
    for tensor in tensors:
        fitting = [dim for dim, size in enumerate(tensor.shape) if size % images == 0]
        if fitting and not why_no_features(tensor):
            if images in tensor.shape:  # the images, or by chance; the first dimension is theirs
                return tensor.shape[0] != images and 0 in fitting
            return True
    return False


def _one_row_an_image(tensor: Tensor, place: Place, images: int) -> Tensor:
    dim, fold, inner = place
    features = plain_features(tensor)
    if fold == 1:
        return features.movedim(dim, 0)
    return _split(features, dim, images, inner).movedim(dim + 1, 0)


def _split(tensor: Tensor, dim: int, images: int, inner: int) -> Tensor:
    """Return a tensor with the images in the middle of three dimensions in place of one."""
    before, after = tensor.shape[:dim], tensor.shape[dim + 1 :]
    return tensor.reshape(*before, -1, images, inner, *after)


def _why_none(
    output: object, tensors: Sequence[Tensor], known: Sequence[Shape], *, images: int, trial: int
) -> str:
    """Say why no tensor follows the images."""
    if not tensors:
        return f"gives no tensor but a {type(output).__name__}"
    for tensor, before in zip(tensors, known, strict=True):
        if not why_no_features(tensor):
            also = f" and {before} for {trial}" if trial else ""
            shape = f"gives shape {tuple(tensor.shape)} for {images} images{also}"
            return f"{shape}, where none of its dimensions is the images (see select=)"
    return why_no_features(tensors[0])
