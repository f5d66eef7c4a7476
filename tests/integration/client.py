"""The API as any client sees it: over HTTP, with a bearer token and nothing of ours in between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

type Json = dict[str, Any]

_FIRST_REFUSAL = 400


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class Api:
    """One caller; `prefix` goes before every path, `headers` with every request."""

    def __init__(
        self, session: aiohttp.ClientSession, root: str, headers: Mapping[str, str] | None = None, prefix: str = ""
    ) -> None:
        self._session = session
        self._root = root
        self._headers = dict(headers or {})
        self.prefix = prefix

    def within(self, prefix: str) -> "Api":
        """Return the same caller, with paths below `prefix`."""
        return Api(self._session, self._root, self._headers, self.prefix + prefix)

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and return whatever is answered."""
        async with self._session.request(
            method,
            f"{self._root}/{self.prefix}{path}",
            json=body,
            params=query,
            headers={**self._headers, **(headers or {})},
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def done(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request that has to succeed."""
        reply = await self.send(method, path, body, query=query, headers=headers)
        assert reply.status < _FIRST_REFUSAL, f"{method} {path}: {reply.status} {reply.content[:600]!r}"
        return reply

    async def get(self, path: str, **query: str) -> Any:
        return (await self.done("GET", path, query=query)).json

    async def post(self, path: str, body: object = None) -> Any:
        return (await self.done("POST", path, body)).json

    async def put(self, path: str, body: object) -> Any:
        return (await self.done("PUT", path, body)).json

    async def change(self, method: str, path: str, body: object = None, *, of: str | None = None) -> Any:
        """Change what was read right before: `of`, or what is at `path`."""
        etag = (await self.done("GET", of or path)).etag
        reply = await self.done(method, path, body, headers={"If-Match": etag})
        return reply.json if reply.content else None

    async def pages(self, path: str, **query: str) -> list[Json]:
        """Read a list to its end."""
        items: list[Json] = []
        page = await self.get(path, **query)
        items += page["items"]
        while page["next"] is not None:
            page = await self.get(path, **query, next=page["next"])
            items += page["items"]
        return items

    async def refused(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int,
        code: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a request that has to be refused, and return the problem."""
        reply = await self.send(method, path, body, query=query, headers=headers)
        assert reply.status >= _FIRST_REFUSAL, f"{method} {path} was not refused: {reply.status}"
        problem: Json = reply.json
        assert (reply.status, problem["code"]) == (status, code), problem
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["correlation_id"] == reply.headers["x-correlation-id"]
        return problem
