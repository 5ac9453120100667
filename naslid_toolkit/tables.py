"""Results as tables of text: of an evaluation, a study of criteria, and measured costs."""

import math
from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import pandas as pd
from pandas.io.formats.style import Styler

from naslid_toolkit.evaluation.alignment import LeftOut
from naslid_toolkit.evaluation.benchmark import ReferenceTable
from naslid_toolkit.evaluation.panel import Evaluation
from naslid_toolkit.evaluation.verdicts import (
    LEVEL,
    ON_THESE_WEIGHTS,
    RESERVATION,
    difference_text,
    name_of_test,
    over_seeds,
)
from naslid_toolkit.search.study import Study

Agreement: TypeAlias = bool | tuple[float, float] | None
Finding: TypeAlias = tuple[str, Agreement] | tuple[str, Agreement, int]


def findings(found: Mapping[str, Finding]) -> Styler:
    """Return the closing table of an experiment: what was expected, what was found, the verdict.

    Parameters
    ----------
    found
        For each expectation what was found, in words, and whether that agrees: True or False; or
        an interval ``(low, high)`` of a quantity that was expected to be positive, which decides
        nothing where it holds 0; or None where nothing is decided. As a third part the number
        of seeds (trainings) that this rests on: 1 or, with several, what a test over seeds says.
        An interval without it is taken for one of a single training; other statements without
        it are for facts that no training enters.

    Returns
    -------
    Styler
        Columns ``expected``, ``found`` and ``verdict``: "as expected", "otherwise" (in bold) or
        "not decided"; the first two with what they hold for, "on these weights" or "over 3
        seeds". The record is in its ``data``.

    Examples
    --------
    >>> closing = findings({"a split ranks better": ("by -0.07", (-0.10, -0.04))})
    >>> closing.data["verdict"].tolist()
    ['otherwise, on these weights']
    """
    rows = [(name, words, _verdict(*agrees)) for name, (words, *agrees) in found.items()]
    frame = pd.DataFrame(rows, columns=["expected", "found", "verdict"])
    bold = frame.style.format(escape="html").map(
        lambda verdict: "font-weight: bold" if verdict.startswith("otherwise") else "",
        subset=["verdict"],
    )
    return bold.set_table_styles([{"selector": "th, td", "props": [("text-align", "left")]}]).hide(
        axis="index"
    )


def _verdict(agrees: Agreement, seeds: int | None = None) -> str:
    if isinstance(agrees, tuple):
        low, high = agrees
        agrees = None if math.isnan(low) or low <= 0 <= high else low > 0
        seeds = seeds or 1
    if agrees is None:
        return "not decided"
    word = "as expected" if agrees else "otherwise"
    if seeds is None:
        return word
    return f"{word}, {ON_THESE_WEIGHTS if seeds == 1 else f'over {seeds} seeds'}"


def panel_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return an evaluation as one table of text: methods, baselines, then the labels' ceilings."""
    rows = []
    picks = evaluation.picks
    for method, part in evaluation.correlations.groupby("method", sort=False):
        name = f"{method} (untrained)" if part["baseline"].iloc[0] else str(method)
        row = {"method": name, **_tau_cells(part)}
        row["Spearman"] = f"{part['spearman'].iloc[0]:.3f}"
        for pick in picks[picks["method"] == method].itertuples(index=False):
            label = "pick" if pick.k == 1 else f"best of {pick.k}"
            row[label] = f"{pick.accuracy:.4f}"
        rows.append(row)
    for method, part in evaluation.ceilings.groupby("method", sort=False):
        rows.append({"method": f"ceiling: {method}", **_tau_cells(part)})
    return pd.DataFrame(rows).fillna("")


