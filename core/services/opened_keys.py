"""A key with its group and its vault opened, looked at: what every action on a key in a vault begins with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.domain.groups import Group
from core.domain.keys import VirtualKey
from core.errors import ConflictError
from core.ports import Stored, VaultKeys
from core.services.group_vaults import GroupVaults
from core.services.key_records import KeyRecords
from core.services.key_refresh import KeyRefresh


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Which key."""

    account: str
    group: str
    key: str


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A key as recorded after a look at its vault, which is open."""

    group: Group
    keys: VaultKeys
    stored: Stored[VirtualKey]

    @property
    def key(self) -> VirtualKey:
        """The record."""
        return self.stored.value


class OpenedKeys:
    """Opens keys."""

    def __init__(self, vaults: GroupVaults, records: KeyRecords, refresh: KeyRefresh) -> None:
        self._vaults = vaults
        self._records = records
        self.refresh = refresh

    @asynccontextmanager
    async def open(self, ref: KeyRef, cause: str, *, replaced: bool = False) -> AsyncIterator[OpenedKey]:
        """Open a key's vault and bring the key's record up to date; `cause` is the request that drift is noted with.

        `replaced`: a key whose name another key has by now is opened as it is recorded.

        Raises NotFoundError (`group_not_found`, `key_not_found`), ConflictError (`group_kind`, `vault_not_selected`,
        `key_replaced`), and the errors of the vault.
        """
        group = await self._vaults.group(ref.account, ref.group)
        stored = await self._records.get(ref.account, ref.group, ref.key)
        async with self._vaults.opened(group) as keys:
            pending = stored.value.pending
            # Of an action under way the outcome is asked for by whoever goes on with it.
            if pending is None:
                try:
                    stored = await self.refresh.refresh(keys, group, stored, cause)
                except ConflictError as error:
                    if not replaced or error.code != "key_replaced":
                        raise
            yield OpenedKey(group, keys, stored)
