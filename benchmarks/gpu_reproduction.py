r"""Do as much of the study on a GPU as some minutes allow; the same command goes on later.

python -m benchmarks.gpu_reproduction --minutes 600 --resume

The rows are the files of configs/gpu, in the order of their names; every row is run with the
first seed before any with the second. A run that is cut off goes on from its last epoch. Memory
of the criteria is measured last. What is finished is written to docs/results.md after every run.
"""

from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.reported import replace_section, write_section
from benchmarks.reproduction import COLUMN, CONFIGS, TRUTH, arguments, plan, run_jobs
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.evaluation.benchmark import load_reference
from naslid_toolkit.partition.cost import compare_costs
from naslid_toolkit.runtime import replacing
from naslid_toolkit.search.steps import resolve_device
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.tables import cost_table, markdown

COMMAND: Final = "python -m benchmarks.gpu_reproduction --minutes M --resume"
TITLE: Final = "CIFAR-10 on a GPU"
MEMORY: Final = "Memory of the criteria on a GPU"
PIXELS: Final = (32, 224)


def measure_memory(out: Path, device: str, page: Path, pixels: tuple[int, ...]) -> None:
    """Measure LID and gradient matching: both image sizes, single path and full supernet."""
    path = out / "costs.parquet"
    if not path.exists():
        costs = compare_costs(nasbench201(), pixels=pixels, device=resolve_device(device))
        with replacing(path) as temporary:
            costs.to_parquet(temporary)
    text = f"""NAS-Bench-201, 16 channels, 5 cells a stage. MB: peak of all tensors beside weights
and images, share: of gradient matching's; "~": extended from smaller batches.

{markdown(cost_table(pd.read_parquet(path)))}"""
    replace_section(page, MEMORY, text)


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(cells=0, minutes=600.0)
    parser.add_argument("--configs", type=Path, default=CONFIGS / "gpu", help="folder of the rows")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the runs")
    parser.add_argument("--resume", action="store_true", help="go on with what --out holds")
    parser.add_argument("--pixels", type=int, nargs="+", default=PIXELS, help="for the memory")
    options = parser.parse_args()
    if options.out.exists() and not options.resume:
        raise SystemExit(f"{options.out} is there already; add --resume to go on with it")
    rows = sorted(options.configs.glob("*.toml"))
    if not rows:
        raise ConfigError(f"{options.configs} holds no settings (*.toml)")
    truth = options.data / TRUTH
    jobs = plan(rows, options, load_reference(truth, column=COLUMN).accuracy)
    for seed in range(options.seeds):
        for row in jobs.values():
            if run_jobs([row[seed]], 1):
                write_section(TITLE, jobs, truth, options.report, command=COMMAND)
    if all(job.done for row in jobs.values() for job in row):
        measure_memory(options.out, options.device, options.report, tuple(options.pixels))


if __name__ == "__main__":
    main()
