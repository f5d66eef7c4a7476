"""Has a vault make a version of a key, once; and finds out what became of that when its answer was lost.

The order is what makes it safe: what is asked for is written down in the key's record, the request goes out once, the
new version is escrowed, its source key learns of it, and with one write the record has it and nothing is pending.

Invariants: while an earlier request may yet be carried out, none is sent again; a version is taken for ours only if it
is the one unknown version that was asked for; whatever is cut off after the vault's answer is found and recorded later.
"""

import asyncio
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, replace

from core.domain.changes import overlaid
from core.domain.groups import Group
from core.domain.keys import CopiedTo, KeyClass, KeyVersion, VirtualKey
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import LEFT_OVER_AFTER, AskedVersion, KeyAction, PendingAction
from core.domain.rotations import made_among, version_made_by, with_made
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultOutcomeUnknownError,
)
from core.ports import Clock, VaultKeys
from core.services.attribute_actions import ActionRequest
from core.services.escrows import Escrows
from core.services.findings import FindingCode, Findings
from core.services.key_problems import Problems, sync_problems
from core.services.key_refresh import KeyRefresh
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef, OpenedKey
from core.services.placements import Seen, Send
from core.services.prompt_escrows import PromptEscrows
from core.services.retirements import Retirements
from core.services.source_keys import SourceKeys, SourceUse

#: After an answer was lost the vault is asked this often, with so many seconds in between, what became of the request.
_LOOKS, _SECONDS_BETWEEN_LOOKS = 3, 1.0


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """One version that is wanted: what is written down, what sends it, and who asked for it."""

    action: KeyAction
    wanted: AskedVersion
    send: Send
    asked: ActionRequest


