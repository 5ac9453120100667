"""Every setting and every numeric option at its limits and beyond."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from naslid_toolkit.cli.commands import build_parser
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.limits import LIMITS
from tests.attack.commands import Broken, Refused, TooLongError, command, limited

Checked = tuple[str, bool, str]  # what was tried, whether it ended well, what was said
_SECONDS = 5
_TEXTS = ("-1", "-0", "nan", "inf", "1e999", "9" * 30, "0.5", "x", "", "１")
_ILLEGAL = tuple(text for text in _TEXTS if text not in {"-0", "１"})
_BEGINS = {"truth build"}  # work, wherever its table is to be
# What a command needs beside the option that is driven; '@file' is a file, so nothing begins.
_NEEDS = {
    "search": ["--out", "@file/run", "--preset", "tiny", "--quiet"],
    "compare": ["--out", "@file/run", "--preset", "tiny", "--quiet"],
    "hierarchical": ["--out", "@file/run", "--preset", "tiny", "--quiet"],
    "evaluate": ["@file"],
    "split": ["@file"],
    "pack": ["@file", "@file"],
    "compare-cost": ["--config", "@file"],
    "truth build": ["--out", "@file/table", "--quiet"],
    "lab": ["@file"],
}


def attack_limits(place: Path) -> list[Checked]:
    """Drive all settings and options; nothing begins, since no folder can be made."""
    file = place / "file"
    file.write_text("a file, and no folder")
    return [*attack_settings(), *_options(file)]


def attack_settings() -> Iterator[Checked]:
    base = RunConfig.preset("tiny").to_dict()
    for name, (low, high) in LIMITS.items():
        whole = isinstance(_value(base, name), int)
        beyond = [low - 1, high * 2 + 1] + ([] if whole else [float("nan"), float("inf")])
        tried: list[tuple[Any, bool]] = [(low, True), (high, True)]
        tried += [(value, False) for value in (*beyond, None, "1", True, [], {}, 10**40)]
        for value, legal in tried:
            yield _setting(base, name, value, legal=legal)


def _setting(base: dict[str, Any], name: str, value: Any, *, legal: bool) -> Checked:
    whole = isinstance(_value(base, name), int)
    value = int(value) if whole and isinstance(value, float) and legal else value
    section, _, key = name.rpartition(".")
    over = {section: {key: value}} if section else {key: value}
    title = f"{name} = {value!r}"
    try:
        RunConfig.from_dict(merged(base, over))
    except ConfigError as error:
        # a number that is legal by itself may contradict another setting
        return title, name.rpartition(".")[2].split("_")[-1] in str(error) or legal, str(error)
    except Exception as error:  # noqa: BLE001 - what is looked for
        return title, False, f"{type(error).__name__}: {error}"
    return title, legal, "taken"


def _value(base: dict[str, Any], name: str) -> Any:
    for key in name.split("."):
        base = base[key]
    return base


def _options(file: Path) -> Iterator[Checked]:
    here = Path.cwd()
    try:
        os.chdir(file.parent)
        for name, parser in _parsers(build_parser(), ""):
            for action in parser._actions:
                if not action.option_strings or action.type is None:
                    continue
                for text in _TEXTS if name not in _BEGINS else _ILLEGAL:
                    needs = [w.replace("@file", str(file)) for w in _NEEDS.get(name, [])]
                    yield _option([*name.split(), *needs, f"{action.option_strings[-1]}={text}"])
    finally:
        os.chdir(here)


def _parsers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, Any]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _parsers(below, f"{name} {word}".strip())
            return
    yield name, parser


def _option(words: list[str]) -> Checked:
    title = " ".join(words)
    try:
        with limited(_SECONDS):
            command(*words)
    except TooLongError:
        return title, False, f"more than {_SECONDS} s"
    except Refused as error:
        return title, True, str(error)
    except Broken as error:
        return title, False, str(error)
    return title, False, "taken"
