"""Fixtures for all tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.stack import Stack


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Azurite, the emulator and the host with the product: started for the first test that asks, shared by all."""
    async with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started
