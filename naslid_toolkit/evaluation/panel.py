"""The whole judgement of scores against a table of reference accuracies, in one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import torch

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.alignment import (
    LeftOut,
    by_cell,
    cell_of,
    cell_or_name,
    comparable,
    table_by_cell,
)
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.labels import noisy_labels
from naslid_toolkit.evaluation.notations import is_cell
from naslid_toolkit.evaluation.ranking import (
    Values,
    aligned,
    bootstrap_taus,
    dense_ranks,
    linear_correlation,
    tau_b,
)
from naslid_toolkit.evaluation.verdicts import ON_THESE_WEIGHTS, RESERVATION
from naslid_toolkit.lid.bootstrap import holm
from naslid_toolkit.supernet.network import Skeleton

FRACTIONS: Final = (1.0, 0.5, 0.1, 0.01)
PICKS: Final = (1, 10, 100)
BENCHMARK: Final = Skeleton(affine=True)  # 16 channels, 5 cells
_LEAST: Final = 3  # architectures that can be ranked
_SEED_DRAWS: Final = 200  # resamples of a handful of seeds
_LABEL_DRAWS: Final = 50  # tables drawn for the ceiling of seed noise
_TIE_DRAWS: Final = 20  # orders among tied scores
Isomorphic = Literal["keep", "average"]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How scores rank architectures, with everything needed to judge the number.

    Parameters
    ----------
    correlations
        One row a method and top fraction (by reference): ``method``, ``baseline`` (whether it
        is a trivial one), ``top``, ``architectures``, ``tau`` (tau-b) with ``low`` and ``high``
        (95 % over architectures) and ``seed_low`` and ``seed_high`` (95 % over the seeds of the
        labels; NaN where the table has one), ``spearman``, ``pearson`` (NaN where a score is
        infinite).
    picks
        One row a method and ``k``: ``accuracy``, the best reference accuracy among the ``k``
        architectures with the largest scores, the mean over orders of tied scores; ``regret``,
        how far that is below the best of all. With ``k`` above 1 the choice within the ``k``
        uses the reference: an ``oracle`` step.
    differences
        The first method against every other: ``tau`` difference with paired 95 % interval over
        architectures, two-sided bootstrap ``p_value``, and that adjusted for the number of
        comparisons (``p_holm``). All of it holds for these scores, of one training each: two
        seeds of one method often differ by such an interval. Methods are compared over seeds,
        by :func:`~naslid_toolkit.search.judging.judge_study` (``naslid compare``).
    ceilings
        One row a kind and top fraction: ``seed noise``, the tau that true expected accuracies
        would reach with these labels; ``validation``, that of validation accuracies after
        training alone. ``low`` and ``high`` as for the methods.
    protocol
        What was compared with what: source, column, task, numbers, seeds, options, and for
        what the ``differences`` hold.
    """

    correlations: pd.DataFrame
    picks: pd.DataFrame
    differences: pd.DataFrame
    ceilings: pd.DataFrame
    protocol: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """Return all numbers as one tidy table: ``kind``, ``method``, ``measure``, ``value``."""
        keys = {
            "correlations": ["method", "top"],
            "picks": ["method", "k"],
            "differences": ["method", "against"],
            "ceilings": ["method", "top"],
        }
        parts = []
        for kind, key in keys.items():
            frame = getattr(self, kind)
            if len(frame):
                part = frame.melt(id_vars=key, var_name="measure", value_name="value")
                parts.append(part.assign(kind=kind))
        columns = ["kind", "method", "top", "k", "against", "measure", "value"]
        whole: pd.DataFrame = pd.concat(parts, ignore_index=True).reindex(columns=columns)
        return whole

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data; undefined numbers are None."""
        tables = {
            name: getattr(self, name).astype(object).where(getattr(self, name).notna(), None)
            for name in ("correlations", "picks", "differences", "ceilings")
        }
        return {
            "protocol": dict(self.protocol),
            **{name: table.to_dict("records") for name, table in tables.items()},
        }


def evaluate(
    scores: pd.DataFrame | Values | Mapping[str, pd.Series],
    truth: ReferenceTable | Values,
    *,
    seed: int,
    fractions: Sequence[float] = FRACTIONS,
    picks: Sequence[int] = PICKS,
    isomorphic: Isomorphic = "keep",
    baselines: Skeleton | None = BENCHMARK,
    resamples: int = 1000,
    strict: bool = False,
) -> Evaluation:
    """Judge one or several methods' scores against reference accuracies.

    Parameters
    ----------
    scores
        Scores by architecture, larger is better; of several methods a frame with one column
        each, or their scores by name. The first is the one whose differences are tested.
    truth
        Reference accuracies in [0, 1]. Compared are the architectures that have all scores and
        a reference; ``protocol["left_out"]`` counts the others.
    seed
        Seed of every resample.
    fractions
        Shares of architectures, best by reference, within which to compare; a fraction with
        fewer than three architectures is left out.
    picks
        Numbers of largest scores among which the best reference is taken.
    isomorphic
        ``"average"``: isomorphic cells count once, with their mean score and reference;
        ``"keep"``: every architecture counts. Where a table holds one architecture for all
        isomorphic ones, scores are averaged in either case. What counts once is what intervals
        resample: kept cells are taken for a random draw from all cells of the space.
    baselines
        The network whose parameters and multiply-accumulates the trivial baselines count; None
        leaves the baselines out, and so do names that are no cells of NAS-Bench-201. A method
        of a baseline's name stands in its place.
    resamples
        Bootstrap resamples over architectures.
    strict
        Whether a score that is NaN or has no reference is an error.

    Returns
    -------
    Evaluation
        One record; see there.

    Raises
    ------
    DataError
        If fewer than three architectures can be compared; or with ``strict`` if one cannot.
    SpaceError
        If isomorphic cells are asked for and no name is an architecture of NAS-Bench-201.
    ConfigError
        If a fraction, a pick or the number of resamples is out of range.
    """
    _check(fractions, picks)
    table = truth if isinstance(truth, ReferenceTable) else _bare(truth)
    methods = _methods(scores)
    own = [str(name) for name in methods]
    average = isomorphic == "average" or table.one_per_cell
    identity = cell_or_name if average else str
    methods, left = comparable(methods, table.accuracy, identity=identity, strict=strict)
    if baselines is not None:
        methods = _with_baselines(methods, table.accuracy, baselines)
    if average:
        methods, table = by_cell(methods), table_by_cell(table)
    frame = _aligned(methods, table, left)
    subsets = {top: _best(frame, top) for top in fractions}
    subsets = {top: part for top, part in subsets.items() if len(part) >= _LEAST}
    taus = {
        top: bootstrap_taus(part, seed=seed, resamples=resamples) for top, part in subsets.items()
    }
    correlations = _correlations(subsets, taus, table, own, seed)
    return Evaluation(
        correlations=correlations,
        picks=_picks(frame, picks, seed),
        differences=_differences(correlations, taus.get(1.0)),
        ceilings=_ceilings(subsets, table, seed, resamples),
        protocol={
            "source": table.source,
            "column": table.column,
            "task": table.task,
            "architectures": len(frame),
            "seeds": table.rows,
            "isomorphic": "average" if average else "keep",
            "resamples": resamples,
            "seed": seed,
            "differences": f"{ON_THESE_WEIGHTS}, over architectures; {RESERVATION}",
            "left_out": left.to_dict(),
            "baselines": [name for name in frame if name not in {*own, "reference"}],
        },
    )


def accuracy_of(table: ReferenceTable, architecture: str) -> float:
    """Return the reference accuracy of an architecture, or of the one that stands for its class.

    NaN where the table has neither.
    """
    name = architecture
    if table.one_per_cell and name not in table.accuracy.index:
        cell = cell_of(name)
        name = next((str(n) for n in table.accuracy.index if cell_of(str(n)) == cell), name)
    return float(table.accuracy.get(name, float("nan")))


def _check(fractions: Sequence[float], picks: Sequence[int]) -> None:
    wrong = [top for top in fractions if not 0 < top <= 1]
    if wrong or not fractions:
        raise ConfigError(f"fractions must lie in (0, 1], got {list(fractions)}")
    if any(k < 1 for k in picks):
        raise ConfigError(f"picks must be at least 1, got {list(picks)}")


def _bare(truth: Values) -> ReferenceTable:
    accuracy = pd.Series(truth, dtype=float)
    return ReferenceTable(accuracy, accuracy.to_frame("mean"), None, "reference", "")


def _methods(scores: pd.DataFrame | Values | Mapping[str, pd.Series]) -> pd.DataFrame:
    if isinstance(scores, Mapping) and any(isinstance(one, pd.Series) for one in scores.values()):
        scores = pd.DataFrame(dict(scores))
    if isinstance(scores, pd.DataFrame):
        return scores.rename(columns=str)
    return pd.Series(scores, dtype=float).to_frame("score")


def _with_baselines(
    methods: pd.DataFrame, reference: pd.Series, skeleton: Skeleton
) -> pd.DataFrame:
    """Add the trivial baselines, where all names that are compared are cells."""
    cells = [str(name) for name in methods.index if is_cell(str(name))]
    foreign = methods.index.difference(cells)
    if not cells or foreign.isin(reference.index).any():
        return methods
    trivial = trivial_scores(cells, skeleton)
    missing = [name for name in trivial if name not in methods]
    return (
        methods.join(trivial[missing]).loc[cells]
        if len(foreign)
        else methods.join(trivial[missing])
    )


def _aligned(methods: pd.DataFrame, table: ReferenceTable, left: LeftOut) -> pd.DataFrame:
    try:
        reference = table.accuracy.dropna()
        return aligned({str(name): methods[name] for name in methods}, reference)
    except DataError as error:
        for line in left.lines():
            error.add_note(line)
        raise


def _best(frame: pd.DataFrame, top: float) -> pd.DataFrame:
    """Return the best rows by reference; among equal ones the first by name."""
    order = np.argsort(-frame["reference"].to_numpy(), kind="stable")
    return frame.iloc[order[: int(top * len(frame) + 1e-9)]]


def _correlations(
    subsets: Mapping[float, pd.DataFrame],
    taus: Mapping[float, pd.DataFrame],
    table: ReferenceTable,
    own: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for top, part in subsets.items():
        over_seeds = _over_seeds(part, table, seed)
        for method in part.columns.drop("reference"):
            values, reference = part[method], part["reference"]
            rows.append(
                {
                    "method": method,
                    "baseline": method not in own,
                    "top": top,
                    "architectures": len(part),
                    "tau": tau_b(values, reference),
                    **_interval(taus[top][method]),
                    **_interval(over_seeds[method], "seed_"),
                    "spearman": linear_correlation(values.rank(), reference.rank()),
                    "pearson": linear_correlation(values, reference),
                }
            )
    order = list(dict.fromkeys(str(row["method"]) for row in rows))
    rows.sort(key=lambda row: order.index(str(row["method"])))
    return pd.DataFrame(rows)


def _interval(values: pd.Series, prefix: str = "") -> dict[str, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}


def _over_seeds(part: pd.DataFrame, table: ReferenceTable, seed: int) -> pd.DataFrame:
    """Return tau with labels from resampled seeds; NaN where there is one seed."""
    seeds = table.seeds.loc[part.index].to_numpy()
    methods = part.drop(columns="reference")
    if seeds.shape[1] < 2:
        return pd.DataFrame(np.nan, range(1), methods.columns)
    ranks = [dense_ranks(methods[name]) for name in methods]
    means = part["reference"].to_numpy()
    draw = np.random.default_rng(seed)
    taus = []
    for _ in range(_SEED_DRAWS):
        labels = _row_means(seeds[:, draw.integers(seeds.shape[1], size=seeds.shape[1])], means)
        order = np.argsort(labels, kind="stable")
        reference = dense_ranks(labels[order])
        taus.append([tau_b(column[order], reference) for column in ranks])
    return pd.DataFrame(taus, columns=methods.columns)


def _row_means(values: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return means without NaN; ``otherwise`` where a row has nothing else."""
    known = np.isfinite(values)
    sums = np.where(known, values, 0).sum(1)
    return np.where(known.any(1), sums / np.maximum(known.sum(1), 1), otherwise)


