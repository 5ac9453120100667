import pytest

from naslid_toolkit.tables import findings

NAN = float("nan")


@pytest.mark.parametrize(
    ("agrees", "verdict"),
    [
        (True, "as expected"),
        (False, "otherwise"),
        (None, "not decided"),
        ((0.01, 0.2), "as expected, on these weights"),
        ((-0.2, -0.01), "otherwise, on these weights"),
        ((-0.2, 0.1), "not decided"),
        ((0.0, 0.1), "not decided"),
        ((NAN, NAN), "not decided"),
    ],
)
def test_a_finding_has_a_verdict(agrees, verdict):
    closing = findings({"it grows": ("by 0.1", agrees)})

    assert closing.data.to_dict("records") == [
        {"expected": "it grows", "found": "by 0.1", "verdict": verdict}
    ]
    assert ("font-weight: bold" in closing.to_html()) == verdict.startswith("otherwise")


def test_findings_are_shown_as_text():
    shown = findings({"<b>bold</b>": ("<img src=x onerror=alert(1)>", True)}).to_html()

    assert "<img" not in shown
    assert "<b>" not in shown
