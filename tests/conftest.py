"""Fixtures for all tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.stack import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the shared stack in one process, so that one stack serves them while others run beside."""
    for item in items:
        if isinstance(item, pytest.Function) and "stack" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Azurite, the emulator and the host with the product: started for the first test that asks, shared by all."""
    async with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started
