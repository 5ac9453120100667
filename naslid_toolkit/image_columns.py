"""Which columns of Parquet files hold images and labels, and which classes the labels are."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from naslid_toolkit.errors import DataError, nearest_name, printable

EXPECTED: Final = "expected a Parquet file with an image column {bytes, path} and a label"
_IMAGE_NAMES: Final = frozenset({"image", "images", "img", "imgs", "picture", "photo", "photos"})
_LABEL_NAMES: Final = frozenset(
    "label labels class classes cls target targets category y".split()  # noqa: SIM905
)
# A column with one of these words in its name is no label, were it the only one of its kind.
_OTHER_NAMES: Final = frozenset(
    (  # noqa: SIM905
        "id ids index idx key width height depth size channels row col file filename path url md5 "
        "sha hash split subset fold year date time timestamp source licence license caption text "
        "title description prompt name count weight score"
    ).split()
)
_NEEDED: Final = {
    "image": "one picture a row is needed, as bytes, {bytes, path}, or lists of numbers",
    "label": "one whole number or text a row is needed",
}
_ONLY: Final = "the only one of its kind"
_SHOWN: Final = 12  # classes in a note

Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file that are read.

    Parameters
    ----------
    image, label
        Their names.
    classes
        Names of the classes, where the file gives them.
    note
        What was chosen, why, and what else there was.
    guessed
        Whether nothing but its type speaks for the label.
    usual
        Whether these are the first columns of their types, which earlier versions took.
    """

    image: str
    label: str
    classes: tuple[str, ...]
    note: str
    guessed: bool
    usual: bool


def choose_columns(schema: pa.Schema, path: Path, *, image: str = "", label: str = "") -> Columns:
    """Choose the columns of images and labels.

    Parameters
    ----------
    schema
        That of a file. Its ``huggingface`` metadata may declare columns as ``Image``, and as
        ``ClassLabel`` with the names of the classes.
    path
        Names the file in messages.
    image, label
        The columns asked for; empty for those that are declared, else by name, else the only
        ones of their type.

    Raises
    ------
    DataError
        If no column fits, or more than one could be meant; lists them.
    """
    declared = {name: str(feature.get("_type")) for name, feature in _features(schema).items()}
    kinds = {f.name: f.type for f in schema if declared.get(f.name) not in {"Audio", "Video"}}
    pictures = [name for name, kind in kinds.items() if _holds_pictures(kind)]
    tables = [name for name, kind in kinds.items() if nesting(kind) in {2, 3}]
    images = _Candidates(
        "image", _IMAGE_NAMES, [n for n in kinds if declared.get(n) == "Image"], pictures or tables
    )
    single = [name for name, kind in kinds.items() if _may_label(kind)]
    labels = _Candidates(
        "label", _LABEL_NAMES, [n for n in single if declared.get(n) == "ClassLabel"], single
    )
    image, why_image = images.chosen(schema, path, image)
    label, why_label = labels.chosen(schema, path, label)
    note = f"images from column {image!r} ({why_image}), labels from column {label!r} ({why_label})"
    others = {*images.declared, *pictures, *labels.declared} - {image, label}
    if others:
        note += f"; not used: {', '.join(repr(name) for name in kinds if name in others)}"
    if _is_damaged(schema):
        note += "; what the file declares of its columns is damaged and was not used"
    classes = _class_names(schema, label)
    if twice := [name for name, count in Counter(classes).items() if count > 1]:
        raise DataError(f"{path} declares the class {twice[0]!r} twice; give classes other names")
    usual = (image, label) == _first_of_type(schema)
    return Columns(image, label, classes, note, guessed=why_label == _ONLY, usual=usual)


def check_name(path: Path) -> None:
    """Refuse the name of a Parquet file that its reader cannot open.

    Raises
    ------
    DataError
        If it is not in UTF-8.
    """
    if printable(str(path)) != str(path):
        raise DataError(f"{printable(str(path))}: this name is not in UTF-8; give it another one")


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of values that are stored by number, or under another name."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_text(kind: pa.DataType) -> bool:
    """Say whether values are texts."""
    return str(plain(kind)) in {"string", "large_string", "string_view"}


