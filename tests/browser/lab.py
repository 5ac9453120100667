"""A JupyterLab server, a browser, and pages with a notebook that has run: no pytest in here."""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    },
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}  # fmt: skip
READY = """() => {
  const widget = window.jupyterapp?.shell.currentWidget;
  return !!(widget?.context?.isReady && widget.sessionContext?.isReady
    && widget.sessionContext.session?.kernel?.connectionStatus === 'connected');
}"""
SHOTS = Path(os.environ.get("NASLID_SCREENSHOTS", "runs/screenshots"))


def why_not():
    """Say what is missing for a browser; None if nothing is."""
    if CHROMIUM is None:
        return "no Chromium: install it, or name it in CHROMIUM"
    for module in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install -e .[browser]"
    return None


@dataclass
class Lab:
    """A running server."""

    base: str
    token: str
    root: Path

    def call(self, method, path):
        request = urllib.request.Request(
            f"{self.base}/api/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def write(self, name, cells):
        """Write a notebook of code cells."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(notebook, self.root / name)

    def end_kernels(self):
        for session in json.loads(self.call("GET", "sessions")):
            self.call("DELETE", f"sessions/{session['id']}")


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def running_lab(home, root):
    """Start a server with settings of its own below ``home``, notebooks in ``root``."""
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment |= {name: str(home / folder) for name, folder in places.items()}
    port, token = _free_port(), secrets.token_hex(16)
    options = [
        "--no-browser", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}", "--ServerApp.allow_root=True", "--ServerApp.port_retries=0",
        "--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--ServerApp.terminals_enabled=False",
    ]  # fmt: skip
    log = home / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    found = Lab(f"http://127.0.0.1:{port}", token, root)
    deadline = time.monotonic() + 60
    while True:
        try:
            found.call("GET", "status")
            break
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.1)
    yield found
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(15)
    server.kill()
    server.wait()


@contextlib.contextmanager
def running_browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield opened
        opened.close()


class Journey:
    """One page with one notebook, and everything that must not happen on it."""

    def __init__(self, page, lab):
        self.page, self.lab = page, lab
        self.foreign, self.complaints = [], []
        page.on("request", self._note_request)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request):
        local = (self.lab.base, self.lab.base.replace("http", "ws"), "data:", "blob:")
        if not request.url.startswith(local):
            self.foreign.append(request.url)

    def _note_console(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, *cells, name="journey.ipynb"):
        """Write a notebook, open it and run all its cells."""
        self.lab.write(name, cells)
        self.visit(name)

    def visit(self, name):
        """Open a notebook that is there and run all its cells."""
        self.page.goto(f"{self.lab.base}/doc/tree/{name}?token={self.lab.token}")
        self._run_all()

    def _run_all(self):
        self.page.wait_for_function(READY, timeout=60_000)
        ran = self.page.evaluate(
            "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
        )
        assert ran, "a cell of the notebook failed"

    def say(self, code):
        """Run code in the kernel and return what it prints."""
        return self.page.evaluate(
            """async (code) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              let text = '';
              const run = kernel.requestExecute({ code, store_history: false });
              run.onIOPub = (m) => {
                if (m.header.msg_type === 'stream') text += m.content.text;
                if (m.header.msg_type === 'error') text += m.content.traceback.join('\\n');
              };
              await run.done;
              return text;
            }""",
            code,
        )

    def restart(self):
        """Restart the kernel and run all cells again."""
        self.page.evaluate(
            """async () => {
              const session = window.jupyterapp.shell.currentWidget.sessionContext;
              await session.restartKernel();
            }"""
        )
        self._run_all()

    def theme(self, name):
        self.page.evaluate(
            "(theme) => window.jupyterapp?.commands.execute('apputils:change-theme', { theme })",
            name,
        )

    def dark(self):
        self.theme("JupyterLab Dark")
        self.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")

    def barriers(self):
        """Say what on the dashboards keeps people out who use a keyboard or a screen reader."""
        from axe_playwright_python.sync_playwright import Axe

        if not self.page.locator(".nl-dashboard").count():
            return []
        found = Axe().run(self.page, context=".nl-dashboard").response["violations"]
        return [f"{rule['help']}: {node['html']}" for rule in found for node in rule["nodes"]]

    def shot(self, selector, name):
        """Keep a picture of one element."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.locator(selector).first.screenshot(path=SHOTS / f"{name}.png")


@contextlib.contextmanager
def journeys(browser, lab, **page_options):
    """Open a page for a journey; end its kernels and go back to the light theme afterwards."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 1700}, **page_options})
    found = Journey(context.new_page(), lab)
    yield found
    found.theme("JupyterLab Light")
    context.close()
    lab.end_kernels()
