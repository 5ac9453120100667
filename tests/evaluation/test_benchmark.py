import pandas as pd
import pytest

from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.baselines import convolution_count, parameter_count
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.ranking import kendall_tau
from naslid_toolkit.space.nasbench201 import benchmark_order, parse_architecture
from naslid_toolkit.supernet.network import Skeleton
from tests.conftest import shared_file


@pytest.mark.data
def test_trivial_scores_rank_the_benchmark_as_measured():
    truth = load_reference(shared_file("nb201_accuracies.parquet"), column="cifar10_test_200")
    architectures = benchmark_order()

    count = convolution_count(architectures, Skeleton())
    parameters = parameter_count(architectures, Skeleton())

    assert truth.accuracy.max() == pytest.approx(0.94373, abs=5e-6)
    assert kendall_tau(count, truth.accuracy, seed=0, resamples=2).tau == pytest.approx(
        0.616, abs=5e-4
    )
    assert kendall_tau(parameters, truth.accuracy, seed=0, resamples=2).tau == pytest.approx(
        0.578, abs=5e-4
    )


@pytest.mark.data
def test_a_table_with_several_columns_asks_which():
    path = shared_file("nb201_accuracies.parquet")

    with pytest.raises(DataError, match="several columns of numbers, name one of cifar10"):
        load_reference(path)
    with pytest.raises(DataError, match="did you mean 'cifar10_test_200'"):
        load_reference(path, column="cifar10_test_2000")


def test_the_table_that_ships_is_whole():
    truth = load_reference(digits_truth_path())
    frame = pd.read_parquet(digits_truth_path())

    assert len(truth.accuracy) == 6461
    assert truth.rows >= 3
    assert truth.task == "digits(canvas=8, noise=0.05, distortion=1, clutter=2, copies=4, seed=0)"
    assert frame.groupby("architecture").size().nunique() == 1
    assert frame["test_accuracy"].between(0.1, 1).all()
    assert digits_truth_path().stat().st_size < 3_000_000
    for name in truth.accuracy.index:
        parse_architecture(name)


def test_rows_of_an_architecture_are_averaged_and_per_cent_scaled(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("arch,value,seed\na,90.0,1\na,80.0,2\nb,50.0,1\nb,70.0,2\n")

    table = load_reference(path)

    assert table.accuracy.to_dict() == pytest.approx({"a": 0.85, "b": 0.6})
    assert (table.column, table.rows, table.source) == ("value", 2, "table.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "no file .*absent.csv; expected a Parquet or CSV table"),
        ("foreign.parquet", b"PK not parquet", "foreign.parquet: it is damaged or not"),
        ("names.csv", b"kind,value\na,1.0\na,2.0\n", "no column 'architecture' or 'arch'"),
        ("gaps.csv", b"arch,value\na,\nb,\n", "'value' is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        load_reference(tmp_path / name)