def nesting(kind: pa.DataType) -> int:
    """Return how deep lists of numbers are nested; 0 for what is no such list."""
    depth, kind = 0, plain(kind)
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed_list(kind):
        depth, kind = depth + 1, kind.value_type
    return depth if pa.types.is_integer(kind) or pa.types.is_floating(kind) else 0


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of files as numbers of classes; -1 where there is none.

    ``found`` holds, for each file, a place in its different values for each row, and those.
    """

    files: tuple[Path, ...]
    found: list[tuple[Numbers, list[Any]]]
    codes: Numbers
    classes: tuple[str, ...]
    renumbered: bool
    given: bool

    @classmethod
    def of(
        cls, files: tuple[Path, ...], columns: list[pa.ChunkedArray], names: tuple[str, ...]
    ) -> "Labels":
        """Give numbers to classes: as names are given, else in order of numbers or texts.

        Raises
        ------
        DataError
            If a label is a fraction, or some are numbers and some are texts.
        """
        found = [distinct_values(column) for column in columns]
        keys = [
            [_key(value, path, named=bool(names)) for value in values]
            for path, (_, values) in zip(files, found, strict=True)
        ]
        number: dict[int | str | None, int]
        if names:
            number = {name: place for place, name in enumerate(names)}
            number |= {place: place for place in range(len(names))}
        else:
            number = {key: place for place, key in enumerate(_ordered(files, keys))}
        codes = [
            np.array([number.get(key, -1) for key in mine], dtype=np.int64)[places]
            for (places, _), mine in zip(found, keys, strict=True)
        ]
        return cls(
            files=files,
            found=found,
            codes=np.concatenate(codes),
            classes=names or tuple(map(str, number)),
            renumbered=not names and list(number) != list(range(len(number))),
            given=bool(names),
        )

    def note(self) -> str:
        """Say the classes."""
        count, shown = len(self.classes), ", ".join(self.classes[:_SHOWN])
        text = f"{count} classes, numbered from 0: {shown}{', ...' if count > _SHOWN else ''}"
        empty = count - len(np.unique(self.codes[self.codes >= 0]))
        return f"{text}; {empty} of them without an image" if empty else text

    def missing(self) -> str:
        """Say how many rows have no label, and the first of them."""
        first = [f"row {row} of {path.name}" for path, row, _ in itertools.islice(self._bad(), 3)]
        count = int((self.codes < 0).sum())
        more = ", ..." if count > len(first) else ""
        return f"left out, images without a usable label: {count:,} ({', '.join(first)}{more})"

    def complaint(self) -> str:
        """Say where the first label is missing, and what to do."""
        path, row, value = next(self._bad())
        count, total = int((self.codes < 0).sum()), len(self.codes)
        limits = f"0 to {len(self.classes) - 1}" if self.given else "from 0"
        what = "no label" if _is_blank(value) else f"label {value!r}, classes are numbered {limits}"
        remedy = "; give them one, or leave them out by drop_unlabelled (--drop-unlabelled)"
        return (
            f"row {row} of {path} (from 0) has {what}; {count:,} of {total:,} rows have no usable "
            f"label{', none is left' if count == total else remedy}"
        )

    def _bad(self) -> Iterator[tuple[Path, int, Any]]:
        first = 0
        for path, (places, values) in zip(self.files, self.found, strict=True):
            for row in np.flatnonzero(self.codes[first : first + len(places)] < 0):
                yield path, int(row), values[places[row]]
            first += len(places)


def distinct_values(column: pa.ChunkedArray) -> tuple[Numbers, list[Any]]:
    """Return a place for every row, and the different values at these places; None is the last."""
    kind = pa.large_string() if is_text(column.type) else plain(column.type)
    flat = column.cast(pa.int64() if pa.types.is_null(kind) else kind)
    encoded = pa.concat_arrays(flat.chunks or [pa.array([], flat.type)]).dictionary_encode()
    places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return places, [*encoded.dictionary.to_pylist(), None]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Columns that may hold what is looked for, and the words that speak for one."""

    what: str
    words: frozenset[str]
    declared: Sequence[str]
    fitting: Sequence[str]

    def chosen(self, schema: pa.Schema, path: Path, asked: str) -> tuple[str, str]:
        """Return a column and why it is the one."""
        option = f"{self.what}_column (--{self.what}-column)"
        if asked:
            return self._checked(schema, path, asked), "as asked"
        names = self.declared or self.fitting
        exact = [name for name in names if name.lower() in self.words]
        alike = [name for name in names if _words(name) & self.words]
        last = [name for name in names if self.declared or not _words(name) & _OTHER_NAMES]
        found = exact or alike or last
        if not found:
            types = ", ".join(f"{field.name}: {_short(field.type)}" for field in schema)
            raise DataError(
                f"{path} has the columns {schema.names}; {EXPECTED}. None is plainly the "
                f"{self.what} ({types}); {_NEEDED[self.what]}, name it by {option}"
            )
        if len(found) > 1:
            raise DataError(
                f"{path} has several columns that could be the {self.what}: {', '.join(found)}; "
                f"choose one by {option}"
            )
        reason = "declared" if self.declared else "by its name" if exact or alike else _ONLY
        return found[0], reason

    def _checked(self, schema: pa.Schema, path: Path, asked: str) -> str:
        if asked not in schema.names:
            hint = nearest_name(asked, schema.names)
            raise DataError(f"{path} has no column {asked!r} for the {self.what}; {hint}")
        kind = schema.field(asked).type
        fits = _may_label(kind) if self.what == "label" else _holds_pictures(kind) or nesting(kind)
        if asked not in self.declared and not fits:
            raise DataError(
                f"column {asked!r} of {path} holds {_short(kind)}; {_NEEDED[self.what]}"
            )
        return asked


