"""What is due when: an ordered index by time, which a timer reads up to now. The cost of a tick is that of what is due.

Invariant: an entry is only a hint. It is written before the record that it is about, and the record decides; so what a
crash leaves over is a hint too many, never one too few.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from core.ports import OrderedIndex

_PAGE = 100


class DueTimes:
    """One tree of due times."""

    def __init__(self, index: OrderedIndex, tree: str) -> None:
        self._index = index
        self._tree = tree

    async def plan(self, when: datetime, id_: str, entry: Mapping[str, object]) -> None:
        """Enter `id_` at `when`."""
        await self._index.apply(self._tree, {position(when, id_): entry})

    async def due(self, now: datetime) -> AsyncIterator[tuple[str, Mapping[str, object]]]:
        """Yield position and entry of what is due at `now`, oldest first."""
        after: str | None = None
        while True:
            page = await self._index.page(self._tree, after=after, limit=_PAGE)
            for place, entry in page.entries:
                if place > position(now, "~"):
                    return
                yield place, entry
            after = page.next
            if after is None:
                return

    async def done(self, place: str) -> None:
        """Forget an entry."""
        await self._index.apply(self._tree, {place: None})


def position(when: datetime, id_: str) -> str:
    """Where an entry stands: by time, then by id."""
    return f"{when.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}|{id_}"
