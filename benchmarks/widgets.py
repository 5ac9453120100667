"""Time the dashboards as a person waits for them: from the key to the redrawn picture.

python -m benchmarks.widgets [--moves 40]

Everything happens in Chromium against a JupyterLab server on this machine. A move is one press of
an arrow key on a slider; it ends when the browser has painted the answer. The kernel's share is
the time its thread spends on computing and on handing over the figure.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from naslid_toolkit import RunConfig, few_shot_search
from naslid_toolkit.search.storage import RunStore
from tests.browser.lab import journeys, running_browser, running_lab, why_not

CURVES, LAYERS, BATCHES, POINTS = 30, 17, 4, 128
EVENTS = 100_000
LID = f"""
import time, torch, torch as t
t.set_num_threads(1)
from naslid_toolkit.lid.distances import Distances, condensed
from naslid_toolkit.lid.profile import LayerDistances
from naslid_toolkit.widgets import LIDExplorer
shape = ({BATCHES}, {LAYERS})
layers = tuple(f"layer {{i}}" for i in range({LAYERS}))
def network(seed):
    draw = t.Generator().manual_seed(seed)
    x = t.randn(*shape, {POINTS}, 4 + seed % 9, generator=draw)
    zero = t.zeros(shape, dtype=t.int64)
    pairs = condensed(t.cdist(x, x).square())
    return LayerDistances(layers, Distances(pairs, zero, t.zeros(shape), zero, zero.bool()))
explorer = LIDExplorer({{f"curve {{i}}": network(i) for i in range({CURVES})}})
"""
CLOCK = """
spent = []
def clocked(name):
    inner = getattr(explorer, name)
    def timed(*arguments):
        began = time.perf_counter()
        try:
            return inner(*arguments)
        finally:
            spent.append(1000 * (time.perf_counter() - began))
    setattr(explorer, name, timed)
"""
MOVE = """async ([handle, seen, attribute, key]) => {
  const slider = document.querySelector(handle), target = document.querySelector(seen);
  slider.focus();
  const began = performance.now();
  const drawn = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('nothing was redrawn')), 20000);
    const watch = new MutationObserver(() => { watch.disconnect(); resolve(); });
    watch.observe(target, attribute
      ? { attributes: true, attributeFilter: [attribute] } : { childList: true, subtree: true });
  });
  slider.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  await drawn;
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
  return performance.now() - began;
}"""


def moves(journey, slider, seen, attribute, count, pause=350):  # noqa: PLR0917
    """Press the arrow keys of a slider there and back; return milliseconds of each move."""
    times, there, back = [], "ArrowLeft", "ArrowRight"
    for number in range(count):
        key = there if number % 10 < 5 else back
        handle = f".{slider} .noUi-handle"
        times.append(journey.page.evaluate(MOVE, [handle, seen, attribute, key]))
        journey.page.wait_for_timeout(pause)
    return times


def spent(journey, pieces):
    """Return the kernel's milliseconds of each move, and forget them."""
    every = json.loads(journey.say("import json; print(json.dumps(spent)); spent.clear()"))
    return [sum(every[i : i + pieces]) for i in range(0, len(every), pieces)]


class Wire:
    """Counts what the server sends to the page."""

    def __init__(self, page):
        self.sent = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, frame):
        self.sent += len(frame)

    def since(self, before):
        return self.sent - before


def lid_explorer(journey, wire, count, report):
    for bands in ("none", "images"):
        before = wire.sent
        journey.open(f"{LID}explorer.bands.value = {bands!r}", "explorer")
        journey.page.locator(".nl-lid [data-drawn]").wait_for(timeout=60_000)
        journey.say(f"explorer.settled(); {CLOCK}".replace("; \n", "\n"))
        if bands == "none":
            report("LID explorer: sent once", kilobytes=wire.since(before))
        journey.say("clocked('_answer'); clocked('_show')")
        for slider, what in (("nl-k", "k"), ("nl-points", "images")):
            before = wire.sent
            seen = ".nl-lid [data-drawn]"
            times = moves(journey, slider, seen, "data-drawn", count)
            each = wire.since(before) / count
            kernel = spent(journey, 2)
            report(f"LID explorer: slider {what}, bands {bands}", times, kernel, each)
        journey.lab.end_kernels()


