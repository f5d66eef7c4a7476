"""Brings a new key into a vault, once: whatever is cut off, and however often the request is repeated.

The order is what makes it safe: the name is found free, the intent is stored, the request goes out once, the outcome
is recorded, the intent is closed. Whoever comes later with the same request, or reconciliation, finds the intent and
asks the vault what became of it.

Invariants: no request that makes a version is sent while an earlier one of the same intent may yet be carried out, nor
before the vault was asked what became of it; an intent ends when its key is recorded, with both ends of its link if it
is a copy, or when nothing can come of it any more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from core.domain.copies import back_link
from core.domain.groups import Group
from core.domain.intents import GIVEN_UP_AFTER, Intent, is_expected
from core.domain.keys import GONE, CopiedFrom, KeyOrigin, KeyVersion, Presence, VirtualKey
from core.domain.new_keys import NewKey, NewVersion
from core.domain.observed import ListedKey, ObservedKey
from core.domain.placements import context_of, placed
from core.domain.sync import key_id
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultOutcomeUnknownError,
)
from core.ports import Clock, VaultKeys
from core.services.claimed_names import ClaimedNames
from core.services.display_names import DisplayNames
from core.services.escrows import Escrows
from core.services.group_vaults import GroupVaults
from core.services.intents import Intents
from core.services.key_records import KeyChange, KeyRecords
from core.services.prompt_escrows import PromptEscrows
from core.services.source_keys import SourceKeys, SourceUse
from core.services.vault_names import VaultNames, soft_deleted, taken

#: After an answer was lost the vault is asked this often, with a second in between, what became of the request.
_LOOKS = 3
_SECONDS_BETWEEN_LOOKS = 1.0
_TRIES = 8

type Seen = tuple[ListedKey, KeyVersion]
#: Sends the one request that makes the version.
type Send = Callable[[VaultKeys], Awaitable[Seen]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placement:
    """A key that is to come into a vault: its names, what is asked for, and what the record is to say of it."""

    request: NewKey
    name: str
    azure_name: str
    new: NewVersion
    origin: KeyOrigin
    event: str
    thumbprint: str | None = None
    copied_from: CopiedFrom | None = None


class Placements:
    """Makes keys in vaults."""

    def __init__(  # noqa: PLR0913 - the collaborators of a placement
        self,
        vaults: GroupVaults,
        intents: Intents,
        *,
        names: DisplayNames,
        vault_names: VaultNames,
        sources: SourceKeys,
        records: KeyRecords,
        escrows: Escrows,
        clock: Clock,
    ) -> None:
        self._vaults = vaults
        self._intents = intents
        self._names = ClaimedNames(names)
        self._vault_names = vault_names
        self._sources = sources
        self._records = records
        self._escrows = PromptEscrows(escrows)
        self._clock = clock

    async def place(self, keys: VaultKeys, placement: Placement, send: Send) -> VirtualKey:
        """Make the key with `send`, or find the one that this request made before.

        Raises ConflictError (`key_name_taken`, `key_name_soft_deleted`, `key_name_purged`, `key_display_name_taken`,
        `request_in_progress`), VaultOutcomeUnknownError, and whatever `send` raises.
        """
        group = placement.request.group
        earlier = await self._intents.find(group.account, placement.request.request)
        if earlier is not None and earlier.key is not None:
            return (await self._records.get(group.account, group.id, earlier.key)).value
        if earlier is not None:
            return await self._resumed(keys, group, earlier, send)
        intent = await self._prepared(keys, placement)
        seen = await self._sent(keys, intent, send, first=True)
        return await self._concluded(keys, group, intent, seen)

    async def reconcile(self) -> int:
        """Find out what became of intents that were left over, and record it; return how many were settled."""
        settled = 0
        async for intent in self._intents.left_over():
            try:
                settled += await self._reconcile_one(intent)
            except KeystewardError as error:
                # One vault that cannot be asked must not keep the others waiting.
                _log.warning("intent not reconciled", extra={"intent": intent.id, "code": error.code})
                await self._intents.note_unfinished(intent)
        return settled

    async def _reconcile_one(self, intent: Intent) -> bool:
        try:
            group = await self._vaults.group(intent.account, intent.group)
        except NotFoundError:
            await self._abandon(intent)
            return True
        async with self._vaults.opened(group) as keys:
            try:
                seen = await self._look(keys, intent)
            except ConflictError:
                await self._abandon(intent)
                return True
            if seen is not None:
                await self._concluded(keys, group, await self._names.kept(intent, group), seen)
                return True
        if self._clock.now() - intent.started_on > GIVEN_UP_AFTER:
            await self._abandon(intent)
            return True
        return False

    async def _resumed(self, keys: VaultKeys, group: Group, intent: Intent, send: Send) -> VirtualKey:
        """Go on with an intent of which an earlier request may have been carried out, or may be yet."""
        seen = await self._look(keys, intent)
        if seen is not None:
            return await self._concluded(keys, group, await self._names.kept(intent, group), seen)
        wait = intent.may_arrive_for(self._clock.now())
        if wait:
            raise VaultOutcomeUnknownError(
                "The vault may still carry out the request whose answer was lost.", retry_after=wait
            )
        await self._names.claim(intent)
        intent = await self._intents.note_sent(intent)
        seen = await self._sent(keys, intent, send, first=False)
        return await self._concluded(keys, group, intent, seen)

    async def _prepared(self, keys: VaultKeys, placement: Placement) -> Intent:
        """Take the names and write the intent down."""
        request, group, now = placement.request, placement.request.group, self._clock.now()
        intent = Intent(
            id=request.request,
            account=group.account,
            group=group.id,
            name=placement.name,
            azure_name=placement.azure_name,
            new=placement.new,
            origin=placement.origin,
            event=placement.event,
            actor=request.actor,
            started_on=now,
            sent_on=now,
            thumbprint=placement.thumbprint,
            copied_from=placement.copied_from,
        )
        await self._names.claim(intent)
        try:
            await self._vault_names.require_free(
                keys, group, placement.azure_name, reuse_purged=request.names.reuse_purged
            )
        except KeystewardError:
            # The same request may be at work elsewhere, with the same claims.
            if await self._intents.find(intent.account, intent.id) is None:
                await self._names.give_back(intent)
            raise
        await self._intents.open(intent)
        return intent

    async def _sent(self, keys: VaultKeys, intent: Intent, send: Send, *, first: bool) -> Seen:
        try:
            return await send(keys)
        except (VaultOutcomeUnknownError, VaultAnswerError) as lost:
            unanswered = isinstance(lost, VaultOutcomeUnknownError) and not lost.answered
            await self._intents.note_end(intent, self._clock.now() if unanswered else None)
            for look in range(_LOOKS):
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS if look else 0)
                try:
                    seen = await self._look(keys, intent)
                except ConflictError:
                    raise
                except KeystewardError:
                    # A vault that cannot be asked has not said that nothing was made.
                    raise lost from None
                if seen is not None:
                    return seen
            raise
        except KeystewardError as error:
            # Whatever else it was, nothing was made: not by this request, but perhaps by an earlier one.
            await (self._abandon(intent) if first else self._intents.note_end(intent, None))
            raise await self._named(intent, error) from None

    async def _named(self, intent: Intent, error: KeystewardError) -> KeystewardError:
        """Return a refusal because of the name's state with its ways out; others as they are."""
        if error.code != "key_soft_deleted":
            return error
        return soft_deleted(await self._vault_names.recorded(intent.group, intent.azure_name), None)

    async def _look(self, keys: VaultKeys, intent: Intent) -> Seen | None:
        """Return what the vault has of the intent, or None; ConflictError where the name is somebody else's by now.

        The name was free, so the key's first version tells whose it is; others may have come since.
        """
        try:
            versions = await keys.list_versions(intent.azure_name)
            first = min(versions, key=lambda version: (version.created_on, version.id))
            listed, found = await keys.get_version(intent.azure_name, first.id)
        except NotFoundError:
            return None
        if is_expected(intent, found):
            return listed, found
        raise taken(await self._vault_names.recorded(intent.group, intent.azure_name))

    async def _concluded(self, keys: VaultKeys, group: Group, intent: Intent, seen: Seen) -> VirtualKey:
        """Escrow the key, record it, and close the intent."""
        listed, version = seen
        await self._require_first(keys, intent, version)
        context = context_of(intent, group.key_label, self._clock.now())
        observed = ObservedKey(listed, (version,))
        escrow = await self._escrows.make(keys, group, placed(context, intent, observed, None), context.job)

        def recorded(present: VirtualKey | None) -> VirtualKey:
            return escrow.recorded(placed(context, intent, observed, present), intent.actor, context.now)

        id_ = key_id(group.id, observed)
        await self._make_way(group, intent, id_)
        key = await self._records.amend(group.account, group.id, id_, recorded)
        await self._link(group, key)
        await self._intents.close(intent, key.id)
        await self._names.made(intent)
        return key

    async def _link(self, group: Group, key: VirtualKey) -> None:
        """Write the other end of a copy's link."""
        link = key.copied_from
        if link is not None:
            # Its source key may be gone by now.
            with suppress(NotFoundError):
                copy = back_link(group, key.id, key.name, key.azure_name, link)
                await self._sources.link(key.account, SourceUse(link.group, link.key), copy)

    async def _require_first(self, keys: VaultKeys, intent: Intent, version: KeyVersion) -> None:
        """Raise ConflictError `key_name_raced` if the version came to a key that somebody made at the same moment."""
        versions = await keys.list_versions(intent.azure_name)
        if any(other.id != version.id and other.created_on <= version.created_on for other in versions):
            await self._abandon(intent)
            raise ConflictError(
                "Somebody else made a key with this name at the same moment; the vault holds both as versions of it.",
                code="key_name_raced",
                facts={"azure_name": intent.azure_name, "version": version.id},
            )

    async def _make_way(self, group: Group, intent: Intent, id_: str) -> None:
        """Move a purged key, whose name is taken now, to its place among the replaced."""
        for _ in range(_TRIES):
            known = await self._vault_names.recorded(group.id, intent.azure_name)
            stored = await self._records.keys.get(group.id, known.id) if known and known.id != id_ else None
            if stored is None:
                return
            presence = stored.value.presence if stored.value.presence in GONE else Presence.PURGED
            gone = replace(stored.value, presence=presence, observed_on=self._clock.now())
            change = KeyChange(gone, known, stored.etag, replaced=True, over=stored.value)
            if not await self._records.write(group.account, group.id, [change]):
                return
        raise StaleWriteError("The key")

    async def _abandon(self, intent: Intent) -> None:
        await self._intents.abandon(intent)
        await self._names.give_back(intent)
