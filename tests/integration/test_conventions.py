"""What every operation of the API has in common."""

import asyncio
import io
import json

import pytest

from local.stack.stack import ROOT
from tests.integration.client import Json
from tests.integration.estate import Estate, Site

CHECKED_IN = ROOT / "docs" / "openapi.json"


async def test_the_served_document_is_the_checked_in_one(site: Site) -> None:
    served = await site.api().done("GET", "openapi.json")
    assert served.content == await asyncio.to_thread(CHECKED_IN.read_bytes)
    assert served.json["openapi"].startswith("3.1")
    page = await site.api().done("GET", "docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert all(path.encode() in page.content for path in served.json["paths"])


async def test_every_function_is_served(site: Site) -> None:
    status = await site.stack.host.status()
    assert status["errors"] == {}
    assert {"start_sync", "run_job", "reconcile_jobs"} <= set(status["functions"])


async def test_a_repeated_request_is_answered_as_before(estate: Estate) -> None:
    body = {"kind": "source", "title": "Once"}
    key = {"Idempotency-Key": "one"}
    first = await estate.api.done("POST", "groups", body, headers=key)
    second = await estate.api.done("POST", "groups", {"title": "Once", "kind": "source"}, headers=key)
    assert (second.status, second.json, second.etag) == (first.status, first.json, first.etag)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert [one["title"] for one in await estate.api.pages("groups")] == ["Once"]


async def test_a_key_stands_for_one_request(estate: Estate) -> None:
    key = {"Idempotency-Key": "two"}
    await estate.api.done("POST", "groups", {"kind": "source", "title": "A"}, headers=key)
    other = {"kind": "source", "title": "B"}
    await estate.api.refused("POST", "groups", other, status=422, code="idempotency_key_reused", headers=key)
    # Another caller's key is another key.
    await estate.api.post("members", {"role": "admin", "email": "carol@contoso.example"})
    carol = await estate.as_user("carol")
    await carol.done("POST", "groups", other, headers=key)


async def test_two_at_once_under_one_key_do_it_once(estate: Estate) -> None:
    body, key = {"kind": "source", "title": "Once"}, {"Idempotency-Key": "three"}
    replies = await asyncio.gather(*(estate.api.send("POST", "groups", body, headers=key) for _ in range(4)))
    for reply in replies:
        if reply.status == 409:
            assert reply.json["code"] == "idempotency_in_progress"
            assert int(reply.headers["Retry-After"]) >= 1
        else:
            assert reply.status == 201
    assert len({reply.json["id"] for reply in replies if reply.status == 201}) == 1
    assert len(await estate.api.pages("groups")) == 1
    again = await estate.api.done("POST", "groups", body, headers=key)
    assert len(await estate.api.pages("groups")) == 1
    assert again.status == 201


async def test_an_issued_api_key_is_replayed_to_its_caller(estate: Estate) -> None:
    application = await estate.api.post("applications", {"title": "A"})
    path, key = f"applications/{application['id']}/api-keys", {"Idempotency-Key": "four"}
    first = await estate.api.done("POST", path, headers=key)
    second = await estate.api.done("POST", path, headers=key)
    estate.site.ledger.add("API key", first.json["api_key"])
    assert first.json == second.json
    assert len(await estate.api.pages(path)) == 1


async def test_a_refused_request_is_replayed_too(estate: Estate) -> None:
    key = {"Idempotency-Key": "five"}
    body = {"kind": "azure", "title": "A"}
    first = await estate.api.refused("POST", "groups", body, status=400, code="connection_invalid", headers=key)
    second = await estate.api.send("POST", "groups", body, headers=key)
    assert (second.status, second.headers["Idempotency-Replayed"]) == (400, "true")
    assert second.json["code"] == first["code"]


async def test_an_update_needs_what_was_read(estate: Estate) -> None:
    group = await estate.source_group()
    path = f"groups/{group}"
    await estate.api.refused("PATCH", path, {"title": "B"}, status=428, code="precondition_required")
    read = await estate.api.done("GET", path)
    match = {"If-Match": read.etag}
    changed = await estate.api.done("PATCH", path, {"title": "B"}, headers=match)
    assert changed.etag != read.etag
    await estate.api.refused("PATCH", path, {"title": "C"}, status=412, code="stale_write", headers=match)
    for bad in ("*", "unquoted", '"a", "b"'):
        await estate.api.refused(
            "PATCH", path, {"title": "C"}, status=400, code="invalid_header", headers={"If-Match": bad}
        )
    await estate.api.refused("DELETE", path, status=412, code="stale_write", headers=match)
    assert (await estate.api.get(path))["title"] == "B"


async def test_two_updates_at_once_do_not_lose_one(estate: Estate) -> None:
    path = f"groups/{await estate.source_group()}"
    match = {"If-Match": (await estate.api.done("GET", path)).etag}
    replies = await asyncio.gather(
        *(estate.api.send("PATCH", path, {"title": title}, headers=match) for title in ("A", "B", "C"))
    )
    assert sorted(reply.status for reply in replies) == [200, 412, 412]
    won = next(reply for reply in replies if reply.status == 200)
    assert (await estate.api.get(path))["title"] == won.json["title"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("groups", {"kind": "source", "title": "A", "titel": "B"}, "titel"),
        ("groups", {"kind": "source", "title": "A", "schedule": {"crontab": "x"}}, "schedule.crontab"),
        ("applications", {"title": "A", "secret": "x"}, "secret"),
    ],
)
async def test_unknown_fields_are_refused(estate: Estate, path: str, body: Json, field: str) -> None:
    problem = await estate.api.refused("POST", path, body, status=400, code="unknown_field")
    assert problem["field"] == field


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("groups", {"limit": "0"}, "invalid_field"),
        ("groups", {"limit": "201"}, "invalid_field"),
        ("keys", {"limit": "many"}, "invalid_field"),
        ("keys", {"sort": "colour"}, "invalid_field"),
        ("keys", {"state": "lost"}, "invalid_field"),
        ("keys", {"expires_before": "tomorrow"}, "invalid_field"),
        ("keys", {"colour": "blue"}, "unknown_field"),
        ("keys", {"next": "forged"}, "invalid_cursor"),
        ("groups", {"next": "%%%"}, "invalid_cursor"),
        ("keys", {"group": "x"}, "invalid_field"),
    ],
)
async def test_queries_are_checked(estate: Estate, path: str, query: dict[str, str], code: str) -> None:
    await estate.api.refused("GET", path, status=400, code=code, query=query)


