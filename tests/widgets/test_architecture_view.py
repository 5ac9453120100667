import pytest

from naslid_toolkit.errors import ConfigError, SpaceError
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import parse_architecture
from naslid_toolkit.supernet.cost import count_cost
from naslid_toolkit.supernet.network import Skeleton
from naslid_toolkit.widgets import ArchitectureView, Explorer, RankingExplorer
from naslid_toolkit.widgets.explorer import TABS, explore

TEXT = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"


def test_an_edge_pressed_is_chosen_and_pressed_again_changes(shown):
    view = shown(ArchitectureView(TEXT, background=False))

    view._pressed({"kind": "edge", "edge": 3})
    assert view.operation.value == "nor_conv_3x3"
    assert view.cell.edge == 3
    view._pressed({"kind": "edge", "edge": 3})

    assert view.architecture.operations[3] == "avg_pool_3x3"
    assert "avg_pool_3x3~0" in view.text.value
    assert "avg pool" in view.cell.cells[0]["svg"]


def test_arrow_keys_turn_through_the_operations(shown):
    view = shown(ArchitectureView(TEXT, background=False))

    view._pressed({"kind": "turn", "edge": 5, "by": -1})

    assert view.architecture.operations[5] == "avg_pool_3x3"
    assert view.edge.value == 5


def test_menus_and_text_do_the_same(shown):
    view = shown(ArchitectureView(TEXT, background=False))

    view.edge.value = 2
    view.operation.value = "skip_connect"
    assert view.architecture == parse_architecture(TEXT).replace(2, "skip_connect")
    view.text.value = TEXT

    assert view.architecture == parse_architecture(TEXT)
    assert view.operation.value == "none"


def test_a_wrong_string_is_an_error_and_changes_nothing(shown):
    view = shown(ArchitectureView(TEXT, background=False))

    view.text.value = "|<script>~0|"

    assert "unknown operation" in view.errors.value
    assert "<script" not in view.errors.value
    assert view.architecture == parse_architecture(TEXT)
    assert view._run is None


def test_facts_are_those_of_the_run(opened, shown):
    name = str(opened.scores.index[3])
    view = shown(ArchitectureView(name, run=opened, background=False))
    cost = opened.cost(parse_architecture(name))

    text = view.facts.value

    assert f"{opened.scores['few_shot'][name]:.4g}, place" in text
    assert f"{opened.reference.accuracy[name]:.4f}" in text
    assert f"{cost.parameters:,}" in text
    assert f"{cost.flops:,}" in text
    assert opened.tree.leaf_of(view.architecture).name in text
    profile = opened.measure(view.architecture).profile(k=opened.config.split.k)
    assert view.figure.figure["data"][0]["y"] == pytest.approx(profile.lid.tolist())


def test_a_curve_that_is_there_is_not_being_measured(opened, shown):
    view = shown(ArchitectureView(run=opened))
    for operation in ("none", "skip_connect", "none", "skip_connect"):
        view.operation.value = operation

    assert view.settled()
    assert view.status.value == ""


def test_an_architecture_outside_the_sample_can_be_scored(opened, shown):
    known = set(opened.scores.index) | set(opened.evaluated["few_shot"])
    view = shown(ArchitectureView(TEXT, run=opened, background=False))
    assert TEXT not in known
    assert "press Score it" in view.facts.value

    view.score.click()

    expected = opened.score(parse_architecture(TEXT))
    assert f"{expected:.4g}, outside the sample" in view.facts.value


def test_without_a_run_the_benchmarks_network_counts(shown):
    view = shown(ArchitectureView(Architecture(("none",) * 6), background=False))

    cost = count_cost(view.architecture, Skeleton(affine=True))
    assert f"{cost.parameters:,}" in view.facts.value
    assert "not connected" in view.facts.value
    view.score.click()
    assert "only a run" in view.errors.value


def test_the_best_of_a_run_comes_first(opened, shown):
    view = shown(ArchitectureView(run=opened, background=False))

    assert view.text.value == opened.result.history.best.architecture
    assert view.to_figure().layout.images


def test_what_is_no_architecture_is_refused():
    with pytest.raises(SpaceError):
        ArchitectureView("nonsense", background=False)
    with pytest.raises(ConfigError, match="an architecture or a run"):
        ArchitectureView(background=False)


def test_tabs_are_made_when_they_are_opened(opened, shown):
    explorer = shown(Explorer(opened, background=False))
    assert list(explorer.dashboards) == ["Search"]

    for title in TABS:
        dashboard = explorer.tab(title)
        assert dashboard.errors.value == ""
        assert explorer.to_figure() is not None

    ranking, architecture = explorer.dashboards["Ranking"], explorer.dashboards["Architecture"]
    assert isinstance(ranking, RankingExplorer)
    ranking._heard({"kind": "click", "curve": 0, "point": 2})
    assert architecture.text.value == ranking.picked


def test_explore_is_a_name_of_the_package(tiny_folder, shown):
    import naslid_toolkit

    explorer = shown(naslid_toolkit.explore(tiny_folder))

    assert naslid_toolkit.explore is explore
    assert explorer.dashboards["Search"].settled()


def test_a_tab_that_cannot_be_made_says_why(tmp_path, tiny_config, shown):
    from naslid_toolkit.search.launch import create_run

    folder = create_run(tiny_config, tmp_path / "run").folder
    explorer = shown(Explorer(folder, background=False))

    explorer.tabs.selected_index = 1
    assert "keeps no distances" in explorer.errors.value
    explorer.tabs.selected_index = 4
    assert explorer.errors.value == ""
