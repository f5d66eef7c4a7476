"""A purged copy comes into its vault again from its source key, under the same name: the record lives on.

Invariants: nothing is sent while the vault has any key of that name, or another request is about to take it; a vault
that has not freed the name yet is asked again, within a request for a while, then by a job.
"""

from dataclasses import dataclass
from functools import partial

from core.domain.keys import KeyVersion, Validity, VirtualKey
from core.domain.lifecycle import require
from core.domain.pending_actions import AskedSource, KeyAction
from core.domain.rotations import asked_anew, brought, require_copy, version_like
from core.errors import ConflictError, NotFoundError, StaleWriteError
from core.ports import Clock
from core.services.attribute_actions import ActionRequest
from core.services.display_names import DisplayNames
from core.services.material_sending import MaterialSenders
from core.services.open_actions import under_way
from core.services.opened_keys import KeyRef, OpenedKey, OpenedKeys
from core.services.source_keys import SourceKeys, SourceUse
from core.services.vault_names import VaultNames, being_taken
from core.services.version_making import VersionMaking, VersionRequest
from core.services.waiting import awaited

_TRIES = 5
#: What a vault may say for a while after a purge.
_NOT_FREE_YET = frozenset({"vault_conflict", "key_being_deleted", "key_soft_deleted"})


@dataclass(frozen=True, slots=True)
class Reimporting:
    """How somebody wants a key imported again: which version of its source key, and how long to wait for the vault."""

    asked: ActionRequest
    version: int | None = None
    validity: Validity | None = None
    seconds: float = 0.0


class Reimports:
    """Imports purged copies again. Permissions of callers are decided before anything here is called."""

    def __init__(  # noqa: PLR0913 - the way to a vault, to material and to a name
        self,
        opened: OpenedKeys,
        making: VersionMaking,
        senders: MaterialSenders,
        *,
        sources: SourceKeys,
        names: DisplayNames,
        vault_names: VaultNames,
        clock: Clock,
    ) -> None:
        self._opened = opened
        self._making = making
        self._senders = senders
        self._sources = sources
        self._names = names
        self._vault_names = vault_names
        self._clock = clock

    async def reimport(self, ref: KeyRef, how: Reimporting) -> VirtualKey:
        """Import a purged copy again, or find that this request did.

        Raises ConflictError (those of the lifecycle's table, `no_source_key`, `key_replaced`, `key_name_taken`,
        `release_policy_unknown`, `rotation_unclear`), PolicyViolationError (`rotation_type_mismatch`,
        `key_not_allowed`), InvalidRequestError `dates_invalid`, those of SourceKeys.opened, StillWorkingError,
        VaultOutcomeUnknownError, StaleWriteError.
        """
        for _ in range(_TRIES):
            try:
                async with self._opened.open(ref, how.asked.request) as opened:
                    made = await self._making.go_on(opened, how.asked.request)
                    return made or await self._reimported(opened, how)
            except StaleWriteError:
                if how.asked.if_match is not None:
                    raise
        raise StaleWriteError("The key")

    async def settle(self, key: VirtualKey, seconds: float) -> VirtualKey:
        """Go on with a re-import that was written down, as its job; errors as for `reimport`."""
        pending = key.pending
        if pending is None or pending.asked is None or pending.asked.source is None:
            return key
        asked = pending.asked
        how = Reimporting(
            ActionRequest(pending.id, pending.actor),
            pending.asked.source.version,
            Validity(True, asked.not_before, asked.expires_on),
            seconds,
        )
        return await self.reimport(KeyRef(key.account, key.group, key.id), how)

    async def _reimported(self, opened: OpenedKey, how: Reimporting) -> VirtualKey:
        key, asked = opened.key, how.asked
        if key.pending is not None:
            raise under_way(key.pending)
        require(key, KeyAction.REIMPORT, self._clock.now())
        link, last = require_copy(key), _last(key)
        await self._require_own_name(key)
        source, version, material = await self._sources.opened(
            key.account, SourceUse(link.group, link.key, how.version), "export"
        )
        with material:
            validity = _validity(last.validity, how.validity or Validity())
            new = version_like(last, material.kind, validity, opened.group, self._clock.now())
            send = await self._senders.prepared(opened.keys, opened.group, key.azure_name, new, material, asked.actor)
            named = AskedSource(source.group, source.id, source.name, version.number)
            wanted = brought(asked_anew(key, new), material.public_key.thumbprint, named)
            return await self._sent(opened, VersionRequest(KeyAction.REIMPORT, wanted, send, asked), how.seconds)

    async def _sent(self, opened: OpenedKey, request: VersionRequest, seconds: float) -> VirtualKey:
        key, holder = opened.key, request.asked.request
        if not await self._names.reserve_in_vault(key.account, key.group, key.azure_name, holder):
            raise being_taken()
        try:
            begun = await self._making.begin(opened, request)
            return await awaited(partial(self._attempt, opened, begun, request), seconds)
        finally:
            await self._names.release_in_vault(key.account, key.group, key.azure_name, holder)

    async def _attempt(self, opened: OpenedKey, begun: VirtualKey, request: VersionRequest) -> VirtualKey | None:
        """Send once; None where the vault has not freed the name yet."""
        try:
            return await self._making.finish(opened.keys, opened.group, begun, request.send, later=_NOT_FREE_YET)
        except ConflictError as error:
            if error.code in _NOT_FREE_YET:
                return None
            raise

    async def _require_own_name(self, key: VirtualKey) -> None:
        """Raise ConflictError `key_replaced` where another key has taken the purged key's place."""
        known = await self._vault_names.recorded(key.group, key.azure_name)
        if known is not None and known.id != key.id:
            detail = "Another key has taken this key's name since it was purged."
            raise ConflictError(detail, code="key_replaced", facts={"key": known.id})


def _validity(last: Validity, given: Validity) -> Validity:
    return Validity(True, given.not_before or last.not_before, given.expires_on or last.expires_on)


def _last(key: VirtualKey) -> KeyVersion:
    if key.current is None:
        raise NotFoundError("The key has no version.", code="key_version_not_found")
    return key.current
