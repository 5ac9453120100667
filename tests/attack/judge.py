"""One case: a damaged victim, a command, and what is to be said of the outcome."""

import contextlib
import hashlib
import random
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.attack.commands import (
    ASKS_FOR_DAMAGE,
    COMMANDS,
    Broken,
    Refused,
    TooLongError,
    limited,
)
from tests.attack.damages import Kind, kinds_of
from tests.attack.victims import Victim

Verdict = Literal[
    "refused", "equal", "unknowable", "unnamed", "silent", "outside", "traceback", "hangs"
]
FAULTS: tuple[Verdict, ...] = ("traceback", "hangs", "silent", "outside", "unnamed")
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Case:
    """Which file of which victim is damaged how, and what is done then."""

    victim: str
    file: str
    damage: str
    command: str

    @property
    def name(self) -> str:
        """What ``--case`` takes."""
        return "@".join((self.victim, self.file, self.damage, self.command))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    case: Case
    verdict: Verdict
    said: str


def cases(victim: Victim) -> Iterator[Case]:
    """Go through all cases of a victim."""
    for file in victim.files:
        for kind in kinds_of(victim.folder / file):
            for name in COMMANDS[victim.kind]:
                yield Case(victim.name, file, kind.name, name)


class Arena:
    """Where cases are fought: a folder with a guard around the victim.

    What each command gives of the undamaged victim is worked out once.
    """

    def __init__(self, place: Path, *, seed: int) -> None:
        self.place, self.seed = place, seed
        self._whole: dict[tuple[str, str], str] = {}

    def judge(self, victim: Victim, case: Case) -> Outcome:
        """Damage a copy of the victim, do the command, judge."""
        kinds = {kind.name: kind for kind in kinds_of(victim.folder / case.file)}
        kind = kinds[case.damage]
        whole = self._given(victim, case.command)
        folder = self._copy(victim)
        draw = random.Random(f"{self.seed} {case.victim} {case.file} {case.damage}")
        canary = self.place / "canary"
        canary.write_bytes(b"canary")
        kind.apply(folder / case.file, canary, draw)
        before = self._outside()
        verdict, said = self._verdict(victim, case, kind, whole)
        if self._outside() != before:
            return Outcome(case, "outside", said)
        return Outcome(case, verdict, said)

    def _verdict(self, victim: Victim, case: Case, kind: Kind, whole: str) -> tuple[Verdict, str]:
        try:
            given = self._done(victim, case.command)
        except Refused as error:
            return self._named(case, str(error)), str(error)
        except Broken as error:
            return "traceback", str(error)
        except TooLongError:
            return "hangs", f"more than {_SECONDS} s"
        if case.command in ASKS_FOR_DAMAGE:
            silent = victim.listed and self._differs(victim, case)
        else:
            silent = given != whole
        if not silent:
            return "equal", ""
        return ("silent" if victim.listed or kind.shows else "unknowable"), given[:200]

    def _differs(self, victim: Victim, case: Case) -> bool:
        path = self.place / "victim" / case.file
        if path.is_symlink() or not path.is_file():
            return True
        return path.read_bytes() != (victim.folder / case.file).read_bytes()

    def _named(self, case: Case, said: str) -> Verdict:
        """Whether an error names the file, or at least the run where the file is simply not there."""
        said = said.replace("\n", "")
        names = [Path(case.file).name, "victim"]
        if case.command in ASKS_FOR_DAMAGE and case.file.endswith("manifest.jsonl"):
            names.append("not of this run")  # a shorter list, and the files that are not on it
        return "refused" if any(name in said for name in names) else "unnamed"

    def _given(self, victim: Victim, name: str) -> str:
        key = victim.name, name
        if key not in self._whole:
            self._copy(victim)
            try:
                self._whole[key] = self._done(victim, name)
            except Refused as error:
                self._whole[key] = f"refused: {error}"
        return self._whole[key]

    def _done(self, victim: Victim, name: str) -> str:
        with limited(_SECONDS), contextlib.chdir(self.place), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return COMMANDS[victim.kind][name](self.place / "victim")

    def _copy(self, victim: Victim) -> Path:
        for name in ("victim", "new"):
            shutil.rmtree(self.place / name, ignore_errors=True)
        (self.place / "new.parquet").unlink(missing_ok=True)
        return Path(shutil.copytree(victim.folder, self.place / "victim"))

    def _outside(self) -> dict[str, str]:
        """Return all files around the victim with the hash of their content."""
        found = {}
        for path in sorted(self.place.rglob("*")):
            name = path.relative_to(self.place).as_posix()
            if name.split("/")[0] not in {"victim", "new", "new.parquet"} and path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found
