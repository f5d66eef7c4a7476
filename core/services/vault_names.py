"""Whether a name is free in a vault, and the ways out where it is not; asked before anything is sent.

Azure makes a new version of whatever key has the name that a request gives, so the vault is asked first, and what it
says counts: the records only add what they know.
"""

from collections.abc import Mapping
from datetime import datetime

from core.domain.groups import Group
from core.domain.keys import GONE, Presence
from core.domain.summaries import KeySummary, from_entry, group_tree
from core.errors import ConflictError, NotFoundError, VaultDeniedError
from core.ports import OrderedIndex, VaultKeys

_WAYS: Mapping[str, str] = {
    "another_name": "Give the key another Azure name.",
    "rotate": "Make a new version of the key that is there, as a rotation.",
    "recover": "Recover the soft-deleted key.",
    "purge": "Purge the soft-deleted key, or wait until its vault does.",
    "restore": "Restore the purged key from its escrow.",
    "reuse": "Take the name all the same with `reuse_purged`: the purged key can then be restored "
    "here only when the new one has been purged.",
}


class VaultNames:
    """Looks at names in vaults."""

    def __init__(self, index: OrderedIndex) -> None:
        self._index = index

    async def recorded(self, group: str, azure_name: str) -> KeySummary | None:
        """Return the recorded key that has the name in its group."""
        entry = await self._index.get(group_tree(group), azure_name.lower())
        return from_entry(entry) if entry else None

    async def require_free(self, keys: VaultKeys, group: Group, azure_name: str, *, reuse_purged: bool) -> None:
        """Raise ConflictError unless the name is free: `key_name_taken`, `key_name_soft_deleted`, `key_name_purged`."""
        known = await self.recorded(group.id, azure_name)
        if await _is_live(keys, azure_name):
            raise taken(known)
        purge_on = await _soft_deleted(keys, azure_name, None if reuse_purged else known)
        if purge_on is not None:
            raise soft_deleted(known, purge_on[0])
        if known is not None and known.presence is not Presence.DESTROYED and not reuse_purged:
            raise _problem(
                code="key_name_purged", detail="A purged key had this name.", known=known, ways=("restore", "reuse")
            )


def taken(known: KeySummary | None) -> ConflictError:
    """Return the refusal of a name that a live key has."""
    return _problem(code="key_name_taken", detail="The vault has a key with this name.", known=known, ways=("rotate",))


def being_taken() -> ConflictError:
    """Return the refusal of a name under which another request is making a key."""
    return _problem(
        code="key_name_taken", detail="Another request is making a key with this name.", known=None, ways=()
    )


def soft_deleted(known: KeySummary | None, purge_on: datetime | None) -> ConflictError:
    """Return the refusal of a name that a soft-deleted key has."""
    facts = {"scheduled_purge_on": purge_on.isoformat()} if purge_on else {}
    return _problem(
        code="key_name_soft_deleted",
        detail="A soft-deleted key has this name.",
        known=known,
        ways=("recover", "purge"),
        facts=facts,
    )


def _problem(
    *,
    code: str,
    detail: str,
    known: KeySummary | None,
    ways: tuple[str, ...],
    facts: Mapping[str, object] | None = None,
) -> ConflictError:
    offered = [{"way": way, "detail": _WAYS[way]} for way in (*ways, "another_name")]
    key = {"key": known.id} if known else {}
    return ConflictError(detail, code=code, field="azure_name", facts={**(facts or {}), **key, "ways_out": offered})


async def _is_live(keys: VaultKeys, azure_name: str) -> bool:
    try:
        await keys.get_version(azure_name, None)
    except NotFoundError:
        return False
    return True


async def _soft_deleted(keys: VaultKeys, azure_name: str, known: KeySummary | None) -> tuple[datetime | None] | None:
    try:
        listed, _ = await keys.get_deleted(azure_name)
    except NotFoundError:
        return None
    except VaultDeniedError:
        # Who may not look at deleted keys has the record of the key that was there, or else learns of one by the
        # vault's answer to the request itself.
        return (known.scheduled_purge_on,) if known is not None and known.presence not in GONE else None
    return (listed.deletion.scheduled_purge_on if listed.deletion else None,)
