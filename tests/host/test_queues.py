"""Queue triggers on Azurite."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueClient

from local.stack import IdentityCredential, Stack

Seen = Callable[[str], Awaitable[list[dict[str, Any]]]]
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


def queue_client(stack: Stack, name: str) -> QueueClient:
    return QueueClient(
        stack.app_settings["AzureWebJobsStorage__queueServiceUri"],
        name,
        credential=IdentityCredential(stack.endpoints),
        connection_verify=str(stack.ca_file),
    )


@pytest_asyncio.fixture(scope="session")
async def queue(sample_stack: Stack) -> AsyncIterator[QueueClient]:
    async with queue_client(sample_stack, "sample-work") as client:
        await client.create_queue()
        yield client


@pytest_asyncio.fixture(scope="session")
async def poison(sample_stack: Stack) -> AsyncIterator[QueueClient]:
    async with queue_client(sample_stack, "sample-work-poison") as client:
        try:
            await client.create_queue()
        except ResourceExistsError:
            pytest.fail("a poison queue before any poison")
        yield client


async def send(queue: QueueClient, text: str) -> str:
    return str((await queue.send_message(base64.b64encode(text.encode()).decode())).id)


async def attempts(seen: Seen, message_id: str) -> list[int]:
    return [call["attempt"] for call in await seen("work") if call["id"] == message_id]


async def test_message_runs_once_and_is_deleted(queue: QueueClient, seen: Seen, eventually: Eventually) -> None:
    text = f"hello {uuid.uuid4()}"
    message_id = await send(queue, text)
    assert await eventually(lambda: attempts(seen, message_id)) == [1]
    await asyncio.sleep(0.5)
    calls = [call for call in await seen("work") if call["id"] == message_id]
    assert [(call["body"], call["attempt"]) for call in calls] == [(text, 1)]
    assert [message async for message in queue.receive_messages(visibility_timeout=1)] == []


async def test_failed_message_comes_again(queue: QueueClient, seen: Seen, eventually: Eventually) -> None:
    message_id = await send(queue, "fail once")

    async def twice() -> bool:
        return await attempts(seen, message_id) == [1, 2]

    await eventually(twice)


async def test_message_that_always_fails_is_poison(
    queue: QueueClient, poison: QueueClient, seen: Seen, eventually: Eventually
) -> None:
    message_id = await send(queue, "fail")

    async def poisoned() -> list[str]:
        return [message.content async for message in poison.receive_messages(visibility_timeout=1)]

    assert await eventually(poisoned) == [base64.b64encode(b"fail").decode()]
    assert await attempts(seen, message_id) == [1, 2, 3, 4, 5]
    await poison.clear_messages()


async def test_message_in_another_encoding_is_poison(
    queue: QueueClient, poison: QueueClient, eventually: Eventually
) -> None:
    await queue.send_message("not base64!")

    async def poisoned() -> list[str]:
        return [message.content async for message in poison.receive_messages(visibility_timeout=1)]

    assert await eventually(poisoned) == ["not base64!"]
    await poison.clear_messages()


async def test_long_work_keeps_its_message(queue: QueueClient, seen: Seen, eventually: Eventually) -> None:
    """The stack hides a message for 5 s; the work takes longer."""
    message_id = await send(queue, "sleep 7")
    await eventually(lambda: attempts(seen, message_id))
    await asyncio.sleep(8)
    assert await attempts(seen, message_id) == [1]


async def test_batches_run_at_once_up_to_the_limit(
    queue: QueueClient, client: aiohttp.ClientSession, seen: Seen, eventually: Eventually
) -> None:
    """BatchSize 4, newBatchThreshold 2: another batch is taken when no more than two run."""
    ids = await asyncio.gather(*(send(queue, "sleep 0.3") for _ in range(20)))

    async def all_done() -> bool:
        return {call["id"] for call in await seen("work")} >= set(ids)

    await eventually(all_done)
    async with client.get("/api/seen") as response:
        most = (await response.json())["most_at_once"]
    assert 4 <= most <= 6


async def test_message_of_a_killed_host_comes_again(
    sample_stack: Stack, queue: QueueClient, seen: Seen, eventually: Eventually
) -> None:
    message_id = await send(queue, "sleep 1")
    assert await eventually(lambda: attempts(seen, message_id)) == [1]
    await sample_stack.kill_host()
    await sample_stack.restart_host()
    assert await eventually(lambda: attempts(seen, message_id)) == [2]


async def test_admin_runs_a_queue_function(sample_stack: Stack, seen: Seen, eventually: Eventually) -> None:
    text = f"by hand {uuid.uuid4()}"
    await sample_stack.host.run_function("work", text)

    async def ran() -> bool:
        return any(call["body"] == text for call in await seen("work"))

    await eventually(ran)
