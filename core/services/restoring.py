"""A purged key comes back from its escrow, with all versions.

Invariants: a backup goes only where Azure can take it (the same subscription and geography), which its manifest tells
before anything is sent; what came back is compared with the manifest before it is recorded.

Sources: 'Azure Key Vault backup' (same subscription and geography), 'Managed HSM disaster recovery' (same security
domain), recordings (a conflict for a while straight after a purge).
"""

from dataclasses import dataclass

from core.domain.connections import VaultFacts, VaultType
from core.domain.escrow import Manifest
from core.domain.geographies import geography_of
from core.domain.groups import vault_of
from core.domain.keys import EscrowGeneration, VirtualKey
from core.domain.lifecycle import require
from core.domain.observed import ObservedKey
from core.domain.pending_actions import KeyAction
from core.domain.secrets import SecretBytes
from core.errors import ConflictError, KeystewardError, NotFoundError, VaultAnswerError, VaultUnavailableError
from core.ports import Clock, VaultKeys
from core.services.attribute_actions import ActionRequest
from core.services.escrows import Escrows
from core.services.key_refresh import KeyRefresh
from core.services.open_actions import OpenActions, joins
from core.services.opened_keys import KeyRef, OpenedKeys
from core.services.waiting import awaited

#: The name is not free yet, or something else is there: a look tells which.
PERHAPS_FREE_LATER = frozenset({"vault_conflict", "key_being_deleted", "key_being_recovered", "key_soft_deleted"})
_REFUSED = "restore_refused"


@dataclass(frozen=True, slots=True)
class Restoring:
    """How somebody wants a key restored: from which generation (None: the newest), and how long to wait for it."""

    asked: ActionRequest
    generation: str | None = None
    seconds: float = 0.0


class Restores:
    """Restores keys from their escrow into their own vaults."""

    def __init__(self, opened: OpenedKeys, actions: OpenActions, escrows: Escrows, clock: Clock) -> None:
        self._opened = opened
        self._actions = actions
        self._escrows = escrows
        self._clock = clock

    async def restore(self, ref: KeyRef, how: Restoring) -> VirtualKey:
        """Restore a purged key with all versions.

        Raises NotFoundError `escrow_not_found`; ConflictError `restore_elsewhere`, `key_name_taken`; IntegrityError
        where the escrow is not what was stored; VaultAnswerError `restore_refused`; StillWorkingError; and those of
        OpenActions.begin and of the vault.
        """
        async with self._opened.open(ref, how.asked.request) as opened:
            key = opened.key
            if await self._actions.has_done(opened.key, how.asked.request):
                return key
            # Of a request that comes again, what was written down the first time counts.
            joined = joins(key, KeyAction.RESTORE, how.asked.request)
            if not joined:
                require(key, KeyAction.RESTORE, self._clock.now())
            generation = _begun_with(key) if joined else generation_of(key, how.generation)
            manifest, backup = await self._escrows.open(generation)
            check_place(manifest, vault_of(opened.group))
            begun = await self._actions.begin(
                key,
                opened.stored.etag,
                KeyAction.RESTORE,
                how.asked.request,
                how.asked.actor,
                details={"generation": generation.id},
                if_match=how.asked.if_match,
            )
            return await self._restored(opened.keys, begun, manifest, backup, how.seconds)

    async def settle(self, keys: VaultKeys, key: VirtualKey, seconds: float) -> VirtualKey:
        """Go on with a restore that was written down."""
        if key.pending is None:
            return key
        manifest, backup = await self._escrows.open(_begun_with(key))
        return await self._restored(keys, key, manifest, backup, seconds)

    async def _restored(
        self, keys: VaultKeys, begun: VirtualKey, manifest: Manifest, backup: SecretBytes, seconds: float
    ) -> VirtualKey:
        try:
            observed = await restored_into(keys, self._opened.refresh, begun, manifest, backup, seconds)
        except VaultUnavailableError:
            raise
        except KeystewardError as error:
            await self._actions.withdraw(begun, error.code)
            raise

        change = self._opened.refresh.taking_over(begun, observed)
        return await self._actions.conclude(begun, change, detail=manifest.generation)


async def restored_into(
    keys: VaultKeys,
    refresh: KeyRefresh,
    key: VirtualKey,
    manifest: Manifest,
    backup: SecretBytes,
    seconds: float,
) -> ObservedKey:
    """Restore a backup and return the key as it came back, with every version that the manifest lists.

    Asked again while the vault finds a conflict though the name is free: straight after a purge it does. Raises
    ConflictError `key_name_taken`, `key_name_soft_deleted`; VaultAnswerError `restore_refused`.
    """

    async def attempt() -> ObservedKey | None:
        observed = await refresh.observe(keys, key)
        if observed is None:
            try:
                await keys.restore(backup)
            except ConflictError as error:
                if error.code not in PERHAPS_FREE_LATER:
                    raise
                return None
            except VaultAnswerError as error:
                # An answer that nobody can read may be that of a restore that was done.
                observed = None if error.code == _REFUSED else await refresh.observe(keys, key)
                if observed is None:
                    raise
            else:
                observed = await refresh.observe(keys, key)
        return _checked(observed, manifest)

    return await awaited(attempt, seconds)


def _checked(observed: ObservedKey | None, manifest: Manifest) -> ObservedKey | None:
    if observed is None:
        return None
    found = {version.id for version in observed.versions}
    if observed.listed.deletion is not None:
        raise ConflictError("A soft-deleted key has this name in the vault.", code="key_name_soft_deleted")
    if not set(manifest.versions) <= found:
        raise ConflictError("Another key has this name in the vault.", code="key_name_taken")
    return observed


def _begun_with(key: VirtualKey) -> EscrowGeneration:
    """Return the generation of a key's pending restore."""
    return generation_of(key, key.pending.details.get("generation") if key.pending else None)


def generation_of(key: VirtualKey, id_: str | None) -> EscrowGeneration:
    """Return a key's escrow generation (None: the newest); NotFoundError `escrow_not_found`."""
    found = next((one for one in reversed(key.escrow) if id_ in {None, one.id}), None)
    if found is None:
        raise NotFoundError("The key has no such escrow.", code="escrow_not_found", field="generation")
    return found


def check_place(manifest: Manifest, vault: VaultFacts) -> None:
    """Raise ConflictError `restore_elsewhere` where Azure does not take the backup."""
    if vault.type is VaultType.MANAGED_HSM or manifest.vault_type == VaultType.MANAGED_HSM.value:
        same = manifest.vault_id.lower() == vault.resource_id.lower() or manifest.vault_type == vault.type.value
        detail = "A managed HSM's backup goes into managed HSMs with the same security domain only."
    else:
        subscription = vault.resource_id.split("/")[2] if vault.resource_id.count("/") > 1 else ""
        same = (manifest.subscription.lower(), manifest.geography) == (
            subscription.lower(),
            geography_of(vault.location),
        )
        detail = "A vault's backup goes into vaults of the same subscription and geography only."
    if not same:
        raise ConflictError(detail, code="restore_elsewhere")
