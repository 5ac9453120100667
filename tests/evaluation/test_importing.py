import bz2
import os
import pickle
from collections import OrderedDict
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.benchmark import load_reference
from naslid_toolkit.evaluation.importing import import_benchmark
from naslid_toolkit.space.nasbench201 import benchmark_order, format_architecture

NAMES = [format_architecture(a) for a in benchmark_order()[:4]]
SETS = {"cifar10": ["ori-test"], "cifar10-valid": ["x-valid"], "cifar100": ["x-test", "x-valid"]}


def trial(name: str, number: int, seed: int, epochs: int, splits: list[str]) -> dict:
    keys = [f"{split}@{epoch}" for split in splits for epoch in range(epochs)]
    return {
        "name": "x",
        "net_state_dict": None,
        "train_acc1es": OrderedDict((i, 50.0 + i) for i in range(epochs)),
        "train_losses": OrderedDict((i, 1.0) for i in range(epochs)),
        "train_times": OrderedDict((i, 2.0) for i in range(epochs)),
        "arch_config": {"arch_str": name, "channel": 16},
        "params": 1.5,
        "flop": np.float64(200.0),
        "seed": seed,
        "epochs": epochs,
        "latency": [0.1],
        "eval_names": splits,
        "eval_acc1es": dict.fromkeys(keys, 60.0 + number + seed / 1000),
        "eval_times": dict.fromkeys(keys, 1.0),
        "eval_losses": dict.fromkeys(keys, 0.5),
    }


def results(number: int, name: str, epochs: int) -> dict:
    runs = {
        (dataset, seed): trial(name, number, seed, epochs, splits)
        for dataset, splits in SETS.items()
        for seed in (777, 888)
    }
    seeds = {dataset: [777, 888] for dataset in SETS}
    return {
        "arch_index": number,
        "arch_str": name,
        "all_results": runs,
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


def benchmark(less: str, full: str) -> dict:
    infos = {i: {less: results(i, n, 3), full: results(i, n, 5)} for i, n in enumerate(NAMES)}
    return {"meta_archs": NAMES, "arch2infos": infos, "evaluated_indexes": set(range(len(NAMES)))}


def write(path, kind: str) -> None:
    if kind == "pth":
        torch.save(benchmark("less", "full"), path)
    elif kind == "legacy":
        torch.save(benchmark("less", "full"), path, _use_new_zipfile_serialization=False)
    elif kind == "pbz2":
        path.write_bytes(bz2.compress(pickle.dumps(benchmark("12", "200"), protocol=4)))
    else:
        path.mkdir()
        for number, info in benchmark("12", "200")["arch2infos"].items():
            data = bz2.compress(pickle.dumps(info, protocol=4))
            (path / f"{number:06d}.pickle.pbz2").write_bytes(data)


@pytest.mark.parametrize("kind", ["pth", "legacy", "pbz2", "folder"])
def test_official_files_become_one_table(tmp_path, kind):
    source, target, events = tmp_path / "source", tmp_path / "table.parquet", []
    write(source, kind)

    found = import_benchmark(source, target, on_event=events.append)
    where = {"dataset": "cifar10", "split": "ori-test", "epochs": 5}
    table = load_reference(target, where=where)

    assert (found.architectures, found.trainings) == (4, 4 * 2 * 6)
    assert found.rows == len(pd.read_parquet(target))
    assert table.accuracy[NAMES[1]] == pytest.approx(0.61 + 0.00777 / 2 + 0.00888 / 2)
    assert table.validation is not None
    assert table.rows == 2
    assert events
    with pytest.raises(DataError, match="kinds of accuracies; choose one"):
        load_reference(target)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("pack", [bytes, bz2.compress])
def test_a_hostile_file_executes_nothing(tmp_path, monkeypatch, pack):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile").write_bytes(pack(pickle.dumps({"arch2infos": Hostile()})))

    with pytest.raises(DataError, match=r"names (posix|os).system, which no benchmark file needs"):
        import_benchmark(tmp_path / "hostile", tmp_path / "table.parquet")

    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "table.parquet").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "neither bz2, zip nor a pickle"),
        (bz2.compress(b"x")[:10], "truncated or damaged"),
        (b"PK\x03\x04", "truncated or damaged"),
        (pickle.dumps({"a": 1}), "holds no results of architectures"),
        (pickle.dumps(benchmark("12", "200"))[:-900], "truncated or damaged"),
        (b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little"), "announces a piece of"),
        (b"\x80\x04\x96" + bytes(8) + b".", "uses an operation that no benchmark file needs"),
    ],
)
def test_foreign_files_are_explained(tmp_path, content, message):
    (tmp_path / "source").write_bytes(content)

    with pytest.raises(DataError, match=message):
        import_benchmark(tmp_path / "source", tmp_path / "table.parquet")
    assert not (tmp_path / "table.parquet").exists()