def _picks(frame: pd.DataFrame, picks: Sequence[int], seed: int) -> pd.DataFrame:
    reference = frame["reference"].to_numpy()
    rows = []
    for method in frame.columns.drop("reference"):
        draw = np.random.default_rng(seed)
        scores = frame[method].to_numpy()
        best = np.zeros(len(picks))
        for _ in range(_TIE_DRAWS):
            order = np.lexsort((draw.random(len(scores)), -scores))
            running = np.maximum.accumulate(reference[order])
            best += [running[min(k, len(scores)) - 1] for k in picks]
        for k, accuracy in zip(picks, (best / _TIE_DRAWS).tolist(), strict=True):
            regret = max(float(reference.max()) - accuracy, 0.0)
            rows.append(
                {"method": method, "k": k, "oracle": k > 1, "accuracy": accuracy, "regret": regret}
            )
    return pd.DataFrame(rows)


def _differences(correlations: pd.DataFrame, taus: pd.DataFrame | None) -> pd.DataFrame:
    columns = ["method", "against", "difference", "low", "high", "p_value", "p_holm"]
    if taus is None:
        return pd.DataFrame(columns=columns)
    first, *others = taus.columns
    whole = correlations[correlations["top"] == 1.0].set_index("method")["tau"]
    rows = []
    for other in others:
        drawn = taus[first] - taus[other]
        below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
        chance = min(1.0, 2 * (1 + min(below, above)) / (1 + len(drawn)))
        row = {"method": first, "against": other, "difference": whole[first] - whole[other]}
        rows.append({**row, **_interval(drawn), "p_value": chance})
    table = pd.DataFrame(rows, columns=columns[:-1])
    chances = table["p_value"].tolist()
    return table.assign(p_holm=holm(torch.tensor(chances, dtype=torch.float64)).tolist())


