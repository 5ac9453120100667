"""Everything that reads a folder, each as a function of it that says what it gave as text."""

import contextlib
import html
import io
import re
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from naslid_toolkit.cli import main
from naslid_toolkit.datasets import load_image_parquet
from naslid_toolkit.errors import NaslidError
from naslid_toolkit.search.result import FewShotRun, load_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.search.study import load_study
from naslid_toolkit.widgets.explorer import TABS, Explorer
from naslid_toolkit.widgets.lid_explorer import LIDExplorer
from naslid_toolkit.widgets.partition_explorer import PartitionExplorer
from naslid_toolkit.widgets.ranking_explorer import RankingExplorer
from naslid_toolkit.widgets.search_monitor import SearchMonitor
from tests.attack.victims import ARMS

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LEGAL = {0, 1, 2, 130}  # exit statuses


class Refused(Exception):  # noqa: N818 - what is hoped for
    """The damage was noticed: an error in one sentence."""


class Broken(Exception):  # noqa: N818
    """A traceback, or an exit status that means nothing."""


class TooLongError(BaseException):
    """Nothing may catch this as an error of the toolkit."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise :class:`TooLongError` in what takes longer."""

    def late(_signal: int, _frame: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def api(work: Callable[[], str]) -> str:
    """Do something that may raise errors of the toolkit, and no others."""
    try:
        return work()
    except Refused:
        raise
    except NaslidError as error:
        raise Refused("\n".join([str(error), *getattr(error, "__notes__", ())])) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        raise Broken(told) from error


def command(*words: str) -> str:
    """Run the command in this process; return what it prints."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(list(words))
    except SystemExit as error:
        status = int(error.code or 0)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        raise Broken(told) from error
    if status not in _LEGAL or "Traceback" in err.getvalue():
        raise Broken(f"status {status}: {err.getvalue()[-300:]}")
    if status:
        raise Refused(err.getvalue() + (out.getvalue() if status == 1 else ""))
    return out.getvalue()


def numbers_of(run: FewShotRun) -> str:
    """Return everything that counts of a run, as text."""
    vectors = [
        (node, e.edge, e.operations, e.contexts, e.vectors.tolist(), e.undefined.tolist())
        for node, items in run.evidence.items()
        for e in items
    ]
    return "\n".join(
        [
            repr(run.config),
            run.task,
            repr(run.tree.to_dict()),
            run.scores.to_csv(),
            repr(run.history),
            repr(vectors),
        ]
    )


def _load(folder: Path) -> str:
    def work() -> str:
        run = load_run(folder)
        return numbers_of(run) + run.costs.to_csv() + repr(run.split_seconds)

    return api(work)


def _resume(folder: Path) -> str:
    command("search", "--resume", "--quiet", "--out", str(folder))
    return api(lambda: numbers_of(load_run(folder)))


def _repair(folder: Path) -> str:
    """Repair, resume, and say whether the numbers are those of before."""
    command("check", str(folder), "--repair")
    return _resume(folder)


def _check(folder: Path) -> str:
    return command("check", str(folder))


def _split(folder: Path) -> str:
    return command("split", str(folder), "--replicates", "3")


def _override(folder: Path) -> str:
    new = folder.with_name("new")
    told = command(
        "override", str(folder), "--edge", "0-1", "--groups", "none,skip_connect", "--out", str(new)
    )
    return api(lambda: told + repr(RunStore.open(new).load_tree().to_dict()))


def _report(folder: Path) -> str:
    told = command("report", str(folder))
    return told + _UUID.sub("", (folder / "report.html").read_text())


def _evaluate(folder: Path) -> str:
    return command("evaluate", str(folder), "--resamples", "20")


def _dashboard(make: Callable[[Path], LIDExplorer]) -> Callable[[Path], str]:
    def work(folder: Path) -> str:
        board = make(folder)
        try:
            return _seen(board)
        finally:
            board.close()

    return lambda folder: api(lambda: work(folder))


def _seen(board: LIDExplorer) -> str:
    """Return what a dashboard shows; an error under it counts as one."""
    _look(board)
    return _UUID.sub("", board.to_html())


def _look(board: LIDExplorer) -> None:
    text = html.unescape(board.errors.value)
    if "unexpected " in text:
        raise RuntimeError(text)
    if text:
        raise Refused(text)


def _explore(folder: Path) -> str:
    def work() -> str:
        board = Explorer(folder, background=False)
        try:
            told = []
            for place, title in enumerate(TABS):
                board.tabs.selected_index = place
                _look(board)
                _look(board.dashboards[title])
            told = [_UUID.sub("", b.to_figure().to_json()) for b in board.dashboards.values()]
            return "\n".join(told)
        finally:
            board.close()

    return api(work)


def _hierarchical(folder: Path) -> str:
    return command(
        *("hierarchical", "--quiet", "--preset", "tiny", "--out", str(folder)),
        *("--config", str(folder / "seed0" / "config.toml")),
    )


def _study(folder: Path) -> str:
    def work() -> str:
        study = load_study(folder, arms=ARMS)
        costs = study.costs.drop(columns=["train_seconds", "split_seconds"])
        return study.scores.to_csv() + costs.to_csv() + study.splits.to_csv()

    return api(work)


def _judge(folder: Path) -> str:
    arms = ["--arms", *ARMS]
    told = command("compare", "--judge-only", "--preset", "tiny", "--out", str(folder), *arms)
    return told.partition("what they cost")[0]  # memory differs from process to process


def _table(*words: str) -> Callable[[Path], str]:
    def work(folder: Path) -> str:
        return command(*(str(folder / w[1:]) if w.startswith("@") else w for w in words))

    return work


def _import(folder: Path) -> str:
    target = folder.with_name("new.parquet")
    return command("truth", "import", str(folder / "truth.csv"), "--out", str(target))


def _pack(folder: Path) -> str:
    return command("pack", str(folder / "folder"), str(folder.with_name("new.parquet")))


def _images(folder: Path) -> str:
    def work() -> str:
        task = load_image_parquet(folder / "images.parquet")
        parts = (task.train, task.valid, task.test)
        return repr([(part.pixels.sum((1, 2, 3)).tolist(), part.labels.tolist()) for part in parts])

    return api(work)


_OF_RUNS: Mapping[str, Callable[[Path], str]] = {
    "load": _load,
    "check": _check,
    "evaluate": _evaluate,
    "split": _split,
    "override": _override,
    "resume": _resume,
    "repair": _repair,
    "report": _report,
    "LIDExplorer": _dashboard(lambda f: LIDExplorer(f, background=False)),
    "PartitionExplorer": _dashboard(lambda f: PartitionExplorer(f, background=False)),
    "SearchMonitor": _dashboard(lambda f: SearchMonitor(f, background=False)),
    "RankingExplorer": _dashboard(lambda f: RankingExplorer(f, background=False)),
    "explore": _explore,
}
COMMANDS: Mapping[str, Mapping[str, Callable[[Path], str]]] = {
    "run": _OF_RUNS,
    "hierarchical": {
        "hierarchical": _hierarchical,
        "check": lambda folder: _check(folder / "seed0"),
    },
    "study": {"study": _study, "compare": _judge},
    "table": {
        "evaluate": _table("evaluate", "@scores.json", "--truth", "@truth.csv", "--resamples=20"),
        "audit": _table("truth", "audit", "@truth.parquet"),
        "agree": _table(
            "truth", "agree", "@truth.parquet", "--columns", "accuracy", "test_accuracy"
        ),
        "audit csv": _table("truth", "audit", "@truth.csv"),
        "import": _import,
    },
    "images": {"pack": _pack, "images": _images},
}
# What these say is to differ where a file is damaged: silence is status 0.
ASKS_FOR_DAMAGE = {"check"}
