"""Requests and answers through the host, as the real one translates them."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from local.stack import Stack


async def test_request_reaches_the_function_as_the_real_host_passes_it(client: aiohttp.ClientSession) -> None:
    headers = CIMultiDict([("X-Many", "1"), ("X-Many", "2"), ("Accept", "text/plain")])
    url = URL("/api/echo/bob/a%2Fb%20c?one=1&one=2&none=", encoded=True)
    async with client.post(url, data=b"hello", headers=headers) as response:
        passed = json.loads(await response.text())
    assert passed["method"] == "POST"
    assert passed["url"].endswith("/api/echo/bob/a%2Fb%20c?one=1&one=2&none=")
    assert passed["route"] == {"name": "bob", "rest": "a%2Fb c"}
    assert passed["query"] == {"one": "1,2"}
    assert passed["body"] == "hello"
    assert passed["headers"]["x-many"] == "1,2"
    assert all(name == name.lower() for name in passed["headers"])


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/api/things/special", 200, "a thing special"),
        ("PUT", "/api/things/special", 200, "special"),
        ("DELETE", "/api/things/special", 404, ""),
        ("GET", "/things/special", 404, ""),
        ("GET", "/api/", 404, ""),
        ("GET", "/api/files", 200, "none"),
        ("GET", "/api/files/a/b.txt", 200, "a/b.txt"),
        ("GET", "/api/echo/bob1", 404, ""),
        ("GET", "/api/sync", 200, "sync"),
        ("GET", "/api/noop", 204, ""),
        ("GET", "/api/admin-things", 404, ""),
    ],
)
async def test_routing(client: aiohttp.ClientSession, method: str, path: str, status: int, body: str) -> None:
    async with client.request(method, path) as response:
        assert (response.status, await response.text()) == (status, body)


async def test_exception_is_an_empty_500(client: aiohttp.ClientSession, sample_stack: Stack) -> None:
    async with client.get("/api/boom") as response:
        assert (response.status, await response.read()) == (500, b"")
    assert "the app's own words" in (sample_stack.logs_dir / "host.log").read_text()


async def test_status_headers_and_cookies_of_the_answer(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/cookies") as response:
        assert response.status == 201
        assert response.headers["X-Kind"] == "test"
        cookies = response.headers.getall("Set-Cookie")
    assert cookies == ["a=1; HttpOnly; Path=/", "b=2; Max-Age=60; SameSite=Lax"]


async def test_body_is_read_by_its_length(client: aiohttp.ClientSession) -> None:
    async def pieces() -> Any:
        yield b"chunked bodies have no length"

    async with client.post("/api/length", data=io.BytesIO(b"x" * 1_500_000)) as response:
        assert await response.json(content_type=None) == 1_500_000
    async with client.post("/api/length", data=pieces()) as response:
        assert await response.json(content_type=None) == 0


async def test_expected_100_continue_is_answered(client: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(5), client.post("/api/length", data=b"x" * 2000, expect100=True) as response:
        assert await response.json(content_type=None) == 2000


async def test_body_over_the_limit_is_refused_unread(sample_stack: Stack) -> None:
    url = URL(sample_stack.host_url)
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    writer.write(b"POST /api/length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857601\r\n\r\n")
    status_line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert status_line.startswith(b"HTTP/1.1 413 ")


async def test_function_goes_on_when_its_caller_leaves(
    client: aiohttp.ClientSession,
    seen: Callable[[str], Awaitable[list[dict[str, Any]]]],
    eventually: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
) -> None:
    before = len(await seen("slow"))
    with pytest.raises(TimeoutError):
        await client.get("/api/slow/300", timeout=aiohttp.ClientTimeout(total=0.1))

    async def done() -> bool:
        return len(await seen("slow")) == before + 1

    await eventually(done)
