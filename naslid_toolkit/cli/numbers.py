"""Numbers on the command line: each has a range, and is refused outside of it."""

import argparse
import math
from dataclasses import dataclass
from typing import Final

from naslid_toolkit.search.limits import LIMITS

WORKERS: Final = 256  # processes, each of which loads torch
SEEDS: Final = 1000
_MOST_WEIGHT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Number:
    """Reads text as a number from ``low`` to ``high``; argparse names the option in its error."""

    low: int | float
    high: int | float
    kind: type[int] | type[float]

    def __call__(self, text: str) -> int | float:
        try:
            value = self.kind(text)
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(self._expected(text)) from None
        if not self.low <= value <= self.high:  # NaN neither
            raise argparse.ArgumentTypeError(self._expected(text))
        return value

    def _expected(self, text: str) -> str:
        what = "a whole number" if self.kind is int else "a number"
        return f"expected {what} from {self.low:,} to {self.high:,}, got {text[:40]!r}"


def whole(low: int, high: int) -> _Number:
    """Return an argparse type of whole numbers from ``low`` to ``high``.

    Examples
    --------
    >>> whole(1, 10)("7")
    7
    """
    return _Number(low, high, int)


def of_setting(name: str) -> _Number:
    """Return an argparse type of the whole numbers that a setting of a run may have.

    Examples
    --------
    >>> of_setting("training.epochs")("3")
    3
    """
    low, high = LIMITS[name]
    return whole(int(low), int(high))


def real(low: int | float, high: int | float) -> _Number:
    """Return an argparse type of finite numbers from ``low`` to ``high``.

    Examples
    --------
    >>> real(0, 1)("0.5")
    0.5
    """
    return _Number(low, high, float)


def weight(text: str) -> tuple[str, float]:
    """Read ``NAME=WEIGHT``, an argparse type; the weight is 1 where there is none.

    Examples
    --------
    >>> weight("flop_count=0.5")
    ('flop_count', 0.5)
    """
    name, equals, number = text.partition("=")
    try:
        value = float(number) if equals else 1.0
    except ValueError:
        value = math.nan
    if not name or not 0 <= value <= _MOST_WEIGHT:
        raise argparse.ArgumentTypeError(
            f"expected NAME=WEIGHT with a weight from 0 to {_MOST_WEIGHT:,}, got {text!r}"
        )
    return name, value
