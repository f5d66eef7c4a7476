"""The lifecycle's page draws the table that the product follows."""

import re

from core.domain.keys import Condition
from core.domain.lifecycle import TABLE
from core.domain.pending_actions import KeyAction
from local.stack.stack import ROOT

_PAGE = (ROOT / "docs/lifecycle.md").read_text("utf-8")


def _rows() -> list[list[str]]:
    section = _PAGE.split("## State by action")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]


def test_the_table_is_the_product_s() -> None:
    head, _, *rows = _rows()
    assert head == ["action", *(condition.value for condition in Condition)]
    assert [row[0] for row in rows] == [f"`{action}`" for action in KeyAction]
    for action, (_, *cells) in zip(KeyAction, rows, strict=True):
        for condition, cell in zip(Condition, cells, strict=True):
            step = TABLE[condition][action]
            assert cell == (f"`{step.code}`" if step.code else step.result), (condition, action)


def test_the_picture_has_every_state() -> None:
    drawn = set(re.findall(r"(\w+) -->|--> (\w+)", _PAGE.split("```mermaid")[1].split("```")[0]))
    names = {name for pair in drawn for name in pair if name}
    assert names == {condition.value.replace("-", "_") for condition in Condition}
