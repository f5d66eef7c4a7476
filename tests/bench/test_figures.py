"""What a figure says of its target, and the tables that show it."""

import json

import pytest

from bench.document import with_table
from bench.figures import Bound, Figure, as_json, markdown_table, text_table


def a_figure(bound: Bound = Bound.AT_MOST, target: float = 2, measured: float = 1.5) -> Figure:
    return Figure("A sync", bound, target, measured, "x", "3 s and 2 s")


@pytest.mark.parametrize(
    ("bound", "measured", "met"),
    [
        (Bound.AT_MOST, 1.999, True),
        (Bound.AT_MOST, 2.0, True),
        (Bound.AT_MOST, 2.001, False),
        (Bound.AT_LEAST, 1.999, False),
        (Bound.AT_LEAST, 2.0, True),
    ],
)
def test_a_target_bounds_from_one_side(bound: Bound, measured: float, *, met: bool) -> None:
    assert a_figure(bound, measured=measured).met is met


def test_a_missed_target_is_marked_in_both_tables() -> None:
    figures = [a_figure(), a_figure(measured=2.5)]
    for table in (text_table(figures), markdown_table(figures)):
        assert table.count("yes") == 1
        assert table.count("NO") == 1


def test_the_markdown_table_has_a_row_for_each_figure() -> None:
    assert markdown_table([a_figure()]).splitlines()[2] == "| A sync | ≤ 2 x | 1.5 x | yes | 3 s and 2 s |"


def test_the_json_tells_measured_from_target() -> None:
    shown = json.loads(as_json([a_figure()], 12.4))
    assert shown["seconds"] == 12
    assert shown["figures"][0]["measured"] == 1.5
    assert shown["figures"][0]["met"] is True


def test_a_table_takes_the_place_of_the_one_before() -> None:
    document = "before\n<!-- figures -->\n\nold\n\n<!-- end of figures -->\nafter\n"
    once = with_table(document, "new")
    assert once == "before\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\nafter\n"
    assert with_table(once, "new") == once


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# A document\n", "new")
