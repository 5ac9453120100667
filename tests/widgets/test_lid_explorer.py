import json

import numpy as np
import pytest
import torch

from naslid_toolkit.errors import DataError, ShapeError
from naslid_toolkit.lid.bootstrap import bootstrap_profile
from naslid_toolkit.lid.estimators import ESTIMATORS
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.search.opened import OpenRun
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import format_architecture
from naslid_toolkit.widgets import LIDExplorer
from naslid_toolkit.widgets._curves import CurveSet
from tests.widgets.test_base import HOSTILE


@pytest.fixture
def explorer(opened, shown):
    return shown(LIDExplorer(opened, background=False))


def drawn(explorer):
    """Return what the figure shows: the curve of each name."""
    return {t["name"]: t["y"] for t in explorer.figure.figure["data"] if t.get("name")}


def test_the_curves_are_what_the_split_saw(explorer, opened):
    evidence = opened.evidence("root")[0]

    curves = drawn(explorer)

    assert list(curves) == ["none", "skip", "conv 1×1", "conv 3×3", "avg pool"]
    for row, curve in enumerate(curves.values()):
        expected = evidence.vectors[:, row].nanmean(dim=0)
        np.testing.assert_allclose(curve, expected, rtol=1e-4)


@pytest.mark.parametrize("k", [5, 13])
@pytest.mark.parametrize("estimator", ["median", "mom"])
def test_other_settings_give_what_the_network_would(explorer, opened, k, estimator):
    path = Architecture(("nor_conv_3x3",) * 6)
    explorer.architecture.value = format_architecture(path)
    explorer.add.click()

    explorer.k.value, explorer.estimator.value, explorer.points.value = k, estimator, 32

    kept = opened.measure(path).distances.subset(range(32))
    expected = ESTIMATORS[estimator](kept, k=k).lid.nanmean(dim=0)
    np.testing.assert_allclose(explorer.shown.curves[-1].lid, expected, rtol=1e-6)


def test_an_added_curve_is_measured_as_by_the_network_itself(explorer, opened):
    path = Architecture(("nor_conv_3x3",) * 6)
    explorer.architecture.value = format_architecture(path)
    explorer.add.click()

    criterion = opened._criterion("root")
    expected = criterion.profile(path).lid

    np.testing.assert_allclose(explorer.shown.curves[-1].lid, expected, rtol=1e-5)


def test_no_network_runs_when_a_setting_changes(opened, shown, monkeypatch):
    explorer = shown(LIDExplorer(opened, background=False))
    monkeypatch.setattr(OpenRun, "measure", lambda *_: pytest.fail("a network ran"))

    explorer.k.value = 7
    explorer.estimator.value = "geometric"
    explorer.layers.value = explorer.layers.options[:2]

    assert explorer.errors.value == ""
    assert len(drawn(explorer)["skip"]) == 2
    assert "k = 7" in explorer.status.value


def test_the_matrix_is_the_similarity_of_the_edge(explorer, opened):
    explorer.edge.value = 3
    explorer.similarity.value = "cosine"

    heat = explorer.matrix.figure["data"][0]

    evidence = opened.neighbours("root").evidence(k=explorer.k.value)
    (edge,) = [item for item in evidence if item.edge == 3]
    expected = edge.mean_similarity(SIMILARITIES["cosine"])
    np.testing.assert_allclose(heat["z"], expected, atol=6e-6)


def test_the_band_of_a_single_network_is_its_bootstrap(explorer, opened):
    explorer.context.value = 0
    store = opened.neighbours("root")
    operation = store.edges[0].operations[3]

    interval = bootstrap_profile(
        store.network(0, operation), k=explorer.k.value, replicates=40, seed=0
    )

    np.testing.assert_allclose(explorer.shown.curves[3].error, interval.error, rtol=1e-5)
    bands = [t for t in explorer.figure.figure["data"] if t.get("fill") == "toself"]
    assert len(bands) == 5


