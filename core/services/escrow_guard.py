"""Nothing irreversible without an escrow that covers every version and was opened just now.

Invariant: what `require` lets pass can be restored as far as Keysteward can tell: the newest generation opens, its
digests match, and its manifest lists every version of the key.
"""

from dataclasses import replace

from core.domain.callers import Actor
from core.domain.escrow import split_by_retention
from core.domain.groups import Group, vault_of
from core.domain.keys import EscrowGeneration, HistoryEntry, Presence, VirtualKey, extended
from core.errors import ConflictError, IntegrityError, KeystewardError
from core.ports import Clock, VaultKeys
from core.services.escrows import Backup, Escrows
from core.services.key_records import KeyRecords


class EscrowGuard:
    """Makes sure of a key's escrow."""

    def __init__(self, escrows: Escrows, records: KeyRecords, clock: Clock) -> None:
        self._escrows = escrows
        self._records = records
        self._clock = clock

    async def require(self, keys: VaultKeys, group: Group, key: VirtualKey, actor: Actor) -> VirtualKey:
        """Return the key with a verified escrow of all versions, made now if need be.

        ConflictError `escrow_needed` where there is none and none can be made.
        """
        if uncovered(key) and key.presence is Presence.LIVE:
            key = await self._backed_up(keys, group, key, actor)
        missing = uncovered(key)
        if missing or not key.escrow:
            raise ConflictError(
                "No escrow covers every version of the key. Sync, or say `without_escrow`.",
                code="escrow_needed",
                facts={"versions": sorted(missing)},
            )
        try:
            await self._escrows.open(key.escrow[-1])
        except IntegrityError as error:
            raise ConflictError(
                "The key's escrow cannot be opened. Look at it before the key is lost.",
                code="escrow_needed",
                facts={"problem": error.code},
            ) from None
        return key

    async def _backed_up(self, keys: VaultKeys, group: Group, key: VirtualKey, actor: Actor) -> VirtualKey:
        try:
            content = await keys.back_up(key.azure_name)
            made = await self._escrows.store(vault_of(group), key.id, [Backup(key, content)])
        except KeystewardError:
            # Why the vault gave none is a finding of the sync; here it counts that there is none.
            return key
        generation = made[key.id]
        entry = HistoryEntry(self._clock.now(), "key.escrowed", actor, generation.id)
        superseded: list[EscrowGeneration] = []

        def escrowed(present: VirtualKey | None) -> VirtualKey:
            recorded = present or key
            kept, gone = split_by_retention((*recorded.escrow, generation), group.escrow.keep_generations)
            superseded[:] = gone
            return replace(recorded, escrow=kept, escrow_problem=None, history=extended(recorded.history, entry))

        recorded = await self._records.amend(key.account, key.group, key.id, escrowed)
        await self._escrows.prune(superseded)
        return recorded


def uncovered(key: VirtualKey) -> set[str]:
    """Return the versions that the newest escrow does not have."""
    covered = set(key.escrow[-1].versions) if key.escrow else set()
    return {version.id for version in key.versions} - covered
