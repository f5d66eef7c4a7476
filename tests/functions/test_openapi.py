"""The document is what the code says, and what the code says can be routed, read and relied on."""

import ast
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest
import schemathesis

from core.domain.permissions import TABLE, Permission
from functions import openapi, reference
from functions.api import OPERATIONS
from functions.codes import CODES
from functions.openapi_document import document
from functions.operations import Openness, Operation, Static
from functions.pipeline import ID_KINDS
from functions.problems import status_of
from tests.builders.http import route_table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = document(OPERATIONS)
# These are made of a name (`{parameter}_not_found`) or looked up, not written where they are raised.
MADE = {
    "missing_field", "unknown_field", "member_not_found", "application_not_found", "principal_not_found",
    "vault_throttled", "vault_timeout", "key_live", "key_purged", "key_destroyed",
}  # fmt: skip


def test_the_checked_in_document_is_current(tmp_path: Path) -> None:
    assert openapi.is_current()
    stale = tmp_path / "openapi.json"
    assert not openapi.is_current(stale)
    stale.write_text("{}")
    assert not openapi.is_current(stale)
    openapi.write(stale)
    assert openapi.is_current(stale)


def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_operation_is_in_it_and_nothing_else() -> None:
    listed = {
        (each["operationId"], method.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        for method, each in item.items()
    }
    assert listed == {(each.name, each.method, f"/{each.route}") for each in OPERATIONS}


def test_every_reference_leads_somewhere() -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            yield from itertools.chain.from_iterable(references(each) for each in value.values())
        elif isinstance(value, list):
            yield from itertools.chain.from_iterable(references(each) for each in value)

    for reference_ in set(references(DOCUMENT)):
        found: object = DOCUMENT
        for step in reference_.removeprefix("#/").split("/"):
            assert isinstance(found, dict)
            found = found[step]


def test_names_are_unique_to_the_host() -> None:
    names = [operation.name.lower() for operation in OPERATIONS]
    assert len(names) == len(set(names))


def test_routes_take_known_ids_only() -> None:
    assert {name for operation in OPERATIONS for name in operation.parameters} <= ID_KINDS.keys()


def overlap(one: Operation, other: Operation) -> bool:
    """Whether some request fits both: the host would give it to whichever name sorts first."""
    ours, theirs = one.route.lower().split("/"), other.route.lower().split("/")
    return (
        one.method == other.method
        and len(ours) == len(theirs)
        and all(a == b or "{" in a or "{" in b for a, b in zip(ours, theirs, strict=True))
    )


def test_no_two_routes_fit_one_request() -> None:
    pairs = itertools.combinations(OPERATIONS, 2)
    assert [(one.name, other.name) for one, other in pairs if overlap(one, other)] == []


def test_the_hosts_order_finds_every_operation() -> None:
    routes = route_table(OPERATIONS)
    for operation in OPERATIONS:
        path = "/".join("x" if "{" in part else part for part in operation.route.split("/"))
        matched = routes.match(operation.method, f"api/{path}")
        assert matched is not None
        assert matched[0].name == operation.name


def test_public_operations_are_static_and_few() -> None:
    public = {operation.name for operation in OPERATIONS if operation.needs is Openness.PUBLIC}
    assert public == {operation.name for operation in OPERATIONS if isinstance(operation.handler, Static)}
    assert public == {"get_health", "get_openapi", "get_reference"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_says_what_it_needs_and_answers(operation: Operation) -> None:
    described = DOCUMENT["paths"][f"/{operation.route}"][operation.method.lower()]
    assert described["x-permission"] == str(operation.needs)
    assert isinstance(operation.needs, Permission) == ("403" in described["responses"])
    names = {parameter["name"] for parameter in described["parameters"]}
    assert ("Idempotency-Key" in names) == (operation.method != "GET" and operation.kept)
    assert ("428" in described["responses"]) == any(
        each["name"] == "If-Match" and each["required"] for each in described["parameters"]
    )
    for status, response in described["responses"].items():
        for code in response.get("x-codes", []):
            assert status == str(status_of(CODES[code].family))


def is_finding(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BlobProblem"


def raised_codes() -> set[str]:
    """The codes that the product's source names."""
    found: set[str] = set()
    for folder in ("core", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            # What a check finds wrong with a transfer blob is an answer, not an error.
            inner = {keyword for call in ast.walk(tree) if is_finding(call) for keyword in call.keywords}
            for node in ast.walk(tree):
                match node:
                    case ast.keyword() if node in inner:
                        continue
                    case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                        found.add(code)
                    case (
                        ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(value=str(code)))
                        | ast.AnnAssign(target=ast.Name(id="default_code"), value=ast.Constant(value=str(code)))
                    ):
                        found.add(code)
    return found


def test_every_code_is_in_the_table_and_the_document() -> None:
    assert raised_codes() | MADE == CODES.keys()
    text = DOCUMENT["info"]["description"]
    assert all(f"| `{code}` |" in text for code in CODES)


def test_every_permission_is_in_the_document() -> None:
    text = DOCUMENT["info"]["description"]
    assert all(f"| `{rule.permission}` |" in text for rule in TABLE)


def test_no_secret_is_in_an_answers_schema() -> None:
    answers = {operation.answer.__name__ for operation in OPERATIONS if operation.answer}
    for name in answers:
        assert "writeOnly" not in json.dumps(DOCUMENT["components"]["schemas"][name])


class TestReference:
    """The page."""

    PAGE = reference.page(DOCUMENT)

    def test_shows_every_operation_schema_code_and_permission(self) -> None:
        html = self.PAGE.data.decode()
        assert all(f'id="{operation.name}"' in html for operation in OPERATIONS)
        assert all(f'id="schema-{name}"' in html for name in DOCUMENT["components"]["schemas"])
        assert all(f"<code>{word}</code>" in html for word in [*CODES, *(rule.permission for rule in TABLE)])

    def test_needs_nothing_from_elsewhere_and_runs_nothing(self) -> None:
        html = self.PAGE.data.decode()
        assert "<script" not in html
        assert "src=" not in html
        assert not [part for part in html.split("href=")[1:] if not part.startswith('"#')]
        assert "script-src" not in self.PAGE.policy
        assert self.PAGE.policy.startswith("default-src 'none'")

    def test_escapes_what_the_document_says(self) -> None:
        hostile = "<script>alert(1)</script>"
        described = {
            "info": {"title": hostile, "description": hostile},
            "tags": [{"name": hostile}],
            "servers": [{"url": ""}],
            "paths": {},
            "components": {"schemas": {hostile: {"description": hostile, "properties": {hostile: {"type": hostile}}}}},
        }
        assert hostile not in reference.page(described).data.decode()
