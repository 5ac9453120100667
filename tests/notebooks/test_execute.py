"""Every notebook runs at the smallest budget, in a copy."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FIGURE = "application/vnd.plotly.v1+json"


def untitled(figure):
    """Return the visible axes of a figure that nothing says the meaning of."""
    layout = figure["layout"]
    axes = {name: axis for name, axis in layout.items() if re.fullmatch(r"[xy]axis\d*", name)}
    titles = {name: (axis.get("title") or {}).get("text") for name, axis in axes.items()}
    return [
        name
        for name, axis in axes.items()
        if axis.get("visible", True)
        and not titles[name]
        # an inner panel of several shares the title of the one at the border
        and not any(title for other, title in titles.items() if other[0] == name[0])
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source, replaced = re.subn(r'budget = "\w+"', 'budget = "tiny"', cell.source)

    client = NotebookClient(notebook, timeout=300, store_widget_state=False)
    client.execute(cwd=str(tmp_path))

    outputs = [output for c in notebook.cells for output in c.get("outputs", [])]
    figures = [o["data"][FIGURE] for o in outputs if FIGURE in o.get("data", {})]
    assert replaced == 1
    assert len(figures) >= 3
    assert [untitled(figure) for figure in figures] == [[]] * len(figures)
    assert not [o for o in outputs if o.output_type == "error"]
    last = notebook.cells[-1].outputs[-1]["data"]["text/html"]
    if path.stem == "09_exercises":
        assert "exercise" in last
        assert "False" not in last
    else:
        assert all(title in last for title in ("expected", "found", "verdict"))
