"""Rows of one table, as bytes with an ETag: what the collections and the tree nodes stand on.

Invariant: a row is written only as new or over the very row that was read.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from azure.core import MatchConditions
from azure.data.tables import TableEntity, UpdateMode
from azure.data.tables.aio import TableClient

from core.adapters.rows import Row, pack, plain_key, row_key, row_keys, unpack
from core.adapters.storage_errors import missing_place, storage_errors
from core.errors import NotFoundError, StaleWriteError
from core.ports import Stored

WHAT = "The record"
# An insert is otherwise answered with the whole row.
_NO_ECHO = "return-no-content"


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One row to write: over the one with `etag`, or (None) as a new one."""

    id: str
    row: Row
    etag: str | None

    @classmethod
    def of(cls, partition: str, id_: str, content: bytes, etag: str | None = None) -> "RowWrite":
        """Pack `content` for writing; PolicyViolationError `record_too_large`."""
        return cls(id_, pack(partition, id_, content), etag)


class TableRows:
    """Packed rows of one table."""

    def __init__(self, table: TableClient) -> None:
        self.table = table

    async def read(self, partition: str, id_: str) -> Stored[bytes] | None:
        """Return a row, or None."""
        try:
            with storage_errors(WHAT):
                entity = await self.table.get_entity(row_key(partition), row_key(id_))
        except NotFoundError:
            return None
        return _stored(entity)

    async def write(self, write: RowWrite) -> str:
        """Write a row and return its ETag; AlreadyExistsError, or StaleWriteError if it changed or is gone."""
        if write.etag is None:
            return await self._insert(write.row)
        return await self._replace(write.row, write.etag)

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        """Delete a row; StaleWriteError if it changed since `etag`."""
        keys = row_keys(partition, id_)
        with storage_errors(WHAT):
            if etag is None:
                await self.table.delete_entity(keys)
            else:
                await self.table.delete_entity(keys, etag=etag, match_condition=MatchConditions.IfNotModified)

    async def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[bytes]]]:
        """Yield the rows of a partition by id."""
        rows = self.table.query_entities("PartitionKey eq @partition", parameters={"partition": row_key(partition)})
        with storage_errors(WHAT):
            async for entity in rows:
                yield plain_key(entity["RowKey"]), _stored(entity)

    async def _insert(self, row: Row) -> str:
        try:
            with storage_errors(WHAT):
                answer = await self.table.create_entity(row, response_preference=_NO_ECHO)
        except NotFoundError:
            raise missing_place() from None
        return str(answer["etag"])

    async def _replace(self, row: Row, etag: str) -> str:
        try:
            with storage_errors(WHAT):
                answer = await self.table.update_entity(
                    row, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
                )
        except NotFoundError:
            raise StaleWriteError(WHAT) from None
        return str(answer["etag"])


def _stored(entity: TableEntity) -> Stored[bytes]:
    return Stored(unpack(entity), str(entity.metadata["etag"]))
