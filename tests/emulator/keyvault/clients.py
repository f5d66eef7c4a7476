"""What the tests of the key data plane speak to: vaults, raw answers, and the SDK's clients."""

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from azure.keyvault.keys import KeyClient as SyncKeyClient
from azure.keyvault.keys.aio import KeyClient

VAULT_RESOURCE = "https://vault.azure.net"
HSM_RESOURCE = "https://managedhsm.azure.net"
WINDOW_SECONDS = 0.3
"""How long a vault hides the effect of delete, recover and purge in these tests."""
API_VERSION = "7.6"


def url64(octets: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_url64(text: str) -> bytes:
    """Decode base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True)
class TestVault:
    """A vault or HSM of the emulator."""

    __test__ = False

    name: str
    url: str
    resource_id: str
    is_hsm: bool


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `json` is None when there is no JSON body."""

    status: int
    text: str
    headers: dict[str, str] = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, code and inner code."""
        error = self.json["error"]
        return self.status, error["code"], error.get("innererror", {}).get("code")

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


class RawClient:
    """Plain HTTP with a bearer token."""

    def __init__(self, session: aiohttp.ClientSession, vault: TestVault, token: str | None) -> None:
        self._session = session
        self._vault = vault
        self._token = token

    async def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        mark = "&" if "?" in path else "?"
        url = path if path.startswith("https:") else f"{self._vault.url}{path}{mark}api-version={API_VERSION}"
        headers = {"Authorization": f"Bearer {self._token}"} | headers if self._token else headers
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        async with self._session.request(method, url, data=data and io.BytesIO(data), headers=headers) as response:
            return Answer(response.status, await response.text(), dict(response.headers))


type MakeVault = Callable[..., Awaitable[TestVault]]
type MakeRaw = Callable[..., Awaitable[RawClient]]
type ClientOf = Callable[[TestVault], KeyClient]
type SyncClientOf = Callable[[TestVault], SyncKeyClient]


async def settled(ask: Callable[[], Awaitable[Answer]], status: int) -> Answer:
    """Ask until the answer has `status`, which a vault's windows delay."""
    async with asyncio.timeout(10 * WINDOW_SECONDS):
        while (answer := await ask()).status != status:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(WINDOW_SECONDS / 10)
    return answer