def _words(name: str) -> set[str]:
    """Return the words of a column's name, also of ``camelCase``."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def _short(kind: pa.DataType) -> str:
    text = str(kind)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return what the metadata declares of columns; nothing if they hold no such thing."""
    raw = (schema.metadata or {}).get(b"huggingface")
    try:
        found = json.loads(raw)["info"]["features"] if raw else {}
        return {name: one for name, one in found.items() if isinstance(one, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_damaged(schema: pa.Schema) -> bool:
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        return not isinstance(json.loads(raw), dict)
    except (ValueError, RecursionError):
        return True


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    names = _features(schema).get(label, {}).get("names") or ()
    plain = isinstance(names, list) and all(isinstance(name, str | int) for name in names)
    return tuple(map(str, names)) if plain else ()


def _is_fixed_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _holds_pictures(kind: pa.DataType) -> bool:
    kind = plain(kind)
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return str(kind) in {"binary", "large_binary", "binary_view"}


def _may_label(kind: pa.DataType) -> bool:
    kind, types = plain(kind), pa.types
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numbers or is_text(kind) or types.is_boolean(kind) or types.is_null(kind))


def _first_of_type(schema: pa.Schema) -> tuple[str, str] | None:
    """Return the columns that earlier versions took; names of tasks do not mention these."""
    images = [
        f.name
        for f in schema
        if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0
    ]
    labels = [f.name for f in schema if pa.types.is_integer(f.type)]
    if not images or not labels:
        return None
    return images[0], "label" if "label" in labels else labels[0]


def _is_blank(value: Any) -> bool:  # noqa: ANN401 - a cell
    if isinstance(value, str):
        return not value.strip()
    return value is None or math.isnan(value)


def _key(value: Any, path: Path, *, named: bool) -> int | str | None:  # noqa: ANN401 - a cell
    """Return what tells classes apart: a whole number or a text; None for no label."""
    if _is_blank(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return int(value) if named else str(value)
    if value in {math.inf, -math.inf} or value != int(value):
        raise DataError(f"{path} has the label {value}; a class is a whole number or a text")
    return int(value)


def _ordered(files: tuple[Path, ...], keys: list[list[int | str | None]]) -> list[Any]:
    """Return all classes in order, whether numbers or texts."""
    known = {key for mine in keys for key in mine if key is not None}
    texts = {key for key in known if isinstance(key, str)}
    if texts and texts != known:
        raise DataError(
            f"{files[0]} and its like have labels that are texts and such that are numbers"
        )
    return sorted(texts) or sorted(key for key in known if isinstance(key, int) and key >= 0)
