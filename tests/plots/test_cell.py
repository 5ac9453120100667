import xml.etree.ElementTree as ET

import pytest

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.plots.cell import cell_svg, plot_cells
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import parse_architecture

SVG = "{http://www.w3.org/2000/svg}"
ONE = parse_architecture("|none~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|")


def test_every_edge_is_drawn_with_its_operation():
    root = ET.fromstring(cell_svg(ONE))

    edges = [group for group in root.iter(f"{SVG}g") if "data-edge" in group.attrib]

    assert [group.attrib["data-edge"] for group in edges] == list("012345")
    labels = [group.find(f"{SVG}text").text for group in edges]
    assert labels == ["none", "conv 3×3", "skip", "avg pool", "none", "none"]
    assert edges[3].attrib["aria-label"] == "edge 0→3: avg pool"


def test_edges_that_carry_nothing_are_pale():
    root = ET.fromstring(cell_svg(ONE))

    pale = [
        group.attrib["data-edge"]
        for group in root.iter(f"{SVG}g")
        if group.attrib.get("opacity") == "0.4"
    ]

    assert pale == ["0", "1", "2", "4", "5"]


def test_a_foreign_cell_is_refused():
    with pytest.raises(SpaceError):
        cell_svg(Architecture(("<script>",) * 6))


def test_cells_have_captions_shown_as_text():
    figure = plot_cells([ONE, ONE], ["one <b>bold</b>", "two"])

    assert len(figure.layout.images) == 2
    assert figure.layout.annotations[0].text == "one &lt;b&gt;bold&lt;/b&gt;"
