"""The parser of all commands, and what happens when one fails."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import naslid_toolkit
from naslid_toolkit.cli import (
    check,
    compare,
    cost,
    evaluate,
    hierarchical,
    override,
    results,
    search,
    truth,
    workspace,
)
from naslid_toolkit.errors import NaslidError, nearest_name
from naslid_toolkit.plain_text import visible

_COMMANDS = (
    ("search", search.add_options, "run a few-shot search"),
    ("evaluate", evaluate.add_options, "judge scores or a run against reference accuracies"),
    ("compare", compare.add_options, "judge splitting criteria at equal budget"),
    ("compare-cost", cost.add_options, "measure memory and time of LID and of gradients"),
    ("report", results.add_report_options, "write one HTML page about a run"),
    ("check", check.add_options, "say whether a run's files are what the run wrote"),
    ("split", results.add_split_options, "split a node of a run anew, with other choices"),
    ("hierarchical", hierarchical.add_options, "narrow the space node by node (HEP-NAS)"),
    ("override", override.add_options, "split a node by hand and train only what changes"),
    (
        "new",
        workspace.add_new_options,
        "make a folder with the notebooks, settings and a finished run",
    ),
    ("lab", workspace.add_lab_options, "open the notebooks in JupyterLab"),
    ("pack", workspace.add_pack_options, "pack a folder of images into one file to search on"),
    ("truth", truth.add_options, "make, import and examine tables of reference accuracies"),
)

_CUT = 141  # as of a program that SIGPIPE ended


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest legal word."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            word, legal = choice.group(1), re.findall(r"'?([\w-]+)'?", choice.group(2))
            message = f"unknown word {word!r}; {nearest_name(word, legal)}"
        super().error(visible(message))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    0: done. 1: a folder that was checked is damaged. 2: wrong input, explained on standard
    error. 130: stopped by Ctrl-C, everything stored.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    options, extra = parser.parse_known_args(arguments)
    if extra:
        command: argparse.ArgumentParser = options.command
        known = re.findall(r"--[a-z][a-z-]*", command.format_usage())
        command.error(f"unknown option {extra[0]!r}; {nearest_name(extra[0], known)}")
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except NaslidError as error:
        notes = [f"  {note}" for note in getattr(error, "__notes__", ())]
        _complain("\n".join([str(error), *notes]))
        return 2
    except KeyboardInterrupt:
        print("naslid: stopped at once", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CUT
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror or error}")
        return 2


def _complain(text: str) -> None:
    print(f"naslid: error: {visible(text)}", file=sys.stderr)  # noqa: T201


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="naslid",
        description="Few-shot neural architecture search by local intrinsic dimensionality.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=naslid_toolkit.__version__)
    group = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, text in _COMMANDS:
        command = group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        command.set_defaults(command=command)
        add(command)
    return parser
