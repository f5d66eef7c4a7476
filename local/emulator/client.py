"""A client of a running emulator: where it listens, and its control API.

endpoints = read_endpoints(folder)
async with aiohttp.ClientSession() as session:
    control = ControlClient(endpoints.control_url, session)
    vault = await control.post("vaults", {"name": "payments", "sku": "premium"})
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import aiohttp

ENDPOINTS_FILE = "endpoints.json"
_FIRST_REFUSAL = 400


@dataclass(frozen=True)
class Endpoints:
    """What a running emulator wrote into `endpoints.json`."""

    pid: int
    control_url: str
    entra_url: str
    arm_url: str
    identity_endpoint: str
    identity_header: str
    ca_file: str


class ControlRefusedError(Exception):
    """The control API refused a request; `status` and `code` say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code


def read_endpoints(folder: Path) -> Endpoints | None:
    """Return where the emulator of this data folder listens, None when it is not ready."""
    try:
        content = json.loads((folder / ENDPOINTS_FILE).read_text())
    except FileNotFoundError:
        return None
    return Endpoints(**{member.name: content[member.name] for member in fields(Endpoints)})


class ControlClient:
    """The control API over one HTTP session; paths are relative to `/control/`, bodies and answers are JSON."""

    def __init__(self, control_url: str, session: aiohttp.ClientSession) -> None:
        self._base = f"{control_url}/control"
        self._session = session

    async def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return what the control API shows."""
        return await self._call("GET", path, None)

    async def post(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
        """Make something and return what it is known by."""
        return await self._call("POST", path, body)

    async def put(self, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON value
        """Replace a condition."""
        return await self._call("PUT", path, body)

    async def patch(self, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON value
        """Change something."""
        return await self._call("PATCH", path, body)

    async def delete(self, path: str) -> None:
        """Delete something."""
        await self._call("DELETE", path, None)

    async def _call(self, method: str, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON value
        async with self._session.request(method, f"{self._base}/{path}", json=body) as response:
            content = await response.read()
            answer = json.loads(content) if content else None
            if response.status >= _FIRST_REFUSAL:
                error = answer["error"] if isinstance(answer, dict) else {"code": "Unknown", "message": ""}
                raise ControlRefusedError(response.status, error["code"], error["message"])
            return answer
