"""What people pass as images: batches of them, with labels or without, for any forward pass."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import Dataset, IterableDataset

from naslid_toolkit.errors import ShapeError

Probe = Tensor | Shaped[np.ndarray, "..."] | Mapping[str, object] | Iterable[object] | Sized

_ARRAYS: Final = Tensor | np.ndarray
_NAMED: Final = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
_WRAP: Final = "wrap the data set: DataLoader(dataset, batch_size=...)"


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The arguments of one forward pass.

    ``images`` is how many there are: the first dimension of the first tensor. Tensors that are as
    long belong to the images, one row each; others (a mask, a scale) are the same for all.
    """

    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    images: int

    def run(self, network: nn.Module) -> None:
        """Run a network; what it raises is not caught."""
        network(*self.args, **self.kwargs)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        return [*_tensors_in(self.args), *_tensors_in(self.kwargs)]

    @property
    def rows(self) -> list[Tensor]:
        """The tensors with a row for each image."""
        return [tensor for tensor in self.tensors if self._follows(tensor)]

    def pick(self, index: Sequence[int], *, first_only: bool = False) -> "Call":
        """Return a call with some of the images, in tensors of its own.

        If ``first_only``, only the first tensor is taken for the images.
        """
        found = 0

        def picked(tensor: Tensor) -> Tensor:
            nonlocal found
            found += self._follows(tensor)
            tensor = tensor.detach()
            if not self._follows(tensor) or (first_only and found > 1):
                return tensor.clone()
            return tensor.index_select(0, torch.tensor(index, device=tensor.device))

        with torch.inference_mode(mode=False), torch.no_grad():
            return self.changed(picked, len(index))

    def parts(self, images: int) -> "list[Call]":
        """Return calls with so many images each, in views of the same tensors."""

        def part(start: int, stop: int) -> Call:
            return self.changed(lambda t: t[start:stop] if self._follows(t) else t, stop - start)

        starts = range(0, self.images, images)
        return [part(start, min(start + images, self.images)) for start in starts]

    def __str__(self) -> str:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in self.tensors)
        return f"{self.images} images of shape {shapes} (the first dimension counts them)"

    def changed(self, change: Callable[[Tensor], Tensor], images: int) -> "Call":
        """Return a call with every tensor changed, and so many images."""
        args = tuple(_mapped(value, change) for value in self.args)
        kwargs = {name: _mapped(value, change) for name, value in self.kwargs.items()}
        return Call(args, kwargs, images)

    def _follows(self, tensor: Tensor) -> bool:
        return tensor.ndim > 0 and len(tensor) == self.images


def _mapped(value: object, change: Callable[[Any], Tensor]) -> object:
    """Return a value with every tensor and array within tuples, lists and mappings changed."""
    if isinstance(value, _ARRAYS):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_mapped(part, change) for part in value]
        make: Callable[..., object] = getattr(value, "_make", type(value))  # of named tuples
        return make(parts)
    return value


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors_in(part)


