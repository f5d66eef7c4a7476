"""A collection in memory whose calls let other tasks go first, as calls over a network do."""

import asyncio
from collections.abc import AsyncIterator

from core.ports import Stored
from tests.fakes.storage import MemoryCollection


class InterleavedCollection[T](MemoryCollection[T]):
    """Counts the rows asked for in `reads`."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, partition: str, id_: str) -> Stored[T] | None:
        self.reads += 1
        await asyncio.sleep(0)
        found = await super().get(partition, id_)
        await asyncio.sleep(0)
        return found

    async def insert(self, partition: str, id_: str, value: T) -> Stored[T]:
        await asyncio.sleep(0)
        stored = await super().insert(partition, id_, value)
        await asyncio.sleep(0)
        return stored

    async def replace(self, partition: str, id_: str, value: T, etag: str) -> Stored[T]:
        await asyncio.sleep(0)
        stored = await super().replace(partition, id_, value, etag)
        await asyncio.sleep(0)
        return stored

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        await asyncio.sleep(0)
        await super().delete(partition, id_, etag)

    async def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[T]]]:
        async for row in super().scan(partition):
            await asyncio.sleep(0)
            yield row
