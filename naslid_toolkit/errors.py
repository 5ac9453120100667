"""The errors and the warning of the toolkit, and help with misspelt names."""

import difflib
from collections.abc import Iterable


class NaslidError(Exception):
    """Anything the toolkit reports on purpose; catch this one to catch them all."""


class ShapeError(NaslidError, ValueError):
    """A tensor of the wrong shape, dtype or device."""


class SpaceError(NaslidError, ValueError):
    """An architecture, edge or operation outside the space, or nothing left to split."""


class ConfigError(NaslidError, ValueError):
    """An unknown setting or an impossible value."""


class DataError(NaslidError, OSError):
    """A missing, damaged or foreign file."""


class DivergedError(NaslidError, ArithmeticError):
    """A training whose loss is no longer a finite number."""


class WorkerError(NaslidError, RuntimeError):
    """A worker of an executor that died in the middle of a task."""


class NetworkError(NaslidError, RuntimeError):
    """A network that cannot be measured as it is, or whose forward pass fails."""


class SearchCancelledError(NaslidError):
    """Raised through ``on_event`` to stop a search with everything stored."""


class NaslidWarning(UserWarning):
    """A result that is valid but surprising."""


def nearest_name(word: str, legal: Iterable[str]) -> str:
    """Say which legal name a wrong word was probably meant to be.

    Parameters
    ----------
    word
        What was written.
    legal
        The names that exist.

    Returns
    -------
    str
        ``"did you mean 'x'?"`` for a close match, else ``"known: a, b, c"``.

    Examples
    --------
    >>> nearest_name("epoch", ["epochs", "batch_size"])
    "did you mean 'epochs'?"
    """
    names = sorted(legal)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
