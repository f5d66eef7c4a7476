"""The storage ports in memory, with ETags that move at every write."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from core.errors import AlreadyExistsError, NotFoundError, StaleWriteError
from core.ports import IndexPage, Stored

_ETAGS = itertools.count(1)


class SteppedClock:
    """A clock that moves when told to."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def move(self, by: timedelta) -> None:
        self._now += by


class MemoryCollection[T]:
    """One table; `reads` counts the rows asked for."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Stored[T]] = {}
        self.reads = 0

    async def get(self, partition: str, id_: str) -> Stored[T] | None:
        self.reads += 1
        return self.rows.get((partition, id_))

    async def get_many(self, partition: str, ids: Sequence[str]) -> dict[str, Stored[T]]:
        found = {id_: await self.get(partition, id_) for id_ in ids}
        return {id_: stored for id_, stored in found.items() if stored}

    async def insert(self, partition: str, id_: str, value: T) -> Stored[T]:
        if (partition, id_) in self.rows:
            raise AlreadyExistsError("taken")
        return self._write(partition, id_, value)

    async def replace(self, partition: str, id_: str, value: T, etag: str) -> Stored[T]:
        self._require(partition, id_, etag)
        return self._write(partition, id_, value)

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        if (partition, id_) in self.rows:
            if etag is not None:
                self._require(partition, id_, etag)
            del self.rows[partition, id_]

    async def write_many(self, partition: str, values: Mapping[str, tuple[T, str | None]]) -> set[str]:
        refused = set()
        for id_, (value, etag) in values.items():
            try:
                await (self.insert(partition, id_, value) if etag is None else self.replace(partition, id_, value, etag))
            except (AlreadyExistsError, StaleWriteError):
                refused.add(id_)
        return refused

    async def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[T]]]:
        for (found, id_), stored in sorted(self.rows.items(), key=lambda row: row[0]):
            if found == partition:
                yield id_, stored

    def _require(self, partition: str, id_: str, etag: str) -> None:
        stored = self.rows.get((partition, id_))
        if stored is None or stored.etag != etag:
            raise StaleWriteError("The row")

    def _write(self, partition: str, id_: str, value: T) -> Stored[T]:
        stored = Stored(value, f'W/"{next(_ETAGS)}"')
        self.rows[partition, id_] = stored
        return stored


class MemoryIndex:
    """Ordered indexes."""

    def __init__(self) -> None:
        self.trees: dict[str, dict[str, Mapping[str, object]]] = {}

    async def apply(self, tree: str, changes: Mapping[str, Mapping[str, object] | None]) -> None:
        entries = self.trees.setdefault(tree, {})
        for key, entry in changes.items():
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry

    async def get(self, tree: str, key: str) -> Mapping[str, object] | None:
        return self.trees.get(tree, {}).get(key)

    async def page(
        self, tree: str, *, after: str | None = None, start: str = "", limit: int = 100, descending: bool = False
    ) -> IndexPage:
        keys = sorted(self.trees.get(tree, {}), reverse=descending)
        if after is not None:
            keys = [key for key in keys if (key < after if descending else key > after)]
        keys = [key for key in keys if not start or (key < start if descending else key >= start)]
        shown = keys[:limit]
        more = len(keys) > limit
        return IndexPage(tuple((key, self.trees[tree][key]) for key in shown), shown[-1] if more else None)

    async def leaves(self, tree: str, start: str = "") -> AsyncIterator[tuple[tuple[str, Mapping[str, object]], ...]]:
        entries = self.trees.get(tree, {})
        yield tuple((key, entries[key]) for key in sorted(entries) if key >= start)


class MemoryBlobs:
    """One container; `content` holds (bytes, ETag) by name."""

    def __init__(self) -> None:
        self.content: dict[str, tuple[bytes, str]] = {}

    async def create(self, name: str, content: bytes) -> str:
        if name in self.content:
            raise AlreadyExistsError("taken")
        return self._write(name, content)

    async def replace(self, name: str, content: bytes, etag: str) -> str:
        if name not in self.content or self.content[name][1] != etag:
            raise StaleWriteError("The blob")
        return self._write(name, content)

    async def read(self, name: str, *, offset: int | None = None, length: int | None = None) -> tuple[bytes, str]:
        if name not in self.content:
            raise NotFoundError("There is no such blob.")
        content, etag = self.content[name]
        start = offset or 0
        return content[start : None if length is None else start + length], etag

    async def delete(self, name: str) -> None:
        self.content.pop(name, None)

    async def names(self, prefix: str) -> AsyncIterator[str]:
        for name in sorted(self.content):
            if name.startswith(prefix):
                yield name

    def _write(self, name: str, content: bytes) -> str:
        etag = f'"{next(_ETAGS)}"'
        self.content[name] = (content, etag)
        return etag
