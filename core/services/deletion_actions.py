"""The end of a key in its vault, and the way back: soft-delete, recover, purge; and at last the end of its escrow.

Each is written down first, sent, waited for until the vault shows it, and recorded. A vault that takes longer than a
request waits leaves the action pending; a job goes on with `settle` until its outcome shows.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from core.domain.groups import vault_of
from core.domain.keys import Presence, VirtualKey
from core.domain.lifecycle import require
from core.domain.observed import ObservedKey
from core.domain.pending_actions import KeyAction
from core.domain.sync import is_same_key
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultUnavailableError,
)
from core.ports import Clock, VaultKeys
from core.services.attribute_actions import ActionRequest
from core.services.display_names import DisplayNames
from core.services.escrow_guard import EscrowGuard
from core.services.escrows import Escrows
from core.services.key_records import KeyRecords
from core.services.open_actions import OpenActions, joins
from core.services.opened_keys import KeyRef, OpenedKey, OpenedKeys
from core.services.waiting import awaited

#: What the vault says while it is at something with the key already.
_BUSY = frozenset({"key_being_deleted", "key_being_recovered"})
#: Where that is what was asked for: asked for twice, it is done once.
_UNDER_WAY: Mapping[KeyAction, str] = {
    KeyAction.SOFT_DELETE: "key_being_deleted",
    KeyAction.RECOVER: "key_being_recovered",
}


@dataclass(frozen=True, slots=True)
class Deleting:
    """How somebody wants a key soft-deleted or purged. `without_escrow` is for those who may say so."""

    asked: ActionRequest
    without_escrow: bool = False
    seconds: float = 0.0


class DeletionActions:
    """Soft-deletes, recovers and purges keys in vaults, and destroys what is left of them here."""

    def __init__(  # noqa: PLR0913 - the collaborators
        self,
        opened: OpenedKeys,
        actions: OpenActions,
        guard: EscrowGuard,
        *,
        records: KeyRecords,
        escrows: Escrows,
        names: DisplayNames,
        clock: Clock,
    ) -> None:
        self._opened = opened
        self._actions = actions
        self._guard = guard
        self._records = records
        self._escrows = escrows
        self._names = names
        self._clock = clock

    async def soft_delete(self, ref: KeyRef, how: Deleting, *, acknowledged: bool) -> VirtualKey:
        """Soft-delete a key with all versions.

        Raises InvalidRequestError `acknowledgement_needed`; ConflictError `escrow_needed`, `key_managed` and those of
        OpenActions.begin; StillWorkingError where the vault takes longer than `seconds`; the errors of the vault.
        """
        if not acknowledged:
            detail = "A soft-deleted key is unusable at once, with all versions: say that this is understood."
            raise InvalidRequestError(detail, code="acknowledgement_needed", field="acknowledge")
        async with self._opened.open(ref, how.asked.request) as opened:
            if await self._actions.has_done(opened.key, how.asked.request):
                return opened.key
            begun = await self._begin(opened, KeyAction.SOFT_DELETE, how)
            await self._sent(opened, begun, how, lambda keys: keys.delete(begun.azure_name))
            return await self._deleted(opened.keys, begun, how.seconds)

    async def recover(self, ref: KeyRef, how: Deleting) -> VirtualKey:
        """Bring a soft-deleted key back with all versions; errors as for `soft_delete`."""
        async with self._opened.open(ref, how.asked.request) as opened:
            if await self._actions.has_done(opened.key, how.asked.request):
                return opened.key
            begun = await self._begin(opened, KeyAction.RECOVER, replace(how, without_escrow=True))
            await self._sent(opened, begun, how, lambda keys: keys.recover(begun.azure_name))
            return await self._recovered(opened.keys, begun, how.seconds)

    async def purge(self, ref: KeyRef, how: Deleting) -> VirtualKey:
        """Purge a soft-deleted key; ConflictError `purge_protected`, `escrow_needed`; else as for `soft_delete`."""
        async with self._opened.open(ref, how.asked.request) as opened:
            if await self._actions.has_done(opened.key, how.asked.request):
                return opened.key
            if vault_of(opened.group).purge_protection and opened.key.presence is Presence.SOFT_DELETED:
                raise purge_protected(opened.key)
            begun = await self._begin(opened, KeyAction.PURGE, how)
            await self._sent(opened, begun, how, lambda keys: keys.purge(begun.azure_name))
            return await self._purged(opened.keys, begun, how.seconds)

    async def destroy(self, ref: KeyRef, asked: ActionRequest) -> VirtualKey:
        """Destroy the escrow of a key that its vault has no more; a tombstone without material stays.

        Raises the errors of OpenedKeys.open and of OpenActions.begin. Done again, it goes on.
        """
        async with self._opened.open(ref, asked.request, replaced=True) as opened:
            if await self._actions.has_done(opened.key, asked.request):
                return opened.key
            stored = opened.stored
            begun = await self._actions.begin(
                stored.value, stored.etag, KeyAction.DELETE, asked.request, asked.actor, if_match=asked.if_match
            )
        return await self.destroyed(begun)

    async def destroyed(self, begun: VirtualKey) -> VirtualKey:
        """Go on with a destruction that was written down."""
        if begun.pending is None:
            return begun
        returned = begun.presence is not Presence.PURGED

        def buried(present: VirtualKey) -> VirtualKey:
            # One that came back meanwhile is escrowed anew by the next sync: of what there was some may be gone.
            presence = Presence.DESTROYED if present.presence is Presence.PURGED else present.presence
            return replace(present, presence=presence, escrow=(), escrow_problem=None, retirements=())

        # First the entries, then the record that names them: what is destroyed twice harms nobody.
        await self._escrows.prune(begun.escrow)
        detail = "found in its vault again" if returned else f"{len(begun.escrow)} escrow generations"
        recorded = await self._actions.conclude(begun, buried, detail=detail, done=not returned)
        if not returned:
            await self._names.bury(begun.account, begun.name, begun.recorded_on)
        return recorded

    async def settle(self, keys: VaultKeys, key: VirtualKey, seconds: float) -> VirtualKey:
        """Wait for the outcome of a pending deletion, recovery or purge that the vault has accepted."""
        match key.pending.action if key.pending else None:
            case KeyAction.SOFT_DELETE:
                return await self._deleted(keys, key, seconds)
            case KeyAction.RECOVER:
                return await self._recovered(keys, key, seconds)
            case KeyAction.PURGE:
                return await self._purged(keys, key, seconds)
            case _:
                return key

    async def _begin(self, opened: OpenedKey, action: KeyAction, how: Deleting) -> VirtualKey:
        stored, asked = opened.stored, how.asked
        if joins(stored.value, action, asked.request):
            await self._check_joined(opened)
        elif not how.without_escrow:
            require(stored.value, action, self._clock.now())
            key = await self._guard.require(opened.keys, opened.group, stored.value, asked.actor)
            if key is not stored.value:
                # Its escrow was made just now, which is no change that the caller has to know of.
                asked = replace(asked, if_match=None) if asked.if_match in {None, stored.etag} else asked
                stored = await self._records.get(key.account, key.group, key.id)
            if stored.value.unescrowed:
                raise StaleWriteError("The key")
        details = {"without_escrow": "true"} if how.without_escrow and action is not KeyAction.RECOVER else {}
        return await self._actions.begin(
            stored.value,
            stored.etag,
            action,
            asked.request,
            asked.actor,
            details=details,
            if_match=asked.if_match,
        )

    async def _check_joined(self, opened: OpenedKey) -> None:
        """Look again before a purge that was begun is sent: meanwhile the key may have been recovered and changed."""
        key = opened.key
        if key.pending is None or key.pending.action is not KeyAction.PURGE or _without_escrow(key):
            return
        observed = await self._opened.refresh.find(opened.keys, key)
        if observed is not None and observed.listed.deletion is not None:
            seen = self._opened.refresh.taking_over(key, observed)(key)
            await self._guard.require(opened.keys, opened.group, seen, key.pending.actor)

    async def _sent(
        self, opened: OpenedKey, begun: VirtualKey, how: Deleting, send: Callable[[VaultKeys], Awaitable[object]]
    ) -> None:
        """Send the request; a definite refusal withdraws the action, a lost answer leaves it pending."""

        async def attempt() -> bool | None:
            try:
                await send(opened.keys)
            except ConflictError as error:
                if error.code not in _BUSY:
                    raise
                return _is_under_way(begun, error.code) or None
            return True

        try:
            await awaited(attempt, how.seconds)
        except (VaultUnavailableError, VaultAnswerError):
            # Perhaps it was done: the next request looks, or the timer.
            raise
        except NotFoundError:
            # Gone where it was to go, or never there: the look that follows tells.
            return
        except KeystewardError as error:
            await self._actions.withdraw(begun, error.code)
            if error.code == "purge_protected":
                raise purge_protected(begun) from None
            raise

    async def _deleted(self, keys: VaultKeys, begun: VirtualKey, seconds: float) -> VirtualKey:
        async def look() -> ObservedKey | None:
            observed = await self._opened.refresh.find(keys, begun)
            return observed if observed and observed.listed.deletion else None

        observed = await awaited(look, seconds)
        change = self._opened.refresh.taking_over(begun, observed)
        return await self._actions.conclude(begun, change, detail=words_of(begun))

    async def _recovered(self, keys: VaultKeys, begun: VirtualKey, seconds: float) -> VirtualKey:
        async def look() -> ObservedKey | None:
            observed = await self._opened.refresh.find(keys, begun)
            return observed if observed and not observed.listed.deletion else None

        observed = await awaited(look, seconds)
        return await self._actions.conclude(begun, self._opened.refresh.taking_over(begun, observed))

    async def _purged(self, keys: VaultKeys, begun: VirtualKey, seconds: float) -> VirtualKey:
        async def look() -> bool | None:
            observed = await self._opened.refresh.observe(keys, begun)
            return True if observed is None or not is_same_key(begun, observed) else None

        await awaited(look, seconds)
        return await self.concluded_purge(begun)

    async def concluded_purge(self, begun: VirtualKey) -> VirtualKey:
        """Record that the vault has a key no more."""
        now = self._clock.now()

        def purged(present: VirtualKey) -> VirtualKey:
            return replace(present, presence=Presence.PURGED, observed_on=now, retirements=())

        return await self._actions.conclude(begun, purged, detail=words_of(begun))


def words_of(begun: VirtualKey) -> str:
    """Return what history says beside a pending deletion or purge."""
    return "without escrow" if _without_escrow(begun) else ""


def _without_escrow(begun: VirtualKey) -> bool:
    return begun.pending is not None and "without_escrow" in begun.pending.details


def _is_under_way(begun: VirtualKey, code: str) -> bool:
    return begun.pending is not None and _UNDER_WAY.get(begun.pending.action) == code


def purge_protected(key: VirtualKey) -> ConflictError:
    """Return the refusal of a purge, with the date at which Azure will do it."""
    date = key.deletion.scheduled_purge_on if key.deletion else None
    when = f" on {date:%Y-%m-%d}" if date else ""
    return ConflictError(
        f"The vault has purge protection: it purges the key by itself{when}, and nobody can before.",
        code="purge_protected",
        facts={"scheduled_purge_on": date.isoformat() if date else None},
    )
