"""Queue triggers.

At least once: a message is hidden while its function runs (the hiding is renewed) and deleted only after success. A
failed message comes back after `visibilityTimeout`; after `maxDequeueCount` deliveries it moves to `<queue>-poison`. Up
to `batchSize` messages are taken at once, and more as soon as no more than `newBatchThreshold` are running.
"""

import asyncio
import base64
import contextlib
import logging
import random

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.functions import Function
from local.host.messages import TypedData
from local.host.queue_message import metadata_of
from local.host.settings import QueueOptions
from local.host.worker import Worker

_LOG = logging.getLogger(__name__)
_SHORTEST_POLL = 0.1
_DRAIN_SECONDS = 10


class QueueListener:
    """Runs one queue-triggered function on the messages of its queue."""

    def __init__(
        self, function: Function, worker: Worker, service: QueueServiceClient, options: QueueOptions, lock_seconds: int
    ) -> None:
        self._function = function
        self._worker = worker
        self._options = options
        self._lock_seconds = lock_seconds
        name = str(function.trigger.settings["queueName"])
        self._queue = service.get_queue_client(name)
        self._poison = service.get_queue_client(f"{name}-poison")
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll and process; when cancelled, wait a little for what is running."""
        pause = _SHORTEST_POLL
        try:
            while True:
                messages = await self._take()
                for message in messages:
                    task = asyncio.ensure_future(self._process(message))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                if messages:
                    pause = _SHORTEST_POLL
                    await self._wait_for_room()
                else:
                    await asyncio.sleep(pause)
                    # Spread over 20 % so that instances do not poll in step.
                    pause = min(pause * random.uniform(1.8, 2.2), self._options.max_polling_interval)  # noqa: S311
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=_DRAIN_SECONDS)

    async def run_now(self, text: str) -> bool:
        """Run the function once on a text that is not in the queue, and tell whether it succeeded."""
        return await self._invoke(text.encode(), {})

    async def _take(self) -> list[QueueMessage]:
        pages = self._queue.receive_messages(
            messages_per_page=self._options.batch_size, visibility_timeout=self._lock_seconds
        ).by_page()
        try:
            async for page in pages:
                return [message async for message in page]
        except ResourceNotFoundError:
            # The queue is made by whoever sends to it first.
            _LOG.debug("queue %s does not exist", self._queue.queue_name)
        except AzureError as error:
            _LOG.warning("queue %s cannot be read: %s", self._queue.queue_name, type(error).__name__)
        return []

    async def _wait_for_room(self) -> None:
        while len(self._running) > self._options.new_batch_threshold:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _process(self, message: QueueMessage) -> None:
        renewal = asyncio.ensure_future(_renew(self._queue, message, self._lock_seconds))
        try:
            body = _decode(message.content, base64_encoded=self._options.base64)
            attempts = int(message.dequeue_count or 1)
            done = (
                body is not None
                and attempts <= self._options.max_dequeue_count
                and await self._invoke(body, metadata_of(message))
            )
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        try:
            await self._settle(message, done=done, hopeless=body is None or attempts >= self._options.max_dequeue_count)
        except AzureError as error:
            # It comes again: also a function that succeeded may see a message twice.
            _LOG.warning("message %s could not be settled: %s", message.id, type(error).__name__)

    async def _settle(self, message: QueueMessage, *, done: bool, hopeless: bool) -> None:
        if done:
            await self._queue.delete_message(message)
        elif hopeless:
            await self._move_to_poison(message)
        else:
            await self._queue.update_message(message, visibility_timeout=int(self._options.visibility_timeout))

    async def _invoke(self, body: bytes, metadata: dict[str, TypedData]) -> bool:
        answer = await self._worker.invoke(self._function, _typed(body), metadata=metadata)
        if answer.result.exception is not None:
            error = answer.result.exception
            _LOG.error("queue function %s failed: %s\n%s", self._function.name, error.message, error.stack_trace)
        return answer.succeeded

    async def _move_to_poison(self, message: QueueMessage) -> None:
        _LOG.error("message %s moves to %s", message.id, self._poison.queue_name)
        with contextlib.suppress(ResourceExistsError):
            await self._poison.create_queue()
        await self._poison.send_message(message.content)
        await self._queue.delete_message(message)


async def _renew(queue: QueueClient, message: QueueMessage, lock_seconds: int) -> None:
    while True:
        await asyncio.sleep(lock_seconds / 2)
        try:
            renewed = await queue.update_message(message, visibility_timeout=lock_seconds)
        except AzureError as error:
            _LOG.warning("message %s cannot be kept hidden: %s", message.id, type(error).__name__)
        else:
            message.pop_receipt = renewed.pop_receipt


def _decode(content: str, *, base64_encoded: bool) -> bytes | None:
    """Return the message's bytes, or None if they are not in the queue's encoding."""
    if not base64_encoded:
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return None


def _typed(body: bytes) -> TypedData:
    try:
        return TypedData(string=body.decode())
    except UnicodeDecodeError:
        return TypedData(bytes=body)
