"""Keeps, per identity, the list of accounts that know it.

Invariants: a membership is written before the principal's row and deleted after it, so that a broken-off change leaves
at most a membership that leads nowhere; writers of one identity never overwrite each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from core.domain.identities import Identity
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Collection

_PARTITION = "identity"
_ATTEMPTS = 8


class Identities:
    """The accounts of identities."""

    def __init__(self, identities: Collection[Identity]) -> None:
        self._identities = identities

    async def memberships(self, identity: str) -> Mapping[str, str]:
        """Return account id → principal id, possibly with some that lead nowhere."""
        stored = await self._identities.get(_PARTITION, identity)
        return stored.value.memberships if stored else {}

    async def link(self, identity: str, account: str, principal: str) -> None:
        """Note that `identity` is `principal` in `account`."""
        await self._change(identity, lambda known: {**known, account: principal})

    async def unlink(self, identity: str, account: str) -> None:
        """Forget what `identity` is in `account`."""
        await self._change(identity, lambda known: {key: value for key, value in known.items() if key != account})

    async def _change(self, identity: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._change_once(identity, change)
            except (StaleWriteError, AlreadyExistsError):
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    async def _change_once(self, identity: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        stored = await self._identities.get(_PARTITION, identity)
        known = stored.value if stored else Identity(identity)
        changed = change(known.memberships)
        if changed == known.memberships:
            return
        if stored is None:
            await self._identities.insert(_PARTITION, identity, replace(known, memberships=changed))
        else:
            await self._identities.replace(_PARTITION, identity, replace(known, memberships=changed), stored.etag)
