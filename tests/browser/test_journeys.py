"""One journey through each dashboard in a real JupyterLab, as a person would make it."""

import shutil

import pytest
from playwright.sync_api import expect

from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.launch import create_run
from naslid_toolkit.shipped import new_workspace
from tests.widgets.test_base import HOSTILE

expect.set_options(timeout=45_000)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A finished run of one's own."""
    return shutil.copytree(tiny_folder, tmp_path / "run")


@pytest.fixture
def long_folder(tmp_path):
    """A run that is not begun and takes minutes."""
    over = {"warmup_epochs": 200, "training": {"epochs": 400}}
    config = RunConfig.from_dict(merged(RunConfig.preset("tiny").to_dict(), over))
    return create_run(config, tmp_path / "long").folder


def drawn(journey, name):
    expect(journey.page.locator(f".{name} .nl-figure-box[data-drawn]")).to_be_attached()


def press(journey, name):
    journey.page.locator(f"button.{name}").click()


def centre(locator):
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_lid_explorer(journey, folder):
    page = journey.page
    journey.open(
        "from naslid_toolkit.widgets import LIDExplorer",
        f"explorer = LIDExplorer({str(folder)!r})\nexplorer",
    )
    drawn(journey, "nl-lid")
    expect(page.locator(".nl-lid .scatterlayer .trace.scatter .points path").first).to_be_attached()
    drawn(journey, "nl-lid-matrix")
    status = page.locator(".nl-status").first
    expect(status).to_contain_text("k = 10 of 48 images")
    line = page.locator(".nl-lid .scatterlayer .trace path.js-line").last
    before = line.get_attribute("d")

    page.locator(".nl-k .noUi-handle").focus()
    page.keyboard.press("ArrowRight")

    expect(status).to_contain_text("k = 11 of 48 images")
    expect(line).not_to_have_attribute("d", before)
    page.locator(".nl-architecture input").fill("|nor_conv_9x9~0|+")
    page.locator(".nl-architecture input").press("Enter")
    press(journey, "nl-add")
    expect(page.get_by_role("alert")).to_contain_text("unknown operation 'nor_conv_9x9'")
    name = journey.say("print(explorer.architecture.options[0])").strip()
    page.locator(".nl-architecture input").fill(name)
    page.locator(".nl-architecture input").press("Enter")
    press(journey, "nl-add")
    expect(status).to_contain_text("6 curves")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(status).to_contain_text("computed in")
    journey.say("explorer.settled()")
    journey.shot(".nl-dashboard", "lid_explorer")
    journey.dark()
    tick = page.locator(".nl-lid .xtick text").first
    expect(tick).to_have_css("fill", "rgb(255, 255, 255)")
    journey.shot(".nl-dashboard", "lid_explorer_dark")


def test_partition_explorer(journey, folder):
    page = journey.page
    journey.open(
        "from naslid_toolkit.widgets import PartitionExplorer",
        f"explorer = PartitionExplorer({str(folder)!r})\nexplorer",
    )
    after = page.locator(".nl-after").get_by_role("tree")
    root = after.get_by_role("treeitem").first
    expect(after.get_by_role("treeitem")).to_have_count(3)
    drawn(journey, "nl-matrices")

    root.focus()
    page.keyboard.press("ArrowDown")
    chosen = page.locator(".nl-after [aria-selected='true']")
    expect(chosen).to_have_attribute("data-id", "root-0")
    expect(page.locator(".nl-before [aria-selected='true']")).to_have_attribute("data-id", "root-0")
    page.keyboard.press("ArrowRight")
    expect(chosen).to_have_attribute("data-id", "root-1")
    page.keyboard.press("Home")
    expect(chosen).to_have_attribute("data-id", "root")
    page.keyboard.press("Enter")
    expect(root).to_have_attribute("aria-expanded", "false")
    expect(after.get_by_role("treeitem")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(after.get_by_role("treeitem")).to_have_count(3)

    page.locator(".nl-levels .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    expect(after.get_by_role("treeitem")).to_have_count(7)
    expect(page.locator(".nl-difference")).to_contain_text("estimated from a node above")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".nl-difference")).to_contain_text("The trees are the same")

    split_by_hand(journey)
    expect(root.locator(".nl-mark")).to_have_text("✎")
    journey.shot(".nl-dashboard", "partition_explorer")

    press(journey, "nl-retrain")
    expect(page.locator(".nl-words")).to_contain_text("finished", timeout=90_000)
    expect(page.locator(".nl-summary")).to_contain_text("Kendall tau")
    assert (folder.parent / "run-edited-1" / "scores.parquet").exists()
    journey.dark()
    journey.shot(".nl-dashboard", "partition_explorer_dark")


