"""Folders of images: their classes and parts, and what in them is no image."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from naslid_toolkit.errors import DataError
from naslid_toolkit.image_tables import PARTS, part_of
from naslid_toolkit.pictures import Tally, is_picture

# What operating systems and programs put among files; hidden files are left out as well.
_SYSTEM: Final = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir"})
_HIDDEN: Final = "left out, hidden or of the operating system"
_NO_IMAGE: Final = "left out, no images"
_OUTSIDE: Final = "left out, images outside of the folders of classes"
_NOWHERE: Final = "left out, links to nothing"
_LOOP: Final = "left out, links to a folder above"
_EMPTY: Final = "folders of classes without images"
_SHOWN: Final = 12  # classes in a note


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image: its file, its name below the folder, its class number and its part, if any."""

    path: Path
    name: str
    label: int
    part: str | None


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of a folder.

    Parameters
    ----------
    classes
        Names of the classes.
    files
        The images, class by class; if there are parts, part by part.
    is_divided
        Whether the images have parts.
    notes
        What was found and left out, in sentences.
    """

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    is_divided: bool
    notes: tuple[str, ...]


def scan_folder(folder: Path) -> ImageFolder:
    """Find the images of a folder with one folder for each class, or such folders in parts.

    Parameters
    ----------
    folder
        Holds a folder for each class; or folders such as ``train``, ``val`` and ``test`` with
        the same folders of classes; or a single folder that does.

    Raises
    ------
    DataError
        If there are fewer than two classes with images, or parts cannot be told from classes.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; expected one with a folder of images for each class")
    try:
        return _Scan(folder, Tally()).result()
    except PermissionError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Scan:
    """One look at a folder; ``left`` counts what is left out."""

    folder: Path
    left: Tally

    def result(self) -> ImageFolder:
        """Find parts and classes, then their images."""
        top, notes = self._top()
        found = [
            (part, _text(name), place, self._images(place))
            for part, name, place in self._places(top)
        ]
        for _, _, place, images in found:
            if not images:
                self.left.add(_EMPTY, self._name(place))
        counts: Counter[str] = Counter()
        for _, name, _, images in found:
            counts[name] += len(images)
        classes = tuple(sorted(+counts))
        if len(classes) < 2:
            raise DataError(
                f"{self.folder} holds images of {len(classes)} class(es): "
                f"{', '.join(classes) or 'none'}; expected at least two folders with images, one "
                f"for each class"
            )
        number = {name: place for place, name in enumerate(classes)}
        files = tuple(
            ImageFile(path, self._name(path), number[name], part)
            for part, name, _, images in found
            for path in images
        )
        parts = Counter(file.part for file in files if file.part)
        _check_trained(classes, files)
        shown = ", ".join(f"{name} ({counts[name]:,})" for name in classes[:_SHOWN])
        more = ", ..." if len(classes) > _SHOWN else ""
        notes.append(f"{len(files):,} images of {len(classes)} classes: {shown}{more}")
        if parts:
            notes.append(f"parts: {', '.join(f'{part} {parts[part]:,}' for part in parts)}")
        notes += _alike(classes) + ([] if parts else _inner(_folders(top))) + self.left.lines()
        return ImageFolder(classes, files, bool(parts), tuple(notes))

    def _top(self) -> tuple[Path, list[str]]:
        """Go down while there is nothing but a single folder of folders."""
        top, notes = self.folder, []
        self._leave_outside(top)
        while len(places := _folders(top)) == 1 and _folders(places[0]) and not _files(places[0]):
            top = places[0]
            self._leave_outside(top)
            notes.append(f"{self._name(top)} is the only folder; those in it are taken")
        return top, notes

    def _places(self, top: Path) -> list[tuple[str | None, str, Path]]:
        """Return the folders of images, each with its part and the name of its class."""
        places = _folders(top)
        named = {place: part for place in places if (part := part_of(place.name))}
        if any(_folders(place) for place in named) or len(named) > 1:
            self._check_parts(top, places, named)
            divided = [(named[place], place) for place in places]
            found: list[tuple[str | None, str, Path]]
            found = [(p, inner.name, inner) for p, place in divided for inner in _folders(place)]
        elif parts := _inner_parts(places):
            found = [(parts[i.name], place.name, i) for place in places for i in _folders(place)]
        else:
            return [(None, place.name, place) for place in places]
        for place in places:
            self._leave_outside(place)
        return sorted(found, key=lambda one: PARTS.index(one[0] or PARTS[0]))

    def _check_parts(self, top: Path, places: list[Path], named: Mapping[Path, str]) -> None:
        """Refuse a division that cannot be followed, and say why."""
        listed = ", ".join(place.name for place in named)
        others = [place.name for place in places if place not in named]
        why = ""
        if others:
            why = f"but {', '.join(others)} like classes"
        elif len(set(named.values())) < len(named):
            why = "but two of them like the same one"
        elif "train" not in named.values():
            why = "but none like the training part"
        else:
            why = _difference(places)
        if why:
            raise DataError(
                f"{top} holds folders that look like parts ({listed}), {why}; give either a folder "
                f"for each class, or train, val and test that hold the same folders of classes"
            )

    def _leave_outside(self, place: Path) -> None:
        """Count what is in a folder that holds folders, and is none."""
        for path in sorted(place.iterdir()):
            if _is_system(path):
                self.left.add(_HIDDEN, self._name(path))
        for path in _files(place):
            self._leave(path, _OUTSIDE if path.is_file() and is_picture(path) else _NO_IMAGE)

    def _leave(self, path: Path, why: str) -> None:
        self.left.add(why if path.exists() else _NOWHERE, self._name(path))

    def _images(self, place: Path, above: frozenset[Path] = frozenset()) -> list[Path]:
        """Return the images in a folder and below, links followed."""
        here = place.resolve()
        if here in above | {self.folder.resolve()}:
            self.left.add(_LOOP, self._name(place))
            return []
        images = []
        for path in sorted(place.iterdir()):
            if _is_system(path):
                self.left.add(_HIDDEN, self._name(path))
            elif path.is_dir():
                images += self._images(path, above | {here})
            elif path.is_file() and is_picture(path):
                images.append(path)
            else:
                self._leave(path, _NO_IMAGE)
        return images

    def _name(self, path: Path) -> str:
        return _text(path.relative_to(self.folder).as_posix())


