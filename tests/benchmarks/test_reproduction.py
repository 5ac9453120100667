"""The scripts behind docs/results.md, on a tiny budget."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks import cells, gpu_reproduction, reproduction
from benchmarks.reported import COLUMNS, replace_section
from naslid_toolkit.partition.cost import compare_costs
from naslid_toolkit.search.config import load_task
from naslid_toolkit.space.architecture import live_edges
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    benchmark_order,
    canonical_cell,
    format_architecture,
    nasbench201,
    parse_architecture,
)

ROW = """
data = "digits"
criterion = "random"
levels = {levels}
warmup_epochs = 1
[network]
channels = 2
cells = 1
[training]
epochs = {epochs}
batch_size = 600
sampler = "balanced"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a table that looks like the benchmark's; digits stand for its images."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    names = [format_architecture(a) for a in benchmark_order()]
    frame = pd.DataFrame({column: draw.uniform(30, 90, 15625) for column in COLUMNS.values()})
    frame.assign(arch=names).to_parquet(folder / reproduction.TRUTH)
    return folder


@pytest.fixture
def rows(tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "single.toml").write_text(ROW.format(levels=0, epochs=4))
    (folder / "tree.toml").write_text(ROW.format(levels=1, epochs=2) + "[split]\ngroups = 2\n")
    return folder


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("# Results\n\nWords.\n\n## Other\n\nStays.\n")
    return path


@pytest.fixture
def run(monkeypatch, data, page):
    """Run one of the scripts in this process, on the digits instead of the data's images."""
    pytest.importorskip("kaleido", reason="figures of the pages need kaleido, of the extra docs")

    def here(jobs, _workers):
        missing = [job for job in jobs if not job.done]
        for job in missing:
            reproduction.run_job(job)
        return len(missing)

    def read(path, _data, seed, cells):
        return read_row(path, None, seed, cells)

    read_row = reproduction.read_row
    monkeypatch.setattr(reproduction, "read_row", read)
    monkeypatch.setattr(reproduction, "run_jobs", here)
    monkeypatch.setattr(gpu_reproduction, "run_jobs", here)
    monkeypatch.setattr(cells, "_ON_CURVE", 8)
    monkeypatch.setattr(reproduction, "_POINTS", 2)

    def call(main, *arguments):
        common = ["--data", str(data), "--device", "cpu", "--cells", "60", "--report", str(page)]
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments), *common])
        main()
        return page.read_text()

    return call


def test_halves_are_fixed_and_hold_isomorphic_cells_together():
    names = [format_architecture(a) for a in nasbench201()][::7]
    halves = pd.Series({name: cells.half_of(name) for name in names})
    classes = pd.Series({name: canonical_cell(parse_architecture(name)) for name in names})

    assert 0.45 < halves.mean() < 0.55
    chosen = [[(operation,) for operation in parse_architecture(n).operations] for n in names]
    connected = pd.Series([any(live_edges(EDGES, each)) for each in chosen], names)
    assert (halves[connected].groupby(classes[connected]).nunique() == 1).all()
    assert 0.2 < halves[~connected].mean() < 0.8
    chosen = cells.choose_cells(pd.Series(0.9, names), 100)
    assert len(set(chosen.names)) == 200
    assert {halves[name] for name in chosen.selection} == {0}
    assert chosen == cells.choose_cells(pd.Series(0.9, names), 100)


def test_rows_are_trained_judged_and_reported(run, rows, tmp_path):
    out = tmp_path / "runs"
    arguments = [reproduction.main, rows / "single.toml", rows / "tree.toml"]
    arguments += ["--out", out, "--seeds", 2, "--title", "Trial"]

    text = run(*arguments)

    assert "## Other\n\nStays." in text
    section = text.split("## Trial")[1]
    for wanted in ("single + convolution count", "tree", "ImageNet16-120", "selection half"):
        assert wanted in section
    assert "root" in section  # the split of the tree
    assert (tmp_path / "images" / "single_curves.png").stat().st_size > 5000
    curve = (out / "single-seed0" / "curve.jsonl").read_text()
    assert curve.count("epoch") == 2
    assert run(*arguments) == text  # nothing is run again


def test_what_the_deadline_cuts_off_goes_on(run, rows, tmp_path):
    common = [reproduction.main, rows / "single.toml", "--seeds", 1, "--title", "Trial"]

    before = run(*common, "--out", tmp_path / "cut", "--minutes", 1e-9)
    after = run(*common, "--out", tmp_path / "cut")
    whole = run(*common, "--out", tmp_path / "whole")

    assert "Trial" not in before
    scores = [
        pd.read_parquet(tmp_path / name / "single-seed0" / "scores.parquet")
        for name in ("cut", "whole")
    ]
    pd.testing.assert_frame_equal(*scores)
    assert after.split("Cost")[0] == whole.split("Cost")[0]


def test_the_gpu_study_does_all_rows_and_the_memory(run, rows, tmp_path, monkeypatch):
    small = partial(compare_costs, channels=2, cells=1, batches=(4, 8), measured_pixels=8)
    monkeypatch.setattr(gpu_reproduction, "compare_costs", small)
    out = tmp_path / "gpu"
    arguments = [gpu_reproduction.main, "--configs", rows, "--out", out, "--seeds", 1]

    text = run(*arguments, "--pixels", 8, 16)

    assert "## CIFAR-10 on a GPU" in text
    assert "gradient" in text.split("## Memory of the criteria on a GPU")[1]
    with pytest.raises(SystemExit, match="add --resume"):
        run(*arguments)
    assert run(*arguments, "--resume", "--pixels", 8, 16) == text


@pytest.mark.parametrize("path", sorted(reproduction.CONFIGS.rglob("*.toml")), ids=lambda p: p.stem)
def test_every_row_of_a_study_is_valid_and_takes_its_budget(path, data):
    config = reproduction.read_row(path, data, 0, 100)

    assert config.training.sampler in {"balanced", "uniform"}
    if path.parent.name == "gpu":
        assert config.total_epochs <= 250
        assert config.network.channels <= 16
    else:
        first = reproduction.read_row(reproduction.CONFIGS / "cifar10_cpu.toml", data, 0, 100)
        assert config.total_epochs == first.total_epochs


def test_a_section_is_replaced_in_its_place(page):
    replace_section(page, "New", "a")
    replace_section(page, "Other", "b")

    assert page.read_text() == "# Results\n\nWords.\n\n## Other\n\nb\n\n## New\n\na\n"


def test_digits_stand_for_images(rows):
    assert len(load_task(reproduction.read_row(rows / "single.toml", None, 0, 10)).valid) > 100
