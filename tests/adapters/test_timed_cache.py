"""The cache behind data keys and access: one load for all who wait, nothing stale kept."""

import asyncio
from datetime import timedelta

import pytest

from core.errors import ConflictError
from core.timed_cache import TimedCache
from tests.fakes.clock import SteppedClock


class Source:
    """Counts loads, and holds them back until it is released."""

    def __init__(self) -> None:
        self.loads = 0
        self.released = asyncio.Event()
        self.released.set()
        self.fails = False

    async def load(self) -> int:
        self.loads += 1
        mine = self.loads
        await self.released.wait()
        if self.fails:
            raise ConflictError("no")
        return mine


def a_cache(clock: SteppedClock, limit: int = 2) -> TimedCache[str, int]:
    return TimedCache(clock, timedelta(seconds=5), limit)


async def test_a_value_lives_for_its_time() -> None:
    clock, source = SteppedClock(), Source()
    cache = a_cache(clock)
    assert await cache.get("a", source.load) == 1
    clock.move(timedelta(seconds=4.9))
    assert await cache.get("a", source.load) == 1
    clock.move(timedelta(seconds=0.1))
    assert await cache.get("a", source.load) == 2


async def test_a_clock_that_goes_back_ends_a_value() -> None:
    clock, source = SteppedClock(), Source()
    cache = a_cache(clock)
    await cache.get("a", source.load)
    clock.move(timedelta(hours=-1))
    assert await cache.get("a", source.load) == 2


async def test_concurrent_misses_share_one_load() -> None:
    source = Source()
    cache = a_cache(SteppedClock())
    source.released.clear()
    waiting = [asyncio.create_task(cache.get("a", source.load)) for _ in range(10)]
    await asyncio.sleep(0)
    source.released.set()
    assert await asyncio.gather(*waiting) == [1] * 10


async def test_one_who_stops_waiting_does_not_stop_the_others() -> None:
    source = Source()
    cache = a_cache(SteppedClock())
    source.released.clear()
    first, second = [asyncio.create_task(cache.get("a", source.load)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    source.released.set()
    assert await second == 1
    assert source.loads == 1


async def test_the_least_recently_used_goes_first() -> None:
    source = Source()
    cache = a_cache(SteppedClock(), limit=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key, source.load)
    assert await cache.get("a", source.load) == 1
    assert await cache.get("b", source.load) == 4


async def test_failures_are_not_kept() -> None:
    source = Source()
    cache = a_cache(SteppedClock())
    source.fails = True
    with pytest.raises(ConflictError):
        await cache.get("a", source.load)
    source.fails = False
    assert await cache.get("a", source.load) == 2


async def test_what_was_dropped_while_it_was_loaded_is_not_kept() -> None:
    source = Source()
    cache = a_cache(SteppedClock())
    source.released.clear()
    waiting = asyncio.create_task(cache.get("a", source.load))
    await asyncio.sleep(0)
    cache.drop(lambda key: key == "a")
    source.released.set()
    assert await waiting == 1
    assert await cache.get("a", source.load) == 2
