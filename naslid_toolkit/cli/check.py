"""``naslid check``: whether a run's folder holds what the run wrote."""

import argparse

import pandas as pd

from naslid_toolkit.cli.results import print_frame, say
from naslid_toolkit.search.checking import check_run, repair_run

_DAMAGED = 1  # exit status


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a run, finished or not")
    add(
        "--repair",
        action="store_true",
        help="take away what is damaged and can be made again, for 'search --resume' to make",
    )
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    states = check_run(options.folder)
    counts = pd.Series([state.state for state in states]).value_counts()
    wrong = [state for state in states if state.state != "in order"]
    rows = [(state.name, state.state, state.remedy) for state in wrong]
    if any(state.state == "unchecked" for state in wrong):
        say(f"{options.folder} is of the time before files had hashes: nothing can be checked.")
        return 0
    if rows:
        print_frame(
            pd.DataFrame(rows, columns=["file", "state", "what can be done"]), "Not in order"
        )
    say(", ".join(f"{count} file(s) {state}" for state, count in counts.items()) + ".")
    if not any(state.state in {"damaged", "gone"} for state in states):
        return 0
    if options.repair:
        taken = repair_run(options.folder)
        say(f"Taken away, to be made again: {', '.join(taken)}. Go on with:")
        say(f"  naslid search --resume --out {options.folder}")
        return 0
    return _DAMAGED
