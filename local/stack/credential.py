"""The app's managed identity, for demos and tests that look into storage or vaults themselves."""

from typing import Any, Self

import aiohttp
from azure.core.credentials import AccessToken

from local.emulator import seeds
from local.stack.emulator import EmulatorEndpoints


class IdentityCredential:
    """An asynchronous SDK credential; unlike the SDK's own it needs no variables in this process's environment."""

    def __init__(self, emulator: EmulatorEndpoints) -> None:
        self._emulator = emulator

    async def get_token(self, *scopes: str, **_options: Any) -> AccessToken:  # noqa: ANN401 - the SDK's protocol
        """Return a token for one scope such as 'https://storage.azure.com/.default'."""
        query = {
            "api-version": "2019-08-01",
            "resource": scopes[0].removesuffix("/.default"),
            "client_id": seeds.IDENTITY_CLIENT_ID,
        }
        headers = {"X-IDENTITY-HEADER": self._emulator.identity_header}
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.get(self._emulator.identity_endpoint, params=query, headers=headers) as response,
        ):
            answer = await response.json()
        return AccessToken(answer["access_token"], int(answer["expires_on"]))

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing is held open."""
