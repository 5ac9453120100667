"""What docs/results.md says about supernets on CIFAR-10: tables, curves, transfer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.cells import half_of
from naslid_toolkit.evaluation.baselines import trivial_scores
from naslid_toolkit.evaluation.benchmark import ReferenceTable, load_reference
from naslid_toolkit.evaluation.panel import BENCHMARK
from naslid_toolkit.evaluation.priors import combine
from naslid_toolkit.evaluation.ranking import tau_b
from naslid_toolkit.evaluation.verdicts import ON_THESE_WEIGHTS, RESERVATION
from naslid_toolkit.plots._theme import OTHER_STYLES, finish
from naslid_toolkit.runtime import read_json_lines
from naslid_toolkit.search.judging import judge_study
from naslid_toolkit.search.result import load_run
from naslid_toolkit.search.study import Study, collected_study
from naslid_toolkit.tables import markdown

if TYPE_CHECKING:
    from benchmarks.cells import Cells
    from benchmarks.reproduction import Job

PAGE: Final = Path(__file__).parents[1] / "docs" / "results.md"
COLUMNS: Final = {
    "CIFAR-10": "cifar10_test_200",
    "CIFAR-100": "cifar100_test_200",
    "ImageNet16-120": "imagenet16_test_200",
}
PRIOR: Final = " + convolution count"
TOPS: Final = (1.0, 0.5, 0.01)
CURVE: Final = "curve.jsonl"
USED: Final = "used.jsonl"


def replace_section(page: Path, title: str, text: str) -> None:
    """Put a section in place of the one with its title, or at the end of the page."""
    head, *parts = page.read_text(encoding="utf-8").split("\n## ")
    titles = [part.partition("\n")[0] for part in parts]
    section = f"{title}\n\n{text.strip()}\n"
    if title in titles:
        parts[titles.index(title)] = section
    else:
        parts.append(section)
    page.write_text(
        "\n\n## ".join(part.rstrip("\n") for part in [head, *parts]) + "\n", encoding="utf-8"
    )


def finished_study(jobs: Mapping[str, Sequence["Job"]]) -> Study | None:
    """Return the rows and seeds that are finished: of every row the seeds all rows have."""
    done = {row: {job.config.seed: job for job in some if job.done} for row, some in jobs.items()}
    done = {row: some for row, some in done.items() if some}
    if not done:
        return None
    seeds = sorted(set.intersection(*(set(some) for some in done.values())))
    runs = {
        (row, seed): load_run(some[seed].folder) for row, some in done.items() for seed in seeds
    }
    return collected_study(runs) if runs else None


def with_prior(scores: pd.DataFrame) -> pd.DataFrame:
    """Add to every column the sum of its ranks and those of the convolution count."""
    counts = trivial_scores(map(str, scores.index), BENCHMARK)["convolution_count"]
    columns = {}
    for row, seed in scores:
        both = pd.DataFrame({"score": scores[row, seed], "prior": counts})
        columns[row, seed] = scores[row, seed]
        columns[f"{row}{PRIOR}", seed] = combine(both, {"score": 1, "prior": 1}).scores
    return pd.DataFrame(columns)


def ranking_table(study: Study, cells: "Cells", truth: ReferenceTable) -> pd.DataFrame:
    """Tau of both halves, within the best, and the pick, of rows with and without the prior."""
    halves = {}
    for half, names in (("selection", cells.selection), ("reported", cells.reported)):
        scores = with_prior(study.scores.loc[list(names)])
        part = Study(scores, study.costs, study.splits)
        first = str(study.scores.columns[0][0])
        tops = TOPS if half == "reported" else TOPS[:1]
        judged = judge_study(part, truth, first=first, tops=tops, resamples=1000, seed=0)
        halves[half] = judged.set_index(["arm", "top"]), scores
    (selection, _), (reported, scores) = halves["selection"], halves["reported"]
    rows = []
    for arm in selection.sort_values("tau", ascending=False).index.get_level_values("arm"):
        whole = reported.loc[arm, 1.0]
        cells_of = {"row": arm, "tau, selection half": f"{selection.loc[arm, 1.0]['tau']:.3f}"}
        cells_of["tau, reported half"] = (
            f"{whole['tau']:.3f} [{whole['low']:.3f}, {whole['high']:.3f}]"
        )
        cells_of["sd"] = "" if np.isnan(whole["sd"]) else f"{whole['sd']:.3f}"
        cells_of["top 50%"] = f"{reported.loc[arm, 0.5]['tau']:.3f}"
        cells_of["top 1%"] = f"{reported.loc[arm, 0.01]['tau']:.3f}"
        picks = [truth.accuracy[scores[key].idxmax()] for key in scores if key[0] == arm]
        cells_of["pick"] = f"{100 * np.mean(picks):.2f}" if picks else ""
        rows.append(cells_of)
    return pd.DataFrame(rows)


def cost_rows(study: Study, jobs: Mapping[str, Sequence["Job"]]) -> pd.DataFrame:
    """What the rows cost, means over seeds."""
    rows = []
    for row, part in study.costs.groupby("arm", sort=False):
        folders = [job.folder for job in jobs[str(row)] if job.done]
        used = [pd.DataFrame(read_json_lines(folder / USED)) for folder in folders]
        config = jobs[str(row)][0].config
        rows.append(
            {
                "row": row,
                "steps": f"{part['steps'].mean():,.0f}",
                "epochs": str(config.total_epochs),
                "leaves": f"{part['leaves'].mean():.0f}",
                "training s": f"{part['train_seconds'].mean():,.0f}",
                "splitting s": f"{part['split_seconds'].mean():,.0f}",
                "all s": f"{np.mean([frame['seconds'].sum() for frame in used]):,.0f}",
                "largest s": f"{max(frame['seconds'].sum() for frame in used):,.0f}",
                "peak MB": f"{max(frame['megabytes'].max() for frame in used):,.0f}",
            }
        )
    return pd.DataFrame(rows)


def transfer_table(study: Study, cells: "Cells", path: Path) -> pd.DataFrame:
    """Tau of the same scores against the other datasets' columns, reported half."""
    scores = with_prior(study.scores.loc[list(cells.reported)])
    table: dict[str, dict[str, str]] = {}
    for dataset, column in COLUMNS.items():
        accuracy = load_reference(path, column=column).accuracy[scores.index]
        for arm in dict.fromkeys(str(key[0]) for key in scores):
            taus = [tau_b(scores[key], accuracy) for key in scores if key[0] == arm]
            spread = f" ± {np.std(taus, ddof=1):.3f}" if len(taus) > 1 else ""
            table.setdefault(arm, {"row": arm})[dataset] = f"{np.mean(taus):.3f}{spread}"
    return pd.DataFrame(list(table.values()))


