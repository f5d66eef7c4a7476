"""Change a record whatever else changes it meanwhile: read, change, write over what was read, and again if it moved."""

from collections.abc import Callable

from core.errors import StaleWriteError
from core.ports import Collection

_TRIES = 8


async def amend[T](collection: Collection[T], partition: str, id_: str, change: Callable[[T], T]) -> T | None:
    """Apply `change` to a record and return it, or None if there is none. For changes that commute with others'."""
    for _ in range(_TRIES):
        stored = await collection.get(partition, id_)
        if stored is None:
            return None
        changed = change(stored.value)
        if changed == stored.value:
            return changed
        try:
            return (await collection.replace(partition, id_, changed, stored.etag)).value
        except StaleWriteError:
            continue
    raise StaleWriteError("The record")
