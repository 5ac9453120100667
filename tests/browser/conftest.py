"""Journeys: one server and one browser for all, a page for each."""

from pathlib import Path

import pytest

from tests.browser.lab import journeys, running_browser, running_lab, why_not


def pytest_collection_modifyitems(items):
    missing = why_not()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with running_lab(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture(scope="session")
def browser():
    with running_browser() as opened:
        yield opened


@pytest.fixture
def journey(browser, lab):
    with journeys(browser, lab) as found:
        yield found
        barriers = found.barriers()
    assert not barriers, f"not usable by everybody: {barriers}"
    assert not found.foreign, f"requests to other hosts: {found.foreign}"
    assert not found.complaints, f"errors in the console: {found.complaints}"