def _ceilings(
    subsets: Mapping[float, pd.DataFrame], table: ReferenceTable, seed: int, resamples: int
) -> pd.DataFrame:
    rows = []
    widest = subsets[max(subsets)] if subsets else pd.DataFrame()
    seeds = table.seeds.loc[widest.index]
    if seeds.shape[1] > 1 and seeds.notna().all(axis=1).sum() >= _LEAST:
        truth, tables = noisy_labels(seeds, seed=seed, draws=_LABEL_DRAWS)
        for top, part in subsets.items():
            count = max(_LEAST, round(len(part) / len(widest) * len(truth)))
            taus = pd.Series([_best_tau(truth, labels, count) for _, labels in tables.items()])
            row = {"method": "seed noise", "top": top, "architectures": count, "tau": taus.mean()}
            rows.append({**row, **_interval(taus)})
    if table.validation is not None:
        for top, part in subsets.items():
            both = aligned({"validation": table.validation.loc[part.index]}, part["reference"])
            taus = bootstrap_taus(both, seed=seed, resamples=resamples)["validation"]
            tau = tau_b(both["validation"], both["reference"])
            row = {"method": "validation", "top": top, "architectures": len(both), "tau": tau}
            rows.append({**row, **_interval(taus)})
    return pd.DataFrame(rows, columns=["method", "top", "architectures", "tau", "low", "high"])


def _best_tau(truth: pd.Series, labels: pd.Series, count: int) -> float:
    """Return tau of the truth with one drawn table, within its best rows."""
    best = np.argsort(-labels.to_numpy(), kind="stable")[:count][::-1]
    return tau_b(dense_ranks(truth.to_numpy()[best]), dense_ranks(labels.to_numpy()[best]))
