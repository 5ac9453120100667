import math
from dataclasses import asdict

import pytest

from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.search.config import RunConfig, merged, preset_names
from naslid_toolkit.search.limits import LIMITS, check_limits


def nested(name: str, value: object) -> dict:
    section, _, key = name.rpartition(".")
    return {section: {key: value}} if section else {key: value}


def test_every_number_among_the_settings_has_a_range():
    settings = asdict(RunConfig())
    names = {
        f"{section}.{key}" if isinstance(values, dict) else section
        for section, values in settings.items()
        for key, value in (values if isinstance(values, dict) else {"": values}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

    assert names == set(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_a_number_out_of_its_range_is_named(name):
    low, high = LIMITS[name]
    for value in (low - 1, math.nan, math.inf, -math.inf, high * 2 + 1):
        with pytest.raises(ConfigError, match=rf"{name} must lie between .* got {value}"):
            check_limits(nested(name, value))


def test_presets_keep_their_ranges():
    for name in preset_names():
        check_limits(RunConfig.preset(name).to_dict())


@pytest.mark.parametrize(
    "setting",
    [
        *("seed=-1", "training.momentum=-1", "training.weight_decay=nan", "network.cells=1e30"),
        *("training.learning_rate=inf", "network.channels=0", "sample=2", "split.k=0", "levels=7"),
        *("evolution.population=-3", "training.momentum=1.0", "split.groups=9"),
    ],
)
def test_a_search_that_cannot_start_leaves_nothing(tmp_path, capsys, setting):
    status = main(
        ["search", "--preset", "tiny", "--set", setting, "--out", str(tmp_path / "run"), "--quiet"]
    )

    assert status == 2
    assert setting.partition("=")[0].rpartition(".")[2] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_settings_made_in_python_are_checked_too():
    with pytest.raises(ConfigError, match="momentum"):
        RunConfig.from_dict(merged(RunConfig().to_dict(), {"training": {"momentum": 1.0}}))
