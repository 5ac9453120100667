import gc
import logging
import threading
import time
import weakref

import pytest
from ipywidgets import HTML, Button, IntSlider
from ipywidgets.widgets.widget import _instances

from naslid_toolkit.errors import DataError
from naslid_toolkit.widgets import Explorer, LIDExplorer
from naslid_toolkit.widgets._base import Dashboard, NewestWins, pane, say
from naslid_toolkit.widgets._views import FigureView, TreeView, figure_data

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> & \"quotes\" 'too'"


def test_of_waiting_work_only_the_newest_is_done():
    worker, begun, go, done = NewestWins(background=True), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go.wait(10)
        done.append(0)

    worker.submit(first)
    begun.wait(10)
    for number in range(1, 6):
        worker.submit(lambda number=number: done.append(number))
    assert worker.waiting
    go.set()

    assert worker.wait(10.0)
    assert done == [0, 5]


def test_there_is_a_thread_only_while_there_is_work():
    worker = NewestWins(background=True)
    worker.submit(lambda: time.sleep(0.05))
    assert any(t.name == "naslid-dashboard" for t in threading.enumerate())

    assert worker.wait(10.0)

    deadline = time.monotonic() + 5
    while any(t.name == "naslid-dashboard" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_requests_from_several_threads_end_with_the_last_one(shown):
    dashboard, seen = shown(Dashboard()), []

    def ask(start):
        for number in range(start, start + 100):
            dashboard.run(lambda number=number: number, seen.append)

    threads = [threading.Thread(target=ask, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dashboard.run(lambda: "last", seen.append)

    assert dashboard.settled()
    assert seen[-1] == "last"
    assert len(seen) < 401


def test_an_error_is_shown_with_its_notes_until_work_succeeds(shown):
    dashboard = shown(Dashboard(background=False))

    def fail():
        error = DataError(f"no file {HOSTILE}")
        error.add_note("while reading")
        raise error

    dashboard.run(fail, lambda _: None)
    assert "no file &lt;img" in dashboard.errors.value
    assert "while reading" in dashboard.errors.value
    assert "<img" not in dashboard.errors.value
    assert "<script" not in dashboard.errors.value
    dashboard.run(lambda: 1, lambda _: None, slot="other")
    assert dashboard.errors.value

    dashboard.run(lambda: 1, lambda _: None)
    assert dashboard.errors.value == ""


def test_an_unexpected_error_is_logged_and_shown(shown, caplog):
    dashboard = shown(Dashboard(background=False))

    with caplog.at_level(logging.ERROR, logger="naslid_toolkit"):
        dashboard.run(lambda: 1 / 0, lambda _: None)

    assert "unexpected ZeroDivisionError" in dashboard.errors.value
    assert "a dashboard failed" in caplog.text


def test_errors_of_handlers_are_shown(shown):
    dashboard = shown(Dashboard(background=False))
    slider, button = IntSlider(), Button()
    dashboard.children = (slider, button)

    def fail():
        raise DataError("refused")

    dashboard.watch(slider, fail)
    dashboard.press(button, fail)

    slider.value = 3
    assert "refused" in dashboard.errors.value
    dashboard.errors.value = ""
    button.click()
    assert "refused" in dashboard.errors.value


def test_nothing_is_shown_after_the_end():
    dashboard, begun, go, seen = Dashboard(), threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        go.wait(10)

    dashboard.run(slow, seen.append)
    begun.wait(10)
    dashboard.close()
    dashboard.run(lambda: 1, seen.append)
    dashboard.close()
    go.set()

    assert dashboard.settled()
    assert seen == []


def test_text_is_shown_as_text():
    place = pane("nl-text")

    say(place, f"one\n{HOSTILE}")

    assert place.value.startswith("one<br>&lt;img")
    assert "<script" not in place.value
    for part in (place.layout, place.style, place):
        part.close()


def test_figures_share_one_library_that_goes_with_the_last_of_them():
    first, second = FigureView(), FigureView()
    library = first.library

    assert second.library is library
    assert len(library.code) < 2_000_000
    for figure in (first, second):
        assert library.comm is not None
        figure.layout.close()
        figure.close()
    assert library.comm is None


def test_a_figure_is_sent_without_template_or_nan():
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(y=[1.0, float("nan")]), layout={"template": "plotly_dark"})

    data = figure_data(figure)

    assert "template" not in data["layout"]
    assert data["data"][0]["y"] == [1.0, None]


def test_only_a_node_of_the_tree_can_be_selected():
    nodes = [{"id": "root"}, {"id": "root-0"}]
    view = TreeView(nodes=nodes)

    view.selected = "root-0"
    assert view.selected == "root-0"
    view.selected = "elsewhere"
    assert view.selected == "root"
    view.layout.close()
    view.close()


@pytest.mark.parametrize("make", [LIDExplorer, Explorer])
def test_fifty_times_opened_and_closed_leaves_nothing(make, opened):
    """No widget, no thread, no observer: an observed widget would keep the dashboard alive."""
    watched = HTML()
    before, gone = len(_instances), []
    for _ in range(50):
        dashboard = make(opened, background=False)
        dashboard._repr_mimebundle_()
        dashboard.watch(watched, lambda: None)
        gone.append(weakref.ref(dashboard))
        dashboard.close()
    del dashboard
    gc.collect()

    assert len(_instances) == before
    assert not watched._trait_notifiers.get("value", {}).get("change")
    assert not any(ref() for ref in gone)
    for part in (watched.layout, watched.style, watched):
        part.close()