def curves(jobs: Mapping[str, Sequence["Job"]], accuracy: pd.Series) -> pd.DataFrame:
    """Tau along the trainings of single supernets, on the reported half: row, seed, epoch, tau."""
    rows = []
    for row, some in jobs.items():
        for job in some:
            for point in read_json_lines(job.folder / CURVE):
                scores = pd.Series(point["scores"])
                reported = scores[scores.index.map(half_of) == 1]
                tau = tau_b(reported, accuracy[reported.index])
                rows.append({"row": row, "seed": job.config.seed, "epoch": point["epoch"]})
                rows[-1]["reported"] = tau
    return pd.DataFrame(rows)


def curve_table(points: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of tau on the reported half, one line an epoch."""
    wide = points.pivot_table(index="epoch", columns="row", values="reported")
    return wide.map("{:.3f}".format).reset_index().astype({"epoch": str}).rename_axis(columns=None)


def curve_figure(points: pd.DataFrame) -> go.Figure:
    """Tau of the reported half over epochs: every seed, thin, and their mean."""
    figure = go.Figure()
    for place, (row, part) in enumerate(points.groupby("row", sort=False)):
        style = OTHER_STYLES[place % len(OTHER_STYLES)]
        for _, one in part.groupby("seed"):
            figure.add_scatter(
                x=one["epoch"],
                y=one["reported"],
                mode="lines",
                line={"color": style.colour, "width": 1, "dash": style.dash},
                opacity=0.4,
                showlegend=False,
            )
        mean = part.groupby("epoch")["reported"].mean()
        figure.add_scatter(
            x=mean.index,
            y=mean,
            mode="lines+markers",
            name=f"{row} ({', '.join(f'seed {seed}' for seed in sorted(set(part['seed'])))})",
            line={"color": style.colour, "width": 2.5, "dash": style.dash},
            marker={"symbol": style.marker, "size": 8},
        )
    figure.update_xaxes(title="epochs of training", rangemode="tozero")
    figure.update_yaxes(title="Kendall's tau-b, reported half")
    figure.update_layout(showlegend=True, legend={"x": 0.98, "y": 0.06, "xanchor": "right"})
    return finish(figure, title="Ranking along the training of single supernets")


def brackets(seeds: int) -> str:
    """Say what the intervals of a section are over."""
    if seeds == 1:
        return f"over cells, {ON_THESE_WEIGHTS}; {RESERVATION}"
    return f"over seeds (t, S = {seeds}) and cells together"


def write_section(
    title: str, jobs: Mapping[str, Sequence["Job"]], path: Path, page: Path, *, command: str
) -> None:
    """Write what is finished into a section of a page, with the figure of the curves beside it."""
    study, truth = finished_study(jobs), load_reference(path, column=COLUMNS["CIFAR-10"])
    if study is None:
        print("no row is finished with any seed; nothing is reported")
        return
    cells = next(iter(jobs.values()))[0].cells
    seeds = sorted(study.costs["seed"].unique())
    waiting = [row for row in jobs if row not in set(study.costs["arm"])]
    text = [
        f"""`{command}`

A row is a file of settings in `configs/`. Every supernet scores {len(cells.selection):,} cells of
the selection half of NAS-Bench-201, by which settings were chosen, and {len(cells.reported):,} of
the reported half, on validation images that were not trained on. Isomorphic cells are in the same
half, which makes the halves differ, as the untrained scores show. Tau: Kendall's tau-b against the
test accuracy after 200 epochs, mean over seeds ({", ".join(map(str, seeds))}); brackets: 95 %
{brackets(len(seeds))}; sd: between seeds; pick: reference accuracy (%) of the
cell of the reported half with the largest score, the best being
{100 * truth.accuracy[list(cells.reported)].max():.2f}. `+ convolution count`: the sum of a row's
ranks and those of the longest chain of convolutions (ties by size), a prior that was declared
beforehand, with equal weights; `(untrained)`: scores without training.""",
        markdown(ranking_table(study, cells, truth)),
        """Cost, means over seeds (`all s`: with images, curves and scores, the longest beside it;
weights that rows share are trained once, in the first of them):""",
        markdown(cost_rows(study, jobs)),
        "The same scores against the test accuracies on other data (tau, reported half, ± sd):",
        markdown(transfer_table(study, cells, path)),
    ]
    if len(study.splits):
        splits = study.splits.assign(groups=study.splits["groups"].map(str))
        text += ["Splits:", markdown(splits[["arm", "seed", "node", "edge", "groups"]].astype(str))]
    points = curves(jobs, truth.accuracy)
    if len(points):
        picture = page.parent / "images" / f"{next(iter(jobs))}_curves.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        curve_figure(points).write_image(picture, width=760, height=420, scale=1.5)
        shown = len(cells.on_curve().reported)
        text += [
            f"Tau along the training of single supernets ({shown} cells of the reported half):",
            f"![Tau over the epochs of training](images/{picture.name})",
            markdown(curve_table(points)),
        ]
    if waiting:
        text.append(f"Not finished: {', '.join(waiting)}.")
    replace_section(page, title, "\n\n".join(text))
    print(f"wrote {page}")
