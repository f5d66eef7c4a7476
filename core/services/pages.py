"""Pages of small partitions, in the order of ids."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from core.ports import Stored


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some items in order, and the id after which the next page starts; None at the end."""

    items: tuple[T, ...]
    next: str | None


async def page_by_id[T](
    rows: AsyncIterator[tuple[str, Stored[T]]], keep: Callable[[T], bool], *, after: str | None, limit: int
) -> Page[Stored[T]]:
    """Return the first `limit` of those rows behind `after` that `keep` accepts; rows come in the order of ids."""
    items: list[Stored[T]] = []
    last: str | None = None
    async for id_, stored in rows:
        if (after is not None and id_ <= after) or not keep(stored.value):
            continue
        if len(items) == limit:
            return Page(tuple(items), last)
        items.append(stored)
        last = id_
    return Page(tuple(items), None)
