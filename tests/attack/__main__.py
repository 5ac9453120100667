"""``python -m tests.attack``: damage, swap and delete every file in every way; count what comes."""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import torch

from tests.attack.judge import FAULTS, Arena, Case, Outcome, cases
from tests.attack.limits import attack_limits
from tests.attack.victims import Victim, victims

_SHOWN = 40  # failing cases that are printed


def main() -> int:
    """Run the suite; return 1 if anything is wrong."""
    options = _options()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(options.victims or folder)
        wanted = options.case.split("@")[0] if options.case else options.victim
        found = victims(place, only=wanted)
        arena = Arena(Path(folder) / "arena", seed=options.seed)
        arena.place.mkdir()
        began = time.monotonic()
        outcomes = [arena.judge(found[case.victim], case) for case in _chosen(options, found)]
        limits = [] if options.case or wanted else attack_limits(arena.place)
        _report(outcomes, limits, options, time.monotonic() - began)
    return int(any(o.verdict in FAULTS for o in outcomes) or any(not ok for _, ok, _ in limits))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.attack", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every case")
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="so many of them")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--victim", default="", metavar="NAME", help="cases of one victim alone")
    parser.add_argument("--command", default="", metavar="NAME", help="cases of one command alone")
    parser.add_argument("--file", default="", metavar="NAME", help="cases of one file alone")
    parser.add_argument("--case", default="", metavar="ID", help="one case, with what it said")
    parser.add_argument("--victims", metavar="FOLDER", help="where victims are kept for next time")
    parser.add_argument("--report", metavar="FILE", help="also write all outcomes as CSV")
    return parser.parse_args()


def _chosen(options: argparse.Namespace, found: dict[str, Victim]) -> list[Case]:
    if options.case:
        return [Case(*options.case.split("@"))]
    chosen = [case for victim in found.values() for case in cases(victim)]
    if options.command:
        chosen = [case for case in chosen if case.command == options.command]
    if options.file:
        chosen = [case for case in chosen if case.file == options.file]
    if options.all or len(chosen) <= options.sample:
        return chosen
    return random.Random(options.seed).sample(chosen, options.sample)


def _report(
    outcomes: list[Outcome],
    limits: list[tuple[str, bool, str]],
    options: argparse.Namespace,
    seconds: float,
) -> None:
    rows = [
        (o.case.victim, o.case.file, o.case.damage, o.case.command, o.verdict, o.said)
        for o in outcomes
    ]
    frame = pd.DataFrame(rows, columns=["victim", "file", "damage", "command", "verdict", "said"])
    if options.report:
        frame.to_csv(options.report, index=False)
    if options.case:
        print(*rows[0], sep="\n")
        return
    print(frame.groupby(["victim", "command"])["verdict"].value_counts().unstack(fill_value=0))
    faults = [o for o in outcomes if o.verdict in FAULTS]
    for fault in faults[:_SHOWN]:
        print(f"{fault.verdict}: {fault.said[:200]!r}")
        print(f"  python -m tests.attack --seed {options.seed} --case {fault.case.name!r}")
    wrong = [(name, said) for name, ok, said in limits if not ok]
    for name, said in wrong[:_SHOWN]:
        print(f"limit: {name}: {said[:200]}")
    counts = Counter(o.verdict for o in outcomes)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts))
    print(f"{len(outcomes)} cases in {seconds:.0f} s: {told}")
    if limits:
        print(f"{len(limits)} settings and options at their limits: {len(wrong)} wrong")


if __name__ == "__main__":
    raise SystemExit(main())
