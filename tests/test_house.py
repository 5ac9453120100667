"""The rules of the house that a linter does not know."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import naslid_toolkit

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "naslid_toolkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PUBLIC = """
ARMS ESTIMATORS PROXIES Architecture ConvolutionCountCriterion DecomposedSupernet Evaluation
EvolutionConfig ExhaustiveGrouping FewShotRun GradientCriterion ImageTask Images LIDCriterion
LIDProfile LayerDistances LeafScore MaximumLikelihood NaslidError NeighbourStore
NormalisedCutGrouping ProgressDisplay RandomCriterion RankCorrelation ReferenceTable RunConfig
RunStore ScikitDimension SearchSpace Skeleton SpectralGrouping Split SplitConfig SplitTree
StackedNetworks Supernet TrainingConfig accuracy accuracy_of audit_operations bootstrap_profile
cell_space check_answer choose_split column_agreement combine compare_costs compare_profiles
compare_rankings context_stability correlation_similarity cosine_similarity cost_table cross_fit
derive_run digits_truth_path euclidean_similarity evaluate evaluate_stacked evolve example_run
example_study explore few_shot_search findings format_architecture generator hierarchical_search
import_benchmark judge_study kendall_tau lid_mle lid_profile load_digits load_image_parquet
load_neighbours load_reference load_run load_study load_task load_truth log_similarity
measure_distances nasbench201 over_seeds pack_images pairwise_distances panel_table parse_architecture
read_columns reliability run_study sample_manifold score_architectures score_proxies
separability separability_tables separation split_by split_stability study_costs study_table
train train_stacked trivial_scores write_images
"""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


def test_there_are_at_most_140_modules():
    assert len([path for path in MODULES if path.name != "__init__.py"]) <= 140


def test_the_public_names_are_those_agreed_on():
    """A change here needs a line in the changelog."""
    assert naslid_toolkit.__all__ == PUBLIC.split()


def test_every_public_name_loads_from_where_type_checkers_see_it():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        alias.name: node.module.removeprefix("naslid_toolkit.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("naslid_toolkit.")
        for alias in node.names
    }

    assert seen == naslid_toolkit._HOMES
    assert dir(naslid_toolkit) == sorted(naslid_toolkit.__all__)
    for name in naslid_toolkit.__all__:
        assert getattr(naslid_toolkit, name).__doc__, f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        naslid_toolkit.nothing


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, naslid_toolkit; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "plotly", "scipy"} & set(done.stdout.split())


def test_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == naslid_toolkit.__version__
    assert f"version: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()


def test_environment_and_constraints_agree():
    pinned = set((ROOT / "constraints.txt").read_text().split())
    listed = {
        line.strip().removeprefix("- ")
        for line in (ROOT / "environment.yml").read_text().splitlines()
        if "==" in line
    }

    assert listed
    assert listed <= pinned


def test_the_environment_has_all_that_the_project_asks_for():
    """Conda users get the tested version of every direct dependency, and all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    text = (ROOT / "environment.yml").read_text()
    pinned = {canonicalize_name(n): v for n, v in re.findall(r"- ([\w.-]+)==(\S+)", text)}

    for requirement in map(Requirement, asked):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier
    assert set(pinned) == {canonicalize_name(Requirement(one).name) for one in asked}
    assert f"- -e .[{','.join(extras)}]" in text
    assert re.search(r"python=(\S+)", text).group(1) in SpecifierSet(project["requires-python"])


def test_the_wheel_holds_all_that_ships():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]

    assert {name for name in included if name.startswith("notebooks/")} == {
        f"notebooks/{path.name}" for path in NOTEBOOKS
    }
    for source, target in included.items():
        assert (ROOT / source).exists()
        assert target == f"naslid_toolkit/{source}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_both_halves_of_a_notebook_say_the_same(path):
    """``jupytext --sync notebooks/*.ipynb`` brings them together."""
    text = jupytext.read(path.with_suffix(".py"))
    notebook = nbformat.read(path, as_version=4)

    assert [(c.cell_type, c.source) for c in text.cells] == [
        (c.cell_type, c.source) for c in notebook.cells
    ]
    assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    nbformat.validate(notebook)
    assert path.stat().st_size < 200_000
    assert "widgets" not in notebook.metadata
    assert "parameters" in cells[0].metadata["tags"]
    assert len(cells) <= 20
    for cell in cells:
        assert len(cell.source.splitlines()) <= 12
        assert not cell.outputs
        assert cell.execution_count is None
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.While | ast.Try)
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or node.names[0].name]
                assert names[0].split(".")[0] in {"naslid_toolkit", "pandas", "pathlib"}
