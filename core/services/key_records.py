"""Writes the records of virtual keys and keeps the ordered indexes true to them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.domain.keys import VirtualKey
from core.domain.summaries import KeySummary, summary_of
from core.errors import NotFoundError, StaleWriteError
from core.ports import Collection, OrderedIndex, Stored
from core.services.key_places import KeyPlaces, Placing

_TRIES = 8


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A record to write: `before` is its index entry so far, `etag` None for a new row.

    `replaced` marks a purged key whose Azure name another key has taken.
    """

    key: VirtualKey
    before: KeySummary | None = None
    etag: str | None = None
    replaced: bool = False


class KeyRecords:
    """The records of virtual keys, and their places in lists."""

    def __init__(self, keys: Collection[VirtualKey], index: OrderedIndex) -> None:
        self.keys = keys
        self._places = KeyPlaces(index)

    async def get(self, account: str, group: str, key: str) -> Stored[VirtualKey]:
        """Return a key; NotFoundError `key_not_found`."""
        stored = await self.keys.get(group, key)
        if stored is None or stored.value.account != account:
            raise key_not_found()
        return stored

    async def write(self, account: str, group: str, changes: Iterable[KeyChange]) -> set[str]:
        """Write records of one group and index those written; return the ids that were refused as stale or taken."""
        by_id = {change.key.id: change for change in changes}
        if not by_id:
            return set()
        rows = {id_: (change.key, change.etag) for id_, change in by_id.items()}
        refused = await self.keys.write_many(group, rows)
        written = [change for id_, change in by_id.items() if id_ not in refused]
        placings = [Placing(summary_of(change.key), change.before, change.replaced) for change in written]
        await self._places.place(account, group, placings)
        return refused

    async def amend(
        self, account: str, group: str, key: str, change: Callable[[VirtualKey | None], VirtualKey]
    ) -> VirtualKey:
        """Write what `change` makes of a record (None: there is none yet), again if it moved meanwhile."""
        for _ in range(_TRIES):
            stored = await self.keys.get(group, key)
            present = stored.value if stored else None
            changed = change(present)
            before, etag = (summary_of(stored.value), stored.etag) if stored else (None, None)
            if not await self.write(account, group, [KeyChange(changed, before, etag)]):
                return changed
        raise StaleWriteError("The key")


def key_not_found() -> NotFoundError:
    """The one answer for a key that is not there or not the caller's."""
    return NotFoundError("There is no such key.", code="key_not_found")
