"""The app's storage adapters on the stack's Azurite."""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from core.adapters.storage import Storage
from core.settings import Settings
from local.stack import IdentityCredential, Stack


@pytest_asyncio.fixture(scope="session")
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """The storage account with everything in it that the app creates."""
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=stack.ca_file), limit=100)
    settings = Settings.read(stack.app_settings)
    async with aiohttp.ClientSession(connector=trust, auto_decompress=False, trust_env=False) as session:
        opened = Storage(settings, IdentityCredential(stack.endpoints), session)
        await opened.create_missing()
        yield opened
        await opened.close()
