"""Make the pictures of the dashboards that the README shows.

python -m benchmarks.screenshots RUN [--out docs/images]

RUN is the folder of a finished run, as `make demo` leaves it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import lab as places
from tests.browser.lab import journeys, running_browser, running_lab, why_not

MOST = 200_000  # bytes of a picture
WIDGETS = "import naslid_toolkit as nl\nfrom naslid_toolkit import widgets\n"


def lid(journey, run):
    journey.open(f"{WIDGETS}explorer = widgets.LIDExplorer({run!r})\nexplorer")
    journey.page.locator(".nl-lid [data-drawn]").wait_for()
    journey.say("explorer.settled()")
    journey.page.wait_for_timeout(1000)


def partition(journey, run):
    journey.open(f"{WIDGETS}explorer = widgets.PartitionExplorer({run!r})\nexplorer")
    journey.page.locator(".nl-matrices [data-drawn]").wait_for()
    journey.say("explorer.similarity.value = 'euclidean'; explorer.settled()")
    journey.page.wait_for_timeout(1500)


def monitor(journey, run):
    journey.open(f"{WIDGETS}explorer = widgets.SearchMonitor({run!r})\nexplorer")
    journey.page.locator(".nl-progress [data-drawn]").wait_for()
    journey.say("explorer.settled()")
    journey.page.wait_for_timeout(1500)


def ranking(journey, run):
    journey.open(f"{WIDGETS}explorer = widgets.RankingExplorer({run!r})\nexplorer")
    area = journey.page.locator(".nl-ranking .nsewdrag").first
    area.wait_for()
    journey.say("explorer.settled()")
    box = area.bounding_box()
    journey.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 8)
    journey.page.mouse.down()
    journey.page.mouse.move(
        box["x"] + box["width"] * 0.97, box["y"] + box["height"] * 0.35, steps=8
    )
    journey.page.mouse.up()
    journey.page.wait_for_timeout(2000)


def architecture(journey, run):
    journey.open(f"{WIDGETS}explorer = widgets.ArchitectureView(run={run!r})\nexplorer")
    journey.page.locator(".nl-cell-lid [data-drawn]").wait_for()
    journey.page.wait_for_timeout(1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--out", default="docs/images", help="where the pictures go")
    options = parser.parse_args()
    if why_not():
        raise SystemExit(why_not())
    out, run = Path(options.out), "demo"  # as a reader would have it, beside the notebook
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, running_browser() as browser:
        home, root, shots = (Path(name) / part for part in ("home", "lab", "shots"))
        for folder in (home, root):
            folder.mkdir()
        places.SHOTS = shots
        (root / run).symlink_to(Path(options.run).resolve())
        with running_lab(home, root) as lab:
            for scene in (lid, partition, monitor, ranking, architecture):
                size = {"width": 1240, "height": 1700}
                with journeys(browser, lab, viewport=size) as journey:
                    scene(journey, run)
                    journey.page.mouse.move(0, 0)
                    journey.shot(".nl-dashboard", scene.__name__)
        for picture in sorted(shots.glob("*.png")):
            keep(picture, out / picture.name)


def keep(picture: Path, target: Path) -> None:
    """Write a picture, with fewer colours if it is too large."""
    if picture.stat().st_size <= MOST:
        shutil.copyfile(picture, target)
    else:
        whole = Image.open(picture).convert("RGB")
        few = whole.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
        few.save(target, optimize=True)
    print(target, target.stat().st_size)
    assert target.stat().st_size <= MOST


if __name__ == "__main__":
    main()