async def raw(estate: Estate, content: bytes, content_type: str) -> tuple[int, Json]:
    token = await estate.site.token("alice")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
    url = f"{estate.site.stack.host_url}/api/v1/accounts/{estate.account}/groups"
    async with estate.site.session.post(url, data=io.BytesIO(content), headers=headers) as response:
        return response.status, json.loads(await response.read())


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"kind": "source", "kind": "azure", "title": "A"}', "application/json", 400, "malformed_json"),
        (b"\xff\xfe", "application/json", 400, "malformed_json"),
        (b"[" * 5_000, "application/json", 400, "malformed_json"),
        (b'{"kind": "source", "title": NaN}', "application/json", 400, "malformed_json"),
        (b"", "application/json", 400, "missing_body"),
        (b"[]", "application/json", 400, "invalid_field"),
        (b"kind=source", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'"' + b"x" * 1_100_000 + b'"', "application/json", 413, "body_too_large"),
    ],
)
async def test_a_hostile_body(estate: Estate, content: bytes, content_type: str, status: int, code: str) -> None:
    answered, problem = await raw(estate, content, content_type)
    assert (answered, problem["code"]) == (status, code), problem


async def test_a_correlation_id_is_taken_over(estate: Estate) -> None:
    mine = {"x-correlation-id": "my-own-id-1234"}
    reply = await estate.api.done("GET", "groups", headers=mine)
    assert reply.headers["x-correlation-id"] == "my-own-id-1234"
    reply = await estate.api.done("GET", "groups", headers={"x-correlation-id": "no good\tid"})
    assert "no good" not in reply.headers["x-correlation-id"]
    log = (estate.site.stack.logs_dir / "host.log").read_text("utf-8")
    assert "my-own-id-1234" in log


async def test_lists_are_paged_to_their_end(estate: Estate) -> None:
    made = {await estate.source_group() for _ in range(5)}
    for limit in ("1", "2", "5", "200"):
        listed = [one["id"] for one in await estate.api.pages("groups", limit=limit)]
        assert (len(listed), set(listed)) == (5, made)


async def test_times_are_utc(estate: Estate) -> None:
    group = await estate.source_group()
    assert (await estate.api.get(f"groups/{group}"))["created_on"].endswith("Z")
