"""One key as its vault shows it now, recorded as a sync would: whoever is about to change a key looks first.

Invariant: a change made outside is recorded as drift before anything is written over it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from core.domain.groups import Group
from core.domain.keys import VirtualKey
from core.domain.observed import ObservedKey
from core.domain.sync import SyncContext, is_same_key, updated, vanished
from core.errors import ConflictError, StaleWriteError
from core.ports import Clock, Stored, VaultKeys
from core.services.key_reader import KeyReader
from core.services.key_records import KeyRecords

_CALLS_AT_ONCE = 16
_TRIES = 3


class KeyRefresh:
    """Brings the record of one key up to date."""

    def __init__(self, records: KeyRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def observe(self, keys: VaultKeys, key: VirtualKey) -> ObservedKey | None:
        """Return the key as the vault shows it, live or soft-deleted; None if it has it neither way."""
        return await KeyReader(keys, asyncio.Semaphore(_CALLS_AT_ONCE)).find(key.azure_name, key)

    async def find(self, keys: VaultKeys, key: VirtualKey) -> ObservedKey | None:
        """Return what `observe` does; ConflictError `key_replaced` where another key has the name by now."""
        observed = await self.observe(keys, key)
        if observed is not None and not is_same_key(key, observed):
            raise ConflictError("Another key has this key's name in the vault by now; sync.", code="key_replaced")
        return observed

    async def refresh(self, keys: VaultKeys, group: Group, key: Stored[VirtualKey], cause: str) -> Stored[VirtualKey]:
        """Return the key's record after a look at the vault; unchanged, it keeps its ETag.

        ConflictError `key_replaced` where another key has its name by now.
        """
        stored = key
        for _ in range(_TRIES):
            context = SyncContext(group.account, group.id, group.key_label, cause, self._clock.now())
            recorded = stored.value
            observed = await self.find(keys, recorded)
            seen = updated(context, recorded, observed) if observed else vanished(context, recorded)
            if replace(seen, observed_on=recorded.observed_on) == recorded:
                return stored
            written = await self._records.rewrite(stored, seen)
            stored = await self._records.get(group.account, group.id, recorded.id)
            if written:
                return stored
        raise StaleWriteError("The key")

    def taking_over(self, begun: VirtualKey, observed: ObservedKey) -> Callable[[VirtualKey], VirtualKey]:
        """Return what makes of a record how the vault shows the key after its pending action: the rest is drift."""
        cause = begun.pending.id if begun.pending else ""
        context = SyncContext(begun.account, begun.group, "", cause, self._clock.now())
        return lambda present: updated(context, present, observed)
