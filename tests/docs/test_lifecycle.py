"""The lifecycle's page draws the table that the product follows."""

import json
import re

from core.domain.keys import Condition
from core.domain.lifecycle import TABLE
from core.domain.pending_actions import KeyAction
from core.services.open_actions import DONE
from functions.api import OPERATIONS
from tests.docs.pages import DOCS, code_blocks, rows, section, words

PAGE = DOCS / "lifecycle.md"
_PAGE = PAGE.read_text("utf-8")


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


def test_every_action_is_an_operation_that_needs_what_the_page_says() -> None:
    operations = {operation.name: operation for operation in OPERATIONS}
    found = {words(cells[0])[0]: cells for cells in rows(section(PAGE, "## What each action does"))}
    assert list(found) == list(KeyAction)
    for action, cells in found.items():
        operation = operations[f"{action}_key"]
        method, _, verb = words(cells[1])[0].partition(" …")
        assert (operation.method, operation.needs) == (method, words(cells[2])[0]), action
        assert operation.route == f"v1/accounts/{{account}}/groups/{{group}}/keys/{{key}}{verb}", action
        assert words(cells[4]) == [DONE[KeyAction(action)]], action


def test_the_examples_are_requests_of_the_api() -> None:
    (example,) = code_blocks(section(PAGE, "## What each action does"), "sh")
    requests = re.findall(r"^ks -X (\w+) \$key(\S*)", example, re.MULTILINE)
    offered = {
        (operation.method, operation.route.partition("/keys/{key}")[2])
        for operation in OPERATIONS
        if "/keys/{key}" in operation.route
    }
    assert len(requests) == 8
    assert set(requests) <= offered
    bodies = re.findall(r"-d '(\{[^']*)'", example)
    assert all(json.loads(body) for body in bodies)
