"""What a work queue sends, as its reader finds it."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from azure.storage.queue.aio import QueueClient

from core.adapters.queues import WorkQueue
from core.adapters.storage import Storage
from core.errors import VaultAnswerError

MESSAGE = {"account": "acc_käse", "job": "job_1"}


@pytest_asyncio.fixture
async def client(storage: Storage) -> AsyncIterator[QueueClient]:
    """A queue of the test's own: the host reads the app's."""
    queue = storage.queue(f"q{uuid.uuid4().hex}")
    await queue.create_queue()
    yield queue
    await queue.delete_queue()


async def test_sends_json_in_base64_that_never_expires(client: QueueClient) -> None:
    await WorkQueue(client).send(MESSAGE)
    message = await client.receive_message()
    assert message is not None
    assert json.loads(base64.b64decode(message.content, validate=True)) == MESSAGE
    assert message.expires_on is not None
    assert message.inserted_on is not None
    assert message.expires_on - message.inserted_on > timedelta(days=3650)


async def test_a_delayed_message_is_not_seen_yet(client: QueueClient) -> None:
    await WorkQueue(client).send(MESSAGE, delay=timedelta(days=7))
    assert await client.receive_message() is None
    assert (await client.get_queue_properties()).approximate_message_count == 1


async def test_a_queue_that_is_gone_is_an_error(storage: Storage) -> None:
    with pytest.raises(VaultAnswerError) as failure:
        await WorkQueue(storage.queue("never-made")).send(MESSAGE)
    assert failure.value.code == "storage_incomplete"