class VersionMaking:
    """Makes versions of keys that are there, or that were purged."""

    def __init__(  # noqa: PLR0913 - all that a new version concerns
        self,
        refresh: KeyRefresh,
        actions: OpenActions,
        *,
        sources: SourceKeys,
        escrows: Escrows,
        retirements: Retirements,
        findings: Findings,
        clock: Clock,
    ) -> None:
        self._refresh = refresh
        self._actions = actions
        self._sources = sources
        self._escrows = PromptEscrows(escrows)
        self._retirements = retirements
        self._findings = findings
        self._clock = clock

    async def make(self, opened: OpenedKey, request: VersionRequest) -> VirtualKey:
        """Make the version; the errors are those of `begin` and `finish`."""
        begun = await self.begin(opened, request)
        return await self.finish(opened.keys, opened.group, begun, request.send)

    async def begin(self, opened: OpenedKey, request: VersionRequest) -> VirtualKey:
        """Write down what is going to be sent; errors as for OpenActions.begin."""
        asked = request.asked
        return await self._actions.begin(
            opened.key,
            opened.stored.etag,
            request.action,
            asked.request,
            asked.actor,
            asked=request.wanted,
            if_match=asked.if_match,
        )

    async def finish(
        self, keys: VaultKeys, group: Group, begun: VirtualKey, send: Send, *, later: Container[str] = ()
    ) -> VirtualKey:
        """Send what was written down, and record what came of it.

        `later` are the codes of refusals that leave the action pending, to be sent again. Raises
        VaultOutcomeUnknownError, ConflictError `rotation_unclear`, and whatever sending raises.
        """
        try:
            seen = await self._sent(keys, begun, send)
        except (VaultOutcomeUnknownError, VaultAnswerError):
            raise
        except KeystewardError as error:
            # Whatever else it was, nothing was made.
            if error.code not in later:
                await self._actions.withdraw(begun, error.code)
            raise
        return await self._concluded(keys, group, begun, seen)

    async def go_on(self, opened: OpenedKey, request: str) -> VirtualKey | None:
        """Return the key if this request has made a version; None if it has to be made.

        Raises VaultOutcomeUnknownError while an earlier try may yet be carried out, StaleWriteError where it was not
        (the key has to be read again), ConflictError `rotation_unclear`.
        """
        key = opened.key
        if version_made_by(key, request) is not None:
            await self._actions.relist(key)
            return key
        if key.pending is None or key.pending.id != request:
            return None
        made = await self.resumed(opened.keys, opened.group, key)
        if made is None:
            # The record is another one by now.
            raise StaleWriteError("The key")
        return made

    async def settle(self, keys: VaultKeys, group: Group, key: VirtualKey) -> None:
        """Record what became of a key's action that was left over, whatever that is; VaultUnavailableError."""
        with suppress(ConflictError):
            await self.resumed(keys, group, key)

    async def resumed(self, keys: VaultKeys, group: Group, key: VirtualKey) -> VirtualKey | None:
        """Record what became of a key's pending action; None if it did not happen. Errors as for `go_on`."""
        pending = key.pending
        if pending is None or pending.asked is None:
            return key
        try:
            seen = await self._found(keys, key)
        except ConflictError as error:
            await self._actions.withdraw(key, error.code)
            raise
        if seen is not None:
            return await self._concluded(keys, group, key, seen)
        if not pending.left_over(self._clock.now()):
            raise VaultOutcomeUnknownError(
                "The vault may still carry out the request whose answer was lost.",
                code="vault_outcome_unknown",
                retry_after=LEFT_OVER_AFTER / 5,
            )
        await self._actions.withdraw(key, "found not done")
        return None

    async def _sent(self, keys: VaultKeys, begun: VirtualKey, send: Send) -> Seen:
        try:
            return await send(keys)
        except (VaultOutcomeUnknownError, VaultAnswerError):
            for look in range(_LOOKS):
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS if look else 0)
                seen = await self._glimpsed(keys, begun)
                if seen is not None:
                    return seen
            raise

    async def _glimpsed(self, keys: VaultKeys, key: VirtualKey) -> Seen | None:
        """Look; a vault that cannot be asked now is asked again later."""
        try:
            return await self._found(keys, key)
        except ConflictError:
            raise
        except KeystewardError:
            return None

    async def _found(self, keys: VaultKeys, key: VirtualKey) -> Seen | None:
        """Return the version that was asked for, as the vault shows it; errors as for `made_among`, `key_replaced`."""
        asked = key.pending.asked if key.pending else None
        observed = await self._refresh.find(keys, key) if asked else None
        if asked is None or observed is None:
            return None
        version = made_among(asked, observed.versions)
        return (observed.listed, version) if version else None

    async def _concluded(self, keys: VaultKeys, group: Group, begun: VirtualKey, seen: Seen) -> VirtualKey:
        """Escrow the version, tell its source key, and record it."""
        pending = begun.pending
        if pending is None or pending.asked is None:
            return begun
        listed, version = await _dated(keys, begun, pending.asked, seen)
        now, others = self._clock.now(), await self._others(keys, begun, version.id)

        def with_version(present: VirtualKey) -> VirtualKey:
            seen = with_made(overlaid(present, others or ()), pending, listed, version, now)
            # Where nobody could look, the next sync does, whatever its list shows.
            return seen if others is not None else replace(seen, fingerprint="")

        escrow = await self._escrows.make(keys, group, with_version(begun), pending.id)
        await self._link(group, begun, pending)

        def made(present: VirtualKey) -> VirtualKey:
            return escrow.recorded(with_version(present), pending.actor, now)

        await self._note(made(begun), group)
        key = await self._actions.conclude(begun, made, detail=version.id)
        await self._escrows.prune(escrow)
        if pending.asked.retire is not None and not pending.asked.grace:
            await self._retirements.try_now(KeyRef(key.account, key.group, key.id), KeyClass.VIRTUAL)
        return key

    async def _note(self, key: VirtualKey, group: Group) -> None:
        """Raise and clear what a sync would, which does not look at a key that its list shows as it is recorded."""
        problems = Problems()
        found = {**sync_problems(key, group.escrow, self._clock.now()), FindingCode.ROTATION_FAILED: None}
        problems.note_all(key, found.items(), known=True)
        await self._findings.settle(key.account, problems.raised, problems.cleared)

    async def _others(self, keys: VaultKeys, begun: VirtualKey, ours: str) -> tuple[KeyVersion, ...] | None:
        """Return other versions that came meanwhile: a vault's list hides them behind ours. None: nobody could look."""
        known = {version.id for version in begun.versions} | {ours}
        try:
            if {version.id for version in await keys.list_versions(begun.azure_name)} <= known:
                return ()
            observed = await self._refresh.observe(keys, begun)
        except KeystewardError:
            return None
        return tuple(version for version in observed.versions if version.id not in known) if observed else None

    async def _link(self, group: Group, key: VirtualKey, pending: PendingAction) -> None:
        """Have the source key show at which version its copy is, and an earlier one forget it."""
        source = pending.asked.source if pending.asked else None
        if source is None:
            return
        copy = CopiedTo(
            group=group.id,
            group_title=group.title,
            key=key.id,
            name=key.name,
            azure_name=key.azure_name,
            source_version=source.version,
            copied_by=pending.actor,
            copied_on=pending.started_on,
        )
        # Either may be gone by now.
        with suppress(NotFoundError):
            await self._sources.link(key.account, SourceUse(source.group, source.key), copy, "key.copy_rotated")
        earlier = key.copied_from
        if earlier is not None and earlier.key != source.key:
            with suppress(NotFoundError):
                await self._sources.unlink(key.account, SourceUse(earlier.group, earlier.key), key.id, pending.actor)


async def _dated(keys: VaultKeys, key: VirtualKey, asked: AskedVersion, seen: Seen) -> Seen:
    """Set the dates that the request could not name."""
    _, version = seen
    begin, end = asked.not_before, asked.expires_on
    validity = version.validity
    if (begin or validity.not_before, end or validity.expires_on) == (validity.not_before, validity.expires_on):
        return seen
    listed, dated = await keys.update(key.azure_name, version.id, VersionChanges(not_before=begin, expires_on=end))
    return listed, dated