def test_bands_over_paths_are_standard_errors(explorer, opened):
    explorer.bands.value = "paths"

    vectors = opened.evidence("root")[0].vectors[:, 1]
    expected = vectors.std(dim=0) / len(vectors) ** 0.5
    np.testing.assert_allclose(explorer.shown.curves[1].error, expected, rtol=1e-3)

    explorer.bands.value = "none"
    assert not [t for t in explorer.figure.figure["data"] if t.get("fill") == "toself"]


def test_hovering_tells_value_interval_undefined_points_and_certificate(explorer):
    (curve,) = [t for t in explorer.figure.figure["data"] if t.get("name") == "skip"]

    for words in ("LID", "95 % interval", "undefined points", "certificate: relative error"):
        assert words in curve["hovertemplate"]
    undefined, low, high, bound = curve["customdata"][0]
    assert undefined == 0
    assert float(low) < curve["y"][0] < float(high)
    assert 0 < float(bound) < 1e-3


def test_a_wrong_architecture_is_an_error_and_changes_nothing(explorer):
    before = drawn(explorer)

    explorer.architecture.value = "|nor_conv_9x9~0|+"
    explorer.add.click()

    assert "unknown operation" in explorer.errors.value
    assert drawn(explorer) == before
    explorer.k.value = 9
    assert explorer.errors.value == ""


def test_added_architectures_go_again(explorer):
    explorer.architecture.value = explorer.architecture.options[0]
    explorer.add.click()
    explorer.add.click()
    assert len(drawn(explorer)) == 6
    lines = [t["line"]["color"] for t in explorer.figure.figure["data"] if t.get("name")]
    assert len(set(lines)) == 6

    explorer.remove.click()
    assert len(drawn(explorer)) == 5


def test_fewer_images_allow_fewer_neighbours(explorer):
    explorer.k.value = explorer.k.max

    explorer.points.value = 16

    assert explorer.k.value == 15
    assert explorer.errors.value == ""


def test_an_update_is_small(explorer):
    assert len(json.dumps([explorer.figure.figure, explorer.matrix.figure])) < 100_000


def test_names_are_text(opened, shown):
    measured = opened.measure(Architecture(("skip_connect",) * 6))

    explorer = shown(LIDExplorer({HOSTILE: measured, "plain": measured}, background=False))

    assert "<" not in "".join(drawn(explorer))
    assert "<img" not in json.dumps([explorer.figure.figure, explorer.matrix.figure])
    assert "<img" not in explorer.to_figure().to_json()


def test_a_store_can_be_explored_without_a_run(opened, shown):
    explorer = shown(LIDExplorer(opened.neighbours("root"), background=False))

    explorer.edge.value = 2

    assert len(drawn(explorer)) == 5
    assert explorer.architecture.layout.display == "none"


def test_the_picture_for_pages_holds_curves_and_matrix(explorer):
    figure = explorer.to_figure()

    assert figure.layout.title.text.startswith("LID curves, k =")
    assert {trace.type for trace in figure.data} == {"scatter", "heatmap"}
    assert "<html>" in explorer.to_html()


def test_a_run_without_distances_is_refused(tmp_path, tiny_config):
    from dataclasses import replace

    from naslid_toolkit.search.launch import create_run

    create_run(replace(tiny_config, criterion="random"), tmp_path / "run")

    with pytest.raises(DataError, match="keeps no distances"):
        LIDExplorer(tmp_path / "run", background=False)


def test_curves_of_other_layers_cannot_be_added(opened):
    store = opened.neighbours("root")
    curves = CurveSet.of_edge(store, 0)
    other = opened.measure(Architecture(("skip_connect",) * 6))
    fewer = type(other)(other.layers[:2], other.distances[:, :2])

    with pytest.raises(ShapeError, match="other layers"):
        curves.with_network("fewer", fewer)


def test_bands_come_after_the_curves_in_the_background(opened, shown):
    explorer = shown(LIDExplorer(opened))
    for k in range(5, 12):
        explorer.k.value = k

    assert explorer.settled()
    assert explorer.shown.settings.k == 11
    assert explorer.shown.errors is not None
    assert torch.isfinite(explorer.shown.errors).any()
