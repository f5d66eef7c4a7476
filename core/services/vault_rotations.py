"""Azure's own rotation policy of a key: read where it would replace material that is ours, and switched off on request.

Invariant: what is recorded was read from the vault, after a change, too. To switch a policy off twice is the same as
once.
"""

from dataclasses import replace
from datetime import datetime

from core.domain.keys import HistoryEntry, Presence, VirtualKey, extended
from core.domain.lifecycle import require
from core.domain.new_keys import RotationPolicy
from core.domain.pending_actions import KeyAction
from core.domain.vault_rotation import VaultRotation
from core.errors import KeystewardError, NotFoundError, VaultAnswerError, VaultUnavailableError
from core.ports import Clock, VaultKeys
from core.services.attribute_actions import ActionRequest
from core.services.conditional import require_match
from core.services.findings import FindingCode, Findings, Subject
from core.services.key_records import KeyRecords
from core.services.opened_keys import KeyRef, OpenedKeys


class VaultRotations:
    """Switches rotation by the vault off."""

    def __init__(self, opened: OpenedKeys, records: KeyRecords, findings: Findings, clock: Clock) -> None:
        self._opened = opened
        self._records = records
        self._findings = findings
        self._clock = clock

    async def disable(self, ref: KeyRef, asked: ActionRequest) -> VirtualKey:
        """Take the rotation out of the vault's own policy of a key; the rest of the policy stays.

        Raises StaleWriteError, the errors of OpenedKeys.open and of the vault, those of `lifecycle.require` for a key
        that is not live, and VaultAnswerError `vault_rotation_stays`.
        """
        async with self._opened.open(ref, asked.request) as opened:
            require_match(opened.stored.etag, asked.if_match, "The key")
            if opened.key.presence is not Presence.LIVE:
                require(opened.key, KeyAction.UPDATE, self._clock.now())
            keys, name = opened.keys, opened.key.azure_name
            before = await keys.rotation_policy(name)
            after = before
            if before.rotates:
                await keys.set_rotation_policy(name, RotationPolicy(expires_after=before.expires_after))
                after = await keys.rotation_policy(name)
            if after.rotates:
                raise VaultAnswerError("The vault keeps its rotation policy.", code="vault_rotation_stays")
            known = opened.key.vault_rotation
            ended = before.rotates or (known is not None and known.rotates)
            return await self._recorded(ref, asked, as_read(after, self._clock.now()), ended=ended)

    async def _recorded(self, ref: KeyRef, asked: ActionRequest, read: VaultRotation, *, ended: bool) -> VirtualKey:
        entry = HistoryEntry(read.read_on, "key.vault_rotation_disabled", asked.actor)

        def off(present: VirtualKey | None) -> VirtualKey:
            if present is None:
                raise NotFoundError("There is no such key.", code="key_not_found")
            history = extended(present.history, entry) if ended else present.history
            return replace(present, vault_rotation=read, history=history)

        recorded = await self._records.amend(ref.account, ref.group, ref.key, off)
        await self._findings.settle(ref.account, {}, {(FindingCode.NATIVE_ROTATION, Subject(ref.group, ref.key))})
        return recorded


def as_read(policy: RotationPolicy, now: datetime) -> VaultRotation:
    """Return a policy as it is recorded."""
    return VaultRotation(
        now,
        rotate_after_creation=policy.rotate_after_creation,
        rotate_before_expiry=policy.rotate_before_expiry,
        expires_after=policy.expires_after,
    )


async def read_rotation(keys: VaultKeys, key: VirtualKey, now: datetime) -> VaultRotation | None:
    """Return what the vault says of its rotation of a key; what is recorded, where the vault is away.

    A vault that does not tell (the permission to read rotation policies is one of its own) is no error.
    """
    try:
        return as_read(await keys.rotation_policy(key.azure_name), now)
    except VaultUnavailableError:
        return key.vault_rotation
    except KeystewardError:
        return VaultRotation(now, known=False)
