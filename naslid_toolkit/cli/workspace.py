"""``naslid new``, ``naslid lab`` and ``naslid pack``."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

import tomli_w

from naslid_toolkit.cli.numbers import whole
from naslid_toolkit.cli.results import say
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.packing import pack_images
from naslid_toolkit.progress import ProgressDisplay
from naslid_toolkit.runtime import Event, Remark
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.shipped import new_workspace

_FIRST: Final = "00_quickstart.ipynb"
_HEAD: Final = """\
# All settings of a search, here those of the demo. Change what you like and run
#   naslid search --config search.toml --out runs/mine
# 'naslid search --help' and the documentation of RunConfig say what they mean.

"""


def add_new_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``naslid new``."""
    parser.add_argument("path", metavar="PATH", help="a folder that does not exist yet")
    parser.set_defaults(run=_new)


def add_lab_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``naslid lab``."""
    add = parser.add_argument
    add(
        "path",
        metavar="PATH",
        nargs="?",
        default="naslid",
        help="a folder of 'naslid new'; made if it does not exist (default: naslid)",
    )
    add("--no-browser", action="store_true", help="only print the address")
    port = whole(0, 65_535)
    add("--port", type=port, metavar="N", help="port of the server (default, and 0: a free one)")
    add("--ip", metavar="ADDRESS", help="address to listen on (default: this machine only)")
    add(
        "--jupyter",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option of JupyterLab, for instance --jupyter=--allow-root",
    )
    parser.set_defaults(run=_lab)


def add_pack_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``naslid pack``."""
    add = parser.add_argument
    add(
        "folder",
        metavar="FOLDER",
        help="holds one folder of images for each class, or train, val and test that do",
    )
    add("out", metavar="FILE.parquet", help="file to write; use it as --data")
    add("--size", type=whole(4, 4096), metavar="N", help="scale every image to N x N pixels")
    parser.set_defaults(run=_pack)


def _new(options: argparse.Namespace) -> int:
    folder = _made(options.path)
    say(f"{folder}: notebooks 00 to 09, search.toml, and a finished run in runs/example")
    say(f"open it with: naslid lab {options.path}")
    return 0


def _made(path: str) -> Path:
    settings = _HEAD + tomli_w.dumps(RunConfig.preset("demo").to_dict())
    return new_workspace(path, settings=settings)


def _lab(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("JupyterLab is missing; pip install 'naslid-toolkit[notebooks]'")
    folder = Path(options.path)
    if not folder.exists():
        say(f"{_made(options.path)}: made, with notebooks and a finished run")
    elif not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    chosen = {
        "--ServerApp.root_dir": folder.resolve(),
        "--LabApp.default_url": f"/lab/tree/{_FIRST}" if (folder / _FIRST).exists() else None,
        "--ServerApp.port": options.port,
        "--ServerApp.ip": options.ip,
        "--ServerApp.open_browser": not options.no_browser,
    }
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"{name}={value}" for name, value in chosen.items() if value is not None]
    command += options.jupyter
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own command
    except KeyboardInterrupt:  # the server has heard it too
        return 0


def _pack(options: argparse.Namespace) -> int:
    remarks: list[str] = []
    with ProgressDisplay() as show:

        def on_event(event: Event) -> None:
            if isinstance(event, Remark):
                remarks.append(event.text)
            else:
                show(event)

        path = pack_images(options.folder, options.out, size=options.size, on_event=on_event)
    for remark in remarks:
        say(remark)
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    say(f"search on it with: naslid search --data {path} --preset small")
    return 0
