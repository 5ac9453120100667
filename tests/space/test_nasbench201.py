import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naslid_toolkit.errors import SpaceError
from naslid_toolkit.space.architecture import Architecture
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    OPERATIONS,
    benchmark_order,
    canonical_cell,
    convolution_depth,
    format_architecture,
    nasbench201,
    parse_architecture,
)
from tests.conftest import shared_file
from tests.reference.slow import depth_by_paths

TEXT = "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


@given(st.tuples(*[st.sampled_from(OPERATIONS)] * 6))
def test_formatting_and_parsing_are_inverse(operations):
    architecture = Architecture(operations)

    assert parse_architecture(format_architecture(architecture)) == architecture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected '\|' at character 0 .* found the end"),
        (TEXT.replace("avg_pool_3x3", "avg_pool"), "unknown operation 'avg_pool' at character 1"),
        (TEXT.replace("none~1|+", "none~0|+"), "must start at node 1, found node 0 at character"),
        (TEXT[:-1], r"expected '\|' at character \d+ .* \(edge 2→3\), found the end"),
        (TEXT + "x", "unexpected text 'x' at character"),
        (TEXT.replace("+", ""), r"expected '\+\|' at character 16"),
        (TEXT.replace("none~1", "", 1), "expected 'operation~1' for edge 1→2 at character 25"),
    ],
)
def test_a_string_off_the_space_says_where(text, message):
    with pytest.raises(SpaceError, match=message):
        parse_architecture(text)


def test_there_are_6466_different_cells(space):
    assert len({canonical_cell(architecture) for architecture in space}) == 6466


def test_the_convolution_depth_is_that_of_the_deepest_path(space):
    codes = space.as_array()[::53]

    expected = [depth_by_paths(EDGES, space.from_codes(row).operations) for row in codes]

    assert convolution_depth(codes).tolist() == expected


@pytest.mark.data
def test_strings_order_and_isomorphisms_are_those_of_the_benchmark():
    table = pd.read_parquet(shared_file("nb201_accuracies.parquet"))

    ordered = benchmark_order()
    pairs = {(canonical_cell(a), cell) for a, cell in zip(ordered, table.unique_cell, strict=True)}

    assert [format_architecture(a) for a in ordered] == table["arch"].tolist()
    assert len(pairs) == table.unique_cell.nunique() == 6466


@pytest.mark.data
def test_disconnected_architectures_are_those_at_chance():
    table = pd.read_parquet(shared_file("nb201_accuracies.parquet"))
    codes = np.array([[OPERATIONS.index(o) for o in a.operations] for a in benchmark_order()])

    assert ((table.cifar10_test_200 <= 10) == (convolution_depth(codes) < 0)).all()


def test_an_architecture_of_another_space_is_not_formatted():
    with pytest.raises(SpaceError):
        format_architecture(Architecture(("sep_conv",) * 6))


def test_the_space_has_15625_architectures():
    assert len(nasbench201()) == 15625