def partition_explorer(journey, wire, folder, count, report):
    before = wire.sent
    journey.open(
        "import time\nfrom naslid_toolkit.widgets import PartitionExplorer\n"
        f"explorer = PartitionExplorer({str(folder)!r})",
        "explorer",
    )
    journey.page.locator(".nl-matrices [data-drawn]").wait_for(timeout=60_000)
    journey.say(f"explorer.levels.value = 4\nexplorer.settled()\n{CLOCK}")
    report("partition explorer: sent once", kilobytes=wire.since(before))
    journey.say("clocked('_grow'); clocked('_show')")
    before = wire.sent
    # the table of edges follows the tree in the same answer, and changes with every k
    times = moves(journey, "nl-k", ".nl-candidates", None, count, 900)
    report(
        "partition explorer: tree of 4 levels", times, spent(journey, 2), wire.since(before) / count
    )
    journey.lab.end_kernels()


def replay(journey, wire, folder, count, report):
    row = {"event": "EpochDone", "learning_rate": 0.1, "seconds": 0.43}
    files = RunStore.open(folder).files
    files.forget("events.jsonl")
    for number in range(EVENTS):
        task, epoch = divmod(number, 5000)
        more = {"task": f"training node-{task}", "epoch": epoch + 1, "loss": 1 / (1 + epoch)}
        files.append("events.jsonl", {**row, **more})
    journey.open(
        "import time\nfrom naslid_toolkit.widgets import SearchMonitor\n"
        f"explorer = SearchMonitor({str(folder)!r})",
        "explorer",
    )
    journey.page.locator(".nl-progress [data-drawn]").wait_for(timeout=60_000)
    journey.say(
        f"explorer.position.step = 500\nexplorer.position.value = {EVENTS // 2}\n"
        f"explorer.settled()\n{CLOCK}"
    )
    journey.page.wait_for_timeout(1000)
    journey.say("clocked('_draw')")
    before = wire.sent
    times = moves(journey, "nl-position", ".nl-progress [data-drawn]", "data-drawn", count)
    report(
        f"search monitor: replay of {EVENTS:,} events",
        times,
        spent(journey, 1),
        wire.since(before) / count,
    )
    journey.lab.end_kernels()


def tabs(journey, wire, folder, report):
    before = wire.sent
    journey.open(
        f"import naslid_toolkit as nl\nexplorer = nl.explore({str(folder)!r})\nexplorer",
    )
    for title, name in (
        ("LID curves", "nl-lid"),
        ("Split tree", "nl-matrices"),
        ("Ranking", "nl-ranking"),
        ("Architecture", "nl-cell-lid"),
    ):
        journey.page.get_by_role("tab", name=title).click()
        journey.page.locator(f".{name} [data-drawn]").wait_for(timeout=60_000)
    journey.say("[d.settled() for d in explorer.dashboards.values()]")
    journey.page.wait_for_timeout(1000)
    report("explore: all five tabs, sent once", kilobytes=wire.since(before))
    journey.lab.end_kernels()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=40, help="moves of each slider")
    options = parser.parse_args()
    if why_not():
        raise SystemExit(why_not())
    table = Table("what", "median ms", "95 % ms", "kernel median ms", "kB")

    def report(what, times=(), kernel=(), kilobytes=None):
        ranked = sorted(times)
        table.add_row(
            what,
            f"{statistics.median(ranked):.0f}" if ranked else "",
            f"{ranked[int(0.95 * (len(ranked) - 1))]:.0f}" if ranked else "",
            f"{statistics.median(kernel):.0f}" if kernel else "",
            "" if kilobytes is None else f"{kilobytes / 1000:,.0f}",
        )
        Console().print(what, "done")

    with tempfile.TemporaryDirectory() as name, running_browser() as browser:
        place = Path(name)
        for part in ("home", "lab"):
            (place / part).mkdir()
        split = {"contexts": 8, "probe_batches": BATCHES, "probe_points": POINTS, "k": 20}
        config = RunConfig.preset("tiny", levels=2, training={"epochs": 3}, split=split)
        few_shot_search(config, out=place / "run")
        with running_lab(place / "home", place / "lab") as lab, journeys(browser, lab) as journey:
            wire = Wire(journey.page)
            tabs(journey, wire, place / "run", report)
            lid_explorer(journey, wire, options.moves, report)
            partition_explorer(journey, wire, place / "run", options.moves, report)
            replay(journey, wire, place / "run", options.moves, report)
    Console().print(table)


if __name__ == "__main__":
    main()
