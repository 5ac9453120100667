"""The same search on threads, processes and a Dask cluster, and with a worker killed."""

import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from naslid_toolkit.datasets import load_digits
from naslid_toolkit.errors import WorkerError
from naslid_toolkit.search import steps
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.few_shot import few_shot_search, finished
from naslid_toolkit.search.result import load_neighbours, load_run
from naslid_toolkit.search.storage import RunStore
from tests.search.test_few_shot import assert_same_numbers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    over = {"levels": 2, "warmup_epochs": 1, "sample": 8}
    over |= {"training": {"epochs": 3, "batch_size": 450}}
    over |= {"evolution": {"evaluations": 4, "population": 2}}
    return RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))


@pytest.fixture(scope="module")
def serial(once, config):
    return once("serial", lambda folder: few_shot_search(config, out=folder))


def processes(count: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def pool():
    """Two processes that have loaded everything after their first task."""
    with processes(2) as executor:
        yield executor


@pytest.fixture(params=["threads", "processes"])
def executor(request, pool):
    if request.param == "processes":
        yield pool
    else:
        with ThreadPoolExecutor(2) as threads:
            yield threads


def test_an_executor_gives_the_same_numbers(tmp_path, config, serial, executor):
    events = []

    few_shot_search(config, out=tmp_path / "run", executor=executor, on_event=events.append)

    assert_same_numbers(serial, tmp_path / "run")
    names = [event.node for event in events if isinstance(event, steps.SupernetTrained)]
    assert sorted(names) == sorted(p.stem for p in (serial / "weights").iterdir())
    one, other = (load_neighbours(folder, "root-0") for folder in (serial, tmp_path / "run"))
    assert [edge.edge for edge in one.edges] == [edge.edge for edge in other.edges]
    for first, second in zip(one.evidence(k=5), other.evidence(k=5), strict=True):
        assert (first.vectors == second.vectors).all()
    assert not list((tmp_path / "run" / "distances").glob("*edge*"))


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_numbers(tmp_path, config, serial):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=str(tmp_path / "dask"),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        few_shot_search(config, out=tmp_path / "run", executor=client.get_executor())

    assert_same_numbers(serial, tmp_path / "run")


def die(number: int) -> int:
    """Die by SIGKILL in the third task."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_dead_worker_is_reported():
    work = {number: (die, number) for number in range(4)}

    with processes(1) as executor, pytest.raises(WorkerError, match="died in the middle of task"):
        list(finished(executor, work))


class Dying(Executor):
    """Runs tasks in a process, and one of them in another that is killed."""

    def __init__(self, victim: str) -> None:
        self.victim = victim
        self.pool, self.other = processes(1), processes(1)

    def submit(self, function, /, *arguments, **options):
        if self.victim in arguments and function is steps.train_task:
            return self.other.submit(_killed, function, *arguments)
        return self.pool.submit(function, *arguments)

    def shutdown(self, *, wait=True, cancel_futures=False):
        for pool in (self.pool, self.other):
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def _killed(function, place, name, chain):
    def kill(event) -> None:
        if type(event).__name__ == "EpochDone":
            os.kill(os.getpid(), signal.SIGKILL)

    place.steps(kill).train(name, chain)


def test_a_killed_worker_costs_only_its_task(tmp_path, config, serial):
    folder = tmp_path / "run"
    with (  # whose end waits: the sibling may be at work still
        Dying("root-1") as executor,
        pytest.raises(WorkerError, match="task 'root-1'"),
    ):
        few_shot_search(config, out=folder, executor=executor)
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "weights").iterdir()}
    few_shot_search(config, out=folder, resume=True)

    assert_same_numbers(serial, folder)
    assert "root.safetensors" in kept
    for name in set(kept) - {"root-1.unfinished.safetensors"}:
        assert (folder / "weights" / name).stat().st_mtime_ns == kept[name]
    trained = RunStore.open(folder).events().query("event == 'SupernetTrained'")["node"]
    assert sorted(trained) == sorted(set(trained))


def test_images_of_your_own_travel_with_the_task(tmp_path, config, pool):
    own = load_digits(noise=0.2, copies=1)
    small = RunConfig.from_dict(
        merged(config.to_dict(), {"levels": 1, "single": False, "training": {"epochs": 2}})
    )

    few_shot_search(small, own, out=tmp_path / "serial")
    few_shot_search(small, own, out=tmp_path / "run", executor=pool)

    assert load_run(tmp_path / "run").task == own.name
    assert_same_numbers(tmp_path / "serial", tmp_path / "run")


class Remote(Executor):
    """The adapter of docs/clusters.md, for systems with futures of their own."""

    def __init__(self, call) -> None:
        self.call, self.threads = call, ThreadPoolExecutor(4)

    def submit(self, function, /, *arguments, **options):
        return self.threads.submit(self.call, function, *arguments, **options)


def test_futures_of_another_kind_can_be_waited_for(tmp_path, config, serial, pool):
    executor = Remote(lambda function, *a: pool.submit(function, *a).result())

    few_shot_search(config, out=tmp_path / "run", executor=executor)

    assert_same_numbers(serial, tmp_path / "run")
    assert "class Remote(Executor):" in (ROOT / "docs" / "clusters.md").read_text()