def _is_system(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _SYSTEM


def _folders(place: Path) -> list[Path]:
    return [path for path in sorted(place.iterdir()) if path.is_dir() and not _is_system(path)]


def _files(place: Path) -> list[Path]:
    return [path for path in sorted(place.iterdir()) if not path.is_dir() and not _is_system(path)]


def _text(name: str) -> str:
    """Return a name as text of one spelling, whatever its bytes and how accents are composed."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def _inner_parts(places: list[Path]) -> dict[str, str]:
    """Return the parts that every class is divided into; nothing if it is not so."""
    inside = [{inner.name: part_of(inner.name) for inner in _folders(place)} for place in places]
    parts = {name: part for name, part in inside[0].items() if part} if inside else {}
    plain = "train" in parts.values() and len(parts) == len(set(parts.values())) > 1
    return parts if plain and all(one == parts for one in inside) else {}


def _difference(places: list[Path]) -> str:
    """Say how the classes of parts differ; nothing if they are the same."""
    classes = {place.name: {_text(inner.name) for inner in _folders(place)} for place in places}
    first, *others = classes
    for name, found in classes.items():
        if not found:
            return f"but {name} holds no folders of classes"
    for name in others:
        for one, other in ((first, name), (name, first)):
            if only := sorted(classes[one] - classes[other])[:_SHOWN]:
                return f"but only {one} holds {', '.join(only)}, not {other}"
    return ""


def _check_trained(classes: Sequence[str], files: Sequence[ImageFile]) -> None:
    trained = {file.label for file in files if file.part in {None, PARTS[0]}}
    missing = [name for label, name in enumerate(classes) if label not in trained]
    if missing:
        raise DataError(f"the training part holds no image of {', '.join(missing[:_SHOWN])}")


def _inner(places: Sequence[Path]) -> list[str]:
    """Say which folders all classes hold alike: perhaps they are what was meant."""
    inside = [{inner.name for inner in _folders(place)} for place in places]
    same = sorted(set.intersection(*inside))
    together = f"every class holds folders {', '.join(same[:_SHOWN])}, which are packed together"
    return [together] if len(same) > 1 and all(len(one) == len(same) for one in inside) else []


def _alike(classes: Sequence[str]) -> list[str]:
    """Say which classes have names that differ only in capitals or spaces."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    alike = [" and ".join(map(repr, names)) for names in groups.values() if len(names) > 1]
    return [f"classes that differ only in capitals or spaces: {', '.join(alike)}"] if alike else []
