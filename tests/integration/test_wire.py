"""The wire below the operations: methods, headers, hostile bodies, cursors, and what the log says of a request."""

import asyncio
import base64
import json
import re

import pytest

from core.domain.identifiers import IdKind, new_id
from local.stack.stack import ROOT
from tests.integration.client import Api, Json, Reply
from tests.integration.estate import Estate, Site

DOCUMENTED = set(re.findall(r'<a id="([a-z_]+)"></a>', (ROOT / "docs" / "errors.md").read_text("utf-8")))


async def test_problems_have_one_shape_and_a_documented_code(estate: Estate) -> None:
    group = await estate.source_group()
    asked: list[tuple[Api, str, str, Json | None]] = [
        (estate.site.api(), "GET", "me", None),
        (await estate.site.user("bob"), "POST", "accounts", {"title": "T"}),
        (estate.api, "GET", f"groups/{new_id(IdKind.GROUP)}", None),
        (estate.api, "POST", "groups", {"kind": "lost", "title": 3}),
        (estate.api, "POST", "groups", {}),
        (estate.api, "PATCH", f"groups/{group}", {"title": "T"}),
        (estate.api, "POST", f"groups/{group}/sync", None),
        (estate.api, "GET", "keys?colour=blue", None),
    ]
    statuses = set()
    for caller, method, path, body in asked:
        reply = await caller.send(method, path, body)
        problem = reply.json
        statuses.add(reply.status)
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code", "correlation_id"} <= set(problem)
        assert (problem["status"], problem["correlation_id"]) == (reply.status, reply.headers["x-correlation-id"])
        assert problem["code"] in DOCUMENTED
        assert problem["type"].endswith(problem["code"])
    assert statuses == {400, 401, 403, 404, 409, 428}


async def test_a_refusal_names_every_field_and_repeats_no_value(estate: Estate) -> None:
    body = {
        "kind": "source",
        "title": 7,
        "escrow": {"keep_generations": "s3cret-value"},
        "s3cret-name-not": "s3cret-value",
    }
    reply = await estate.api.send("POST", "groups", body)
    fields = {each["field"] for each in reply.json["violations"]}
    assert fields == {"title", "escrow.keep_generations", "s3cret-name-not"}
    assert b"s3cret-value" not in reply.content


async def test_the_type_of_a_problem_leads_to_the_reference(site: Site) -> None:
    problem = (await site.api().send("GET", "me")).json
    address, _, anchor = problem["type"].partition("#")
    async with site.session.get(f"{site.stack.host_url}{address}") as response:
        assert response.status == 200
        assert f'id="{anchor}"' in await response.text()


async def test_the_reference_loads_nothing_from_elsewhere(site: Site) -> None:
    page = await site.api().done("GET", "docs")
    text = page.content.decode()
    assert "<script" not in text
    assert re.findall(r"<(?:link|img|iframe|object|embed|base)\b", text) == []
    loaded = re.findall(r"""(?:\bsrc=|\bhref=|\burl\(|@import)\s*["']?([^"')\s>]*)""", text)
    assert loaded
    assert [address for address in loaded if not address.startswith("#")] == []
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
async def test_a_method_that_no_operation_has(estate: Estate, method: str) -> None:
    for path in ("groups", "keys"):
        reply = await estate.api.send(method, path)
        assert (reply.status, reply.content) == (404, b"")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_methods_of_browsers_are_no_fault_of_the_server(estate: Estate, method: str) -> None:
    for path in ("", "groups", "keys", f"groups/{new_id(IdKind.GROUP)}"):
        reply = await estate.api.send(method, path, headers={"Origin": "https://elsewhere.example"})
        assert reply.status < 500
        assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("path", ["nothing", "groups/x/y/z", "groups//members", "groups/%00"])
async def test_an_address_that_leads_nowhere(estate: Estate, path: str) -> None:
    assert (await estate.api.send("GET", path)).status == 404


async def raw(estate: Estate, content: bytes, headers: dict[str, str] | None = None) -> Reply:
    """Send these very bytes as a new group."""
    session, host = estate.site.session, estate.site.stack.host_url
    sent = {
        "Authorization": f"Bearer {await estate.site.token('alice')}",
        "Content-Type": "application/json",
        **(headers or {}),
    }
    url = f"{host}/api/v1/accounts/{estate.account}/groups"
    async with session.post(url, data=content, headers=sent) as response:
        return Reply(response.status, response.headers, await response.read())


