"""LID of every layer of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from naslid_toolkit.errors import NaslidError, ShapeError
from naslid_toolkit.lid.estimators import ESTIMATORS, LIDEstimator
from naslid_toolkit.lid.features import unchanged_state, watch_layers
from naslid_toolkit.lid.neighbours import Neighbours, nearest_neighbours


@dataclass(frozen=True, slots=True, eq=False)
class LIDProfile:
    """LID of every layer, measured on several probe batches.

    Parameters
    ----------
    layers
        Names of the layers, in the order they run.
    by_batch
        LID of each layer on each batch, shape ``(batches, layers)``, float64; NaN where no
        point of the layer defines one.
    undefined
        Points without a defined LID, summed over the batches, shape ``(layers,)``.
    constant
        Layers whose output was the same for every image of every batch: behind a disconnected
        cell, for instance. Their dimension is 0, and their LID undefined.
    points
        Images in one batch.
    k
        Neighbours used.
    """

    layers: tuple[str, ...]
    by_batch: Float[Tensor, "batches layers"]
    undefined: Int[Tensor, " layers"]
    constant: Bool[Tensor, " layers"]
    points: int
    k: int

    @property
    def lid(self) -> Float[Tensor, " layers"]:
        """Mean LID of each layer over the batches that define it, dimensionless."""
        return self.by_batch.nanmean(dim=0)

    @property
    def vector(self) -> Float[Tensor, " layers"]:
        """The profile as a comparable vector: the LID, and 0 for a constant layer."""
        return self.lid.masked_fill(self.constant, 0.0)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each batch and layer: batch, layer, lid, undefined, constant."""
        batches, layers = self.by_batch.shape
        return pd.DataFrame(
            {
                "batch": torch.arange(batches).repeat_interleave(layers).numpy(),
                "layer": list(self.layers) * batches,
                "lid": self.by_batch.flatten().numpy(),
                "undefined": self.undefined.repeat(batches).numpy(),
                "constant": self.constant.repeat(batches).numpy(),
            }
        )


def lid_profile(
    network: nn.Module,
    probe: Sequence[Float[Tensor, "points ..."]],
    *,
    layers: Sequence[str],
    k: int = 20,
    estimator: LIDEstimator = ESTIMATORS["harmonic"],
) -> LIDProfile:
    """Measure the LID of every layer's output on probe batches.

    Each output is reduced to neighbour distances the moment it exists, so no feature map is
    kept. The network runs in the mode it is in; its parameters, buffers, modes and random
    state are the same afterwards.

    Parameters
    ----------
    network
        Any module that takes one batch of inputs.
    probe
        Batches of inputs on the network's device, each with more than ``k`` points.
    layers
        Names of submodules whose output is a tensor with one row a point.
    k
        Neighbours of each point.
    estimator
        Turns the neighbour distances of a layer into its LID.

    Returns
    -------
    LIDProfile
        On the CPU.

    Raises
    ------
    ShapeError
        If there is no batch, too few points, an unknown layer or an output that is not finite;
        the layer is named in a note.

    References
    ----------
    .. [1] X. He et al., "NAS-LID", AAAI 2023, section 3.2. Deviations: the point itself is
       excluded by its index, undefined points are counted and not replaced, and the mean over
       the points is harmonic by default.
    """
    if not probe:
        raise ShapeError("at least one probe batch is needed")
    rows: list[dict[str, tuple[float, int, bool]]] = []

    def look(name: str, output: Tensor) -> None:
        neighbours = _neighbours_of(name, output, k)
        estimate = estimator(neighbours)
        rows[-1][name] = (estimate.lid, estimate.undefined, neighbours.constant)

    with unchanged_state(network), torch.inference_mode(), watch_layers(network, layers, look):
        for batch in probe:
            rows.append({})
            network(batch)
    return _collect(tuple(layers), rows, len(probe[0]), k)


def _neighbours_of(name: str, output: Tensor, k: int) -> Neighbours:
    try:
        return nearest_neighbours(output, k=k)
    except NaslidError as error:
        error.add_note(f"while measuring layer {name!r} of shape {tuple(output.shape)}")
        raise


def _collect(
    layers: tuple[str, ...], rows: list[dict[str, tuple[float, int, bool]]], points: int, k: int
) -> LIDProfile:
    """Put the estimates of all batches into one record."""
    silent = [name for name in layers if name not in rows[0]]
    if silent:
        raise ShapeError(f"layer {silent[0]!r} did not run in the forward pass")
    lid, undefined, constant = ([[row[n][i] for n in layers] for row in rows] for i in range(3))
    return LIDProfile(
        layers=layers,
        by_batch=torch.tensor(lid, dtype=torch.float64),
        undefined=torch.tensor(undefined).sum(dim=0),
        constant=torch.tensor(constant).all(dim=0),
        points=points,
        k=k,
    )
