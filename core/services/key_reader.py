"""Reads one key of a vault whole: all versions with their public keys, or that it is soft-deleted, or gone."""

import asyncio

from core.domain.keys import KeyVersion, VirtualKey
from core.domain.observed import ListedKey, ListedVersion, ObservedKey
from core.domain.sync import assemble, versions_to_fetch
from core.errors import NotFoundError
from core.ports import VaultKeys


class KeyReader:
    """Asks a vault for keys, with a bound on the calls under way at once."""

    def __init__(self, keys: VaultKeys, calls: asyncio.Semaphore) -> None:
        self._keys = keys
        self._calls = calls

    async def live(self, listed: ListedKey, recorded: VirtualKey | None) -> ObservedKey:
        """Return a live key; only versions that are new or changed are fetched. NotFoundError if it is not live."""
        if recorded is None:
            # Most keys have one version, so the current one is asked for before the list tells its id.
            versions, current = await asyncio.gather(self._list(listed.name), self._get(listed.name, None))
            fetched = {current.id: current}
        else:
            versions, fetched = await self._list(listed.name), {}
        if not versions:
            # A vault shows no versions, rather than an error, of a key that it does not have.
            raise NotFoundError("The key has no versions.", code="key_not_found")
        wanted = [id_ for id_ in versions_to_fetch(recorded, versions) if id_ not in fetched]
        for version in await asyncio.gather(*(self._get(listed.name, id_) for id_ in wanted)):
            fetched[version.id] = version
        return ObservedKey(listed, assemble(recorded, versions, fetched))

    async def deleted(self, listed: ListedKey) -> ObservedKey:
        """Return a soft-deleted key with the only version that its vault shows. NotFoundError if it is not deleted."""
        async with self._calls:
            _, newest = await self._keys.get_deleted(listed.name)
        return ObservedKey(listed, (newest,))

    async def find(self, name: str, recorded: VirtualKey | None) -> ObservedKey | None:
        """Return the key wherever it is now; None if the vault has it neither live nor soft-deleted."""
        try:
            async with self._calls:
                listed, _ = await self._keys.get_version(name, None)
            return await self.live(listed, recorded)
        except NotFoundError:
            pass
        try:
            async with self._calls:
                listed, newest = await self._keys.get_deleted(name)
        except NotFoundError:
            return None
        return ObservedKey(listed, (newest,))

    async def _list(self, name: str) -> tuple[ListedVersion, ...]:
        async with self._calls:
            return await self._keys.list_versions(name)

    async def _get(self, name: str, version: str | None) -> KeyVersion:
        async with self._calls:
            _, found = await self._keys.get_version(name, version)
        return found
