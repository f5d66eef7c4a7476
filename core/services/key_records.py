"""Writes the records of virtual keys and keeps the ordered indexes true to them.

Invariant: of two who write one record, the later one decides what lists show, whoever of them places it last.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from core.domain.keys import VirtualKey
from core.domain.summaries import KeySummary, summary_of
from core.errors import NotFoundError, StaleWriteError
from core.ports import Collection, OrderedIndex, Stored
from core.services.key_places import KeyPlaces, Placing

_TRIES = 8
#: A key that is younger than this may be recorded by a sync and by the request that made it at the same moment.
_YOUNG = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A record to write: `before` is its index entry so far, `etag` None for a new row.

    `replaced` marks a purged key whose Azure name another key has taken; `recorded` is that of `Placing`.
    """

    key: VirtualKey
    before: KeySummary | None = None
    etag: str | None = None
    replaced: bool = False
    recorded: KeySummary | None = None


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
        placings = [
            Placing(summary_of(change.key), change.before, change.replaced, change.recorded) for change in written
        ]
        await self._places.place(account, group, placings)
        await self._place_moved(account, group, [change.key for change in written if _is_contended(change)])
        return refused

    async def amend(
        self, account: str, group: str, key: str, change: Callable[[VirtualKey | None], VirtualKey]
    ) -> VirtualKey:
        """Write what `change` makes of a record (None: there is none yet), again if it moved meanwhile."""
        for _ in range(_TRIES):
            stored = await self.keys.get(group, key)
            present = stored.value if stored else None
            changed = change(present)
            if not await self.write(account, group, [await self._change(group, changed, stored)]):
                return changed
        raise StaleWriteError("The key")

    async def _change(self, group: str, changed: VirtualKey, stored: Stored[VirtualKey] | None) -> KeyChange:
        if stored is None:
            return KeyChange(changed)
        recorded = summary_of(stored.value)
        return KeyChange(changed, await self._places.listed(group, recorded), stored.etag, recorded=recorded)

    async def _place_moved(self, account: str, group: str, placed: list[VirtualKey]) -> None:
        """Place keys anew whose record another wrote over before they were placed."""
        for _ in range(_TRIES):
            if not placed:
                return
            rows = await self.keys.get_many(group, [key.id for key in placed])
            moved = [
                (rows[key.id].value, Placing(summary_of(rows[key.id].value), summary_of(key)))
                for key in placed
                if key.id in rows and summary_of(rows[key.id].value) != summary_of(key)
            ]
            await self._places.place(account, group, [placing for _, placing in moved])
            placed = [key for key, _ in moved]


def _is_contended(change: KeyChange) -> bool:
    """Whether somebody else may be recording the same key, which neither of both can know of."""
    versions = change.key.versions
    return change.etag is None and bool(versions) and change.key.observed_on - versions[0].created_on < _YOUNG


def key_not_found() -> NotFoundError:
    """The one answer for a key that is not there or not the caller's."""
    return NotFoundError("There is no such key.", code="key_not_found")