def official_file(seed: int) -> dict:
    """Build a file as the package nas-bench-201 does, out of its own records."""
    records = pytest.importorskip("nas_201_api.api_utils")
    draw = np.random.default_rng(seed)
    infos = {}
    for number, name in enumerate(NAMES):
        infos[number] = {}
        for hp, epochs in (("less", 12), ("full", 200)):
            result = records.ArchResults(number, name)
            for dataset, splits in SETS.items():
                for trained in (777, 888, 999)[: 1 + number % 3]:
                    losses, times = draw.random((2, 1 + len(splits), epochs)).tolist()
                    accuracies = draw.uniform(10, 95, (1 + len(splits), epochs)).tolist()
                    config = {"arch_str": name, "channel": 16, "num_cells": 5, "class_num": 10}
                    costs = {"params": draw.random(), "flop": 100 * draw.random()}
                    one = records.ResultsCount(
                        "infer.tiny",
                        {"stem.weight": torch.ones(3)},
                        dict(enumerate(accuracies[0])),
                        dict(enumerate(losses[0])),
                        **costs,
                        arch_config=config,
                        seed=trained,
                        epochs=epochs,
                        latency=[0.1, 0.2],
                    )
                    one.train_times = dict(enumerate(times[0]))
                    for split, loss, accuracy in zip(
                        splits, losses[1:], accuracies[1:], strict=True
                    ):
                        values = [dict(enumerate(part)) for part in (accuracy, loss)]
                        one.update_OLD_eval(split, *values)
                        one.reset_pseudo_eval_times(split, 1.5)
                    result.update(dataset, trained, one)
            infos[number][hp] = result.state_dict()
    order = {"meta_archs": NAMES, "evaluated_indexes": set(infos)}
    return {**order, "arch2infos": infos}


def test_the_official_package_answers_the_same(tmp_path):
    api_type = pytest.importorskip("nas_201_api").NASBench201API
    content = official_file(seed=0)
    torch.save(content, tmp_path / "NAS-Bench-201-v1_1.pth")

    found = import_benchmark(tmp_path / "NAS-Bench-201-v1_1.pth", tmp_path / "table.parquet")
    api = api_type(content, verbose=False)
    table = pd.read_parquet(tmp_path / "table.parquet").set_index(
        ["architecture", "dataset", "split", "epochs", "seed"]
    )

    compared = 0
    for name, (dataset, splits), hp in product(NAMES, SETS.items(), (12, 200)):
        official = api.query_by_arch(name, str(hp))
        assert name in official
        record = api.query_meta_info_by_index(api.query_index_by_arch(name), hp=str(hp))
        for seed, split in product(record.get_dataset_seeds(dataset), ["train", *splits]):
            row = table.loc[(name, dataset, split, hp, seed)]
            metrics = record.get_metrics(dataset, split, is_random=seed)
            training = record.get_metrics(dataset, "train", is_random=seed)
            trial = record.query(dataset, seed)
            assert row["accuracy"] == pytest.approx(metrics["accuracy"] / 100, rel=1e-12)
            assert row["loss"] == pytest.approx(metrics["loss"], rel=1e-12)
            assert row["seconds"] == pytest.approx(training["all_time"], rel=1e-12)
            assert row["parameters"] == pytest.approx(trial.params * 1e6, abs=0.5)
            assert row["flops"] == pytest.approx(trial.flop * 1e6, abs=0.5)
            compared += 1
        means = record.get_metrics(dataset, splits[0], is_random=False)["accuracy"]
        where = {"dataset": dataset, "split": splits[0], "epochs": hp}
        assert load_reference(tmp_path / "table.parquet", where=where).accuracy[name] == (
            pytest.approx(means / 100, rel=1e-12)
        )
    assert compared == found.rows == len(table)
