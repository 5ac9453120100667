"""Build the documentation: notebooks executed, figures as pictures, links and examples checked.

python docs/build.py [--budget tiny] [--no-execute] [--links] [--out docs/_build]

Needs the extra ``docs``, and Chromium for the pictures. A notebook that is unchanged since it was
executed with the same budget is not executed again.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import plotly.io as pio
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = HERE.parent / "notebooks"
FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
NOTE = {
    "tiny": 'Executed with `budget = "tiny"`, which only shows that everything runs: the numbers '
    "below mean nothing. `make docs BUDGET=small` executes it in full.",
    "none": "Not executed. `make docs` executes all notebooks.",
}


def prepared(path: Path, budget: str) -> nbformat.NotebookNode:
    """Return a notebook with its budget set."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = re.sub(r'budget = "\w+"', f'budget = "{budget}"', cell.source)
    return notebook


def execute(path: Path, budget: str, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a folder; return it with its outputs."""
    notebook = prepared(path, budget)
    client = NotebookClient(notebook, timeout=3600, store_widget_state=False)
    client.execute(cwd=str(folder))
    return notebook


def picture(figure: dict) -> str:
    """Return a figure as PNG, in base64."""
    height = figure["layout"].get("height", 450)
    made = pio.to_image(figure, "png", width=860, height=height, scale=1.5, validate=False)
    return base64.b64encode(made).decode()


def shown(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Turn a figure into a picture, and a live widget into a word."""
    data = output.get("data", {})
    if FIGURE in data:
        output["data"] = {"image/png": picture(data[FIGURE])}
    elif WIDGET in data and "text/html" not in data:
        output["data"] = {"text/markdown": "*A dashboard: live in JupyterLab.*"}
    elif "text/html" in data:
        output["data"] = {"text/html": data["text/html"]}
    return output


def as_page(notebook: nbformat.NotebookNode, budget: str) -> nbformat.NotebookNode:
    """Make everything in a notebook static, and say how it was executed."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [shown(o) for o in cell.outputs if o.get("name") != "stderr"]
    if budget in NOTE:
        text = f":::{{note}}\n{NOTE[budget]}\n:::"
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text, id="how-executed"))
    return notebook


def make_notebooks(budget: str) -> None:
    """Execute every notebook that changed, and put it where the pages are."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    for path in sorted(SOURCES.glob("*.ipynb")):
        key = hashlib.sha256(path.read_bytes() + budget.encode()).hexdigest()[:16]
        place = target / path.name
        if place.exists() and nbformat.read(place, 4).metadata.get("executed") == key:
            continue
        print(f"{path.name}: {'taken as it is' if budget == 'none' else 'executed'}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            notebook = (
                prepared(path, "small") if budget == "none" else execute(path, budget, Path(folder))
            )
        page = as_page(notebook, budget)
        page.metadata["executed"] = key
        nbformat.write(page, place)


def sphinx(builder: str, out: Path) -> None:
    """Run a builder of Sphinx; warnings are errors."""
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going", "-q"]
    command += ["-d", str(out / "doctrees")]
    done = subprocess.run([*command, str(HERE), str(out / builder)], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"the {builder} build failed")


def main() -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="tiny", choices=["tiny", "small", "paper"])
    parser.add_argument("--no-execute", action="store_true", help="notebooks without outputs")
    parser.add_argument("--links", action="store_true", help="also ask other sites for their pages")
    parser.add_argument("--out", type=Path, default=HERE / "_build")
    options = parser.parse_args()
    make_notebooks("none" if options.no_execute else options.budget)
    sphinx("html", options.out)
    sphinx("doctest", options.out)
    if options.links:
        sphinx("linkcheck", options.out)
    print(f"open {options.out / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
