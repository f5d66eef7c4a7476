"""Timer triggers: schedule, status blob, one instance at a time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local.stack import IdentityCredential, Stack

Seen = Callable[[str], Awaitable[list[dict[str, Any]]]]
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
STATUS = "timers/local/Host.Functions.yearly/status"
LOCK = "locks/local/Host.Functions.yearly.Listener"


@pytest_asyncio.fixture(scope="session")
async def blobs(sample_stack: Stack) -> AsyncIterator[BlobServiceClient]:
    async with BlobServiceClient(
        sample_stack.app_settings["AzureWebJobsStorage__blobServiceUri"],
        credential=IdentityCredential(sample_stack.endpoints),
        connection_verify=str(sample_stack.ca_file),
    ) as client:
        yield client


async def test_timer_runs_every_second(seen: Seen, eventually: Eventually) -> None:
    # A host that another test killed holds the lock until its lease ends.
    before = len(await eventually(lambda: seen("every_second")))
    await asyncio.sleep(3.5)
    assert 3 <= len(await seen("every_second")) - before <= 4


async def test_missed_run_is_made_up_once(
    sample_stack: Stack, blobs: BlobServiceClient, seen: Seen, eventually: Eventually
) -> None:
    blob = blobs.get_blob_client("azure-webjobs-hosts", STATUS)

    async def status() -> dict[str, str] | None:
        try:
            stored: dict[str, str] = json.loads(await (await blob.download_blob()).readall())
        except ResourceNotFoundError:
            return None
        return stored

    first = await eventually(status)
    assert datetime.fromisoformat(first["Next"]) == datetime(datetime.now(UTC).year + 1, 1, 1, tzinfo=UTC)
    assert await seen("yearly") == []
    await sample_stack.kill_host()
    missed = datetime.now(UTC) - timedelta(days=1)
    await blob.upload_blob(json.dumps({**first, "Next": missed.isoformat()}), overwrite=True)
    await sample_stack.restart_host()
    # The killed host's lease must end before the new one runs the timer.
    calls = await eventually(lambda: seen("yearly"))
    assert [(call["past_due"], call["status"]["Next"]) for call in calls] == [(True, missed.isoformat())]
    again = await eventually(status)
    assert again["Next"] == first["Next"]


async def test_timer_is_locked_while_a_host_runs(sample_stack: Stack, blobs: BlobServiceClient) -> None:
    properties = await blobs.get_blob_client("azure-webjobs-hosts", LOCK).get_blob_properties()
    assert properties.lease.state == "leased"
    assert sample_stack.host.part.exit_code is None


async def test_admin_runs_a_timer(sample_stack: Stack, seen: Seen, eventually: Eventually) -> None:
    before = len(await seen("yearly"))
    await sample_stack.host.run_function("Yearly")

    async def ran() -> bool:
        return len(await seen("yearly")) == before + 1

    await eventually(ran)
    assert (await seen("yearly"))[-1]["past_due"] is False
