"""Settings of the documentation; ``make docs`` builds it."""

import inspect
import re
from pathlib import Path

import naslid_toolkit

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "naslid_toolkit"
# What the pages of the reference are called, in the order one meets the parts.
ROOMS = {
    "space": "Spaces",
    "lid": "LID",
    "supernet": "Supernets",
    "partition": "Splits",
    "evaluation": "Evaluation",
    "search": "Searches and runs",
    "plots": "Figures",
    "widgets": "Dashboards",
    "": "Images, settings, and the rest",
}

project = "naslid_toolkit"
author = copyright = "The naslid_toolkit authors"
version = release = naslid_toolkit.__version__
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "notebooks/.*"]
nitpicky = True
# Types of other packages, and shapes of arrays, are named and not linked.
nitpick_ignore_regex = [("py:(class|obj|exc|data)", ".*")]
html_theme = "furo"
html_title = "naslid_toolkit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
doctest_test_doctest_blocks = ""  # those of docstrings run with the tests
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # docs/build.py has executed them
nb_merge_streams = True
linkcheck_anchors = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def modules_of(room: str) -> list[str]:
    """Return the public modules of a room that say something."""
    folder = PACKAGE / room
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return [".".join(filter(None, ["naslid_toolkit", room, name])) for name in names]


def write_reference(_app: object) -> None:
    """Write one page for each room, with everything public of its modules."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    for room, title in ROOMS.items():
        lines = [title, "=" * len(title), ""]
        for module in modules_of(room):
            head = module.removeprefix("naslid_toolkit.")
            lines += [head, "-" * len(head), "", f".. automodule:: {module}"]
            lines += ["   :members:", "   :show-inheritance:", ""]
        write_if_new(folder / f"{room or 'rest'}.rst", "\n".join(lines))


def write_if_new(path: Path, text: str) -> None:
    """Write a file unless it has that text already, so that little is built anew."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def plain_signature(
    _app: object,
    what: str,
    _name: str,
    obj: type,
    _options: object,
    signature: str | None,
    back: str | None,
) -> tuple[str, ...] | None:
    """Shorten what array types look like in a signature; say that of a dashboard."""
    if signature is None:
        return None
    if what == "class" and "kwargs: t.Any" in signature:  # all that traitlets tells
        parts = inspect.signature(obj.__init__)
        signature = str(parts.replace(parameters=list(parts.parameters.values())[1:]))
    return tuple(
        re.sub(r"(?:Float|Int|Bool|Integer)\[Tensor, '([^']*)'\]", r"Tensor[\1]", text or "")
        for text in (signature, back)
    )


def setup(app: object) -> None:
    """Connect what is written before a build."""
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-signature", plain_signature)
