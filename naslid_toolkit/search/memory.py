"""What a run keeps while it goes on: the state of a training, scores as they are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from naslid_toolkit.evaluation.scores import Score, scores_of
from naslid_toolkit.runtime import Event
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture


@dataclass(frozen=True, slots=True)
class RememberedScore:
    """A score whose values are kept in a run's folder.

    Parameters
    ----------
    store
        The run.
    method
        What the score is called there.
    score
        The score.
    known
        Values that the run has, by architecture string.
    """

    store: RunStore
    method: str
    score: Score
    known: dict[str, float]

    @classmethod
    def of(cls, store: RunStore, method: str, score: Score) -> "RememberedScore":
        """Return a score that knows what the run has of it."""
        return cls(store, method, score, store.load_scores(method))

    def __call__(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""
        return self.many([architecture])[0]

    def many(self, architectures: Sequence[Architecture]) -> list[float]:
        """Return the scores of several architectures; compute and keep those that are new."""
        names = [format_architecture(architecture) for architecture in architectures]
        new = {n: a for n, a in zip(names, architectures, strict=True) if n not in self.known}
        if new:
            found = dict(zip(new, scores_of(self.score, list(new.values())), strict=True))
            self.known.update(found)
            self.store.keep_scores(self.method, found)
        return [self.known[name] for name in names]


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The state of an unfinished training, kept in a run's folder."""

    store: RunStore
    node: str

    def __str__(self) -> str:
        return str(self.store.folder / f"weights/{self.node}.unfinished.safetensors")

    def load(self) -> Mapping[str, Tensor] | None:
        """Return the tensors saved last, or None."""
        return self.store.load_weights(f"{self.node}.unfinished")

    def save(self, tensors: Mapping[str, Tensor], event: Event, /) -> None:
        """Keep these tensors instead of the ones before, and record what they are the end of.

        The event comes first: after a kill in between the epoch is repeated, and its event too.
        """
        self.store.record(event)
        self.store.save_weights(f"{self.node}.unfinished", tensors)

    def drop(self) -> None:
        """Forget the state: the training is finished."""
        self.store.drop_weights(f"{self.node}.unfinished")
