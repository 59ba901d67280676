"""Tables and numbers as printed."""

import pytest

from ulmkit.tables import rounded, text_table


def test_columns_but_the_first_are_aligned_to_the_right() -> None:
    table = text_table(("class", "F1", "support"), [("a longer name", 0.5, 7), ("b", None, 1234)])
    assert table.splitlines() == [
        "class              F1  support",
        "a longer name  0.5000        7",
        "b                   -     1234",
    ]


def test_a_table_without_titles_may_be_aligned_to_the_left() -> None:
    assert text_table((), [("model", "out"), ("steps done", "12")], left_columns=2) == "model       out\nsteps done  12"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (-12.3456, "-12.35"), (1234.5, "1,234"), (1234567, "1,234,567"), (True, True), ("a", "a")],
)
def test_numbers_are_rounded(value: object, text: object) -> None:
    assert rounded(value) == text
