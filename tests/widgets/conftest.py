"""Dashboards without a browser: set a trait, read the figure; nothing may be left behind."""

import threading
import time

import pytest
from ipywidgets.widgets.widget import _instances

from naslid_toolkit.search.opened import OpenRun


@pytest.fixture
def opened(tiny_folder) -> OpenRun:
    return OpenRun(tiny_folder)


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Every test closes what it opens; whatever stays is a leak."""
    before = set(_instances)
    yield
    left = [type(_instances[name]).__name__ for name in set(_instances) - before]
    assert not left, f"widgets left open: {left}"
    deadline = time.monotonic() + 10
    while names := [t.name for t in threading.enumerate() if t.name.startswith("naslid")]:
        assert time.monotonic() < deadline, f"threads left: {names}"
        time.sleep(0.02)


@pytest.fixture
def shown():
    """Close dashboards when the test ends."""
    opened = []

    def keep(dashboard):
        opened.append(dashboard)
        return dashboard

    yield keep
    for dashboard in opened:
        dashboard.close()
