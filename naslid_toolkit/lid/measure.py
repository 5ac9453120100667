"""Measure the LID of every layer of a network, and leave no trace."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from naslid_toolkit.errors import NaslidError, NaslidWarning, NetworkError, ShapeError
from naslid_toolkit.lid.distances import Distances, check_neighbours
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.features import (
    Layers,
    Select,
    layer_of,
    plain_network,
    select_layers,
    watch_layers,
    why_silent,
)
from naslid_toolkit.lid.gram import Precision, feature_matrix, pairwise_distances
from naslid_toolkit.lid.image_rows import check_parts, first_rows, selected_rows, try_out
from naslid_toolkit.lid.inputs import Call, CallReader, Probe
from naslid_toolkit.lid.likelihood import LIDEstimator
from naslid_toolkit.lid.marks import MEASURING, unwritten
from naslid_toolkit.lid.profile import LayerDistances, LIDProfile
from naslid_toolkit.lid.unchanged import unchanged_state
from naslid_toolkit.plain_text import visible

Rows = Callable[[str, object, int], Tensor]  # of a run's output for so many images
Reduce = Callable[[str, Tensor], Distances]
Measured = tuple[dict[str, Distances], dict[str, str]]  # by run; and why others are left out
Kept = TypeVar("Kept", Distances, Tensor)

_NAMED: Final = 8  # layers that a warning names


def lid_profile(
    network: nn.Module,
    images: Probe,
    *,
    layers: Layers = "*",
    k: int = 20,
    estimator: LIDEstimator = ESTIMATORS["harmonic"],
    precision: Precision = "auto",
    max_features: int | None = None,
    micro_batch: int | None = None,
    select: Select | None = None,
    images_first: bool = False,
) -> LIDProfile:
    """Measure the LID of every layer's output.

    Parameters
    ----------
    network, images, layers, precision, max_features, micro_batch, select, images_first
        See :func:`measure_distances`.
    k
        Neighbours of each point.
    estimator
        Turns the distances of a layer into its LID.

    Returns
    -------
    LIDProfile
        On the CPU.

    Raises
    ------
    ShapeError, NetworkError
        As :func:`measure_distances`, and if there are too few points for ``k``.

    See Also
    --------
    measure_distances : keeps the distances, to change ``k`` and estimator afterwards.

    References
    ----------
    .. [1] X. He et al., "NAS-LID", AAAI 2023, section 3.2. Deviations: the point itself is
       excluded by its index, equal points count once, nothing undefined is replaced by a
       number, and the mean over the points is harmonic by default.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> profile = lid_profile(network, torch.randn(64, 8), k=10)
    >>> profile.layers
    ('0', '1', '2')
    >>> profile.lid.shape
    torch.Size([3])
    """
    measured = _measure(
        network,
        images,
        k=k,
        layers=layers,
        reduce=_reducer(precision, max_features, torch.float64),
        rows=_rows(select, images_first=images_first),
        max_features=max_features,
        micro_batch=micro_batch,
    )
    return measured.profile(k=k, estimator=estimator)


def measure_distances(
    network: nn.Module,
    images: Probe,
    *,
    layers: Layers = "*",
    precision: Precision = "auto",
    max_features: int | None = None,
    micro_batch: int | None = None,
    select: Select | None = None,
    images_first: bool = False,
    dtype: torch.dtype = torch.float64,
) -> LayerDistances:
    """Measure the distances between the images at every layer, in one forward pass a batch.

    Each output is reduced to distances the moment it exists, so no feature map is kept. The
    network runs in the mode it is in, as it was written even if it is compiled; its parameters,
    buffers, modes, attributes, hooks and gradients, and all random states, are the same
    afterwards, bit by bit, also after an exception. A forward pass that writes into its weights
    is refused, and so is one whose layers run in other threads; threads that measure wait for
    each other.

    Which dimension of an output the images run along is found by a trial on two images: the one
    that follows their number. Where it holds several rows an image, such as windows folded into
    the batch, a second trial on five images tells their order, and the rows of an image are put
    together. A layer where it cannot be told, or that did not run, is left out and named; the
    others are measured.

    Parameters
    ----------
    network
        Any module. Wrappers of ``torch.compile`` and of data parallelism are looked through.
    images
        One batch or an iterable of batches of the same size; of an iterable, a last, smaller
        batch is left out. A batch is a tensor or a NumPy array; a pair or tuple, of which as many
        entries are inputs as ``forward`` requires, and the rest labels, left out; or a mapping of
        ``forward``'s arguments. The first dimension counts the images. Batches are moved to the
        network's device, and floating NumPy arrays take its dtype.
    layers
        Which submodules: see :func:`~naslid_toolkit.lid.features.select_layers`. A module that
        runs several times in one pass counts each time, as ``name``, ``name#2``, and so on.
    precision, max_features
        See :func:`~naslid_toolkit.lid.gram.pairwise_distances`.
    micro_batch
        Run so many images at a time, to save memory of the forward pass; the features of all
        images are then kept until the batch is complete, on the network's device (only
        ``max_features`` of them, if given). Not for networks that normalise by the statistics
        of the batch, which would change.
    select
        Turns a layer's name and output into a tensor with one row an image; there is no trial
        then. None takes the first floating-point tensor within a tuple, mapping or dataclass that
        follows the images.
    images_first
        A promise that the first dimension of every output is the images, as in networks of
        convolutions, which saves the trial.
    dtype
        In which the distances are kept: float64, or float32 in half the memory.

    Returns
    -------
    LayerDistances
        On the CPU.

    Raises
    ------
    ShapeError
        If there is no batch, it is none, or batches differ in size; if a layer is unknown; if one
        that was asked for by its own name, or all layers, cannot be measured, and why.
    NetworkError
        If the network is scripted, has weights without values, fails in its forward pass, or a
        layer runs in another thread meanwhile.

    Warns
    -----
    NaslidWarning
        If a layer or a batch was left out, entries of the batches were and are not evidently
        labels, a layer takes the images as steps of a sequence, or an output was not finite.
    """
    return _measure(
        network,
        images,
        k=None,
        layers=layers,
        reduce=_reducer(precision, max_features, dtype),
        rows=_rows(select, images_first=images_first),
        max_features=max_features,
        micro_batch=micro_batch,
    )


def _reducer(precision: Precision, max_features: int | None, dtype: torch.dtype) -> Reduce:
    def reduce(run: str, features: Tensor) -> Distances:
        try:
            found = pairwise_distances(features, precision=precision, max_features=max_features)
            return found.to(dtype).to("cpu")
        except NaslidError as error:
            error.add_note(f"while measuring layer {run!r} of shape {tuple(features.shape)}")
            raise

    return reduce


def _rows(select: Select | None, *, images_first: bool) -> Rows | None:
    """Return what is known of the outputs beforehand; None if it takes a trial."""
    if select is not None:
        return partial(selected_rows, select)
    return first_rows if images_first else None


def _measure(
    network: nn.Module,
    images: Probe,
    *,
    k: int | None,
    layers: Layers,
    reduce: Reduce,
    rows: Rows | None,
    max_features: int | None,
    micro_batch: int | None,
) -> LayerDistances:
    network = plain_network(network)
    chosen = select_layers(network, layers)
    if micro_batch is not None:
        _check_micro_batch(network, micro_batch)
    writes = False
    said: list[str] = []
    measured: list[Measured] = []
    with MEASURING, unchanged_state(network) as outside:
        calls = _of_one_size(CallReader(network, said).calls(images), k, said)
        for call in outside.each(calls):
            parts = [call] if micro_batch is None else call.parts(micro_batch)
            if micro_batch is not None and not measured:
                check_parts(network, call)
            if rows is None:
                trial = try_out(network, call, list(chosen), {part.images for part in parts})
                rows, writes = trial.rows, trial.writes
                said += _mixed(trial.mixed)
            if writes:  # and to the batch of the caller, else
                parts = [part.pick(range(part.images)) for part in parts]
            if micro_batch is None:
                measured.append(_one_pass(network, parts[0], chosen, rows, reduce))
            else:
                keep = _keeper(max_features)
                passes = [_one_pass(network, part, chosen, rows, keep) for part in parts]
                measured.append(_joined(passes, reduce))
    found = _collect(network, chosen, measured)
    for text in (*said, *_not_measured(found)):
        warnings.warn(visible(text), NaslidWarning, stacklevel=3)
    return found


def _of_one_size(calls: Iterable[Call], k: int | None, said: list[str]) -> Iterator[Call]:
    """Pass batches of one size on, and say if a last, smaller one is left out."""
    sizes: list[int] = []
    for call in calls:
        if not sizes:
            _check_size(call, k)
        elif call.images > sizes[0] or sizes[-1] < sizes[0]:
            raise ShapeError(f"probe batches differ in size: {[*sizes, call.images]}")
        sizes.append(call.images)
        if call.images == sizes[0]:
            yield call
    if not sizes:
        raise ShapeError("at least one probe batch is needed")
    if sizes[-1] < sizes[0]:
        text = f"the last batch, of {sizes[-1]} images, was left out: the others have {sizes[0]}"
        said.append(f"{text}, and LID depends on the number")


def _check_size(call: Call, k: int | None) -> None:
    if call.images < 2:
        raise ShapeError(f"a batch needs several images, got {call}")
    try:
        if k is not None:  # before the forward pass
            check_neighbours(k, call.images)
    except ShapeError as error:
        raise ShapeError(f"{error}, of {call}") from None


def _one_pass(
    network: nn.Module,
    call: Call,
    chosen: Mapping[str, bool],
    rows: Rows,
    reduce: Callable[[str, Tensor], Kept],
) -> tuple[dict[str, Kept], dict[str, str]]:
    """Run a batch and reduce every output where it appears; say why others are left out."""
    found: dict[str, Kept] = {}
    left_out: dict[str, str] = {}

    def look(run: str, output: object) -> None:
        try:
            features = rows(run, output, call.images)
        except ShapeError as error:
            left_out[run] = str(error)
        else:
            found[run] = reduce(run, features)

    with unwritten(network), watch_layers(network, list(chosen), look):
        try:
            call.run(network)
        except (NaslidError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise NetworkError(f"the network fails on {call}: {said}") from error
    return found, left_out


def _keeper(max_features: int | None) -> Callable[[str, Tensor], Tensor]:
    """Return what keeps the features of a part of a batch."""
    return lambda _run, features: feature_matrix(features, max_features).clone()


def _joined(passes: Sequence[tuple[dict[str, Tensor], dict[str, str]]], reduce: Reduce) -> Measured:
    """Put the parts of a batch together."""
    kept, left_out = _in_all(passes, "parts")
    for run in [run for run, parts in kept.items() if len({part.shape[1] for part in parts}) > 1]:
        left_out[run] = "gives another number of features for every part of the batch"
        del kept[run]
    return {run: reduce(run, torch.cat(kept.pop(run))) for run in list(kept)}, left_out


def _in_all(
    passes: Sequence[tuple[dict[str, Kept], dict[str, str]]], what: str
) -> tuple[dict[str, list[Kept]], dict[str, str]]:
    """Return what all passes gave of the runs they have in common, and why others are left out."""
    kept: dict[str, list[Kept]] = {}
    left_out: dict[str, str] = {}
    for found, reasons in passes:
        left_out |= reasons
        for run, value in found.items():
            kept.setdefault(run, []).append(value)
    for run in [run for run, values in kept.items() if len(values) < len(passes)]:
        left_out.setdefault(run, f"ran in {len(kept[run])} of {len(passes)} {what} only")
        del kept[run]
    return kept, left_out


def _check_micro_batch(network: nn.Module, micro_batch: int) -> None:
    if micro_batch < 1:
        raise ShapeError(f"micro_batch must be at least 1, got {micro_batch}")
    for name, module in network.named_modules():
        kind = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - what all batch norms share
        if isinstance(module, kind) and (module.training or module.running_mean is None):
            raise ShapeError(
                f"layer {name!r} normalises by the statistics of its batch, which micro_batch "
                f"would change; call eval() if it has running averages, else leave micro_batch out"
            )


def _collect(
    network: nn.Module, chosen: Mapping[str, bool], measured: Sequence[Measured]
) -> LayerDistances:
    """Put the distances of all batches into one record, layers in the order they ran."""
    kept, left_out = _in_all(measured, "batches")
    ran = {layer_of(run) for run in (*kept, *left_out)}
    left_out |= {name: why_silent(network, name) for name in chosen if name not in ran}
    for run, reason in left_out.items():
        if chosen[layer_of(run)] or not kept:
            raise ShapeError(f"layer {run!r} {reason}")
    rows = zip(*kept.values(), strict=True)
    distances = Distances.stack([Distances.stack(list(row)) for row in rows])
    return LayerDistances(tuple(kept), distances, left_out)


def _mixed(layers: Sequence[str]) -> list[str]:
    """Say which layers see several images at once."""
    if not layers:
        return []
    names = ", ".join(map(repr, layers))
    return [f"the images are taken as steps of one sequence by {names} (see its batch_first)"]


def _not_measured(found: LayerDistances) -> list[str]:
    """Say which layers have no number."""
    said = []
    if found.left_out:
        named = [f"{run!r} {reason}" for run, reason in list(found.left_out.items())[:_NAMED]]
        more = len(found.left_out) - _NAMED
        named += [f"and {more} more in left_out"] if more > 0 else []
        said.append(f"not measured: {'; '.join(named)}")
    finite = found.distances.finite.all(dim=0)
    bad = [run for run, good in zip(found.layers, finite, strict=True) if not good]
    if bad:
        said.append(f"not finite: the output of {', '.join(bad)}")
    return said
