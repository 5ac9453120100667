"""What a column of a table holds: numbers however they are written, and what they are by name."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import numpy as np
import pandas as pd

Kind = Literal["accuracy", "score", "error", "loss", "rank", "cost", "bookkeeping"]
SMALLER_IS_BETTER: Final = frozenset({"error", "loss", "rank"})
MISSING: Final = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "none", "null", "nil", "-", "--", "?", "<na>"}
)
_COST: Final = "param params parameter parameters flop flops mac macs latency memory energy"
_BOOKKEEPING: Final = (
    "seed epoch epochs step steps iteration iterations iter lr learningrate time times "
    "seconds minutes hours duration date timestamp index idx id i fold run row unnamed"
)
_WORDS: Final[tuple[tuple[Kind, frozenset[str]], ...]] = (
    ("bookkeeping", frozenset({"std", "stderr", "sem", "sd"})),
    ("loss", frozenset({"loss", "nll", "perplexity", "ppl", "mse", "rmse", "mae"})),
    ("error", frozenset({"error", "err", "errors"})),
    (
        "accuracy",
        frozenset({"accuracy", "acc", "top1", "acc1", "testacc", "valacc", "trainacc", "validacc"}),
    ),
    ("score", frozenset({"score", "scores", "proxy", "predicted"})),
    ("rank", frozenset({"rank", "ranking"})),
    ("cost", frozenset(_COST.split())),
    ("bookkeeping", frozenset(_BOOKKEEPING.split())),
)
_NUMBER: Final = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?\s*(%?)")
_INFINITE: Final = re.compile(r"[+-]?inf(inity)?")
_HALF: Final = 0.5  # a column of which fewer cells are numbers is one of text
_EXAMPLES: Final = 2
_LONG: Final = 150  # characters of a name that messages show


def words(name: str) -> list[str]:
    """Return the words of a column's name in small letters.

    Examples
    --------
    >>> words("CIFAR10TestAccuracy200Epochs"), words("test-accuracy")
    (['cifar10', 'test', 'accuracy200', 'epochs'], ['test', 'accuracy'])
    """
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", parts) if word]


def kind_of(name: str, values: pd.Series | None = None) -> Kind:
    """Say what a column is by its name: what is good about large or small values of it.

    Parameters
    ----------
    name
        Of the column.
    values
        Its numbers; a ranking must be one, since many a score is called the rank of something.

    Examples
    --------
    >>> [
    ...     kind_of(name)
    ...     for name in ("synflow", "valid_loss", "testAccuracy", "train_time", "params")
    ... ]
    ['score', 'loss', 'accuracy', 'bookkeeping', 'cost']
    """
    own = {word.rstrip("0123456789") for word in words(name)} | set(words(name))
    if not own:
        return "bookkeeping"  # a column without a name numbers the rows
    for kind, known in _WORDS:
        if own & known and (kind != "rank" or values is None or _is_ranking(values)):
            return kind
    return "score"


def _is_ranking(values: pd.Series) -> bool:
    """Say whether numbers are places: whole, from 0 or 1 up, most of them different."""
    known = values.dropna()
    whole = bool(len(known)) and bool((known == known.round()).all())
    return whole and known.min() in (0, 1) and known.nunique() > _HALF * len(known)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column as numbers.

    Parameters
    ----------
    values
        Floats of at least 32 bits, NaN where a cell is empty or holds none.
    problem
        Why the column is none of numbers; empty where it is one.
    percent
        Whether the cells had per cent signs; the values are then shares.
    odd
        Cells that are neither empty nor numbers, such as ``OOM``.
    """

    values: pd.Series
    problem: str = ""
    percent: bool = False
    odd: tuple[str, ...] = ()


def numbers(column: pd.Series) -> Numbers:
    """Read a column as numbers: of every numeric type, and of text as people write them.

    Parameters
    ----------
    column
        Integers, floats of any width, nullable ones, decimals, or text with per cent signs,
        decimal commas, commas between thousands.

    Returns
    -------
    Numbers
        With the reason where the column holds something else.

    Examples
    --------
    >>> numbers(pd.Series(["93,5", "90,25", "n/a"])).values.tolist()
    [93.5, 90.25, nan]
    >>> numbers(pd.Series(["93.5%"])).values.tolist(), numbers(pd.Series([True])).problem
    ([0.935], 'true or false, not numbers')
    """
    problem = _problem(column)
    if problem:
        return Numbers(pd.Series(np.nan, column.index), problem)
    if column.dtype in (np.float32, np.float64):
        return Numbers(column)
    if pd.api.types.is_numeric_dtype(column):
        return Numbers(pd.Series(column.to_numpy(dtype=float, na_value=np.nan), column.index))
    known = [value for value in column if not is_missing(value)]
    if all(isinstance(value, int | float | Decimal | np.number) for value in known):
        plain = [float("nan") if is_missing(value) else float(value) for value in column]
        return Numbers(pd.Series(plain, column.index, dtype=float))
    return _from_text(column)


