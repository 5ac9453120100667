import itertools

import pytest
import tomli_w

from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.search.config import (
    RunConfig,
    load_task,
    load_truth,
    merged,
    mode_settings,
    preset_names,
)
from tests.conftest import shared_file


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_being_written_and_read(tmp_path, name):
    config = RunConfig.preset(name)
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(config.to_dict()))

    assert RunConfig.from_toml(path) == config


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_the_levels_share_the_schedule(levels):
    config = RunConfig.from_dict(
        {"levels": levels, "warmup_epochs": 10, "training": {"epochs": 23}}
    )

    ranges = [config.epochs_of(level) for level in range(levels + 1)]

    assert ranges[0][0] == 0
    assert ranges[-1][1] == 23
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    assert config.total_epochs == sum((b - a) * 2**i for i, (a, b) in enumerate(ranges))
    assert config.single_training().epochs == config.total_epochs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"levls": 2}, "unknown setting 'levls'; did you mean 'levels'"),
        ({"training": {"epoch": 2}}, "unknown setting 'training.epoch'; did you mean 'epochs'"),
        ({"levels": "two"}, "'levels' must be int, got 'two'"),
        ({"single": 1}, "'single' must be bool, got 1"),
        ({"training": 3}, "'training' is a section, got 3"),
        ({"criterion": "lidd"}, "'criterion' cannot be 'lidd'; did you mean 'lid'"),
        ({"levels": 7}, "levels must lie between 0 and 6, got 7"),
        ({"levels": 2, "warmup_epochs": 99}, "2 levels need at least as many"),
        ({"sample": 1}, "sample must lie between 3 and"),
        ({"images": {"valid": 2.0}}, r"shares in \(0, 1\)"),
        ({"split": {"mode": "papr"}}, "'split.mode' cannot be 'papr'; did you mean 'paper'"),
        ({"evolution": {"population": 0}}, "at least 1"),
        ({"evolution": {"max_flops": -1}}, "must not be negative"),
    ],
)
def test_settings_that_make_no_sense_name_what_is_wrong(data, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_dict(data)


def test_a_mode_sets_what_the_file_leaves_out():
    config = RunConfig.from_dict({"split": {"mode": "paper", "k": 15}})

    assert (config.split.similarity, config.split.k) == ("euclidean", 15)


def test_a_mode_replaces_everything_it_decides():
    changed = RunConfig.preset("tiny", split={"similarity": "correlation", "balanced": True})

    config = RunConfig.from_dict(merged(changed.to_dict(), mode_settings("default")))

    assert config == RunConfig.preset("tiny")
    official = RunConfig.from_dict(merged(changed.to_dict(), mode_settings("official_code")))
    assert (official.split.similarity, official.training.sampler) == ("cosine", "markov")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no settings file"):
        RunConfig.from_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("levels = = 2")
    with pytest.raises(ConfigError, match="bad.toml is not valid TOML"):
        RunConfig.from_toml(tmp_path / "bad.toml")


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        RunConfig.preset("smal")


def test_settings_go_over_others_in_depth():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {
        "a": {"b": 1, "c": 4},
        "d": 3,
    }


def test_unknown_data_says_what_it_can_be():
    with pytest.raises(DataError, match="'digits' or a Parquet file .*did you mean 'digits'"):
        load_task(RunConfig(data="digit"))


def test_only_the_digits_have_a_table_of_their_own():
    truth = load_truth(RunConfig())

    assert truth is not None
    assert len(truth.accuracy) >= 200
    assert load_truth(RunConfig(data="images.parquet")) is None


@pytest.mark.data
def test_another_table_can_be_named():
    path = str(shared_file("nb201_accuracies.parquet"))

    truth = load_truth(RunConfig(truth=path, truth_column="cifar100_test_200"))

    assert truth is not None
    assert truth.accuracy.max() == pytest.approx(0.73513, abs=1e-5)
