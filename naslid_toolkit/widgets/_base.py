"""What all dashboards share: work in the background, errors under the widget, a clean end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import pandas as pd
import plotly.graph_objects as go
from ipywidgets import HTML, Button, HBox, VBox, Widget

from naslid_toolkit.errors import NaslidError
from naslid_toolkit.plain_text import as_html, html_table
from naslid_toolkit.widgets._views import NamesView

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=Widget)
_LOG: Final = logging.getLogger("naslid_toolkit")
_LOG.addHandler(logging.NullHandler())
_HANDLER: Final = "handler"  # the slot of what handlers themselves say
_WIDE: Final = {"description_width": "initial"}


class NewestWins:
    """Does one piece of work after the other; of those waiting only the newest.

    There is a thread only while there is work.

    Parameters
    ----------
    background
        Whether to work in a thread, or at once in the caller's.
    """

    def __init__(self, *, background: bool) -> None:
        self._background = background
        self._lock = threading.Lock()
        self._next: Callable[[], None] | None = None
        self._busy = False
        self._idle = threading.Event()
        self._idle.set()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._idle.is_set()

    @property
    def waiting(self) -> bool:
        """Whether newer work waits for the present one to end."""
        return self._next is not None

    def submit(self, work: Callable[[], None]) -> None:
        """Do this work next."""
        with self._lock:
            self._next = work
            if self._busy:
                return
            self._busy = True
            self._idle.clear()
        if self._background:
            threading.Thread(target=self._go, name="naslid-dashboard", daemon=True).start()
        else:
            self._go()

    def _go(self) -> None:
        while True:
            with self._lock:
                work, self._next = self._next, None
                if work is None:
                    self._busy = False
                    self._idle.set()
                    return
            work()

    def drop(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._next = None

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until there is nothing to do; say whether that came to be."""
        return self._idle.wait(seconds)


