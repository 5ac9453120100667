"""A fast sample of the attack: the whole of it is ``python -m tests.attack --all``."""

import random

import pytest

from tests.attack.judge import FAULTS, Arena, cases
from tests.attack.limits import attack_settings
from tests.attack.victims import victims

_CASES = {"load": 120, "check": 20, "split": 15, "override": 10, "PartitionExplorer": 8}


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    return Arena(tmp_path_factory.mktemp("arena"), seed=0)


@pytest.mark.parametrize("name", ["run", "old"])
def test_a_damaged_run_is_refused_or_gives_the_same_numbers(name, tiny_folder, arena, tmp_path):
    victim = victims(tmp_path, finished=tiny_folder, only=name)[name]
    chosen = random.Random(0).sample(list(cases(victim)), 4000)
    wanted = dict(_CASES)
    outcomes = []
    for case in chosen:
        if wanted.get(case.command, 0):
            wanted[case.command] -= 1
            outcomes.append(arena.judge(victim, case))

    wrong = [(o.verdict, o.case.name, o.said[:200]) for o in outcomes if o.verdict in FAULTS]
    assert not wrong
    assert len(outcomes) == sum(_CASES.values())
    assert sum(o.verdict == "refused" for o in outcomes) > 50


@pytest.mark.parametrize("name", ["tables", "images"])
def test_damaged_tables_and_images_are_refused_or_read_alike(name, arena, tmp_path):
    victim = victims(tmp_path, only=name)[name]
    chosen = random.Random(1).sample(list(cases(victim)), 25)

    outcomes = [arena.judge(victim, case) for case in chosen]

    wrong = [(o.verdict, o.case.name, o.said[:200]) for o in outcomes if o.verdict in FAULTS]
    assert not wrong


def test_settings_at_their_limits_are_taken_and_beyond_them_refused():
    wrong = [(name, said) for name, ok, said in attack_settings() if not ok]

    assert not wrong
