"""The table of cases names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (PROJECT / "tests/cases/README.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| case", "| ---"))
]


def named_tests(cell: str) -> list[tuple[str, str]]:
    """Return file and function of the tests in a cell; one without a file is in the one before."""
    found, file = [], ""
    for text in re.findall(r"`([^`]+)`", cell):
        path, _, name = text.rpartition("::")
        file = path or file
        if name.startswith("test_"):
            found.append((file, name.partition("[")[0]))
    return found


def functions(file: str) -> set[str]:
    tree = ast.parse((PROJECT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_a_case_names_its_test(row):
    cell = re.split(r"(?<!\\)\|", row)[-2]
    tests = named_tests(cell)

    assert tests or "make test-minimum" in cell
    for file, name in tests:
        assert name in functions(file)
