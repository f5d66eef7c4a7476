"""Groups as those need them who work in their vaults: the group, and its vault opened with the group's connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from core.domain.connections import OpenConnection, VaultFacts
from core.domain.groups import Group, vault_of
from core.ports import Collection, VaultKeys, Vaults
from core.services.access import group_not_found


class GroupConnections(Protocol):
    """What is needed of the connections of groups."""

    async def open(self, group: Group) -> OpenConnection:
        """Return the group's connection with its secrets unsealed."""

    async def note(self, group: Group) -> None:
        """Raise or clear the findings that follow from the group's latest report."""


class GroupVaults:
    """Reads groups and opens their vaults."""

    def __init__(self, groups: Collection[Group], vaults: Vaults, connections: GroupConnections) -> None:
        self._groups = groups
        self._vaults = vaults
        self._connections = connections

    async def group(self, account: str, group: str) -> Group:
        """Return a group; NotFoundError `group_not_found`."""
        stored = await self._groups.get(account, group)
        if stored is None:
            raise group_not_found()
        return stored.value

    async def facts(self, group: Group) -> VaultFacts:
        """Return what Resource Manager says of the group's vault now; the errors of `opened`, `vault_not_found`."""
        vault = vault_of(group)
        return await self._vaults.facts(await self._connections.open(group), vault)

    @asynccontextmanager
    async def opened(self, group: Group) -> AsyncIterator[VaultKeys]:
        """Open the group's vault; ConflictError `group_kind`, `vault_not_selected`, and the errors of connecting."""
        vault = vault_of(group)
        connection = await self._connections.open(group)
        async with self._vaults.keys(group.id, connection, vault) as keys:
            yield keys
