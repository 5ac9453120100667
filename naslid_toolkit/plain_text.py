"""Text from outside as text: in a terminal, on a page, in a spreadsheet.

Names of columns, files, classes, layers and methods come from whoever made a file. Whatever shows
one sends it through here first, so that it can neither move a cursor nor become a link or formula.
"""

import html
import unicodedata
from typing import Final

import pandas as pd

# What turns the direction of the text that follows, and can make a name read like another one
_TURNS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, half characters, other newlines
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def visible(text: str) -> str:
    r"""Return text with everything that a terminal would obey written out.

    Parameters
    ----------
    text
        Any text. Its newlines stay: lines are for whoever shows it.

    Returns
    -------
    str
        Control characters, those that turn the direction of writing, and halves of characters
        (of names of files that are no UTF-8) as Python writes them, for instance ``\x1b``.

    Examples
    --------
    >>> print(visible("\x1b[31mred"))
    \x1b[31mred
    """
    return "".join(_seen(letter) for letter in text)


def _seen(letter: str) -> str:
    if letter == "\n" or letter.isalnum():
        return letter
    if letter in _TURNS or unicodedata.category(letter) in _UNSEEN:
        return letter.encode("unicode_escape").decode()
    return letter


def as_html(text: str, *, quote: bool = True) -> str:
    """Return text for a page, where nothing in it is taken for HTML.

    Parameters
    ----------
    text
        Any text.
    quote
        Whether quotation marks are escaped too, as in an attribute.

    Examples
    --------
    >>> as_html("<b>")
    '&lt;b&gt;'
    """
    return html.escape(visible(text), quote=quote)


def html_table(frame: pd.DataFrame, *, classes: str | None = None) -> str:
    """Return a table as HTML in which every text is text.

    Parameters
    ----------
    frame
        Drawn without its index.
    classes
        Classes of the table.
    """
    seen = frame.map(_seen_cell).set_axis([_seen_cell(name) for name in frame], axis=1)
    shown: str = seen.to_html(index=False, border=0, classes=classes, escape=True)
    return shown


def _seen_cell(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def for_spreadsheet(value: object) -> object:
    """Return a cell that a spreadsheet takes for no formula.

    Parameters
    ----------
    value
        Any cell. Text that begins like a formula and is no number gets an apostrophe in front,
        which spreadsheets hide; everything else stays as it is.

    Examples
    --------
    >>> print(for_spreadsheet("=HYPERLINK(A1)"))
    '=HYPERLINK(A1)
    >>> for_spreadsheet("-0.5")
    '-0.5'
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
