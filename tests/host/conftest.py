"""A stack that serves the sample app, and a client of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from local.stack import HostOptions, Stack

SAMPLE_APP = Path(__file__).parent / "sample_app"
SETTINGS = {"WORK_QUEUE": "sample-work", "YEARLY": "0 0 0 1 1 *"}


@pytest.fixture(scope="session")
def sample_app() -> Path:
    return SAMPLE_APP


@pytest_asyncio.fixture(scope="session")
async def sample_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    options = HostOptions(app_dir=SAMPLE_APP)
    async with Stack(tmp_path_factory.mktemp("sample"), settings=SETTINGS, host_options=options) as started:
        yield started


@pytest_asyncio.fixture(scope="session")
async def client(sample_stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sample_stack.host_url) as session:
        yield session


@pytest.fixture
def seen(client: aiohttp.ClientSession) -> Callable[[str], Awaitable[list[dict[str, Any]]]]:
    """Return what a function of the sample app has seen since the host started."""

    async def calls_of(function: str) -> list[dict[str, Any]]:
        async with client.get("/api/seen") as response:
            calls: list[dict[str, Any]] = (await response.json())["calls"]
        return [call for call in calls if call["function"] == function]

    return calls_of


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Ask again until the answer is truthy, for at most 20 s."""

    async def wait_for(question: Callable[[], Awaitable[Any]]) -> Any:
        deadline = time.monotonic() + 20
        while not (answer := await question()):
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.05)
        return answer

    return wait_for
