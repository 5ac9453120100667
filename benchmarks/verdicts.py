"""How often the tests find a difference where there is none, and one where there is one.

python -m benchmarks.verdicts [--studies 5000]

Reads the scores of the study that ships; nothing is trained. First what one training may say:
two seeds of one method, by the interval over architectures. Then the test over seeds: on the
study's own scores with the arms' names exchanged seed by seed, on made-up scores that go the
whole way (``judge_study``'s), and, many times, on differences with the spread of the study.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations, product
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.ranking import bootstrap_taus, tau_b
from naslid_toolkit.evaluation.verdicts import LEVEL, over_seeds, shared_variance
from naslid_toolkit.search.study import load_study
from naslid_toolkit.shipped import example_study

SEEDS: Final = (2, 3, 5, 10)
SPREADS: Final = (0.011, 0.018, 0.026)  # between seeds, of a paired difference
EFFECT: Final = 0.02
_ERROR: Final = 0.1  # of the estimate of the architectures' part, of one seed's variance


class Taus(NamedTuple):
    """Tau of every arm and seed, shape ``(arms, seeds)``, and of resamples before these axes."""

    own: np.ndarray
    drawn: np.ndarray


class Spread(NamedTuple):
    """Of the difference of two arms: between seeds, shared by them, and of one seed's cells."""

    seeds: float
    shared: float
    cells: float


def study_taus(resamples: int, top: float = 1.0) -> Taus:
    """Return the taus of the study that ships, within the best by reference."""
    scores, truth = load_study(example_study()).scores, load_reference(digits_truth_path())
    labels = truth.accuracy[scores.index].sort_values(kind="stable")
    labels = labels.iloc[-int(top * len(labels)) :]
    frame = scores.loc[labels.index].set_axis(range(scores.shape[1]), axis=1)
    drawn = bootstrap_taus(frame.assign(reference=labels), seed=0, resamples=resamples)
    own = np.array([tau_b(frame[column], labels) for column in frame])
    arms = scores.columns.get_level_values(0).nunique()
    return Taus(own.reshape(arms, -1), drawn.to_numpy().reshape(resamples, arms, -1))


def seeds_of_one_method(taus: Taus) -> tuple[int, int]:
    """Return how many pairs of seeds of one arm an interval over architectures tells apart."""
    told = 0
    pairs = [*combinations(range(taus.own.shape[1]), 2)]
    for arm, (first, second) in product(range(len(taus.own)), pairs):
        drawn = taus.drawn[:, arm, first] - taus.drawn[:, arm, second]
        low, high = np.percentile(drawn, [2.5, 97.5])
        told += bool(low > 0 or high < 0)
    return told, len(taus.own) * len(pairs)


def bootstrap_rejects(own: np.ndarray, drawn: np.ndarray, draw: np.random.Generator) -> bool:
    """Whether a bootstrap over seeds and architectures together leaves out zero."""
    chosen = draw.integers(len(own), size=(len(drawn), len(own)))
    low, high = np.percentile(np.take_along_axis(drawn, chosen, axis=1).mean(1), [2.5, 97.5])
    return bool(low > 0 or high < 0)


def t_rejects(own: np.ndarray, shared: float) -> bool:
    return bool(over_seeds(own, shared=shared).p_value < LEVEL)


def names_exchanged(taus: Taus) -> pd.Series:
    """Return the shares of rejections where two arms' names are exchanged seed by seed."""
    draw, rows = np.random.default_rng(0), []
    for first, second in combinations(range(len(taus.own)), 2):
        own = taus.own[first] - taus.own[second]
        drawn = taus.drawn[:, first] - taus.drawn[:, second]
        for signs in product((1, -1), repeat=len(own) - 1):
            some, parts = own * (1, *signs), drawn * (1, *signs)
            row = {"bootstrap of seeds and architectures": bootstrap_rejects(some, parts, draw)}
            rows.append(row | {"test over seeds": t_rejects(some, shared_variance(parts))})
    return pd.DataFrame(rows).mean()


def spread_of(taus: Taus) -> Spread:
    """Return the root mean squares, over all pairs of arms."""
    rows = []
    for first, second in combinations(range(len(taus.own)), 2):
        drawn = taus.drawn[:, first] - taus.drawn[:, second]
        own = taus.own[first] - taus.own[second]
        rows.append((own.var(ddof=1), shared_variance(drawn), drawn.var(0, ddof=1).mean()))
    return Spread(*np.sqrt(np.mean(rows, axis=0)))


