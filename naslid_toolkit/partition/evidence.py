"""What was measured of the operations of one edge: the evidence on which a split rests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from naslid_toolkit.errors import ConfigError, DataError, SpaceError
from naslid_toolkit.partition.similarity import correlation_similarity, log_similarity
from naslid_toolkit.space.search_space import SearchSpace

COORDINATE = "coordinate"  # how entries are called of vectors that are known by their products
BY_ENTRY = (log_similarity, correlation_similarity)  # other coordinates would give other values


@dataclass(frozen=True, slots=True, eq=False)
class EdgeEvidence:
    """What a criterion measured of the operations of one edge.

    Parameters
    ----------
    edge
        The edge, counted from 0.
    operations
        Its operations, in the order of the vectors.
    entries
        What the entries of a vector are: the layers, for LID; coordinates, of gradients.
    contexts
        The architectures whose other edges the operations were tried with.
    vectors
        Shape ``(contexts, operations, entries)``, float64; NaN where undefined.
    undefined
        Points without a defined value, same shape.
    """

    edge: int
    operations: tuple[str, ...]
    entries: tuple[str, ...]
    contexts: tuple[str, ...]
    vectors: Float[Tensor, "contexts operations entries"]
    undefined: Int[Tensor, "contexts operations entries"]

    def check(self, space: SearchSpace) -> None:
        """Check that it is about an edge of a space.

        Raises
        ------
        SpaceError
            If there is no such edge, or it does not allow the operations.
        """
        check_operations(space, self.edge, self.operations)

    def mean_similarity(
        self, similarity: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "operations operations"]:
        """Return how alike the operations are, averaged over the contexts.

        Raises
        ------
        ConfigError
            If gradients, which are known by their products alone, are compared entry by entry.
        """
        if similarity in BY_ENTRY and self.entries[0] == f"{COORDINATE}0":
            raise ConfigError(
                "gradients are known by their products alone, which the similarities 'log' and "
                "'correlation' do not rest on; take 'cosine' (published) or 'euclidean'"
            )
        return torch.stack([similarity(vectors) for vectors in self.vectors]).mean(dim=0)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each context, operation and layer."""
        index = pd.MultiIndex.from_product(
            [self.contexts, self.operations, self.entries],
            names=["context", "operation", "layer"],
        )
        frame = pd.DataFrame(
            {"lid": self.vectors.flatten().numpy(), "undefined": self.undefined.flatten().numpy()},
            index=index,
        ).reset_index()
        frame.insert(0, "edge", self.edge)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "EdgeEvidence":
        """Return the evidence of one edge that :meth:`to_frame` wrote.

        Raises
        ------
        DataError
            If rows are missing, or in another order.
        """
        keys = ["context", "operation", "layer"]
        names = [tuple(frame[key].unique()) for key in keys]
        shape = tuple(len(values) for values in names)
        if len(frame) != np.prod(shape):
            raise DataError(f"evidence of {len(frame)} rows, expected {shape} of them")
        if not pd.MultiIndex.from_frame(frame[keys]).equals(pd.MultiIndex.from_product(names)):
            raise DataError("rows of the evidence are not in order of context, operation and layer")
        return cls(
            edge=int(frame["edge"].iloc[0]),
            operations=names[1],
            entries=names[2],
            contexts=names[0],
            vectors=torch.from_numpy(frame["lid"].to_numpy(copy=True)).reshape(shape),
            undefined=torch.from_numpy(frame["undefined"].to_numpy(copy=True)).reshape(shape),
        )


def check_operations(space: SearchSpace, edge: int, operations: Sequence[str]) -> None:
    """Check that an edge of a space allows operations, each named once.

    Raises
    ------
    SpaceError
        If not.
    """
    name = space.edge_name(edge)
    if len(set(operations)) < len(operations) or not set(operations) <= set(space.allowed[edge]):
        raise SpaceError(f"edge {name} does not allow the operations {list(operations)}")
