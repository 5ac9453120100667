"""A search that is started, watched, paused, cancelled, or replayed."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import plotly.graph_objects as go
from ipywidgets import HTML, FloatProgress, IntSlider, Play

from naslid_toolkit.errors import ConfigError, WorkerError
from naslid_toolkit.plain_text import as_html
from naslid_toolkit.plots._theme import finish
from naslid_toolkit.plots.cell import cell_svg
from naslid_toolkit.plots.progress import progress_figure
from naslid_toolkit.report import pick_line, summary_table
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.control import RunControl
from naslid_toolkit.search.following import RunFollower, RunProgress, State
from naslid_toolkit.search.launch import (
    SearchProcess,
    create_run,
    free_folder,
    last_words,
    start_search,
)
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.search.result import FewShotRun, load_run
from naslid_toolkit.search.reuse import FEW_SHOT
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.widgets._base import (
    Dashboard,
    button,
    control,
    named,
    pane,
    row,
    say,
    table,
)
from naslid_toolkit.widgets._views import CellView, FigureView

_EVERY: Final = 0.5  # seconds between looks at the folder
_FRAMES: Final = 200  # steps of a replay
_CANCELLED: Final = 130  # exit status
_ALIVE: Final = frozenset({"running", "paused"})  # states in which some process works on a run


class SearchMonitor(Dashboard):
    """A search in a process of its own, seen through the folder of its run.

    The folder is all that the monitor looks at. So it attaches to any run: one it started, one
    that ``naslid search`` works on, one begun before the kernel was restarted, and a finished
    one, which is replayed event by event.

    Parameters
    ----------
    source
        The folder of a run, or settings to begin one.
    out
        The folder for a run of settings; None takes a new one below ``runs/``.
    device, workers
        As of ``naslid search``.
    background
        Whether to look at the folder every half second; otherwise :meth:`refresh` does.

    Raises
    ------
    DataError
        If the folder is not a run's.
    ConfigError
        If ``out`` is given for a run that exists.

    Examples
    --------
    >>> import naslid_toolkit as nl
    >>> config = nl.RunConfig.preset("demo")
    >>> monitor = SearchMonitor(config, out="runs/mine")  # doctest: +SKIP
    >>> monitor.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        source: RunConfig | OpenRun | str | Path,
        *,
        out: str | Path | None = None,
        device: str = "auto",
        workers: int = 1,
        background: bool = True,
    ) -> None:
        folder, follower = _place(source, out)
        super().__init__(background=background)
        self._config = source if isinstance(source, RunConfig) else None
        self._follower = follower
        self.folder = folder
        self._device, self._workers = device, workers
        self.process: SearchProcess | None = None
        self.state: State | None = None
        self.progress: RunProgress | None = None
        self._moving = False
        self._ended = threading.Event()
        self._make()
        self._connect()
        self.refresh()
        if background:
            threading.Thread(target=self._watch_folder, name="naslid-monitor", daemon=True).start()

    def _make(self) -> None:
        self.begin = button("start", "Start", "begin or continue the search")
        self.pause = button("pause", "Pause", "wait after the present step, or go on")
        self.cancel = button("cancel", "Cancel", "end after the present step; all is kept")
        self.bar = named(FloatProgress(min=0, max=1, description="training"), "nl-bar")
        self.words: HTML = pane("nl-words")
        self.position = control(IntSlider, "position", "event", min=0, max=0, value=0)
        self.position.continuous_update = True
        self.position.layout.width = "420px"
        self.play = named(Play(min=0, max=0, value=0, interval=100), "nl-play")
        self.stages: HTML = pane("nl-stages")
        self.figure = named(FigureView(description="losses and scores"), "nl-progress")
        self.best = named(CellView(description="best architecture so far"), "nl-best")
        self.splits: HTML = pane("nl-splits")
        self.summary: HTML = pane("nl-summary")
        side = row([self.stages, self.best])
        self.arrange(
            row([self.begin, self.pause, self.cancel, self.bar, self.words]),
            row([self.play, self.position]),
            side,
            self.splits,
            self.figure,
            self.summary,
        )

    def _connect(self) -> None:
        self.press(self.begin, self.start)
        self.press(self.pause, self._toggle_pause)
        self.press(self.cancel, self._cancel)
        self.watch(self.play, self._played)
        self.watch(self.position, self._moved)

    # -- starting and stopping ----------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether some process works on the run at present."""
        return self._follower is not None and self._follower.state() in _ALIVE

    def start(self) -> None:
        """Begin or continue the search in a process of its own.

        Raises
        ------
        ConfigError
            If the run is being worked on, or finished.
        """
        if self._follower is None and self._config is not None:
            create_run(self._config, self.folder)
            self._follower = RunFollower(self.folder)
        state = self._state()
        if state != "stopped":
            raise ConfigError(f"the run in {self.folder} is {state}; there is nothing to start")
        self.clear("search")
        self.process = start_search(self.folder, device=self._device, workers=self._workers)
        say(self.status, f"started in a process of its own; {self.folder} keeps everything")
        self.refresh()

    def wait(self) -> FewShotRun:
        """Wait for the end of the search, while the monitor goes on showing it.

        Returns
        -------
        FewShotRun
            The finished run.

        Raises
        ------
        WorkerError
            If the search failed, or ended before it was finished.
        """
        while self._state() in _ALIVE:
            time.sleep(_EVERY)
        self.refresh()
        self.settled()
        if self._state() != "finished":
            words = last_words(self.folder)
            raise WorkerError(f"the search in {self.folder} ended before it was finished:\n{words}")
        return load_run(self.folder)

    def _toggle_pause(self) -> None:
        search = self._running()
        if search.is_requested("pause"):
            search.withdraw("pause")
        else:
            search.request("pause")
        self.refresh()

    def _cancel(self) -> None:
        self._running().request("cancel")
        say(self.status, "cancelling: the search ends after its present step")
        self.refresh()

    def _running(self) -> RunControl:
        if self._follower is None or not self.is_running:
            raise ConfigError("no search is running")
        return self._follower.store.control

    # -- looking ------------------------------------------------------------------------------

    def _watch_folder(self) -> None:
        while not self._ended.wait(_EVERY):
            self.refresh()

    def refresh(self) -> None:
        """Look at the folder and show what is new."""
        self.run(self._look, self._show, slot="folder")

    def _look(self) -> tuple[State | None, RunProgress | None, bool]:
        if self._follower is None:
            return None, None, False
        state = self._state()
        new = self._follower.poll() or state != self.state
        if not new:
            return state, self.progress, False
        return state, self._follower.at(), True

    def _state(self) -> State:
        if self._follower is None:
            return "stopped"
        state = self._follower.state()
        starting = self.process is not None and self.process.exit_status is None
        return "running" if state == "stopped" and starting else state

    def _show(self, seen: tuple[State | None, RunProgress | None, bool]) -> None:
        state, progress, new = seen
        before, self.state = self.state, state
        self._show_state(state)
        if progress is None or self._follower is None:
            say(self.words, f"not started; the run will be in {self.folder}")
            return
        if new:
            following = self.position.value >= self.position.max
            self._moving = True
            self.position.max = self.play.max = progress.events
            self.play.step = max(1, progress.events // _FRAMES)
            if following:
                self.position.value = progress.events
                self._draw(progress)
            self._moving = False
        if state != before and state in {"stopped", "finished"}:
            self._end(state)

    def _show_state(self, state: State | None) -> None:
        running = state in _ALIVE
        self.begin.description = "Start" if state is None else "Resume"
        self.begin.disabled = running or state == "finished"
        self.pause.disabled = self.cancel.disabled = not running
        self.pause.description = "Continue" if state == "paused" else "Pause"

    def _end(self, state: State) -> None:
        """Say how the search ended."""
        if state == "finished":
            self.run(self._summarise, self._show_summary, slot="summary")
            return
        status = None if self.process is None else self.process.exit_status
        words = last_words(self.folder)
        failed = "error" in words.lower() or status not in {None, 0, _CANCELLED}
        if failed:
            error = WorkerError(f"the search in {self.folder} failed:\n{words}")
            self.report(error, slot="search")  # stays until the search is begun again
            return
        say(self.status, "the search is not running; Resume continues where it ended")

    def _summarise(self) -> str:
        run = OpenRun(self.folder)
        if run.result is None:
            return ""
        shown = "" if run.reference is None else table(summary_table(run.result, run.reference))
        return f"{shown}<p>{as_html(pick_line(run.result, run.reference))}</p>"

    def _show_summary(self, text: str) -> None:
        self.summary.value = text
        say(self.status, f"finished; everything is in {self.folder}")

    # -- drawing ------------------------------------------------------------------------------

    def _played(self) -> None:
        self.position.value = self.play.value

    def _moved(self) -> None:
        if not self._moving and self._follower is not None:
            follower, number = self._follower, self.position.value
            self.run(lambda: follower.at(number), self._draw, slot="replay")

    def _draw(self, progress: RunProgress) -> None:
        self.progress = progress
        follower = self._follower
        if follower is None:
            return
        self.bar.value = min(1.0, progress.share)
        say(self.words, _words(self.state, progress))
        self.stages.value = _stage_table(progress)
        say(self.splits, "\n".join(f"split {line}" for line in progress.splits))
        scores = self._scores(progress)
        population = follower.config.evolution.population
        self.figure.show(progress_figure(progress, scores, population=population))
        self._draw_best(progress, scores)

    def _scores(self, progress: RunProgress) -> Sequence[tuple[str, float]]:
        """Return the few-shot scores there were at that time: the sample's, then the search's."""
        if self._follower is None:
            return ()
        every = self._follower.scores[FEW_SHOT]
        if progress.events >= self._follower.events:
            return every
        visited = progress.bests[-1][0] if progress.bests else 0
        return every[: progress.scored.get(FEW_SHOT, 0) + visited]

    def _draw_best(self, progress: RunProgress, scores: Sequence[tuple[str, float]]) -> None:
        name, score = progress.best, progress.best_score
        for other, value in scores:
            if score is None or value > score:
                name, score = other, value
        if score is not None:
            svg = cell_svg(parse_architecture(name), width=340)
            which = f"best of {len(scores):,} scored" if scores else "best so far"
            self.best.show([{"svg": svg, "caption": f"{which}, score {score:.3f}\n{name}"}])

    def to_figure(self) -> go.Figure:
        """Return losses and scores at the shown event as a plain figure."""
        if self.progress is None or self._follower is None:
            raise ConfigError("the run has not begun, there is nothing to draw")
        population = self._follower.config.evolution.population
        figure = progress_figure(self.progress, self._scores(self.progress), population=population)
        return finish(go.Figure(figure), title=f"Run {self.folder.name}", height=420)

    def close(self) -> None:
        """Stop looking; the search itself goes on."""
        if not self.closed:
            self._ended.set()
        super().close()


def _place(
    source: RunConfig | OpenRun | str | Path, out: str | Path | None
) -> tuple[Path, RunFollower | None]:
    """Return the folder of the run, and what follows it if it exists."""
    if isinstance(source, RunConfig):
        place = free_folder(Path("runs"), "search-{:03d}") if out is None else Path(out)
        return place, None
    if out is not None:
        raise ConfigError("out is for a new run; a run has its folder")
    folder = source.store.folder if isinstance(source, OpenRun) else Path(source)
    return folder, RunFollower(folder)


def _words(state: State | None, progress: RunProgress) -> str:
    parts = [str(state or "not started"), f"{progress.share:.0%} of all training"]
    if state == "running" and progress.seconds_left is not None:
        parts.append(f"about {_duration(progress.seconds_left)} of training left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _stage_table(progress: RunProgress) -> str:
    frame = pd.DataFrame(
        {
            "stage": [stage.name for stage in progress.stages],
            "done": [
                f"{stage.done:,} of {stage.total:,} {stage.unit}" for stage in progress.stages
            ],
            "share": [f"{stage.share:.0%}" for stage in progress.stages],
        }
    )
    return table(frame)
