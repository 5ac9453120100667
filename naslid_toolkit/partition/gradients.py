"""Gradient matching: operations are alike if they pull the shared weights the same way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from naslid_toolkit.datasets import Images
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.partition.criteria import connected_paths
from naslid_toolkit.partition.evidence import COORDINATE, EdgeEvidence
from naslid_toolkit.runtime import OnEvent, WorkDone, ignore_event
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Supernet

_NOTHING = 1e-12  # of a gradient's square, that counts as rounding
_ALONE = 1e-18  # length of what stands for no gradient: any direction of its own will do


@dataclass(frozen=True, slots=True, eq=False)
class GradientCriterion:
    """Gradients of all other weights of cells and reductions, with each operation on an edge.

    For every context (a sampled connected path and a batch) and each operation on the edge, the
    gradient of the cross-entropy with respect to the weights of all cells and reduction blocks
    is taken, without those of the edge itself, which the operations do not share. Only the
    products of these gradients are kept: a context's vectors are coordinates with exactly these
    products, so their cosine is the cosine of the whole gradients (not of one layer at a time).
    Stem and head do not count, a weight that a path does not use counts as 0, and an operation
    without any gradient is like no other: cosine 0.

    All of this is as in the published code. What differs, on purpose: every edge is measured in
    the same contexts, so that edges differ by their operations alone (there in contexts of their
    own); batches are fixed and not augmented (there training images, cropped and flipped); with
    ``others="all"`` operations are summed (there weighted by learnt shares); nothing is added to
    the denominator of the cosine (there 1e-6, which lowers it where gradients are small).

    Parameters
    ----------
    supernet
        The trained supernet; weights, buffers and gradients are left as they are.
    batches
        Labelled images on the supernet's device; context ``i`` takes batch ``i`` modulo their
        number.
    contexts
        Sampled paths.
    others
        ``"path"``: the other edges hold the sampled path's operation; ``"all"``: the sum of all
        allowed operations (one context for each batch then).

    Raises
    ------
    ConfigError
        If there is no context or no batch.

    References
    ----------
    .. [1] S. Hu et al., "Generalizing Few-Shot NAS with Gradient Matching", ICLR 2022,
       equation 4; there 100 contexts, one batch each.
    """

    supernet: Supernet
    batches: Sequence[Images]
    contexts: int = 8
    others: Literal["path", "all"] = "path"

    def __post_init__(self) -> None:
        if self.contexts < 1 or not self.batches:
            raise ConfigError(
                f"at least one context and one batch are needed, got {self.contexts} and "
                f"{len(self.batches)}"
            )

    def __call__(
        self,
        space: SearchSpace,
        edges: Sequence[int],
        /,
        *,
        seed: int,
        on_event: OnEvent = ignore_event,
    ) -> tuple[EdgeEvidence, ...]:
        """Measure the operations of each edge of ``space``."""
        bases = self._bases(space, seed)
        total = sum(len(space.allowed[edge]) for edge in edges) * len(bases)
        done, evidence = 0, []
        for edge in edges:
            operations = space.allowed[edge]
            vectors = []
            for context, base in enumerate(bases):
                batch = self.batches[context % len(self.batches)]
                products = self._products(space, edge, base, batch)
                vectors.append(coordinates(products))
                done += len(operations)
                on_event(WorkDone("measuring gradients", done, total, "networks"))
            stacked = torch.stack(vectors)
            evidence.append(
                EdgeEvidence(
                    edge=edge,
                    operations=operations,
                    entries=tuple(f"{COORDINATE}{i}" for i in range(len(operations))),
                    contexts=tuple(f"{i} {base or 'all'}" for i, base in enumerate(bases)),
                    vectors=stacked,
                    undefined=torch.zeros(stacked.shape, dtype=torch.int64),
                )
            )
        return tuple(evidence)

    def _bases(self, space: SearchSpace, seed: int) -> tuple[Architecture | None, ...]:
        if self.others == "all":
            return (None,) * len(self.batches)
        return connected_paths(space, self.contexts, seed=seed)

    def _products(
        self, space: SearchSpace, edge: int, base: Architecture | None, batch: Images
    ) -> Float[Tensor, "operations operations"]:
        """Return the products of the gradients of all operations on an edge, in float64."""
        gradients = []
        for operation in space.allowed[edge]:
            part = space.with_allowed(edge, (operation,))
            choice = part if base is None else part.only(base.replace(edge, operation))
            gradients.append(self._gradient(choice, edge, batch))
        count = len(gradients)
        products = torch.zeros(count, count, dtype=torch.float64)
        for i in range(count):
            for j in range(i + 1):
                products[i, j] = products[j, i] = _product(gradients[i], gradients[j])
        return products

    def _gradient(self, choice: SearchSpace, edge: int, batch: Images) -> dict[str, Tensor]:
        """Return the gradient of the shared weights by name; nothing stays behind."""
        network = self.supernet.view(choice)
        shared = {
            f"{layer}.{name}": weight
            for layer in network.layer_names  # cells and reductions
            for name, weight in network.get_submodule(layer).named_parameters()
            if not name.startswith(f"edges.{edge}.")
        }
        if not shared:
            return {}
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(network(batch.pixels), batch.labels)
            weights = list(shared.values())
            parts: list[Tensor | None] = list(torch.autograd.grad(loss, weights, allow_unused=True))
        pairs = zip(shared, parts, strict=True)
        return {name: part for name, part in pairs if part is not None}


def coordinates(
    products: Float[Tensor, "operations operations"],
) -> Float[Tensor, "operations operations"]:
    """Return vectors with these inner products; equal operations get equal vectors.

    A Cholesky factorisation that leaves out directions within rounding, so it also takes
    products of dependent vectors. A zero vector gets a direction of its own, too short to
    matter, so that its cosine with any other, zero or not, is 0.

    Examples
    --------
    >>> coordinates(torch.tensor([[4.0, 2.0], [2.0, 1.0]], dtype=torch.float64)).tolist()
    [[2.0, 0.0], [1.0, 0.0]]
    """
    count = len(products)
    vectors = torch.zeros_like(products)
    for i in range(count):
        if products[i, i] == 0:
            vectors[i, i] = _ALONE
            continue
        equal = next((j for j in range(i) if torch.equal(products[i], products[j])), None)
        if equal is not None:
            vectors[i] = vectors[equal]
            continue
        for j in range(i):
            if vectors[j, j] > 0:
                rest = products[i, j] - vectors[i, :j] @ vectors[j, :j]
                vectors[i, j] = rest / vectors[j, j]
        left = products[i, i] - vectors[i, :i].square().sum()
        if left > _NOTHING * products[i, i]:
            vectors[i, i] = left.sqrt()
    return vectors


def _product(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Return the inner product of two gradients; what only one of them has adds nothing."""
    total = 0.0
    for name in first.keys() & second.keys():
        left, right = first[name].flatten(), second[name].flatten()
        total += float(left.double() @ right.double())
    return total
