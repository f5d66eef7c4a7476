"""What every container of blobs does, in memory and in Blob Storage."""

import asyncio
import os
import uuid

import pytest

from core.adapters.blobs import ContainerBlobs
from core.adapters.storage import Storage
from core.errors import AlreadyExistsError, IntegrityError, NotFoundError, StaleWriteError
from core.ports import Blobs
from tests.fakes.storage import MemoryBlobs


@pytest.fixture
def name() -> str:
    return f"acc_{uuid.uuid4().hex}/Käse #1?.json"


class BlobsContract:
    async def test_creates_and_reads_back(self, blobs: Blobs, name: str) -> None:
        content = os.urandom(300_000)
        etag = await blobs.create(name, content)
        assert await blobs.read(name) == (content, etag)

    async def test_keeps_an_empty_blob(self, blobs: Blobs, name: str) -> None:
        etag = await blobs.create(name, b"")
        assert await blobs.read(name) == (b"", etag)

    async def test_refuses_a_taken_name(self, blobs: Blobs, name: str) -> None:
        await blobs.create(name, b"first")
        with pytest.raises(AlreadyExistsError):
            await blobs.create(name, b"second")
        assert (await blobs.read(name))[0] == b"first"

    async def test_reads_a_range(self, blobs: Blobs, name: str) -> None:
        etag = await blobs.create(name, b"0123456789")
        assert await blobs.read(name, offset=2, length=3) == (b"234", etag)
        assert await blobs.read(name, offset=0, length=10) == (b"0123456789", etag)
        assert await blobs.read(name, offset=7) == (b"789", etag)

    @pytest.mark.parametrize(("offset", "length"), [(10, 1), (8, 3), (50, 5)])
    async def test_says_that_a_range_is_beyond_the_end(self, blobs: Blobs, name: str, offset: int, length: int) -> None:
        await blobs.create(name, b"0123456789")
        with pytest.raises(IntegrityError) as failure:
            await blobs.read(name, offset=offset, length=length)
        assert failure.value.code == "blob_too_short"

    async def test_replaces_what_was_read(self, blobs: Blobs, name: str) -> None:
        first = await blobs.create(name, b"first")
        second = await blobs.replace(name, b"second", first)
        assert await blobs.read(name) == (b"second", second)
        with pytest.raises(StaleWriteError):
            await blobs.replace(name, b"third", first)

    async def test_does_not_replace_what_is_gone(self, blobs: Blobs, name: str) -> None:
        etag = await blobs.create(name, b"first")
        await blobs.delete(name)
        with pytest.raises(StaleWriteError):
            await blobs.replace(name, b"second", etag)

    async def test_deletes(self, blobs: Blobs, name: str) -> None:
        await blobs.create(name, b"first")
        await blobs.delete(name)
        await blobs.delete(name)
        with pytest.raises(NotFoundError):
            await blobs.read(name)
        with pytest.raises(NotFoundError):
            await blobs.read(name, offset=1, length=1)

    async def test_names_by_prefix(self, blobs: Blobs, name: str) -> None:
        names = [f"{name}/{part}" for part in ("b/2", "a", "b/1", "c")]
        await asyncio.gather(*[blobs.create(each, b"x") for each in names])
        assert [found async for found in blobs.names(f"{name}/")] == sorted(names)
        assert [found async for found in blobs.names(f"{name}/b/")] == [f"{name}/b/1", f"{name}/b/2"]
        assert [found async for found in blobs.names(f"{name}/d")] == []

    async def test_one_creator_of_many_wins(self, blobs: Blobs, name: str) -> None:
        answers = await asyncio.gather(*[blobs.create(name, b"%d" % i) for i in range(6)], return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyExistsError"] * 5 + ["str"]


class TestMemoryBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self) -> Blobs:
        return MemoryBlobs()


class TestContainerBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, storage: Storage) -> Blobs:
        return ContainerBlobs(storage.container("escrow"))