def split_by_hand(journey):
    """Move an operation to a group of its own by mouse, there and back by keyboard; apply."""
    page = journey.page
    chips = page.locator(".nl-hand-groups .nl-group").first.locator(".nl-chip")
    moved = chips.first.get_attribute("data-operation")
    chips.first.drag_to(page.locator(".nl-hand-groups .nl-empty"))
    expect(page.locator(".nl-hand-groups .nl-group[data-group='2']")).not_to_have_count(0)
    chip = page.locator(f".nl-chip[data-operation='{moved}']")
    chip.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f".nl-group[data-group='1'] [data-operation='{moved}']")).to_be_focused()
    page.keyboard.press("ArrowRight")
    press(journey, "nl-apply")


def test_search_monitor(journey, long_folder):
    page = journey.page
    attach = f"monitor = SearchMonitor({str(long_folder)!r}, device='cpu')\nmonitor"
    journey.open("from naslid_toolkit.widgets import SearchMonitor", attach)
    words = page.locator(".nl-words")

    press(journey, "nl-start")
    expect(words).to_contain_text("running")
    expect(words).to_contain_text("of training left", timeout=60_000)
    drawn(journey, "nl-progress")
    press(journey, "nl-pause")
    expect(words).to_contain_text("paused")

    journey.restart()
    expect(page.locator(".nl-words").last).to_contain_text("paused")
    press(journey, "nl-pause")
    expect(page.locator(".nl-words")).to_contain_text("running")
    journey.shot(".nl-dashboard", "search_monitor_live")
    press(journey, "nl-cancel")
    expect(page.locator(".nl-status").first).to_contain_text("Resume continues", timeout=60_000)
    expect(page.locator(".nl-words")).to_contain_text("stopped")

    journey.say("monitor._device = 'nowhere'")
    press(journey, "nl-start")
    expect(page.get_by_role("alert")).to_contain_text("device 'nowhere' cannot be used")
    journey.shot(".nl-dashboard", "search_monitor_error")


