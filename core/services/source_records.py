"""The records of source keys, and their places in lists."""

from collections.abc import Callable

from core.domain.source_keys import SourceKey
from core.domain.summaries import summary_of_source
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Collection, OrderedIndex, Stored
from core.services.conditional import require_match
from core.services.key_places import KeyPlaces, Placing
from core.services.key_records import key_not_found

_TRIES = 8


class SourceRecords:
    """Reads and writes records of source keys; lists follow every write."""

    def __init__(self, rows: Collection[SourceKey], index: OrderedIndex) -> None:
        self._rows = rows
        self._places = KeyPlaces(index)

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
        try:
            stored = await self._rows.insert(key.group, key.id, key)
        except AlreadyExistsError:
            stored = await self.get(key.account, key.group, key.id)
        await self._places.place(key.account, key.group, [Placing(summary_of_source(stored.value))])
        return stored

    async def amend(
        self,
        account: str,
        group: str,
        key: str,
        change: Callable[[SourceKey], SourceKey],
        if_match: str | None = None,
    ) -> Stored[SourceKey]:
        """Write what `change` makes of a key, again if it moved meanwhile (unless `if_match` names the state)."""
        for _ in range(_TRIES):
            stored = await self.get(account, group, key)
            require_match(stored.etag, if_match, "The key")
            changed = change(stored.value)
            try:
                written = await self._rows.replace(group, key, changed, stored.etag)
            except StaleWriteError:
                continue
            before, after = summary_of_source(stored.value), summary_of_source(changed)
            if before != after:
                await self._places.place(account, group, [Placing(after, before)])
            return written
        raise StaleWriteError("The key")
