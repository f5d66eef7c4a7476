"""The demo's client against a server that answers as Keysteward does."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.demo.client import Keysteward
from local.demo.expect import UnexpectedError

_GROUP = "grp_aebagbafaydqqcikbmgq2dyc"
_PROBLEM = {"status": 403, "code": "not_permitted", "detail": "No.", "correlation_id": "c0ffee"}


async def _group(request: web.Request) -> web.Response:
    if request.method == "GET":
        return web.json_response({"title": "old"}, headers={"ETag": '"one"'})
    if request.headers.get("If-Match") != '"one"':
        return web.json_response({"code": "precondition_required"}, status=428)
    return web.json_response(await request.json())


async def _keys(request: web.Request) -> web.Response:
    if request.query.get("next") == "second":
        return web.json_response({"items": [{"name": "b"}], "next": None})
    return web.json_response({"items": [{"name": "a"}], "next": "second"})


async def _import(request: web.Request) -> web.Response:
    form = await request.post()
    body, file = form["request"], form["file"]
    assert isinstance(body, bytearray)
    assert isinstance(file, web.FileField)
    return web.json_response({"request": json.loads(body), "file": file.file.read().hex()}, status=201)


async def _blob(request: web.Request) -> web.Response:
    if (await request.json()) == {}:
        return web.json_response(_PROBLEM, status=403, content_type="application/problem+json")
    return web.Response(body=b"\x00blob", content_type="application/octet-stream")


async def _create(request: web.Request) -> web.Response:
    return web.json_response({"once": request.headers.get("Idempotency-Key"), "body": await request.json()})


async def _sync(request: web.Request) -> web.Response:
    if request.headers["Authorization"] == "Bearer alice":
        return web.Response(status=202)
    return web.json_response(_PROBLEM, status=403, content_type="application/problem+json")


class Calls:
    """A server, a session, and what a caller showed on the screen."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self.shown: list[tuple[str, str, int]] = []
        self._session = session
        self._root = root

    def caller(self, token: str) -> Keysteward:
        return Keysteward(self._session, self._root, token, lambda *call: self.shown.append(call))


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    app = web.Application()
    app.router.add_route("*", f"/api/v1/groups/{_GROUP}", _group)
    app.router.add_get("/api/v1/keys", _keys)
    app.router.add_post("/api/v1/sync", _sync)
    app.router.add_post("/api/v1/import", _import)
    app.router.add_post("/api/v1/blob", _blob)
    app.router.add_post("/api/v1/create", _create)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Calls(session, str(server.make_url("/api/v1")))


async def test_a_change_names_the_etag_that_was_read(calls: Calls) -> None:
    path = f"groups/{_GROUP}"
    assert await calls.caller("alice").change("PATCH", path, {"title": "new"}) == {"title": "new"}
    assert calls.shown == [("PATCH", "/api/v1/groups/grp_…", 200)]


async def test_a_list_is_read_to_its_end_and_shown_once(calls: Calls) -> None:
    assert await calls.caller("alice").pages("keys", {"tag": "env=prod"}) == [{"name": "a"}, {"name": "b"}]
    assert calls.shown == [("GET", "/api/v1/keys?tag=env=prod", 200)]


async def test_an_answer_without_content_is_empty(calls: Calls) -> None:
    assert await calls.caller("alice").post("sync") == {}


async def test_an_unexpected_refusal_tells_code_and_correlation_id(calls: Calls) -> None:
    with pytest.raises(UnexpectedError, match=r"POST /api/v1/sync was refused with 403 not_permitted: No\. .*c0ffee"):
        await calls.caller("bob").post("sync")


async def test_an_expected_refusal_is_an_answer(calls: Calls) -> None:
    assert await calls.caller("bob").refused("POST", "sync") == _PROBLEM
    assert calls.shown == [("POST", "/api/v1/sync", 403)]


async def test_a_refusal_that_does_not_come_is_unexpected(calls: Calls) -> None:
    with pytest.raises(UnexpectedError, match="expected a refusal, answered 202"):
        await calls.caller("alice").refused("POST", "sync")


async def test_a_file_is_a_part_of_a_form(calls: Calls) -> None:
    answer = await calls.caller("alice").upload("import", {"name": "receipts"}, b"\r\n\x00")
    assert answer == {"request": {"name": "receipts"}, "file": "0d0a00"}
    assert calls.shown == [("POST", "/api/v1/import", 201)]


async def test_what_is_downloaded_is_taken_as_it_is(calls: Calls) -> None:
    assert await calls.caller("alice").download("blob", {"source": "key"}) == b"\x00blob"
    assert calls.shown == [("POST", "/api/v1/blob", 200)]


async def test_a_refused_download_is_told_like_any_refusal(calls: Calls) -> None:
    with pytest.raises(UnexpectedError, match=r"POST /api/v1/blob was refused with 403 not_permitted: No\. .*c0ffee"):
        await calls.caller("alice").download("blob", {})


async def test_what_is_done_once_has_its_key(calls: Calls) -> None:
    answer = await calls.caller("alice").post("create", {"name": "a"}, once="make-a")
    assert answer == {"once": "make-a", "body": {"name": "a"}}
