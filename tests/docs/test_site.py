"""The documentation builds without a warning, its links lead somewhere, its examples hold."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ELSEWHERE = re.compile(r"(?:src|href)=\"(https?:)?//[^\"]+\.(?:js|css|woff2?|png|svg)\"")


@pytest.fixture(scope="module")
def site(once):
    """The built pages; the notebooks are executed by their own test."""
    return once("site", build) / "built" / "html"


def build(place):
    ignored = shutil.ignore_patterns("_build", "notebooks", "reference")
    shutil.copytree(ROOT / "docs", place / "docs", ignore=ignored)
    for name in ("notebooks", "naslid_toolkit"):
        (place / name).symlink_to(ROOT / name)
    command = [sys.executable, "docs/build.py", "--no-execute", "--out", "built"]
    done = subprocess.run(command, check=False, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_notebook_and_room_has_a_page(site):
    notebooks = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    rooms = ["space", "lid", "supernet", "partition", "evaluation", "search", "plots", "widgets"]

    for name in notebooks:
        assert "Not executed" in (site / "notebooks" / f"{name}.html").read_text()
    for name in rooms:
        assert "Parameters" in (site / "reference" / f"{name}.html").read_text()
    assert "few_shot_search" in (site / "reference" / "search.html").read_text()


def test_every_link_within_the_site_leads_somewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        for link in re.findall(r"<a [^>]*href=\"([^\"#:]+)(?:#[^\"]*)?\"", text):
            assert (page.parent / unquote(link)).exists(), f"{page.name}: {link}"


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not ELSEWHERE.search(page.read_text()), page.name
