"""What every Collection does, in memory and in Table Storage."""

import asyncio
import base64
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from core.adapters.storage import Storage
from core.adapters.tables import TableCollection
from core.errors import AlreadyExistsError, IntegrityError, PolicyViolationError, StaleWriteError
from core.ports import Collection
from tests.fakes.storage import MemoryCollection


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    on: datetime | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One of everything that records of the app are made of."""

    title: str
    created_on: datetime = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    content: str = ""


FULL = Record(
    "Grüße / \\ # ?", parts=(Part("a"), Part("b", datetime(2026, 5, 6, tzinfo=UTC))), by_name={"x": Part("c")}
)


def incompressible(size: int) -> str:
    return base64.b85encode(os.urandom(size)).decode()


@pytest.fixture
def partition() -> str:
    return f"p{uuid.uuid4().hex}"


class CollectionContract:
    async def test_absent(self, records: Collection[Record], partition: str) -> None:
        assert await records.get(partition, "a") is None
        assert [row async for row in records.scan(partition)] == []

    async def test_inserts_and_reads_back(self, records: Collection[Record], partition: str) -> None:
        stored = await records.insert(partition, "a", FULL)
        assert stored.value == FULL
        assert await records.get(partition, "a") == stored
        assert await records.get(f"{partition}x", "a") is None

    async def test_refuses_to_insert_twice(self, records: Collection[Record], partition: str) -> None:
        await records.insert(partition, "a", Record("first"))
        with pytest.raises(AlreadyExistsError):
            await records.insert(partition, "a", Record("second"))
        stored = await records.get(partition, "a")
        assert stored is not None
        assert stored.value.title == "first"

    async def test_replaces_what_was_read(self, records: Collection[Record], partition: str) -> None:
        first = await records.insert(partition, "a", Record("first"))
        second = await records.replace(partition, "a", Record("second"), first.etag)
        assert second.etag != first.etag
        assert await records.get(partition, "a") == second

    async def test_refuses_stale_writes(self, records: Collection[Record], partition: str) -> None:
        first = await records.insert(partition, "a", Record("first"))
        second = await records.replace(partition, "a", Record("second"), first.etag)
        with pytest.raises(StaleWriteError):
            await records.replace(partition, "a", Record("third"), first.etag)
        with pytest.raises(StaleWriteError):
            await records.delete(partition, "a", first.etag)
        assert await records.get(partition, "a") == second

    async def test_refuses_to_replace_what_is_gone(self, records: Collection[Record], partition: str) -> None:
        first = await records.insert(partition, "a", Record("first"))
        await records.delete(partition, "a", first.etag)
        with pytest.raises(StaleWriteError):
            await records.replace(partition, "a", Record("second"), first.etag)

    async def test_deletes(self, records: Collection[Record], partition: str) -> None:
        first = await records.insert(partition, "a", Record("first"))
        await records.delete(partition, "a")
        await records.delete(partition, "a")
        await records.delete(partition, "a", first.etag)
        assert await records.get(partition, "a") is None

    async def test_reads_many(self, records: Collection[Record], partition: str) -> None:
        ids = [f"id{number}" for number in range(40)]
        await asyncio.gather(*[records.insert(partition, id_, Record(id_)) for id_ in ids[::2]])
        found = await records.get_many(partition, ids)
        assert {id_: stored.value.title for id_, stored in found.items()} == {id_: id_ for id_ in ids[::2]}
        assert await records.get_many(partition, []) == {}

    async def test_scans_a_partition_by_id(self, records: Collection[Record], partition: str) -> None:
        for id_ in ("b", "c", "a"):
            await records.insert(partition, id_, Record(id_))
        await records.insert(f"{partition}x", "d", Record("d"))
        rows = [row async for row in records.scan(partition)]
        assert [(id_, stored.value.title) for id_, stored in rows] == [("a", "a"), ("b", "b"), ("c", "c")]
        await records.replace(partition, "b", Record("again"), rows[1][1].etag)

    @pytest.mark.parametrize("id_", ["a/b", "a\\b", "a#b", "a?b", "a%b", "a%2Fb", "a~b", "a'b", "Käse", " ", "\x7f"])
    async def test_takes_any_id(self, records: Collection[Record], partition: str, id_: str) -> None:
        partition += id_
        await records.insert(partition, id_, Record("x"))
        assert await records.get(partition, id_) is not None
        assert [found async for found, _ in records.scan(partition)] == [id_]
        await records.delete(partition, id_)
        assert await records.get(partition, id_) is None

    async def test_writes_many(self, records: Collection[Record], partition: str) -> None:
        old = await records.insert(partition, "old", Record("old"))
        values: dict[str, tuple[Record, str | None]] = {f"n{i:03}": (Record(f"n{i}"), None) for i in range(250)}
        values["old"] = (Record("new"), old.etag)
        assert await records.write_many(partition, values) == set()
        rows = {id_: stored.value async for id_, stored in records.scan(partition)}
        assert rows == {id_: value for id_, (value, _) in values.items()}
        assert await records.write_many(partition, {}) == set()

    @pytest.mark.parametrize("bad", [1, 2, 7, 60])
    async def test_writes_all_but_refused_rows(self, records: Collection[Record], partition: str, bad: int) -> None:
        stored = {f"r{i:02}": await records.insert(partition, f"r{i:02}", Record("old")) for i in range(60)}
        refused = set(list(stored)[-bad:])
        stale, gone, taken = (set(list(refused)[i::3]) for i in range(3))
        for id_ in stale:
            await records.replace(partition, id_, Record("newer"), stored[id_].etag)
        for id_ in gone:
            await records.delete(partition, id_)
        values = {id_: (Record("new"), None if id_ in taken else row.etag) for id_, row in stored.items()}
        assert await records.write_many(partition, values) == refused
        titles = {id_: row.value.title async for id_, row in records.scan(partition)}
        expected = dict.fromkeys(stored, "new") | dict.fromkeys(stale, "newer") | dict.fromkeys(taken, "old")
        assert titles == {id_: title for id_, title in expected.items() if id_ not in gone}

    async def test_one_writer_of_many_wins(self, records: Collection[Record], partition: str) -> None:
        first = await records.insert(partition, "a", Record("0"))
        attempts = [records.replace(partition, "a", Record(f"{i}"), first.etag) for i in range(1, 9)]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["StaleWriteError"] * 7 + ["Stored"]


class TestMemoryCollection(CollectionContract):
    @pytest.fixture
    def records(self) -> Collection[Record]:
        return MemoryCollection()


class TestTableCollection(CollectionContract):
    @pytest.fixture
    def records(self, storage: Storage) -> Collection[Record]:
        return TableCollection(storage.table("keys"), Record)

    async def test_keeps_large_records(self, records: Collection[Record], partition: str) -> None:
        large = Record("large", content=incompressible(700_000))
        stored = await records.insert(partition, "a", large)
        assert await records.get(partition, "a") == stored
        small = await records.replace(partition, "a", Record("small"), stored.etag)
        assert await records.get(partition, "a") == small

    async def test_refuses_records_beyond_a_row(self, records: Collection[Record], partition: str) -> None:
        with pytest.raises(PolicyViolationError, match="more than a row can hold") as refusal:
            await records.insert(partition, "a", Record("huge", content=incompressible(1_000_000)))
        assert refusal.value.code == "record_too_large"
        huge = Record("huge", content=incompressible(1_000_000))
        with pytest.raises(PolicyViolationError):
            await records.write_many(partition, {"b": (Record("b"), None), "c": (huge, None)})
        assert [row async for row in records.scan(partition)] == []

    async def test_writes_many_large_records(self, records: Collection[Record], partition: str) -> None:
        values = {f"r{i}": (Record(f"r{i}", content=incompressible(600_000)), None) for i in range(9)}
        assert await records.write_many(partition, values) == set()
        found = await records.get_many(partition, list(values))
        assert {id_: stored.value for id_, stored in found.items()} == {
            id_: value for id_, (value, _) in values.items()
        }

    async def test_says_that_a_damaged_row_is_damaged(self, storage: Storage, partition: str) -> None:
        records = TableCollection(storage.table("keys"), Record)
        await TableCollection(storage.table("keys"), Part).insert(partition, "a", Part("no record"))
        with pytest.raises(IntegrityError) as failure:
            await records.get(partition, "a")
        assert failure.value.code == "record_unreadable"
        table = storage.table("keys")
        await table.create_entity({"PartitionKey": partition, "RowKey": "b", "schema": 1, "d0": b"not compressed"})
        with pytest.raises(IntegrityError):
            await records.get(partition, "b")