class CallReader:
    """Turns batches into calls of one network, after the facts of its forward pass.

    Parameters
    ----------
    network
        Its ``forward`` says how many inputs are required and which names it takes; floating NumPy
        arrays take its dtype, and everything moves to its device, if all of it is on one.
    said
        Takes up what a user should know of entries that were left out.
    """

    def __init__(self, network: nn.Module, said: list[str]) -> None:
        kinds = inspect.Parameter
        parameters = list(inspect.signature(network.forward).parameters.values())
        positional = [p for p in parameters if p.kind < kinds.VAR_POSITIONAL]
        self.required = [p.name for p in positional if p.default is kinds.empty]
        self._positions = len(positional)
        self._names = [p.name for p in parameters if p.kind in _NAMED]
        self._any_number = any(p.kind == kinds.VAR_POSITIONAL for p in parameters)
        self._any_name = any(p.kind == kinds.VAR_KEYWORD for p in parameters)
        weights = [*network.parameters(), *network.buffers()]
        devices = {weight.device for weight in weights}
        self._device = devices.pop() if len(devices) == 1 else None
        dtypes = [weight.dtype for weight in weights if weight.is_floating_point()]
        self._dtype = dtypes[0] if dtypes else torch.get_default_dtype()
        self._said = said

    def calls(self, images: Probe) -> Iterator[Call]:
        """Return one call for each batch, one after the other as they are asked for.

        Raises
        ------
        ShapeError
            If something is no batch; names it.
        """
        if self._is_one_batch(images):
            yield self._call(images)
            return
        if _gives_examples(images):
            raise ShapeError(f"a {type(images).__name__} gives single examples; {_WRAP}")
        if isinstance(images, str | bytes) or not isinstance(images, Iterable):
            raise ShapeError(_not_images(images))
        for batch in images:
            yield self._call(batch)

    def _is_one_batch(self, images: Probe) -> bool:
        if isinstance(images, _ARRAYS | Mapping | PackedSequence) or _is_record(images):
            return True
        if not isinstance(images, tuple | list) or not images:
            return False
        arrays = [part for part in images if isinstance(part, _ARRAYS)]
        if len(arrays) == len(images):
            alike = {(part.ndim, str(part.dtype).removeprefix("torch.")) for part in arrays}
            return len(alike) > 1 or 1 < len(self.required) <= len(arrays)
        return bool(arrays)  # with labels or other things of another kind

    def _call(self, batch: object) -> Call:
        if _is_record(batch):
            batch = self._entries(batch)
        if isinstance(batch, PackedSequence):
            raise ShapeError("a packed sequence has no row for each image; pack it in the network")
        if isinstance(batch, _ARRAYS):
            return self._made((batch,), {})
        if isinstance(batch, Mapping):
            return self._made((), self._arguments(batch))
        if isinstance(batch, tuple | list) and batch:
            return self._from_sequence(batch)
        raise ShapeError(_not_images(batch))

    def _entries(self, batch: object) -> Mapping[str, object] | tuple[object, ...]:
        """Return a dataclass as a mapping without labels if forward takes its names, or a tuple."""
        values = {f.name: getattr(batch, f.name) for f in fields(batch)}  # type: ignore[arg-type]
        taken = [values[name] for name in self.required if name in values]
        if not taken:
            return tuple(values.values())
        return {n: v for n, v in values.items() if n in self._names or not _is_label(v, taken[0])}

    def _arguments(self, batch: Mapping[str, object]) -> dict[str, object]:
        """Return those entries that the network takes, in the order of its parameters."""
        missing = [name for name in self.required if name not in batch]
        if missing:
            raise ShapeError(f"forward needs {missing}, and a batch has {list(batch)}")
        names = [name for name in self._names if name in batch]
        rest = [name for name in batch if name not in names]
        if self._any_name:
            names += rest
        elif rest:
            self._say(f"forward does not take {rest}, which were left out of each batch")
        return {name: batch[name] for name in names}

    def _from_sequence(self, batch: Sequence[object]) -> Call:
        """Return the call of a tuple: as many inputs as are required; what follows are labels."""
        inputs = batch[0]
        if isinstance(inputs, Mapping) or _is_record(inputs):
            return self._call(inputs)
        count = max(1, len(self.required))
        if isinstance(inputs, tuple | list) and len(inputs) == count:
            return self._made(tuple(inputs), {})
        if self._any_number:
            labels = [_is_label(part, inputs) for part in batch[1:]]
            count = max(count, 1 + (labels.index(True) if True in labels else len(labels)))
        if len(batch) < count:
            raise ShapeError(f"forward needs {self.required}, and a batch has {len(batch)} entries")
        for number, part in enumerate(batch[count:], start=count + 1):
            self._leave_out(number, part, batch[0])
        return self._made(tuple(batch[:count]), {})

    def _leave_out(self, number: int, part: object, inputs: object) -> None:
        """Check that what follows the inputs is no input, and say so where it is not evident."""
        if isinstance(part, int | float) or (isinstance(part, _ARRAYS) and not part.ndim):
            raise ShapeError(f"a batch holds one example and its label ({part}); {_WRAP}")
        could_be_input = not _is_label(part, inputs) or number <= self._positions
        if isinstance(part, _ARRAYS) and could_be_input:
            self._say(
                f"entry {number} of each batch, of shape {tuple(part.shape)}, was taken as labels "
                f"and left out; if it is an input, give dicts of forward's arguments"
            )

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.append(message)

    def _made(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Call:
        """Return the call with tensors where the network is."""
        call = Call(args, kwargs, 0).changed(self._tensor, 0)
        tensors = [tensor for tensor in call.tensors if tensor.ndim]
        if not tensors:
            kinds = [type(value).__name__ for value in (*args, *kwargs.values())]
            raise ShapeError(f"a batch has no tensor with a row for each image, but {kinds}")
        if tensors[0].is_meta:
            raise ShapeError("images on the meta device have no values")
        if self._device in (None, tensors[0].device):  # others, such as lengths, are where they are
            return Call(call.args, call.kwargs, len(tensors[0]))
        return call.changed(lambda tensor: tensor.to(self._device), len(tensors[0]))

    def _tensor(self, array: Tensor | Shaped[np.ndarray, "..."]) -> Tensor:
        """Return a tensor as it is; an array as a tensor, with the network's dtype if floating."""
        if isinstance(array, Tensor):
            return array
        try:
            tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
        except TypeError:
            raise ShapeError(f"an array of {array.dtype} cannot be images") from None
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


def _is_record(value: object) -> bool:
    """Whether it is an instance of a dataclass that is no mapping."""
    return is_dataclass(value) and not isinstance(value, type | Mapping)


def _gives_examples(value: object) -> bool:
    return isinstance(value, Dataset) and not isinstance(value, IterableDataset)


def _is_label(part: object, inputs: object) -> bool:
    """Whether an entry is evidently no input: one whole number an image, or no tensor at all."""
    if not isinstance(part, _ARRAYS):
        return True
    whole = not str(part.dtype).removeprefix("torch.").startswith(("float", "bfloat", "complex"))
    return whole and part.ndim == 1 and isinstance(inputs, _ARRAYS) and len(part) == len(inputs)


def _not_images(value: object) -> str:
    return (
        f"images are tensors, arrays, (images, labels) pairs, dicts of forward's arguments, or an "
        f"iterable of them, not a {type(value).__name__}"
    )
