"""Measure the LID of every layer of a network, and leave no trace."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from naslid_toolkit.errors import NaslidError, NaslidWarning, ShapeError
from naslid_toolkit.lid.distances import Distances, check_neighbours
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.features import (
    Layers,
    Select,
    first_tensor,
    select_layers,
    unchanged_state,
    watch_layers,
)
from naslid_toolkit.lid.gram import Precision, feature_matrix, pairwise_distances
from naslid_toolkit.lid.likelihood import LIDEstimator
from naslid_toolkit.lid.profile import LayerDistances, LIDProfile

Probe = Tensor | Sequence[Tensor]


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
    select: Select = first_tensor,
) -> LIDProfile:
    """Measure the LID of every layer's output.

    Parameters
    ----------
    network, images, layers, precision, max_features, micro_batch, select
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
    ShapeError
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
    first = images if isinstance(images, Tensor) else next(iter(images), None)
    if first is not None:
        check_neighbours(k, len(first))  # before the forward pass
    measured = measure_distances(
        network,
        images,
        layers=layers,
        precision=precision,
        max_features=max_features,
        micro_batch=micro_batch,
        select=select,
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
    select: Select = first_tensor,
    dtype: torch.dtype = torch.float64,
) -> LayerDistances:
    """Measure the distances between the images at every layer, in one forward pass a batch.

    Each output is reduced to distances the moment it exists, so no feature map is kept. The
    network runs in the mode it is in; its parameters, buffers, modes, hooks and gradients, and
    all random states, are the same afterwards, bit by bit, also after an exception.

    Parameters
    ----------
    network
        Any module that takes one batch of inputs.
    images
        One batch of inputs on the network's device, or several of the same size.
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
        Turns a layer's name and output into a tensor with one row an image. The default takes
        the first tensor of a tuple.
    dtype
        In which the distances are kept: float64, or float32 in half the memory.

    Returns
    -------
    LayerDistances
        On the CPU.

    Raises
    ------
    ShapeError
        If there is no batch, batches differ in size, a layer is unknown or did not run, or an
        output has no row for each image; the layer is named.

    Warns
    -----
    NaslidWarning
        If a layer's output was not finite; its status says so, too.
    """
    batches = [images] if isinstance(images, Tensor) else list(images)
    if not batches:
        raise ShapeError("at least one probe batch is needed")
    if len({len(batch) for batch in batches}) > 1:
        raise ShapeError(f"probe batches differ in size: {[len(batch) for batch in batches]}")
    chosen = select_layers(network, layers)
    if micro_batch is not None:
        _check_micro_batch(network, micro_batch)

    def reduce(name: str, features: Tensor) -> Distances:
        try:
            found = pairwise_distances(features, precision=precision, max_features=max_features)
            return found.to(dtype).to("cpu")
        except NaslidError as error:
            error.add_note(f"while measuring layer {name!r} of shape {tuple(features.shape)}")
            raise

    rows: list[dict[str, Distances]] = []
    with unchanged_state(network), torch.no_grad():
        for batch in batches:
            if micro_batch is None:
                rows.append(_in_one_pass(network, batch, chosen, select, reduce))
            else:
                parts = torch.split(batch, micro_batch)
                kept = _in_parts(network, parts, chosen, select, max_features)
                rows.append({name: reduce(name, features) for name, features in kept.items()})
    return _collect(chosen, rows)


def _in_one_pass(
    network: nn.Module,
    batch: Tensor,
    chosen: dict[str, bool],
    select: Select,
    reduce: Callable[[str, Tensor], Distances],
) -> dict[str, Distances]:
    """Run a batch and reduce every output where it appears."""
    found: dict[str, Distances] = {}

    def look(name: str, output: object) -> None:
        features = _one_row_an_image(name, select(name, output), len(batch))
        found[_numbered(name, found)] = reduce(name, features)

    with watch_layers(network, list(chosen), look):
        network(batch)
    return found


def _in_parts(
    network: nn.Module,
    parts: Sequence[Tensor],
    chosen: dict[str, bool],
    select: Select,
    max_features: int | None,
) -> dict[str, Tensor]:
    """Run a batch part by part and keep the features of all its images."""
    kept: dict[str, list[Tensor]] = {}
    for part in parts:
        seen: dict[str, Tensor] = {}

        def look(
            name: str, output: object, part: Tensor = part, seen: dict[str, Tensor] = seen
        ) -> None:
            features = _one_row_an_image(name, select(name, output), len(part))
            seen[_numbered(name, seen)] = feature_matrix(features, max_features).clone()

        with watch_layers(network, list(chosen), look):
            network(part)
        for name, features in seen.items():
            kept.setdefault(name, []).append(features)
    return {name: torch.cat(features) for name, features in kept.items()}


def _numbered(name: str, seen: dict[str, Distances] | dict[str, Tensor]) -> str:
    """Return the name of this run of a layer, the first one without a number."""
    runs = sum(key.partition("#")[0] == name for key in seen)
    return f"{name}#{runs + 1}" if runs else name


def _one_row_an_image(name: str, features: Tensor, images: int) -> Tensor:
    if not features.ndim or len(features) != images:
        raise ShapeError(
            f"layer {name!r} gives shape {tuple(features.shape)} for {images} images; "
            f"its first dimension must be the images (see select=)"
        )
    return features


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


def _collect(chosen: dict[str, bool], rows: list[dict[str, Distances]]) -> LayerDistances:
    """Put the distances of all batches into one record, layers in the order they ran."""
    names = list(rows[0])
    silent = [name for name, by_name in chosen.items() if by_name and name not in names]
    if silent or not names:
        label = repr(silent[0]) if silent else "chosen"
        raise ShapeError(f"layer {label} did not run in the forward pass")
    for row in rows:
        if list(row) != names:
            raise ShapeError(f"the layers that ran differ between batches: {names}, {list(row)}")
    distances = Distances.stack([Distances.stack([row[n] for n in names]) for row in rows])
    bad = [name for name, good in zip(names, distances.finite.all(dim=0), strict=True) if not good]
    if bad:
        warnings.warn(f"not finite: the output of {', '.join(bad)}", NaslidWarning, stacklevel=4)
    return LayerDistances(tuple(names), distances)