def made_up(seeds: int, studies: int, cells: int = 150, resamples: int = 50) -> pd.Series:
    """Return rejections of studies with made-up scores of two equal methods.

    A score is the truth, an effect of each of thirty traits of a cell that the seed draws, one of
    the cell that the method draws, and noise.
    """
    draw, rows = np.random.default_rng(seeds), []
    for _ in range(studies):
        truth, traits = draw.normal(size=cells), draw.normal(size=(cells, 30))
        effects = traits @ draw.normal(0, 0.15, (30, 2 * seeds))
        methods = np.repeat(draw.normal(0, 0.3, (cells, 2)), seeds, axis=1)
        noise = draw.normal(0, 0.5, (cells, 2 * seeds))
        frame = pd.DataFrame(truth[:, None] + effects + methods + noise)
        own = np.array([tau_b(frame[column], truth) for column in frame]).reshape(2, seeds)
        drawn = bootstrap_taus(frame.assign(reference=truth), seed=0, resamples=resamples)
        change = drawn.to_numpy().reshape(resamples, 2, seeds)
        own, change = own[0] - own[1], change[:, 0] - change[:, 1]
        row = {"bootstrap of seeds and architectures": bootstrap_rejects(own, change, draw)}
        rows.append(row | {"test over seeds": t_rejects(own, shared_variance(change))})
    return pd.DataFrame(rows).mean()


def rejections(spread: Spread, seeds: int, studies: int, effect: float = 0.0) -> dict[str, float]:
    """Return the shares of rejections of many studies' differences."""
    draw = np.random.default_rng(seeds)
    common = draw.normal(effect, spread.shared, (studies, 1))
    own = common + draw.normal(0, spread.seeds, (studies, seeds))
    error = _ERROR * (spread.shared**2 + spread.cells**2)
    shared = (spread.shared**2 + draw.normal(0, error, studies)).clip(min=0)
    pairs = zip(own, shared, strict=True)
    tested = np.array([over_seeds(row, shared=part).p_value for row, part in pairs])
    alone = np.array([over_seeds(row).p_value for row in own])
    return {"test": float((tested < LEVEL).mean()), "plain t": float((alone < LEVEL).mean())}


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    shown = Table(*heads, title=title, title_justify="left")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5000, help="of each kind")
    studies = parser.parse_args().studies
    whole, best = study_taus(1000), study_taus(1000, top=0.1)
    told, pairs = seeds_of_one_method(whole)
    print(
        f"by the interval over architectures {told} of {pairs} pairs of seeds of one method differ"
    )
    for name, share in names_exchanged(whole).items():
        print(f"names exchanged seed by seed, three seeds: {share:.1%} rejected by the {name}")
    made = {seeds: made_up(seeds, max(studies // 20, 20)) for seeds in (3, 5)}
    for seeds, shares in made.items():
        words = "; ".join(f"{share:.1%} by the {name}" for name, share in shares.items())
        print(f"made-up scores of equal methods, {seeds} seeds: rejected {words}")
    kinds = {"all architectures": spread_of(whole), "best tenth": spread_of(best)}
    kinds["no shared part"] = kinds["all architectures"]._replace(shared=0.0)
    kinds["shared part alone"] = Spread(1e-6, kinds["best tenth"].shared, 0.0)
    rows = []
    for name, spread in kinds.items():
        found = [rejections(spread, seeds, studies) for seeds in SEEDS]
        parts = f"{spread.seeds:.4f}", f"{spread.shared:.4f}"
        shares = [f"{one['test']:.1%} ({one['plain t']:.1%})" for one in found]
        rows.append([name, *parts, *shares])
    names = [f"S = {seeds}" for seeds in SEEDS]
    heads = ["spread of", "between seeds", "shared", *names]
    table(
        "equal methods rejected at 5 % (in brackets: t test without the shared part)", heads, rows
    )
    rows = []
    for sd in SPREADS:
        spread = kinds["all architectures"]._replace(seeds=sd)
        found = [rejections(spread, seeds, studies, EFFECT)["test"] for seeds in SEEDS]
        rows.append([f"{sd}", *(f"{share:.0%}" for share in found)])
    table(f"a difference of {EFFECT} is found", ["sd between seeds", *names], rows)


if __name__ == "__main__":
    main()
