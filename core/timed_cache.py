"""A bounded cache whose entries live for a fixed time.

Invariants: concurrent misses of one key share one load; a load that was under way when its key was dropped is not
kept; failures are never kept; a clock that goes backwards ends an entry rather than extending it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta

from core.ports import Clock


class TimedCache[K: Hashable, V]:
    """At most `limit` values, each for `lifetime` from its load; the least recently used goes first."""

    def __init__(self, clock: Clock, lifetime: timedelta, limit: int) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._limit = limit
        self._entries: dict[K, tuple[datetime, V]] = {}
        self._loads: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the cached value, or the one that `load` returns; its errors reach everyone who waits for it."""
        entry = self._entries.pop(key, None)
        if entry is not None and timedelta() <= self._clock.now() - entry[0] < self._lifetime:
            self._entries[key] = entry
            return entry[1]
        task = self._loads.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, load))
            task.add_done_callback(_retrieve)
            self._loads[key] = task
        # A caller that is cancelled must not take the others' load with it.
        return await asyncio.shield(task)

    def drop(self, matches: Callable[[K], bool]) -> None:
        """Forget every key that matches, those being loaded included."""
        for key in [key for key in self._entries if matches(key)]:
            del self._entries[key]
        for key in [key for key in self._loads if matches(key)]:
            del self._loads[key]

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        started = self._clock.now()
        mine = asyncio.current_task()
        try:
            value = await load()
            if self._loads.get(key) is mine:
                self._keep(key, started, value)
            return value
        finally:
            if self._loads.get(key) is mine:
                del self._loads[key]

    def _keep(self, key: K, started: datetime, value: V) -> None:
        self._entries[key] = (started, value)
        while len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]


def _retrieve(task: asyncio.Task[object]) -> None:
    # All waiters may have been cancelled; an error that nobody awaits would be reported as never retrieved.
    if not task.cancelled():
        task.exception()
