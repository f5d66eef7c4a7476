"""Trigger metadata of a queue message, as the real host sends it."""

import json

from azure.storage.queue import QueueMessage

from local.host.messages import TypedData


def metadata_of(message: QueueMessage) -> dict[str, TypedData]:
    """Return the fields that `func.QueueMessage` reads; times as JSON texts."""
    times = {
        "InsertionTime": message.inserted_on,
        "ExpirationTime": message.expires_on,
        "NextVisibleTime": message.next_visible_on,
    }
    return {
        "Id": TypedData(string=message.id),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "PopReceipt": TypedData(string=message.pop_receipt),
        **{name: TypedData(json=json.dumps(time.isoformat())) for name, time in times.items() if time is not None},
    }
