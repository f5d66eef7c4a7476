"""Keysteward's API over HTTP, as any client would use it: tokens, ETags, pages, files and problems."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from local.demo.expect import UnexpectedError

type Json = dict[str, Any]
type Body = Json | aiohttp.FormData | None
#: Is told the method, the path and the status of a call.
type Echo = Callable[[str, str, int], None]

_OK, _FIRST_REFUSAL = 200, 400
_PAGE = 200
_ID = re.compile(r"\b([a-z]+_)[a-z2-7]{24}\b")


class Keysteward:
    """One caller of the API. `prefix` goes before every path; a refusal is an UnexpectedError unless it is awaited."""

    def __init__(self, session: aiohttp.ClientSession, root: str, token: str, echo: Echo, prefix: str = "") -> None:
        self._session = session
        self._root = root
        self._token = token
        self._echo = echo
        self._prefix = prefix

    def within(self, prefix: str) -> "Keysteward":
        """Return the same caller, with paths below `prefix` such as `accounts/acc_…/`."""
        return Keysteward(self._session, self._root, self._token, self._echo, self._prefix + prefix)

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, quiet: bool = False) -> Json:
        """Read something; `quiet` keeps it off the screen, as a poll."""
        return (await self._done("GET", path, query=query, quiet=quiet))[0]

    async def post(self, path: str, body: Json | None = None, *, once: str | None = None) -> Json:
        """Create or start something; `once` is the Idempotency-Key under which it is done once."""
        return (await self._done("POST", path, body, headers=_once(once)))[0]

    async def upload(self, path: str, request: Json, file: bytes) -> Json:
        """Post a request whose file comes as a part of a form."""
        form = aiohttp.FormData()
        form.add_field("request", json.dumps(request), content_type="application/json")
        form.add_field("file", file, filename="file")
        return (await self._done("POST", path, form))[0]

    async def download(self, path: str, body: Json) -> bytes:
        """Post a request that is answered with a file."""
        async with self._request("POST", path, body) as response:
            self._echo("POST", self._shown(path), response.status)
            content = await response.read()
            if response.status >= _FIRST_REFUSAL:
                raise self._refusal("POST", path, response.status, json.loads(content))
            return content

    async def put(self, path: str, body: Json) -> Json:
        """Set something that need not have been read before."""
        return (await self._done("PUT", path, body))[0]

    async def change(self, method: str, path: str, body: Json, *, of: str | None = None) -> Json:
        """Change something that was read right before: `of`, or what is at `path`."""
        _, etag = await self._done("GET", of or path, quiet=True)
        return (await self._done(method, path, body, headers={"If-Match": etag} if etag else {}))[0]

    async def pages(self, path: str, query: Mapping[str, str] | None = None, *, quiet: bool = False) -> list[Json]:
        """Read a list to its end; it shows on the screen once, unless `quiet`."""
        items: list[Json] = []
        following: str | None = None
        while True:
            asked = {**(query or {}), "limit": str(_PAGE)} | ({"next": following} if following else {})
            page = await self.get(path, asked, quiet=True)
            if following is None and not quiet:
                self._echo("GET", self._shown(path, query), _OK)
            items += page["items"]
            following = page["next"]
            if following is None:
                return items

    async def refused(self, method: str, path: str, body: Json | None = None) -> Json:
        """Do what has to be refused, and return the problem."""
        status, answer, _ = await self._sent(method, path, body)
        self._echo(method, self._shown(path), status)
        if status < _FIRST_REFUSAL:
            raise UnexpectedError(f"{method} {self._shown(path)}: expected a refusal, answered {status}")
        return answer

    async def _done(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> tuple[Json, str | None]:
        status, answer, answered_etag = await self._sent(method, path, body, query=query, headers=headers)
        if not quiet:
            self._echo(method, self._shown(path), status)
        if status >= _FIRST_REFUSAL:
            raise self._refusal(method, path, status, answer)
        return answer, answered_etag

    async def _sent(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Json, str | None]:
        async with self._request(method, path, body, query, headers) as response:
            answer = await response.json(content_type=None) if await response.read() else {}
            return response.status, answer, response.headers.get("ETag")

    def _request(
        self,
        method: str,
        path: str,
        body: Body = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url = f"{self._root}/{self._prefix}{path}"
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        if isinstance(body, aiohttp.FormData):
            return self._session.request(method, url, data=body, params=query, headers=sent)
        return self._session.request(method, url, json=body, params=query, headers=sent)

    def _refusal(self, method: str, path: str, status: int, answer: Json) -> UnexpectedError:
        told = f"{answer.get('code')}: {answer.get('detail')} (correlation id {answer.get('correlation_id')})"
        return UnexpectedError(f"{method} {self._shown(path)} was refused with {status} {told}")

    def _shown(self, path: str, query: Mapping[str, str] | None = None) -> str:
        asked = "&".join(f"{name}={value}" for name, value in (query or {}).items())
        return "/api/v1/" + _ID.sub(r"\1…", self._prefix + path + (f"?{asked}" if asked else ""))


def _once(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}
