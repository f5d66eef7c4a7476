"""Writes of many rows of one partition: all of a transaction, or, where rows are refused, all but these.

Invariants: a transaction holds at most 100 rows and 1 MB (the service takes 4 MiB, but a body of more than 1 MiB would
hold up the event loop while it is sent); a row is either written or returned as refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.data.tables import TableTransactionError, UpdateMode

from core.adapters.storage_errors import storage_errors, translated
from core.adapters.table_rows import WHAT, RowWrite, TableRows
from core.concurrency import each
from core.errors import AlreadyExistsError, NotFoundError, StaleWriteError

type Operation = tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], Mapping[str, Any]]

_MAX_ROWS = 100
_MAX_BYTES = 1_000_000
#: Headers and names of one operation on the wire, generously.
_OPERATION_BYTES = 1_500
#: After so many refused rows, the rest of a transaction is cheaper to write row by row.
_MAX_REFUSALS = 3
_CONCURRENT_TRANSACTIONS = 4
_CONCURRENT_ROWS = 8
_REFUSALS = (NotFoundError, AlreadyExistsError, StaleWriteError)


async def write_rows(rows: TableRows, writes: Sequence[RowWrite]) -> set[str]:
    """Write all rows but those that are stale or taken; return the ids of these."""
    refused: set[str] = set()

    async def commit(batch: list[RowWrite]) -> None:
        refused.update(await _commit(rows, batch))

    await each(commit, list(_batches(writes)), at_most=_CONCURRENT_TRANSACTIONS)
    return refused


def replacing(write: RowWrite) -> Operation:
    """Return the operation that stores over the row that was read."""
    return "update", write.row, {"mode": UpdateMode.REPLACE, **if_unchanged(write.etag)}


def if_unchanged(etag: str | None) -> dict[str, Any]:
    """Return the SDK's arguments of a conditional operation."""
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


async def _commit(rows: TableRows, batch: list[RowWrite]) -> set[str]:
    refused: set[str] = set()
    while batch and len(refused) < _MAX_REFUSALS:
        index = await _try(rows, batch)
        if index is None:
            return refused
        if not 0 <= index < len(batch):
            break
        refused.add(batch.pop(index).id)
    return refused | await _one_by_one(rows, batch)


async def _try(rows: TableRows, batch: Sequence[RowWrite]) -> int | None:
    """Commit, or return the index of the refused row: -1 if the service did not name it."""
    with storage_errors(WHAT):
        try:
            await rows.table.submit_transaction([_operation(write) for write in batch])
        except TableTransactionError as error:
            if not isinstance(translated(error, WHAT), _REFUSALS):
                raise
            # The SDK's `index` is 0 both for the first row and for "unknown".
            named = re.match(r"(\d+):", error.message)
            return int(named[1]) if named else -1
    return None


async def _one_by_one(rows: TableRows, batch: Sequence[RowWrite]) -> set[str]:
    async def refused(write: RowWrite) -> bool:
        try:
            await rows.write(write)
        except (AlreadyExistsError, StaleWriteError):
            return True
        return False

    answers = await each(refused, batch, at_most=_CONCURRENT_ROWS)
    return {write.id for write, was_refused in zip(batch, answers, strict=True) if was_refused}


def _operation(write: RowWrite) -> Operation:
    return ("create", write.row) if write.etag is None else replacing(write)


def _batches(writes: Sequence[RowWrite]) -> Iterator[list[RowWrite]]:
    batch: list[RowWrite] = []
    size = 0
    for write in writes:
        if batch and (len(batch) == _MAX_ROWS or size + _wire_bytes(write) > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(write)
        size += _wire_bytes(write)
    if batch:
        yield batch


def _wire_bytes(write: RowWrite) -> int:
    # Binary properties travel as base64.
    return _OPERATION_BYTES + sum(len(chunk) * 4 // 3 + 4 for chunk in write.row.values() if isinstance(chunk, bytes))
