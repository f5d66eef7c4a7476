"""One queue of Queue Storage, as the queue trigger of Azure Functions reads it: JSON, in base64.

Invariant: a message never expires, for work that nobody did is still to be done.
"""

import json
from collections.abc import Mapping
from datetime import timedelta

from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from core.adapters.storage_errors import storage_errors

_NEVER = -1
_ENCODING = TextBase64EncodePolicy()


class WorkQueue:
    """Messages to one queue."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    async def send(self, message: Mapping[str, str], *, delay: timedelta = timedelta()) -> None:
        """Enqueue a JSON object, visible after `delay` (whole seconds, at most 7 days)."""
        text = _ENCODING.encode(json.dumps(dict(message)))
        with storage_errors("The message"):
            await self._queue.send_message(text, visibility_timeout=int(delay.total_seconds()), time_to_live=_NEVER)
