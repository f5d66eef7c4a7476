"""Fixtures for all tests."""

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.stack import Stack


def pytest_configure() -> None:
    """Take interrupts, also where a shell started the tests in the background and so had them ignored.

    Otherwise the processes that tests interrupt would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Azurite, the emulator and the host with the product: started for the first test that asks, shared by all."""
    async with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started
