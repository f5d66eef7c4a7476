"""One stack for all tests; each has an account, a subscription and vaults of its own."""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from local.stack import Stack
from tests.integration.estate import Estate, Site
from tests.integration.ledger import Ledger

_LAST = "test_zz_secrets.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the scan of all stores and logs come after every other test that writes to them."""
    items.sort(key=lambda item: item.path.name == _LAST)


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """The secrets of all tests."""
    return Ledger()


@pytest_asyncio.fixture(scope="session")
async def site(stack: Stack, ledger: Ledger) -> AsyncIterator[Site]:
    """The started stack and its callers."""
    trust = ssl.create_default_context(cafile=stack.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        yield Site(stack, session, ledger)


@pytest_asyncio.fixture
async def estate(site: Site) -> Estate:
    """An account of the test's own."""
    return await site.estate()
