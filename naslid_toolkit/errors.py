"""The errors and the warning of the toolkit, and help with misspelt names."""

import difflib
import os
import re
from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 80  # characters that remain of a value too long to be read
_LONG: Final = 256  # characters: longer than names of files and architectures
_LONGEST: Final = 2_000  # characters of a message
# Within quotes, or without spaces and slashes, so that paths stay whole.
_TOO_LONG: Final = re.compile(
    rf"'[^'\n]{{{_LONG},}}'|\"[^\"\n]{{{_LONG},}}\"|[^\s/'\"]{{{_LONG},}}"
)


def shortened(text: str) -> str:
    """Return a message with every value in it cut that is too long to be read.

    Examples
    --------
    >>> shortened(f"no column {'x' * 10**6!r}; known: a, b")[-50:]
    "xxxxxxxx...' (1,000,002 characters); known: a, b"
    """
    cut = text if len(text) < _LONG else _TOO_LONG.sub(_cut, text)
    if len(cut) <= _LONGEST:
        return cut
    return f"{cut[: _LONGEST // 2]} [...] {cut[-_LONGEST // 4 :]}"


def _cut(match: re.Match[str]) -> str:
    whole = match.group()
    quote = whole[0] if whole[0] in "'\"" else ""
    return f"{whole[:_SHOWN]}...{quote} ({len(whole):,} characters)"


def printable(name: str) -> str:
    r"""Return the name of a file as text that can be printed, whatever its bytes.

    Examples
    --------
    >>> printable(os.fsdecode(b"scores\xff.csv"))
    'scores\\xff.csv'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class NaslidError(Exception):
    """Anything the toolkit reports on purpose; catch this one to catch them all."""

    def __init__(self, *arguments: object) -> None:
        texts = [shortened(one) if isinstance(one, str) else one for one in arguments]
        super().__init__(*texts)


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
    names = sorted(name[:_LONG] for name in legal)
    close = difflib.get_close_matches(word[:_LONG], names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
