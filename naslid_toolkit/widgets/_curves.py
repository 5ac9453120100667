"""The LID curves on show: which networks they average, and what any settings make of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from naslid_toolkit.errors import ShapeError
from naslid_toolkit.lid.bootstrap import bootstrap_lids
from naslid_toolkit.lid.distances import Distances
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.lid.likelihood import MaximumLikelihood
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.store import NeighbourStore
from naslid_toolkit.plots.lid_curves import LIDCurve

REPLICATES = 40  # resamples of the images behind a band
_LAYERS_AT_ONCE = 1  # layers resampled between two looks for newer work
_SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be changed after measuring.

    ``points`` are the images of a batch that count, the first ones; ``layers`` those compared.
    """

    k: int
    estimator: str
    points: int
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CurveSet:
    """Curves to draw, each the mean over one measured network or over several.

    Parameters
    ----------
    names, styles
        Of each curve; see :class:`~naslid_toolkit.plots.lid_curves.LIDCurve`.
    members
        For each curve the places of its networks.
    layers
        Names of the layers.
    distances
        Of the networks, shape ``(networks, batches, layers)``.
    """

    names: tuple[str, ...]
    styles: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    layers: tuple[str, ...]
    distances: Distances
    _by_points: dict[int, NeighbourStore] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_edge(cls, store: NeighbourStore, edge: int, context: int | None = None) -> "CurveSet":
        """Return one curve an operation: in one context, or the mean over all of them."""
        measured = next(item for item in store.edges if item.edge == edge)
        rows = measured.networks if context is None else (measured.networks[context],)
        places = sorted({place for row in rows for place in row})
        return cls(
            names=measured.operations,
            styles=measured.operations,
            members=tuple(
                tuple(places.index(row[i]) for row in rows) for i in range(len(measured.operations))
            ),
            layers=store.layers,
            distances=store.distances[torch.tensor(places)],
        )

    def with_network(self, name: str, measured: LayerDistances) -> "CurveSet":
        """Return the set with one more curve.

        Raises
        ------
        ShapeError
            If it was measured at other layers, or on other images.
        """
        own, added = self.distances, measured.distances
        if measured.layers != self.layers or added.pairs.shape != own.pairs.shape[1:]:
            raise ShapeError(f"{name!r} was measured at other layers or on another probe")
        return replace(
            self,
            names=(*self.names, name),
            styles=(*self.styles, ""),
            members=(*self.members, (len(own.exponent),)),
            distances=Distances.stack([*(own[i] for i in range(len(own.exponent))), added]),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of images to choose from."""
        whole = self.distances.points
        return (*(size for size in _SIZES if size < whole), whole)

    def store(self, points: int) -> NeighbourStore:
        """Return the distances between the first images of each batch, kept once asked for."""
        if points not in self._by_points:
            chosen = self.distances
            if points < chosen.points:
                chosen = chosen.subset(range(points))
            self._by_points[points] = NeighbourStore(self.layers, (), chosen)
        return self._by_points[points]

    def curves(
        self, settings: Settings, errors: Float[Tensor, "curves layers"] | None = None
    ) -> tuple[LIDCurve, ...]:
        """Return the curves; ``errors`` are standard errors of all layers, NaN where unknown."""
        store = self.store(settings.points)
        estimate = store.lid(k=settings.k, estimator=ESTIMATORS[settings.estimator])
        lid, undefined = estimate.lid.nanmean(dim=1), estimate.undefined.sum(dim=1)
        bound = store.distances.lid_bound(estimate.lid).amax(dim=1)
        columns = [self.layers.index(name) for name in settings.layers]
        curves = []
        for number, (name, style, places) in enumerate(
            zip(self.names, self.styles, self.members, strict=True)
        ):
            rows = list(places)
            error = torch.full((len(self.layers),), torch.nan) if errors is None else errors[number]
            curves.append(
                LIDCurve(
                    name=name,
                    layers=settings.layers,
                    lid=tuple(lid[rows].nanmean(dim=0)[columns].tolist()),
                    error=tuple(error[columns].tolist()),
                    undefined=tuple(undefined[rows].sum(dim=0)[columns].tolist()),
                    bound=tuple(bound[rows].amax(dim=0)[columns].tolist()),
                    style=style,
                )
            )
        return tuple(curves)

    def similarity(self, settings: Settings, name: str) -> Float[Tensor, "curves curves"]:
        """Return how alike the curves are: the mean over the paths, as a split sees it."""
        store = self.store(settings.points)
        estimate = store.lid(k=settings.k, estimator=ESTIMATORS[settings.estimator])
        lid = estimate.lid.nanmean(dim=1)[:, [self.layers.index(n) for n in settings.layers]]
        if len({len(places) for places in self.members}) == 1:
            vectors = [lid[list(row)] for row in zip(*self.members, strict=True)]
        else:
            vectors = [torch.stack([lid[list(places)].nanmean(dim=0) for places in self.members])]
        return torch.stack([SIMILARITIES[name](v) for v in vectors]).mean(dim=0)

    def path_errors(self, settings: Settings) -> Float[Tensor, "curves layers"]:
        """Return standard errors of the means over the sampled paths; NaN of a single path."""
        estimate = self.store(settings.points).lid(
            k=settings.k, estimator=ESTIMATORS[settings.estimator]
        )
        lid = estimate.lid.nanmean(dim=1)
        return torch.stack(
            [
                lid[list(places)].std(dim=0) / len(places) ** 0.5
                if len(places) > 1
                else torch.full((len(self.layers),), torch.nan, dtype=lid.dtype)
                for places in self.members
            ]
        )

    def image_errors(
        self, settings: Settings, go_on: Callable[[int, int], bool]
    ) -> Float[Tensor, "curves layers"] | None:
        """Return standard errors over draws of the images, by resampling them.

        Parameters
        ----------
        settings
            The settings; only a maximum-likelihood estimator can be resampled.
        go_on
            Hears how many networks of how many are done, and says whether to go on.

        Returns
        -------
        Tensor or None
            NaN for other estimators; None if told to stop.
        """
        estimator = ESTIMATORS[settings.estimator]
        if not isinstance(estimator, MaximumLikelihood):
            return torch.full((len(self.names), len(self.layers)), torch.nan)
        distances = self.store(settings.points).distances
        count = len(distances.exponent)
        draws = []
        for number in range(count):
            parts = []
            for layers in torch.arange(len(self.layers)).split(_LAYERS_AT_ONCE):
                if not go_on(number, count):
                    return None
                part = bootstrap_lids(
                    distances[number, :, layers],
                    k=settings.k,
                    estimator=estimator,
                    replicates=REPLICATES,
                    seed=0,
                )
                parts.append(part.nanmean(dim=1))
            draws.append(torch.cat(parts, dim=1))
        every = torch.stack(draws)
        return torch.stack(
            [every[list(places)].nanmean(dim=0).std(dim=0) for places in self.members]
        )
