"""Make what ships for looking at without training: a finished run, and a study.

python -m benchmarks.example run

writes data/example_run: the demo's method and budget, with half its channels and few probe images,
so that settings, tree, kept distances, scores and weights fit in 3 MB.

naslid compare --preset demo --set split.keep_distances=false --seeds 3 --out runs/study
naslid compare-cost --device cpu --csv runs/costs.csv
python -m benchmarks.example study runs/study runs/costs.csv

writes data/study_digits: the scores of all arms, costs, splits, separability, and memory.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit.search.judging import SEPARABILITY
from naslid_toolkit.search.study import folder_name, save_study

DATA = Path(__file__).parents[1] / "data"
MOST = 3_000_000  # bytes of each
SPLIT = {"contexts": 2, "probe_batches": 1, "probe_points": 40, "k": 10}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def ship(made: Path, name: str) -> None:
    size, place = size_of(made), DATA / name
    assert size <= MOST, f"{made}: {size} bytes"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made, place, ignore=shutil.ignore_patterns(".lock"))
    print(f"data/{name}: {size / 1e6:.2f} MB")


def ship_run() -> None:
    config = nl.RunConfig.preset("demo", network={"channels": 4}, split=SPLIT)
    truth = nl.load_truth(config)
    assert truth is not None
    with tempfile.TemporaryDirectory() as folder, nl.ProgressDisplay() as show:
        made = Path(folder) / "run"
        run = nl.few_shot_search(
            config, architectures=truth.accuracy.index, out=made, device="cpu", on_event=show
        )
        ship(made, "example_run")
    print(run.compare(truth.accuracy)[["method", "tau", "low", "high"]].round(3).to_string())


def ship_study(source: Path, costs: Path) -> None:
    arms = [arm for arm in nl.ARMS if any(source.glob(f"{folder_name(arm)}-seed*"))]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        save_study(nl.load_study(source, arms=arms), made)
        for name, frame in zip(SEPARABILITY, nl.separability(source), strict=True):
            frame.to_parquet(made / name)
        pd.read_csv(costs).drop(columns="seconds").to_parquet(made / "memory.parquet")
        ship(made, "study_digits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True, dest="what")
    parts.add_parser("run")
    study = parts.add_parser("study")
    study.add_argument("folder", type=Path, help="folder of 'naslid compare'")
    study.add_argument("costs", type=Path, help="file of 'naslid compare-cost --csv'")
    options = parser.parse_args()
    if options.what == "run":
        ship_run()
    else:
        ship_study(options.folder, options.costs)


if __name__ == "__main__":
    main()
