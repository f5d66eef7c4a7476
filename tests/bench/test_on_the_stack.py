"""The benchmarks at sizes that take seconds: that they measure what they say, not what the figures are."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from bench.key_pages import key_pages
from bench.key_read import key_read
from bench.stage import Stage
from bench.syncs import syncs
from local.stack import Stack


@pytest_asyncio.fixture
async def stage(stack: Stack) -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession() as session:
        yield Stage(stack, session, await stack.user_token("alice"))


async def test_a_sync_with_nothing_changed_asks_for_no_key(stage: Stage) -> None:
    bound, loop, unchanged = await syncs(stage, keys=30, latency_ms=20, repeats=1)
    assert "bound 0.04 s: 2 list pages" in bound.note
    assert loop.measured * bound.measured > 1
    assert unchanged.target == 2 + 1 + 2
    assert unchanged.met
    assert "get_key" not in unchanged.note


async def test_reads_and_pages_are_compared(stage: Stage) -> None:
    (read,) = await key_read(stage, rounds=20)
    assert 0 < read.measured < 100
    (page,) = await key_pages(stage, small=500, large=600, rounds=20)
    assert 0 < page.measured < 100
