import pytest

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.space.architecture import Architecture, live_edges, live_part
from naslid_toolkit.space.nasbench201 import EDGES, nasbench201
from tests.reference.slow import depth_by_paths


def test_an_empty_architecture_is_refused():
    with pytest.raises(SpaceError, match="at least one operation"):
        Architecture(())


def test_replacing_outside_the_edges_is_refused():
    with pytest.raises(SpaceError, match=r"edge 6 is outside 0\.\.5"):
        Architecture(("none",) * 6).replace(6, "none")


def test_the_live_part_is_connected_exactly_if_a_path_exists():
    for architecture in list(nasbench201())[::37]:
        live = live_edges(EDGES, [(o,) for o in architecture.operations])

        assert any(live) == (depth_by_paths(EDGES, architecture.operations) >= 0)


def test_the_live_part_keeps_every_path():
    for architecture in list(nasbench201())[::37]:
        part = live_part(EDGES, architecture)

        before = depth_by_paths(EDGES, architecture.operations)
        assert depth_by_paths(EDGES, part.operations) == before
        assert live_part(EDGES, part) == part
