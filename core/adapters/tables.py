"""Collections in Table Storage: one row for each record, whatever its type.

Invariants: records are read by partition and id only; a record is stored as the JSON of its dataclass and read back
through the same type, so a row that does not fit the type is an IntegrityError, not a half-filled record.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from azure.data.tables.aio import TableClient
from pydantic import TypeAdapter, ValidationError

from core.adapters.rows import unreadable
from core.adapters.table_rows import RowWrite, TableRows
from core.adapters.table_transactions import write_rows
from core.concurrency import each
from core.ports import Stored

_CONCURRENT_READS = 16


class TableCollection[T]:
    """Values of one dataclass in one table; make one for each type and keep it."""

    def __init__(self, table: TableClient, type_: type[T]) -> None:
        self._rows = TableRows(table)
        self._json = TypeAdapter(type_)

    async def get(self, partition: str, id_: str) -> Stored[T] | None:
        """Return the value, or None; one point read."""
        stored = await self._rows.read(partition, id_)
        return None if stored is None else self._parsed(stored)

    async def get_many(self, partition: str, ids: Sequence[str]) -> dict[str, Stored[T]]:
        """Return those of `ids` that exist; a point read for each."""

        async def read(id_: str) -> Stored[T] | None:
            return await self.get(partition, id_)

        found = await each(read, ids, at_most=_CONCURRENT_READS)
        return {id_: stored for id_, stored in zip(ids, found, strict=True) if stored is not None}

    async def insert(self, partition: str, id_: str, value: T) -> Stored[T]:
        """Store a new value; AlreadyExistsError, PolicyViolationError `record_too_large`."""
        return Stored(value, await self._rows.write(self._write(partition, id_, value)))

    async def replace(self, partition: str, id_: str, value: T, etag: str) -> Stored[T]:
        """Store over the row read with `etag`; StaleWriteError, PolicyViolationError `record_too_large`."""
        return Stored(value, await self._rows.write(self._write(partition, id_, value, etag)))

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        """Delete; StaleWriteError if the row changed since `etag`."""
        await self._rows.delete(partition, id_, etag)

    async def write_many(self, partition: str, values: Mapping[str, tuple[T, str | None]]) -> set[str]:
        """Write all but the rows that are stale or taken and return the ids of these.

        PolicyViolationError `record_too_large` before anything is written.
        """
        return await write_rows(
            self._rows, [self._write(partition, id_, value, etag) for id_, (value, etag) in values.items()]
        )

    async def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[T]]]:
        """Yield the partition's rows by id."""
        async for id_, stored in self._rows.scan(partition):
            yield id_, self._parsed(stored)

    def _write(self, partition: str, id_: str, value: T, etag: str | None = None) -> RowWrite:
        return RowWrite.of(partition, id_, self._json.dump_json(value), etag)

    def _parsed(self, stored: Stored[bytes]) -> Stored[T]:
        try:
            return Stored(self._json.validate_json(stored.value), stored.etag)
        except ValidationError:
            # The error of pydantic shows the input.
            raise unreadable() from None
