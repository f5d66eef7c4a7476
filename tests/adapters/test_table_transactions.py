"""Transactions that fail in ways that Azurite does not show."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.data.tables import TableTransactionError
from azure.data.tables.aio import TableClient

from core.adapters.table_rows import RowWrite, TableRows
from core.adapters.table_transactions import Operation, write_rows
from core.errors import VaultAnswerError, VaultUnavailableError
from tests.builders.storage import a_response


class RefusingTable:
    """Refuses every transaction with `error`; taken ids are refused one by one."""

    def __init__(self, error: HttpResponseError, taken: Sequence[str] = ()) -> None:
        self._error = error
        self._taken = taken
        self.written: list[str] = []

    async def submit_transaction(self, _operations: Sequence[Operation]) -> None:
        raise self._error

    async def create_entity(self, entity: Mapping[str, str], **_options: object) -> Mapping[str, str]:
        if entity["RowKey"] in self._taken:
            raise ResourceExistsError(response=a_response(409))
        self.written.append(entity["RowKey"])
        return {"etag": "etag"}


def refusal(status: int, message: str) -> TableTransactionError:
    return TableTransactionError(message=message, response=a_response(status))


async def write(table: RefusingTable) -> set[str]:
    writes = [RowWrite.of("p", f"r{number}", b"content") for number in range(6)]
    return await write_rows(TableRows(cast("TableClient", table)), writes)


@pytest.mark.parametrize("message", ["The entity exists already.", "99:The entity exists already."])
async def test_rows_are_written_one_by_one_if_the_refused_one_is_not_named(message: str) -> None:
    table = RefusingTable(refusal(409, message), taken=["r2", "r4"])
    assert await write(table) == {"r2", "r4"}
    assert table.written == ["r0", "r1", "r3", "r5"]


async def test_a_row_is_not_blamed_for_a_failing_service() -> None:
    table = RefusingTable(refusal(503, "0:The server is busy."))
    with pytest.raises(VaultUnavailableError):
        await write(table)
    table = RefusingTable(refusal(400, "0:One of the request inputs is not valid."))
    with pytest.raises(VaultAnswerError):
        await write(table)
    assert table.written == []
