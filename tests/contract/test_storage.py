"""The storage account as the app sets it up, and what its failures become."""

import ssl
import time
from dataclasses import replace
from datetime import timedelta
from typing import Self

import aiohttp
import pytest
from azure.core.credentials import AccessToken

from core.adapters.blobs import ContainerBlobs
from core.adapters.storage import CONTAINERS, JOB_QUEUE, TABLES, Storage
from core.adapters.tables import TableCollection
from core.errors import KeystewardError, VaultAnswerError, VaultDeniedError, VaultUnavailableError
from core.settings import Settings
from local.stack import IdentityCredential, Stack
from tests.contract.test_collections import Record


async def test_creates_what_is_missing_once(storage: Storage) -> None:
    await storage.create_missing()
    for name in TABLES:
        assert await TableCollection(storage.table(name), Record).get("no", "such") is None
    for name in CONTAINERS:
        assert [found async for found in ContainerBlobs(storage.container(name)).names("no-such")] == []
    assert (await storage.queue(JOB_QUEUE).get_queue_properties()).name == JOB_QUEUE


async def test_a_place_that_is_gone_is_an_error_and_not_an_absence(storage: Storage) -> None:
    records = TableCollection(storage.table("nevermade"), Record)
    blobs = ContainerBlobs(storage.container("never-made"))
    for call in (
        lambda: records.get("a", "b"),
        lambda: records.insert("a", "b", Record("x")),
        lambda: records.write_many("a", {"b": (Record("x"), None)}),
        lambda: blobs.read("a"),
        lambda: blobs.create("a", b""),
        lambda: blobs.delete("a"),
    ):
        with pytest.raises(VaultAnswerError) as failure:
            await call()
        assert failure.value.code == "storage_incomplete"


class ForgedCredential:
    """A token that nobody issued."""

    async def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken("e30.e30.e30", int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing is held open."""


# The SDK's own reading of an error's XML.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
async def test_a_refused_identity_is_denied(stack: Stack) -> None:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=stack.ca_file))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        storage = Storage(Settings.read(stack.app_settings), ForgedCredential(), session)
        records = TableCollection(storage.table("keys"), Record)
        for call in (
            lambda: records.get("a", "b"),
            lambda: ContainerBlobs(storage.container("escrow")).read("a"),
            storage.create_missing,
        ):
            with pytest.raises(VaultDeniedError) as failure:
                await call()
            assert failure.value.code == "storage_denied"
            assert_bare(failure.value)
        await storage.close()


async def test_storage_that_cannot_be_reached_is_unavailable(
    stack: Stack, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.adapters.storage._RETRIES", 0)
    monkeypatch.setattr("core.adapters.storage._BACKOFF", {"retry_total": 0})
    nowhere = f"https://127.0.0.1:{unused_tcp_port}/account"
    settings = Settings.read(stack.app_settings)
    settings = replace(settings, table_service=nowhere, blob_service=nowhere, queue_service=nowhere)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        storage = Storage(settings, IdentityCredential(stack.endpoints), session)
        records = TableCollection(storage.table("keys"), Record)
        for call in (
            lambda: records.get("a", "b"),
            lambda: records.write_many("a", {"b": (Record("x"), None)}),
            lambda: ContainerBlobs(storage.container("escrow")).read("a"),
            storage.create_missing,
        ):
            with pytest.raises(VaultUnavailableError) as failure:
                await call()
            assert failure.value.code == "storage_unavailable"
            assert failure.value.retry_after > timedelta()
            assert_bare(failure.value)
        await storage.close()


def assert_bare(error: KeystewardError) -> None:
    """Nothing of the upstream answer shows in what a log would print."""
    assert error.__cause__ is None
    assert error.__suppress_context__
