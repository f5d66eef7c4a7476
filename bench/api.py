"""The product's API, as the benchmarks call it."""

from typing import Any

import aiohttp

type Json = dict[str, Any]

_FIRST_REFUSAL = 400


class Api:
    """One caller over one HTTP session; paths are relative to `/api/v1/`."""

    def __init__(self, session: aiohttp.ClientSession, host_url: str, token: str) -> None:
        self._session = session
        self._root = f"{host_url}/api/v1/"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str) -> Json:
        """Read something."""
        return await self._call("GET", path)

    async def post(self, path: str, body: Json) -> Json:
        """Make or start something."""
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        async with self._session.request(method, self._root + path, json=body, headers=self._headers) as response:
            answer: Json = await response.json(content_type=None)
        if response.status >= _FIRST_REFUSAL:
            raise RuntimeError(f"{method} {path} was refused: {response.status} {answer.get('code')}")
        return answer