def _problem(column: pd.Series) -> str:
    """Say why a column cannot hold numbers; empty where it can."""
    types = pd.api.types
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
        return "complex, not numbers" if types.is_complex_dtype(column) else ""
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        return "dates or times, not numbers"
    known = pd.Series([value for value in column if not is_missing(value)], dtype=object)
    if known.empty:
        return "empty"
    if known.map(lambda value: isinstance(value, bool | np.bool_)).all():
        return "true or false, not numbers"
    return ""


def _refused(column: pd.Series, problem: str) -> Numbers:
    return Numbers(pd.Series(np.nan, column.index), problem)


def is_missing(value: object) -> bool:
    """Say whether a cell holds nothing, such as NaN, ``n/a`` or a dash."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in MISSING


def _from_text(column: pd.Series) -> Numbers:
    """Read text as numbers."""
    cells = ["" if is_missing(value) else str(value).strip() for value in column]
    texts = [cell.lower().replace("\N{MINUS SIGN}", "-") for cell in cells]
    known = [text for text in texts if text]
    if set(known) <= {"true", "false"}:
        return _refused(column, "true or false, not numbers")
    written = [text for text in known if _NUMBER.fullmatch(text)]
    infinite = [text for text in known if _INFINITE.fullmatch(text)]
    if len(written) + len(infinite) <= _HALF * len(known):
        return _refused(column, f"text, such as {_short(next(filter(None, cells)))}")
    signs = {text.endswith("%") for text in written}
    if len(signs) == 2:
        return _refused(column, "some cells have a per cent sign and some have none")
    comma = _decimal_comma([_NUMBER.fullmatch(text).group(1) for text in written])  # type: ignore[union-attr]  # all match
    if comma is None:
        example = next(text for text in written if "," in text)
        return _refused(column, f"{example!r} has a comma for decimals or for thousands")
    percent = signs == {True}
    values = [_value(text, comma=comma, scale=0.01 if percent else 1.0) for text in texts]
    odd = [cell for cell, value in zip(cells, values, strict=True) if cell and value is None]
    plain = [float("nan") if value is None else value for value in values]
    found = tuple(_short(text) for text in dict.fromkeys(odd))
    return Numbers(pd.Series(plain, column.index, dtype=float), "", percent, found)


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:30]}...")


def _decimal_comma(mantissas: Sequence[str]) -> bool | None:
    """Say whether commas are for decimals (True) or thousands; None if it is not clear."""
    commas = [text for text in mantissas if "," in text]
    if not commas:
        return False
    if any("." in text for text in commas):  # 1,234.5 or 1.234,5
        return all(text.rfind(",") > text.rfind(".") for text in commas)
    if any(text.count(",") > 1 for text in commas):
        return False
    thousands = [re.fullmatch(r"[1-9]\d{0,2},\d{3}", text) is not None for text in commas]
    if all(thousands):
        return None if not any("." in text for text in mantissas) else False
    return True


def _value(text: str, *, comma: bool, scale: float) -> float | None:
    """Return the number of a cell, None where it holds none."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return float(text) if _INFINITE.fullmatch(text) else None
    plain = text.rstrip("% ")
    plain = plain.replace(".", "").replace(",", ".") if comma and "," in plain else plain
    try:
        return float(plain.replace(",", "")) * scale
    except ValueError:
        return None


def examples(names: Sequence[str]) -> str:
    """Return the first of several names, and how many more there are."""
    shown = ", ".join(
        name if len(name) <= _LONG else f"{name[:_LONG]}..." for name in names[:_EXAMPLES]
    )
    return f"{shown}, ..." if len(names) > _EXAMPLES else shown


def counted(number: int, word: str) -> str:
    """Return a number and a word in its plural.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"
