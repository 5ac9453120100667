import pytest

from naslid_toolkit import check_answer
from naslid_toolkit.errors import ConfigError
from naslid_toolkit.exercises import EXERCISES
from tests.widgets.test_base import HOSTILE

RIGHT = {
    "LID by hand": 0.72,
    "LID of millimetres": 0.72,
    "sub-spaces": 6250,
    "leaves": 16,
    "tau by hand": 0.67,
    "a cell": "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
    "first edge": "2->3",
    "another k": " 0→3 ",
    "Markov paths": 2,
}


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answers_are_told_from_wrong_ones(name):
    assert check_answer(name, RIGHT[name]).right is True
    assert check_answer(name, None).right is None
    wrong = check_answer(name, "nothing of the kind")
    assert wrong.right is False
    assert str(RIGHT[name]) not in wrong.text.split()
    assert check_answer(name, -3).right is False


@pytest.mark.parametrize(
    "cell",
    [
        "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|",  # disconnected
        "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
        "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ],
)
def test_cells_that_do_not_have_two_convolutions_in_a_row_are_wrong(cell):
    assert check_answer("a cell", cell).right is False


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'leaves'"):
        check_answer("leafs", 16)


def test_answers_are_text():
    shown = check_answer("a cell", HOSTILE)._repr_html_()

    assert "<img" not in shown
    assert "✗" in shown
