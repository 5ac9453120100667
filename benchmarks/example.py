"""Make the finished run that ships with the toolkit: data/example_run.

python -m benchmarks.example

The demo's method and budget, with half its channels and few probe images, so that settings, tree,
kept distances, scores and weights fit in 3 MB.
"""

import shutil
import tempfile
from pathlib import Path

import naslid_toolkit as nl

PLACE = Path(__file__).parents[1] / "data" / "example_run"
MOST = 3_000_000  # bytes
SPLIT = {"contexts": 2, "probe_batches": 1, "probe_points": 40, "k": 10}


def main() -> None:
    config = nl.RunConfig.preset("demo", network={"channels": 4}, split=SPLIT)
    truth = nl.load_truth(config)
    assert truth is not None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "run"
        with nl.ProgressDisplay() as show:
            run = nl.few_shot_search(
                config, architectures=truth.accuracy.index, out=made, device="cpu", on_event=show
            )
        size = sum(file.stat().st_size for file in made.rglob("*"))
        assert size <= MOST, f"{size} bytes"
        shutil.rmtree(PLACE, ignore_errors=True)
        shutil.copytree(made, PLACE, ignore=shutil.ignore_patterns(".lock"))
    print(run.compare(truth.accuracy)[["method", "tau", "low", "high"]].round(3).to_string())
    print(f"{PLACE}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