class Dashboard(VBox):
    """A box of controls and views that belong together.

    Handlers may be called in any thread of the kernel; what they do goes through :meth:`run`.
    Their errors appear under the widget, as text.

    Parameters
    ----------
    background
        Whether to compute in a thread of its own, so that controls never block; False computes
        at once, for tests.
    """

    closed = True  # until it is made

    def __init__(self, *, background: bool = True) -> None:
        super().__init__()
        self.add_class("nl-dashboard")
        self.background = background
        self.status = pane("nl-status")
        self.errors = pane("nl-errors")
        self.names = NamesView()
        self._lock = threading.RLock()
        self._slots: dict[str, NewestWins] = {}
        self._undo: list[Callable[[], None]] = []
        self.closed = False

    def arrange(self, *parts: Widget) -> None:
        """Show these parts, and below them what the dashboard says, and its errors."""
        self.children = (*parts, self.status, self.errors, self.names)

    # -- work -----------------------------------------------------------------------------

    def run(
        self, work: Callable[[], Result], show: Callable[[Result], None], *, slot: str = "main"
    ) -> None:
        """Do ``work`` in the background and ``show`` its result.

        Of requests in one slot that wait, only the newest is carried out. ``show`` runs under
        the dashboard's lock; an error of either appears under the widget.
        """

        def task() -> None:
            try:
                result = work()
                with self._lock:
                    if not self.closed:
                        show(result)
                        self.clear(slot)
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                self.report(error, slot=slot)

        if not self.closed:
            self._slot(slot).submit(task)

    def _slot(self, name: str) -> NewestWins:
        with self._lock:
            if name not in self._slots:
                self._slots[name] = NewestWins(background=self.background)
            return self._slots[name]

    def superseded(self, slot: str = "main") -> bool:
        """Whether the work under way in a slot is out of date: a newer request waits."""
        return self.closed or self._slot(slot).waiting

    def idle(self, slot: str = "main") -> bool:
        """Whether there is no work in a slot."""
        return self._slot(slot).idle

    def settled(self, seconds: float = 60.0) -> bool:
        """Wait until all background work is done; say whether that came to be."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            slots = list(self._slots.values())
            if all(slot.idle for slot in slots):  # work in one slot may ask for more in another
                return True
            for slot in slots:
                slot.wait(max(0.0, deadline - time.monotonic()))
        return False

    # -- words ----------------------------------------------------------------------------

    def report(self, error: BaseException, *, slot: str = "main") -> None:
        """Show an error under the widget until work in the same slot succeeds."""
        if isinstance(error, NaslidError):
            lines = [str(error), *getattr(error, "__notes__", ())]
        else:
            _LOG.error("a dashboard failed", exc_info=error)
            lines = [f"unexpected {type(error).__name__}: {error}"]
        with self._lock:
            if self.closed:
                return
            self.errors.value = (
                f"<div class='nl-error' role='alert' data-slot='{as_html(slot)}'>"
                f"{as_html(chr(10).join(lines))}</div>"
            )

    def clear(self, slot: str) -> None:
        """Take an error of this slot away, if it is the one that is shown."""
        if f"data-slot='{as_html(slot)}'" in self.errors.value:
            self.errors.value = ""

    # -- controls -------------------------------------------------------------------------

    def watch(self, widget: Widget, handler: Callable[[], None], name: str = "value") -> None:
        """Call ``handler`` whenever a trait changes, until the dashboard is closed."""

        def changed(_change: Mapping[str, Any]) -> None:
            self._guarded(handler)

        widget.observe(changed, names=name)
        self._undo.append(lambda: widget.unobserve(changed, names=name))

    def press(self, button: Button, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever the button is pressed, until the dashboard is closed."""

        def pressed(_button: Button) -> None:
            self._guarded(handler)

        button.on_click(pressed)
        self._undo.append(lambda: button.on_click(pressed, remove=True))

    def hear(self, widget: Widget, handler: Callable[[dict[str, Any]], None]) -> None:
        """Call ``handler`` with every message of a view, until the dashboard is closed."""

        def heard(_widget: Widget, content: dict[str, Any], _buffers: object) -> None:
            self._guarded(lambda: handler(content))

        widget.on_msg(heard)
        self._undo.append(lambda: widget.on_msg(heard, remove=True))

    def _guarded(self, handler: Callable[[], None]) -> None:
        try:
            if not self.closed:
                handler()
                self.clear(_HANDLER)
        except Exception as error:  # noqa: BLE001 - would appear nowhere in the notebook
            self.report(error, slot=_HANDLER)

    # -- pictures and the end -------------------------------------------------------------

    def to_figure(self) -> go.Figure:
        """Return what is seen as a plain figure, for pages without a kernel."""
        raise NotImplementedError

    def to_html(self) -> str:
        """Return what is seen as an HTML page of its own that loads nothing."""
        return str(self.to_figure().to_html(full_html=True, include_plotlyjs=True))

    def close(self) -> None:
        """End background work and take the dashboard with all its parts off every page."""
        if self.closed:
            return
        with self._lock:
            self.closed = True
        for slot in self._slots.values():
            slot.drop()
        for undo in self._undo:
            undo()
        self._undo.clear()
        own = (self.status, self.errors, self.names)  # also where nothing was arranged
        for widget in (*(part for box in (self, *own) for part in _below(box)), *own):
            widget.close()
        super().close()


def _below(widget: Widget) -> Iterator[Widget]:
    """Go through everything a widget is made of."""
    for child in getattr(widget, "children", ()):
        yield from _below(child)
        yield child
    for name in ("layout", "style"):
        part = getattr(widget, name, None)
        if isinstance(part, Widget):
            yield part


def named(widget: Kind, *classes: str) -> Kind:
    """Give a widget classes, by which styles and tests find it; return it."""
    for name in classes:
        widget.add_class(name)
    return widget


def control(kind: Callable[..., Kind], name: str, label: str, /, **traits: Any) -> Kind:  # noqa: ANN401 - traits of a widget
    """Return a control with a label that fits, of class ``nl-NAME``."""
    widget = kind(description=label, style=dict(_WIDE), **traits)
    return named(widget, f"nl-{name}")


def button(name: str, label: str, tooltip: str = "") -> Button:
    """Return a button of class ``nl-NAME``."""
    return named(Button(description=label, tooltip=tooltip), f"nl-{name}")


def pane(name: str) -> HTML:
    """Return a place for words, of class ``nl-NAME``; see :func:`say`."""
    return named(HTML(), name)


def say(place: HTML, text: str) -> None:
    """Show text as text, line by line; nothing in it is taken for HTML."""
    place.value = "<br>".join(as_html(line) for line in text.splitlines())


def heading(text: str) -> HTML:
    """Return a heading."""
    return HTML(f"<div class='nl-heading' role='heading' aria-level='3'>{as_html(text)}</div>")


def table(frame: pd.DataFrame) -> str:
    """Return a table as HTML in which every text is text."""
    return html_table(frame, classes="nl-table")


def row(widgets: Sequence[Widget]) -> HBox:
    """Return controls beside each other, in several lines where the page is narrow."""
    return named(HBox(list(widgets)), "nl-controls")
