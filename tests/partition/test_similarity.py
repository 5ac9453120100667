import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslid_toolkit.partition.similarity import SIMILARITIES

NAN = float("nan")
vectors = st.lists(st.lists(st.floats(0, 60), min_size=4, max_size=4), min_size=2, max_size=5).map(
    lambda rows: torch.tensor(rows, dtype=torch.float64)
)


def slow(name: str, a: np.ndarray, b: np.ndarray) -> float:
    if name == "log":
        return float(np.exp(-np.sqrt(np.mean((np.log1p(a) - np.log1p(b)) ** 2))))
    if name == "euclidean":
        return float(1 / (1 + np.linalg.norm(a - b)))
    if name == "cosine":
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_values_are_those_of_the_definition(draw, name):
    rows = torch.rand(5, 7, generator=draw, dtype=torch.float64) * 20

    matrix = SIMILARITIES[name](rows)

    for i in range(5):
        for j in range(5):
            expected = 1.0 if i == j else slow(name, rows[i].numpy(), rows[j].numpy())
            assert float(matrix[i, j]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SIMILARITIES)
@settings(max_examples=40, deadline=None)
@given(rows=vectors)
def test_a_matrix_is_symmetric_with_ones_for_equal_rows(name, rows):
    matrix = SIMILARITIES[name](torch.cat([rows, rows[:1]]))

    torch.testing.assert_close(matrix, matrix.T, rtol=1e-12, atol=1e-12)
    assert (matrix.diagonal() == 1).all()
    assert matrix[0, -1] == 1
    assert (matrix <= 1 + 1e-12).all()
    assert not matrix.isnan().any()


@pytest.mark.parametrize("name", SIMILARITIES)
def test_an_undefined_entry_is_left_out_of_its_pairs(name):
    rows = torch.tensor([[1.0, 2.0, NAN, 4.0], [2.0, 1.0, 9.0, 3.0], [2.0, 2.5, 1.0, 3.0]])
    kept = rows[:, [0, 1, 3]]

    matrix = SIMILARITIES[name](rows)
    expected = SIMILARITIES[name](kept)

    if name != "euclidean":  # which scales up to all entries
        torch.testing.assert_close(matrix[0], expected[0])
    assert not torch.allclose(matrix[1, 2], expected[1, 2])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_pairs_without_evidence_are_defined(name):
    rows = torch.tensor([[NAN, NAN], [NAN, NAN], [1.0, 2.0]])

    matrix = SIMILARITIES[name](rows)

    assert matrix[0, 1] == 1
    assert matrix[0, 2] == 0


@pytest.mark.parametrize("name", ["cosine", "correlation"])
def test_zero_vectors_are_defined(name):
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])

    matrix = SIMILARITIES[name](rows)

    assert matrix[0, 1] == 1
    assert matrix[0, 2] == 0


def test_the_default_reads_as_a_ratio():
    tenth = torch.tensor([[9.0, 19.0], [10.0, 21.0]])  # 1 + LID a tenth larger

    assert float(SIMILARITIES["log"](tenth)[0, 1]) == pytest.approx(1 / 1.1)
