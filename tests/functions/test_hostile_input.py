"""Malformed and hostile requests: a 4xx with a code, never a 5xx, never an echo."""

import asyncio
import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.api import OPERATIONS
from functions.codes import CODES, codes_of
from functions.operations import Openness, Operation
from functions.problems import status_of
from tests.builders.http import Api, Premises
from tests.builders.people import GROUP

WRITES = [operation for operation in OPERATIONS if operation.method != "GET"]
GUARDED = [operation for operation in OPERATIONS if operation.needs is not Openness.PUBLIC]
IDS = {"account": "acc", "application": "app", "api_key": "apk", "group": "grp", "job": "job", "key": "key"}
TEXT = st.text(max_size=60)
DECLARED = ("application/json", "multipart/form-data; boundary=b")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=8,
)
QUICKLY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@cache
def premises() -> tuple[Api, str]:
    """One API with one account for all examples, whose state they may change."""
    on_memory = Premises()
    return on_memory.api(), asyncio.run(on_memory.office.an_account())


def path_of(operation: Operation, account: str, other: str = "a" * 24) -> str:
    known = {"account": account, "group": GROUP}
    path = operation.route
    for name in operation.parameters:
        path = path.replace(f"{{{name}}}", known.get(name, f"{IDS.get(name, 'prn')}_{other}"))
    return path


def assert_refused_well(operation: Operation, status: int, content: bytes) -> None:
    assert status < 500, content
    if status >= 400:
        problem = json.loads(content)
        assert problem["code"] in codes_of(operation)
        assert status_of(CODES[problem["code"]].family) == problem["status"] == status


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.name)
@QUICKLY
@given(content=st.binary(max_size=200), declared=st.sampled_from([*DECLARED, "text/plain", "\x00", ""]))
def test_any_bytes_as_a_body(operation: Operation, content: bytes, declared: str) -> None:
    api, account = premises()
    headers = {"content-type": declared, "if-match": '"Zm9v"'}
    sent = api.send(operation.method, path_of(operation, account), content=content, headers=headers)
    response = asyncio.run(sent)
    assert_refused_well(operation, response.status, response.content)


def bodies(operation: Operation) -> st.SearchStrategy[object]:
    """Any JSON, and objects with the operation's own field names over any values."""
    fields = list(operation.body.model_fields) if operation.body else []
    named = st.dictionaries(st.sampled_from(fields), VALUES, max_size=4) if fields else VALUES
    return VALUES | named


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.name)
@QUICKLY
@given(data=st.data())
def test_any_json_as_a_body(operation: Operation, data: st.DataObject) -> None:
    api, account = premises()
    body = data.draw(bodies(operation))
    headers = {"if-match": '"Zm9v"'}
    response = asyncio.run(api.send(operation.method, path_of(operation, account), body, headers=headers))
    assert_refused_well(operation, response.status, response.content)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@QUICKLY
@given(data=st.data())
def test_any_query(operation: Operation, data: st.DataObject) -> None:
    names = st.sampled_from([*operation.query.model_fields, "x"]) | TEXT
    query = data.draw(st.dictionaries(names, TEXT | st.text(alphabet="0123456789-:TZ.+", max_size=30), max_size=3))
    api, account = premises()
    response = asyncio.run(api.send(operation.method, path_of(operation, account), query=query))
    assert_refused_well(operation, response.status, response.content)


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)
@QUICKLY
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["authorization", "if-match", "idempotency-key", "x-correlation-id", "traceparent", "x-ms-client-principal"]
        ),
        TEXT | TEXT.map("Bearer ks_{}".format) | TEXT.map('"{}"'.format),
        max_size=4,
    )
)
def test_any_headers(operation: Operation, headers: dict[str, str]) -> None:
    api, account = premises()
    response = asyncio.run(api.send(operation.method, path_of(operation, account), headers=headers))
    assert_refused_well(operation, response.status, response.content)


@pytest.mark.parametrize("operation", [one for one in GUARDED if one.parameters], ids=lambda operation: operation.name)
@QUICKLY
@given(other=st.text(alphabet="abz27%0\n\x00é/..", min_size=1, max_size=26).filter(lambda text: "/" not in text))
def test_any_ids(operation: Operation, other: str) -> None:
    api, account = premises()
    path = path_of(operation, account, other).replace(account, f"acc_{other}", 1)
    response = asyncio.run(api.send(operation.method, path, headers={"if-match": '"Zm9v"'}))
    assert (response.status, json.loads(response.content).get("code")) in {(404, "account_not_found"), (404, None)}