def _tau_cells(part: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for row in part.itertuples(index=False):
        name = "tau, all" if row.top == 1 else f"top {row.top:.0%}"
        cells[name] = f"{row.tau:.3f} [{row.low:.3f}, {row.high:.3f}]"
    return cells


def panel_lines(evaluation: Evaluation) -> list[str]:
    """Return the protocol of an evaluation, its tests and its intervals over label seeds."""
    protocol = evaluation.protocol
    lines = [
        f"{protocol['architectures']} architectures, labels: mean over {protocol['seeds']} "
        f"seed(s); isomorphic cells: {protocol['isomorphic']}. Brackets: 95 % bootstrap over "
        f"architectures, {protocol['resamples']} resamples. 'best of' k lets the reference choose "
        f"among the k largest scores: an oracle."
    ]
    lines += LeftOut(**protocol["left_out"]).lines()
    if not protocol["baselines"]:
        lines.append("No untrained baselines: they are known of cells of NAS-Bench-201 alone.")
    whole = evaluation.correlations[evaluation.correlations["top"] == 1]
    known = whole[~whole["baseline"] & whole["seed_low"].notna()]
    lines += [
        f"Over the seeds of the labels tau of {row.method} varies within "
        f"[{row.seed_low:.3f}, {row.seed_high:.3f}]."
        for row in known.itertuples(index=False)
    ]
    for row in evaluation.differences.to_dict("records"):
        numbers = row["difference"], row["low"], row["high"]
        told = difference_text(row["method"], row["against"], *numbers)
        lines.append(f"{told}, p = {row['p_holm']:.3g} (Holm).")
    if len(evaluation.differences):
        lines.append(f"A difference holds {ON_THESE_WEIGHTS} alone: {RESERVATION}.")
    return lines


def study_table(study: Study, judged: pd.DataFrame, reference: ReferenceTable) -> pd.DataFrame:
    """Return how the arms of a study rank, as one table of text, the largest tau first.

    Parameters
    ----------
    study
        The arms' scores and costs.
    judged
        What :func:`~naslid_toolkit.search.judging.judge_study` says of it.
    reference
        Reference accuracies, for those of the picks.
    """
    picks = study.costs.assign(pick=study.costs["pick"].map(reference.accuracy))
    accuracy = picks.groupby("arm")["pick"].mean()
    rows = []
    for arm in _by_tau(judged):
        row = {"criterion": arm}
        for part in judged[judged["arm"] == arm].itertuples(index=False):
            name = "tau, all" if part.top == 1 else f"top {part.top:.0%}"
            row[name] = f"{part.tau:.3f} [{part.low:.3f}, {part.high:.3f}]"
            if part.top == 1:
                row["sd"] = f"{part.sd:.3f}".replace("nan", "")
        row["pick"] = f"{accuracy[arm]:.4f}" if arm in accuracy.index else ""
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def study_costs(
    study: Study,
    judged: pd.DataFrame,
    first: str,
    *,
    memory: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return the paired tests of a study and what each arm cost, as one table of text.

    Parameters
    ----------
    study, judged
        As of :func:`study_table`.
    first
        The arm that is compared with the others.
    memory
        Megabytes of measuring edges by arm, as
        :func:`~naslid_toolkit.search.judging.splitting_memory` gives them.
    """
    columns = ["steps", "leaves", "train_seconds", "split_seconds"]
    means = study.costs.groupby("arm")[columns].mean().T.to_dict()
    tests = judged[judged["top"] == 1].set_index("arm").T.to_dict()
    test = name_of_test(int(judged["seeds"].iloc[0]))
    heads = [f"{first} minus it", "sd of that", f"p ({test})"]
    rows = []
    for arm in _by_tau(judged):
        tested = tests[arm]
        row = {"criterion": arm, **dict.fromkeys(heads, "")}
        if arm != first:
            row |= dict(zip(heads, _test_cells(tested), strict=True))
        if arm in means:
            cost = means[arm]
            row |= {"steps": f"{cost['steps']:,.0f}", "leaves": f"{cost['leaves']:.0f}"}
            row |= {"training s": f"{cost['train_seconds']:.0f}"}
            row |= {"splitting s": f"{cost['split_seconds']:.1f}"}
            if memory is not None:
                row["splitting MB"] = f"{memory[arm]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _test_cells(tested: Mapping[Hashable, Any]) -> list[str]:
    """Return a difference, its spread between seeds and its p-value; of one seed the first."""
    if tested["seeds"] == 1:
        return [f"{tested['difference']:+.3f}", "", ""]
    interval = f"[{tested['difference_low']:+.3f}, {tested['difference_high']:+.3f}]"
    difference = f"{tested['difference']:+.3f} {interval}"
    return [difference, f"{tested['difference_sd']:.3f}", f"{tested['p_holm']:.2g}"]


def study_lines(judged: pd.DataFrame, first: str, reference: ReferenceTable) -> list[str]:
    """Return the protocol of a study and the place of its first arm."""
    whole = judged[judged["top"] == 1]
    trained = whole[~whole["arm"].str.contains("untrained")].sort_values("tau", ascending=False)
    place = trained["arm"].tolist().index(first) + 1
    own = trained.iloc[place - 1]
    seeds = int(own["seeds"])
    brackets = (
        f"Means over {seeds} seeds; brackets: 95 % over seeds (t, S = {seeds}) and architectures "
        f"together; sd: between seeds."
    )
    if seeds == 1:
        brackets = f"One seed; brackets: 95 % bootstrap over architectures, {ON_THESE_WEIGHTS}."
    return [
        f"{first}: place {place} of {len(trained)} trained methods (tau {own['tau']:.3f}); "
        f"{_tested_words(trained[trained['arm'] != first], seeds)}.",
        f"{own['architectures']} architectures, reference {reference.column} of "
        f"{reference.source} ({reference.rows} label seeds). {brackets}",
    ]


def _tested_words(others: pd.DataFrame, seeds: int) -> str:
    """Say which arms the first one is better and worse than, where the test shows it."""
    if seeds == 1:
        return f"one seed, so there is no test; {RESERVATION}"
    shown = others[others["p_holm"] < LEVEL]
    beaten = shown[shown["difference"] > 0]["arm"].tolist()
    better = shown[shown["difference"] < 0]["arm"].tolist()
    return (
        f"better at 5 % ({name_of_test(seeds)}) than: {', '.join(beaten) or 'none'}; "
        f"worse than: {', '.join(better) or 'none'}"
    )


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """Return measured costs of sweeps as one table of text.

    Parameters
    ----------
    costs
        As :func:`~naslid_toolkit.partition.cost.compare_costs` gives them.
    """
    about = costs["scaled"].map({True: "~", False: ""})
    return pd.DataFrame(
        {
            "other edges": costs["others"].map({"path": "single path", "all": "full supernet"}),
            "pixels": costs["pixels"].astype(str),
            "batch": costs["batch"].astype(str),
            "measured": costs["criterion"],
            "MB": about + costs["megabytes"].map("{:,.1f}".format),
            "share": costs["share"].map("{:.1%}".format),
            "seconds": about + costs["seconds"].map("{:,.1f}".format),
        }
    )


def separability_tables(
    variances: pd.DataFrame, stabilities: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how clearly criteria separate operations, as two tables of text.

    Parameters
    ----------
    variances, stabilities
        As :func:`~naslid_toolkit.search.judging.separability` gives them.

    Returns
    -------
    tuple of pandas.DataFrame
        Variance of the cosines by edge and arm, and shares of resamples, each as mean over
        seeds with 95 % interval (Student's t over seeds).
    """
    rows = []
    for edge, part in variances.groupby("edge", sort=False):
        by_arm = part.groupby("arm", sort=False)["cosine"]
        rows.append({"edge": str(edge), **{str(a): _mean_text(v, 5) for a, v in by_arm}})
    stable = []
    for arm, part in stabilities.groupby("arm", sort=False):
        shares = {
            name: _mean_text(part[name], 2) for name in ("same_edge", "same_groups", "same_split")
        }
        stable.append({"criterion": str(arm), "edges split": ", ".join(part["edge"]), **shares})
    return pd.DataFrame(rows), pd.DataFrame(stable)


def _mean_text(values: pd.Series, digits: int) -> str:
    """Return the mean over seeds with its 95 % interval."""
    found = over_seeds(values)
    if math.isnan(found.high):  # one seed, or equal numbers
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ± {found.high - found.mean:.{digits}f}"


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of text in Markdown.

    Examples
    --------
    >>> print(markdown(pd.DataFrame({"a": ["x"], "b": ["1"]})))
    | a | b |
    | --- | --- |
    | x | 1 |
    """
    rows = [list(map(str, frame)), ["---"] * len(frame.columns)]
    rows += [[str(v).replace("|", "\\|") for v in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _by_tau(judged: pd.DataFrame) -> list[str]:
    whole = judged[judged["top"] == 1].sort_values("tau", ascending=False)
    return [str(arm) for arm in whole["arm"]]
