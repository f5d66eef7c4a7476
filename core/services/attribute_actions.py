"""Changes of a key's attributes: dates, operations and tags, deactivation and activation.

Written to the vault first, then recorded as the vault answered. An update is about one version; a key is deactivated
with all of its versions, because one that stays enabled goes on to decrypt and sign.

Invariant: what was done of an action is recorded as that, and said to be a part of it where it is not the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.concurrency import each
from core.domain.callers import Actor
from core.domain.changes import noted, revised
from core.domain.key_kinds import kind_of
from core.domain.key_settings import checked_change
from core.domain.keys import KeyVersion, VirtualKey
from core.domain.lifecycle import refusal, require
from core.domain.new_keys import VersionChanges
from core.domain.observed import ListedKey
from core.domain.pending_actions import KeyAction
from core.domain.wanted_changes import WantedChanges, wanted_by
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    VaultAnswerError,
    VaultUnavailableError,
)
from core.ports import Clock
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef, OpenedKey, OpenedKeys

_AT_ONCE = 8
REASON_LIMIT = 500
#: After these the vault may have done it, or may still do it.
_UNCLEAR = (VaultUnavailableError, VaultAnswerError)

type _Answer = tuple[ListedKey, KeyVersion]


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """Who asks for an action, as which request, and on which state of the key."""

    request: str
    actor: Actor
    if_match: str | None = None


class AttributeActions:
    """Updates, deactivates and activates keys in vaults."""

    def __init__(self, opened: OpenedKeys, actions: OpenActions, clock: Clock) -> None:
        self._opened = opened
        self._actions = actions
        self._clock = clock

    async def update(
        self, ref: KeyRef, number: int | None, changes: VersionChanges, asked: ActionRequest
    ) -> VirtualKey:
        """Change dates, operations or tags of a version (None: the current one).

        Raises the errors of OpenedKeys.open, OpenActions.begin, `checked_change` and VaultKeys.update; NotFoundError
        `key_version_not_found`; StaleWriteError where the key was changed in its vault since it was read.
        """
        async with self._opened.open(ref, asked.request) as opened:
            if await self._actions.has_done(opened.key, asked.request):
                return opened.key
            version = version_numbered(opened.key, number)
            kind = kind_of(version.type, version.size, version.public_key.curve)
            wanted = WantedChanges((version.id,), checked_change(kind, changes, version.validity))
            return await self._done(opened, KeyAction.UPDATE, wanted, asked)

    async def deactivate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> VirtualKey:
        """Disable a key with all versions that are enabled, or one version, for a reason.

        Raises what `update` raises, and InvalidRequestError `reason_invalid`.
        """
        reason = checked_reason(reason)
        async with self._opened.open(ref, asked.request) as opened:
            key = opened.key
            if await self._actions.has_done(opened.key, asked.request):
                return key
            chosen = [version_numbered(key, number)] if number else key.versions
            enabled = tuple(version.id for version in chosen if version.validity.enabled)
            if not enabled and key.pending is None:
                raise self._nothing_to_do(key, number, KeyAction.DEACTIVATE, "key_already_disabled")
            # Without the current version it is no step of the key's: its state stays.
            action = KeyAction.DEACTIVATE if _has_current(key, enabled) else KeyAction.UPDATE
            wanted = WantedChanges(enabled, VersionChanges(enabled=False), reason)
            return await self._done(opened, action, wanted, asked)

    async def activate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> VirtualKey:
        """Enable a key again: the versions that its deactivation disabled, and the current one; or one version."""
        reason = checked_reason(reason) if reason else ""
        async with self._opened.open(ref, asked.request) as opened:
            key = opened.key
            if await self._actions.has_done(opened.key, asked.request):
                return key
            current = (key.current.id,) if key.current else ()
            noted_ones = key.deactivation.versions if key.deactivation else ()
            chosen = (version_numbered(key, number).id,) if number else (*noted_ones, *current)
            off = {version.id for version in key.versions if not version.validity.enabled}
            disabled = tuple(dict.fromkeys(id_ for id_ in chosen if id_ in off))
            if not disabled and key.pending is None:
                raise self._nothing_to_do(key, number, KeyAction.ACTIVATE, "key_not_disabled")
            action = KeyAction.ACTIVATE if _has_current(key, disabled) else KeyAction.UPDATE
            wanted = WantedChanges(disabled, VersionChanges(enabled=True), reason)
            return await self._done(opened, action, wanted, asked)

    def _nothing_to_do(self, key: VirtualKey, number: int | None, action: KeyAction, code: str) -> ConflictError:
        """Return the refusal for versions that are so already; raise the table's where the key's state says more."""
        now = self._clock.now()
        of_key = number is None or number == len(key.versions)
        require(key, action if of_key else KeyAction.UPDATE, now)
        return refusal(key, action, code, now)

    async def _done(
        self, opened: OpenedKey, action: KeyAction, wanted: WantedChanges, asked: ActionRequest
    ) -> VirtualKey:
        stored = opened.stored
        begun = await self._actions.begin(
            stored.value,
            stored.etag,
            action,
            asked.request,
            asked.actor,
            details=wanted.details(),
            if_match=asked.if_match,
        )
        # Of a request that comes again, what was written down the first time counts.
        wanted = wanted_by(begun.pending) or wanted
        answers, errors = await self._sent(opened, begun.azure_name, wanted)
        unclear = next((error for error in errors if isinstance(error, _UNCLEAR)), None)
        if unclear is not None:
            # Perhaps it was done: what is pending is looked at in the vault, by the next request or by the timer.
            raise unclear
        change = self._recorder(answers, wanted, asked.actor)
        if errors:
            detail = f"{errors[0].code}; {len(answers)} of {len(wanted.versions)} versions were changed"
            await self._actions.conclude(begun, change, detail=detail, done=False)
            raise errors[0]
        return await self._actions.conclude(begun, change, event=wanted.event, detail=wanted.words)

    async def _sent(
        self, opened: OpenedKey, name: str, wanted: WantedChanges
    ) -> tuple[list[_Answer], list[KeystewardError]]:
        """Change versions in the vault; after an error what is under way comes to its end, and nothing else begins."""
        answers: list[_Answer] = []
        errors: list[KeystewardError] = []

        async def change(version: str) -> None:
            if errors:
                return
            try:
                answers.append(await opened.keys.update(name, version, wanted.changes))
            except KeystewardError as error:
                errors.append(error)

        await each(change, wanted.versions, at_most=_AT_ONCE)
        return answers, errors

    def _recorder(
        self, answers: Sequence[_Answer], wanted: WantedChanges, actor: Actor
    ) -> Callable[[VirtualKey], VirtualKey]:
        now = self._clock.now()

        def recorded(present: VirtualKey) -> VirtualKey:
            for listed, version in answers:
                present = revised(present, listed, version, now)
            return noted(present, wanted, actor, now)

        return recorded


def version_numbered(key: VirtualKey, number: int | None) -> KeyVersion:
    """Return a version by its number (None: the current one); NotFoundError `key_version_not_found`."""
    at = len(key.versions) if number is None else number
    if not 1 <= at <= len(key.versions):
        raise NotFoundError("The key has no such version.", code="key_version_not_found", field="version")
    return key.versions[at - 1]


def checked_reason(text: str) -> str:
    """Return a reason without surrounding space; InvalidRequestError `reason_invalid`."""
    reason = text.strip()
    if not reason or len(reason) > REASON_LIMIT or not reason.isprintable():
        detail = f"A reason has 1 to {REASON_LIMIT} printable characters."
        raise InvalidRequestError(detail, code="reason_invalid", field="reason")
    return reason


def _has_current(key: VirtualKey, versions: Sequence[str]) -> bool:
    return key.current is not None and key.current.id in versions
