"""Storage in memory, behind the ports; tests/contract holds it to what Azure's storage does."""

import base64
import binascii
import bisect
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

from core.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
)
from core.ports import IndexPage, Stored

type Entry = tuple[str, Mapping[str, object]]


class MemoryCollection[T]:
    """A collection in memory."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Stored[T]] = {}
        self._etags = itertools.count(1)

    async def get(self, partition: str, id_: str) -> Stored[T] | None:
        return self._rows.get((partition, id_))

    async def get_many(self, partition: str, ids: Sequence[str]) -> dict[str, Stored[T]]:
        return {id_: self._rows[partition, id_] for id_ in ids if (partition, id_) in self._rows}

    async def insert(self, partition: str, id_: str, value: T) -> Stored[T]:
        if (partition, id_) in self._rows:
            raise AlreadyExistsError("The record exists already.")
        return self._store(partition, id_, value)

    async def replace(self, partition: str, id_: str, value: T, etag: str) -> Stored[T]:
        self._expect(self._rows.get((partition, id_)), etag)
        return self._store(partition, id_, value)

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        present = self._rows.get((partition, id_))
        if present is not None and etag is not None:
            self._expect(present, etag)
        self._rows.pop((partition, id_), None)

    async def write_many(self, partition: str, values: Mapping[str, tuple[T, str | None]]) -> set[str]:
        refused = set()
        for id_, (value, etag) in values.items():
            try:
                await (
                    self.insert(partition, id_, value) if etag is None else self.replace(partition, id_, value, etag)
                )
            except KeystewardError:
                refused.add(id_)
        return refused

    async def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[T]]]:
        for (owner, id_), stored in sorted(self._rows.items(), key=lambda row: row[0]):
            if owner == partition:
                yield id_, stored

    def _store(self, partition: str, id_: str, value: T) -> Stored[T]:
        stored = self._rows[partition, id_] = Stored(value, f"etag-{next(self._etags)}")
        return stored

    def _expect(self, present: Stored[T] | None, etag: str) -> None:
        if present is None or present.etag != etag:
            raise StaleWriteError("The record")


class MemoryIndex:
    """Ordered indexes as sorted dictionaries; a leaf is `leaf_size` entries."""

    def __init__(self, leaf_size: int = 128) -> None:
        self._leaf_size = leaf_size
        self._trees: dict[str, dict[str, str]] = {}

    async def apply(self, tree: str, changes: Mapping[str, Mapping[str, object] | None]) -> None:
        values = self._trees.setdefault(tree, {})
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = json.dumps(value)

    async def get(self, tree: str, key: str) -> Mapping[str, object] | None:
        return dict(self._entries(tree)).get(key)

    async def page(
        self, tree: str, *, after: str | None = None, start: str = "", limit: int = 100, descending: bool = False
    ) -> IndexPage:
        entries = self._entries(tree)
        keys = [key for key, _ in entries]
        place = start if after is None else _opened(after)
        if descending:
            end = bisect.bisect_left(keys, place) if place else len(keys)
            rest = entries[:end][::-1]
        else:
            rest = entries[(bisect.bisect_left if after is None else bisect.bisect_right)(keys, place) :]
        page = tuple(rest[:limit])
        return IndexPage(page, _cursor(page[-1][0]) if len(rest) > limit else None)

    async def leaves(self, tree: str, start: str = "") -> AsyncIterator[tuple[Entry, ...]]:
        entries = [entry for entry in self._entries(tree) if entry[0] >= start]
        for leaf in itertools.batched(entries, self._leaf_size, strict=False):
            yield leaf

    def _entries(self, tree: str) -> list[Entry]:
        return [(key, json.loads(value)) for key, value in sorted(self._trees.get(tree, {}).items())]


class MemoryBlobs:
    """A container in memory."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[bytes, str]] = {}
        self._etags = itertools.count(1)

    async def create(self, name: str, content: bytes) -> str:
        if name in self._blobs:
            raise AlreadyExistsError("The blob exists already.")
        return self._store(name, content)

    async def replace(self, name: str, content: bytes, etag: str) -> str:
        if self._blobs.get(name, (b"", ""))[1] != etag:
            raise StaleWriteError("The blob")
        return self._store(name, content)

    async def read(self, name: str, *, offset: int | None = None, length: int | None = None) -> tuple[bytes, str]:
        if name not in self._blobs:
            raise NotFoundError("The blob does not exist.")
        content, etag = self._blobs[name]
        start = offset or 0
        end = len(content) if length is None else start + length
        if end > len(content) or (offset is not None and start >= len(content)):
            raise IntegrityError("A stored blob is shorter than what was stored.", code="blob_too_short")
        return content[start:end], etag

    async def delete(self, name: str) -> None:
        self._blobs.pop(name, None)

    async def names(self, prefix: str) -> AsyncIterator[str]:
        for name in sorted(self._blobs):
            if name.startswith(prefix):
                yield name

    def _store(self, name: str, content: bytes) -> str:
        etag = f"etag-{next(self._etags)}"
        self._blobs[name] = (content, etag)
        return etag


class MemoryQueue:
    """A queue in memory: `sent` holds what was sent, with its delay."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, str], timedelta]] = []

    async def send(self, message: Mapping[str, str], *, delay: timedelta = timedelta()) -> None:
        self.sent.append((dict(message), delay))


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(b"memory:" + key.encode()).decode()


def _opened(cursor: str) -> str:
    try:
        content = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except binascii.Error:
        content = b""
    if not content.startswith(b"memory:"):
        raise InvalidRequestError("This is not a cursor that a page returned.", code="invalid_cursor", field="after")
    return content.removeprefix(b"memory:").decode()