def test_ranking_explorer(journey, folder):
    page = journey.page
    journey.open(
        "from naslid_toolkit.widgets import RankingExplorer\nimport naslid_toolkit as nl",
        f"run = nl.load_run({str(folder)!r})\n"
        "truth = run.scores['parameter_count'].rank(pct=True).rename('reference')\n"
        "explorer = RankingExplorer(run.scores, reference=truth)\nexplorer",
    )
    drawn(journey, "nl-ranking")
    expect(page.locator(".nl-selection")).to_contain_text("24 of 24 architectures")
    expect(page.locator(".nl-ranking")).to_contain_text("few_shot")

    area = page.locator(".nl-ranking .nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + box["height"] * 0.5, steps=8)
    page.mouse.up()

    expect(page.locator(".nl-selection")).not_to_contain_text("24 of 24")
    expect(page.locator(".nl-gallery svg").first).to_be_visible()
    count = int(journey.say("print(len(explorer.selection))"))
    assert 0 < count < 24
    journey.shot(".nl-dashboard", "ranking_explorer")
    page.locator(".nl-reference-range .noUi-handle").first.focus()
    for _ in range(30):
        page.keyboard.press("PageUp")
    expect(page.locator(".nl-selection")).not_to_contain_text(f"{count} of 24")


def test_architecture_view(journey, folder):
    page = journey.page
    journey.open(
        "from naslid_toolkit.widgets import ArchitectureView",
        f"view = ArchitectureView(run={str(folder)!r})\nview",
    )
    drawn(journey, "nl-cell-lid")
    edge = page.locator(".nl-cell [data-edge='3']")
    before = edge.get_attribute("aria-label")

    page.mouse.click(*centre(edge.locator("rect")))
    expect(page.locator(".nl-cell-edge select")).to_have_value("0→3")
    expect(edge).to_have_attribute("aria-pressed", "true")
    edge.focus()
    page.keyboard.press("ArrowDown")
    expect(edge).not_to_have_attribute("aria-label", before)
    expect(edge).to_be_focused()
    page.locator(".nl-operation select").select_option("conv 3×3")
    expect(page.locator(".nl-cell [data-edge='3'] text")).to_have_text("conv 3×3")
    press(journey, "nl-score")
    expect(page.locator(".nl-facts")).to_contain_text("score: few_shot")
    drawn(journey, "nl-cell-lid")
    journey.shot(".nl-dashboard", "architecture_view")


def test_all_in_tabs_and_nothing_stays(journey, folder):
    page = journey.page
    journey.open(
        "import naslid_toolkit as nl\n"
        "from IPython.display import clear_output, display\n"
        "from ipywidgets.widgets.widget import _instances",
        f"explorer = nl.explore({str(folder)!r})\nexplorer",
    )
    for title, name in (
        ("LID curves", "nl-lid"),
        ("Split tree", "nl-matrices"),
        ("Architecture", "nl-cell-lid"),
        ("Search", "nl-progress"),
    ):
        page.get_by_role("tab", name=title).click()
        drawn(journey, name)
    journey.shot(".nl-dashboard", "explore")
    journey.say("explorer.close()")
    expect(page.locator(".nl-dashboard")).to_have_count(0)
    before = int(journey.say("print(len(_instances))"))
    journey.say(
        "from naslid_toolkit.widgets import LIDExplorer\n"
        "for _ in range(50):\n"
        f"    shown = LIDExplorer({str(folder)!r})\n"
        "    shown.settled()\n"
        "    display(shown)\n"
        "    shown.close()\n"
    )
    assert int(journey.say("print(len(_instances))")) == before
    threads = (
        "import threading; print([t.name for t in threading.enumerate() if 'naslid' in t.name])"
    )
    assert journey.say(threads).strip() == "[]"


LINK = '<a href="https://x">k</a><b>bold</b>'


def test_text_of_others_is_text(journey, folder):
    page = journey.page
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    journey.open(
        "import naslid_toolkit as nl\nfrom naslid_toolkit.widgets import LIDExplorer, RankingExplorer\n"
        f"hostile = {HOSTILE + LINK!r}",
        "from naslid_toolkit.search.opened import OpenRun\n"
        f"run = OpenRun({str(folder)!r})\n"
        "measured = run.measure(nl.Architecture(('skip_connect',) * 6))\n"
        "explorer = LIDExplorer({hostile: measured, 'other': measured})\nexplorer",
        "import pandas as pd\n"
        "names = [hostile, *(f'<b>{i}</b>' for i in range(9))]\n"
        "scores = pd.Series(range(10), names, dtype=float, name=hostile)\n"
        "ranking = RankingExplorer(scores, reference=scores)\nranking",
    )
    drawn(journey, "nl-lid")
    drawn(journey, "nl-ranking")

    expect(page.locator(".nl-lid .legendtext").first).to_contain_text(
        "<img src=x onerror=alert(1)>"
    )
    expect(page.locator(".nl-ranking")).to_contain_text("<script>")
    expect(page.locator(".nl-lid .legendtext").first).to_contain_text(LINK)
    assert page.locator(".nl-dashboard :is(img, script, a, b)").count() == 0


def test_the_notebook_of_the_shipped_run(journey):
    """From a new workspace: every dashboard draws, nothing is trained, nothing is fetched."""
    new_workspace(journey.lab.root / "mine", settings="")

    journey.visit("mine/04_explore_a_run.ipynb")

    page = journey.page
    for name in ("nl-progress", "nl-matrices", "nl-ranking", "nl-cell-lid"):
        drawn(journey, name)
    expect(page.locator(".nl-errors:has(.nl-error)")).to_have_count(0)
    expect(page.locator(".jp-RenderedHTMLCommon table").last).to_contain_text("keep their place")
    journey.shot(".jp-Notebook", "notebook-04")
