"""The records of source keys, and their places in lists.

Invariant: a hint is written before a record that changes lists, and deleted when they show it. No sync comes to set
right what was cut off in between; reconciliation does, by the hints.
"""

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakValueDictionary

from core.domain.source_keys import SourceKey
from core.domain.summaries import summary_of_source
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Clock, Collection, OrderedIndex, Stored
from core.services.conditional import require_match
from core.services.due_keys import DueKeys, in_step
from core.services.due_times import DueTimes, position
from core.services.key_places import KeyPlaces, Placing
from core.services.key_records import key_not_found

_TRIES = 8
#: Between the record and its places in lists lie moments; what takes longer was cut off.
_LEFT_OVER_AFTER = timedelta(minutes=1)


class SourceRecords:
    """Reads and writes records of source keys; lists follow every write."""

    def __init__(self, rows: Collection[SourceKey], index: OrderedIndex, clock: Clock) -> None:
        self._rows = rows
        self._places = KeyPlaces(index)
        self._due = DueKeys(index)
        self._unlisted = DueTimes(index, "due/source-key-lists")
        self._clock = clock
        # The copies of one key are made and rotated at once, and each writes to it.
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, group: str, key: str) -> Stored[SourceKey] | None:
        """Return a key, or None."""
        return await self._rows.get(group, key)

    async def get(self, account: str, group: str, key: str) -> Stored[SourceKey]:
        """Return a key; NotFoundError `key_not_found`."""
        stored = await self._rows.get(group, key)
        if stored is None or stored.value.account != account:
            raise key_not_found()
        return stored

    async def insert(self, key: SourceKey) -> Stored[SourceKey]:
        """Store a new key; where an earlier attempt of the same request stored it already, return that."""
        hint = await self._hint(key)
        try:
            stored = await self._rows.insert(key.group, key.id, key)
        except AlreadyExistsError:
            stored = await self.get(key.account, key.group, key.id)
        await self._list(stored.value, None)
        await self._unlisted.done(hint)
        return stored

    async def is_listed(self, key: SourceKey) -> bool:
        """Whether the lists show a key as it is recorded."""
        summary = summary_of_source(key)
        return await self._places.listed(key.group, summary) == summary

    async def relist(self, key: SourceKey) -> None:
        """Have the lists show a key as it is recorded."""
        await self._list(key, None)

    async def reconcile(self) -> int:
        """Place in lists what was cut off before it was; return how many hints were followed."""
        followed = 0
        async for place, entry in self._unlisted.due(self._clock.now() - _LEFT_OVER_AFTER):
            stored = await self.find(str(entry["group"]), str(entry["key"]))
            if stored is not None:
                await self._list(stored.value, None)
            await self._unlisted.done(place)
            followed += 1
        return followed

    async def amend(
        self,
        account: str,
        group: str,
        key: str,
        change: Callable[[SourceKey], SourceKey],
        if_match: str | None = None,
    ) -> Stored[SourceKey]:
        """Write what `change` makes of a key, again if it moved meanwhile (unless `if_match` names the state)."""
        async with self._writing.setdefault(key, asyncio.Lock()):
            return await self._amended(account, group, key, change, if_match)

    async def _amended(
        self, account: str, group: str, key: str, change: Callable[[SourceKey], SourceKey], if_match: str | None
    ) -> Stored[SourceKey]:
        for _ in range(_TRIES):
            stored = await self.get(account, group, key)
            require_match(stored.etag, if_match, "The key")
            changed = in_step(change(stored.value))
            if changed == stored.value:
                return stored
            await self._due.plan([changed])
            moves = summary_of_source(stored.value) != summary_of_source(changed)
            hint = await self._hint(changed) if moves else None
            if moves and not await self.is_listed(stored.value):
                # Its own write was cut off before the lists showed it.
                await self._list(stored.value, None)
            try:
                written = await self._rows.replace(group, key, changed, stored.etag)
            except StaleWriteError:
                continue
            if hint is not None:
                await self._list(changed, stored.value)
                await self._unlisted.done(hint)
            return written
        raise StaleWriteError("The key")

    async def _list(self, key: SourceKey, over: SourceKey | None) -> None:
        """Place a key whose record was written over that of `over`; again if another write came before the placing."""
        recorded = summary_of_source(over) if over is not None else None
        for _ in range(_TRIES):
            summary = summary_of_source(key)
            before = await self._places.listed(key.group, summary)
            await self._places.place(key.account, key.group, [Placing(summary, before, recorded=recorded)])
            stored = await self.find(key.group, key.id)
            if stored is None or summary_of_source(stored.value) == summary:
                return
            key, recorded = stored.value, summary

    async def _hint(self, key: SourceKey) -> str:
        """Note that a key's places are about to change; return where the note stands."""
        now, id_ = self._clock.now(), f"{key.id}/{secrets.token_hex(4)}"
        await self._unlisted.plan(now, id_, {"account": key.account, "group": key.group, "key": key.id})
        return position(now, id_)