def titled(title: str) -> bytes:
    """A group whose title is this JSON."""
    return f'{{"kind": "source", "title": {title}}}'.encode()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (titled('"a\\u0000b"'), "malformed_json"),
        (titled('"\\ud800"'), "malformed_json"),
        (titled("1e400"), "malformed_json"),
        (titled("9" * 5_000), "malformed_json"),
        (titled("Infinity"), "malformed_json"),
        (titled("[" * 40 + "]" * 40), "malformed_json"),
        (titled('"A"') + b"x", "malformed_json"),
        (titled('"A"').decode().encode("utf-16"), "malformed_json"),
        (titled(json.dumps("x" * 1_000)), "invalid_field"),
        (titled("true"), "invalid_field"),
        (titled('["A"]'), "invalid_field"),
        (titled("null"), "invalid_field"),
        (b"null", "invalid_field"),
        (b'"text"', "invalid_field"),
        (b"12345678901234567890123456789", "invalid_field"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_hostile_body_is_refused(estate: Estate, content: bytes, code: str) -> None:
    reply = await raw(estate, content)
    assert (reply.status, reply.json["code"]) == (400, code), reply.content
    assert await estate.api.pages("groups") == []


async def test_a_byte_order_mark_is_no_fault(estate: Estate) -> None:
    assert (await raw(estate, b"\xef\xbb\xbf" + titled('"A"'))).status == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129])
async def test_a_malformed_idempotency_key(estate: Estate, key: str) -> None:
    reply = await raw(estate, titled('"A"'), {"Idempotency-Key": key})
    assert (reply.status, reply.json["code"], reply.json["field"]) == (400, "invalid_header", "Idempotency-Key")


async def test_a_cursor_belongs_to_its_list(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault(keys=[{"name": "k", "count": 5}]))
    other = await estate.link(await estate.azure.vault(keys=[{"name": "l", "count": 3}]))
    for each in (group, other):
        await estate.sync(each)
    whole = [key["azure_name"] for key in await estate.api.pages("keys", group=group)]
    for limit in ("1", "2", "5"):
        paged = [key["azure_name"] for key in await estate.api.pages("keys", group=group, limit=limit)]
        assert paged == whole == sorted(whole)

    cursor = (await estate.api.get("keys", group=group, limit="2"))["next"]
    assert "k-0000" not in cursor
    assert b"k-0000" not in base64.urlsafe_b64decode(cursor + "==")
    middle = len(cursor) // 2
    tampered = cursor[:middle] + ("A" if cursor[middle] != "A" else "B") + cursor[middle + 1 :]
    elsewhere = await estate.site.estate()
    for caller, query in (
        (estate.api, {"group": group, "next": tampered}),
        (estate.api, {"group": group, "next": cursor[:-4]}),
        (estate.api, {"group": other, "next": cursor}),
        (estate.api, {"group": group, "next": cursor, "sort": "-name"}),
        (elsewhere.api, {"next": cursor}),
    ):
        await caller.refused("GET", "keys", status=400, code="invalid_cursor", query=query)


def lines_of(estate: Estate, correlation_id: str) -> list[Json]:
    """What the product logged under a correlation id."""
    log = (estate.site.stack.logs_dir / "host.log").read_text("utf-8")
    return [json.loads(line[line.index("{") :]) for line in log.splitlines() if correlation_id in line and "{" in line]


async def test_the_log_tells_what_came_of_a_request(estate: Estate) -> None:
    mine = f"trace-{new_id(IdKind.JOB)}"
    await estate.api.refused(
        "POST", "groups", {"kind": "lost"}, status=400, code="invalid_field", headers={"x-correlation-id": mine}
    )
    request = next(line for line in lines_of(estate, mine) if line["event"] == "request")
    assert (request["operation"], request["account"]) == ("create_group", estate.account)
    assert (request["status"], request["outcome"], request["level"]) == (400, "invalid_field", "INFO")
    assert request["duration_ms"] > 0


async def test_a_job_carries_the_correlation_id_of_its_request(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault(keys=[{"name": "k"}]))
    mine = f"trace-{new_id(IdKind.JOB)}"
    job = (await estate.api.done("POST", f"groups/{group}/sync", headers={"x-correlation-id": mine})).json
    await estate.ended(job)
    # The job is seen to have ended a moment before its function ends and says so.
    async with asyncio.timeout(10):
        while True:
            if {"start_sync", "run_job"} <= {line["operation"] for line in lines_of(estate, mine)}:
                return
            await asyncio.sleep(0.1)
