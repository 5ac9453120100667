"""Every notebook runs at the smallest budget, in a copy."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source, replaced = re.subn(r'budget = "\w+"', 'budget = "tiny"', cell.source)

    client = NotebookClient(notebook, timeout=300, store_widget_state=False)
    client.execute(cwd=str(tmp_path))

    outputs = [output for c in notebook.cells for output in c.get("outputs", [])]
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert replaced == 1
    assert len(figures) >= 3
    assert not [o for o in outputs if o.output_type == "error"]
