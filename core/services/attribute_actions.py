"""Changes of a key's attributes: dates, operations and tags, deactivation and activation.

Written to the vault first, then recorded as the vault answered. An update is about one version; a key is deactivated
with all of its versions, because one that stays enabled goes on to decrypt and sign.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from core.concurrency import each
from core.domain.callers import Actor
from core.domain.changes import revised
from core.domain.key_kinds import kind_of
from core.domain.key_settings import checked_change
from core.domain.keys import KeyVersion, VirtualKey
from core.domain.new_keys import VersionChanges
from core.domain.observed import ListedKey
from core.domain.pending_actions import Deactivation, KeyAction
from core.errors import InvalidRequestError, KeystewardError, NotFoundError, VaultUnavailableError
from core.ports import Clock
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef, OpenedKey, OpenedKeys

_AT_ONCE = 8
REASON_LIMIT = 500

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
            version = version_numbered(opened.key, number)
            kind = kind_of(version.type, version.size, version.public_key.curve)
            wanted = checked_change(kind, changes, version.validity)
            begun = await self._begin(opened, KeyAction.UPDATE, asked)
            answers = await self._sent(opened, begun, [version.id], wanted)
            return await self._actions.conclude(begun, self._recorder(answers), detail=version.id)

    async def deactivate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> VirtualKey:
        """Disable a key with all versions that are enabled, or one version, for a reason.

        Raises what `update` raises, and InvalidRequestError `reason_invalid`.
        """
        reason = checked_reason(reason)
        async with self._opened.open(ref, asked.request) as opened:
            wanted = [version_numbered(opened.key, number)] if number else list(opened.key.versions)
            enabled = [version.id for version in wanted if version.validity.enabled]
            # A version that is not the current one does not decide the key's state.
            action = KeyAction.DEACTIVATE if _has_current(opened.key, wanted) else KeyAction.UPDATE
            begun = await self._begin(opened, action, asked)
            answers = await self._sent(opened, begun, enabled, VersionChanges(enabled=False))
            noted = Deactivation(self._clock.now(), asked.actor, reason, tuple(enabled))

            def disabled(present: VirtualKey) -> VirtualKey:
                return replace(self._recorder(answers)(present), deactivation=noted)

            return await self._actions.conclude(begun, disabled, event="key.deactivated", detail=reason)

    async def activate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> VirtualKey:
        """Enable a key again: the versions that its deactivation disabled, or else the current one; or one version."""
        reason = checked_reason(reason) if reason else ""
        async with self._opened.open(ref, asked.request) as opened:
            key = opened.key
            disabled = [version.id for version in key.versions if not version.validity.enabled]
            noted = key.deactivation.versions if key.deactivation else ()
            chosen = [version_numbered(key, number).id] if number else [id_ for id_ in noted if id_ in disabled]
            if not chosen and key.current is not None:
                chosen = [key.current.id]
            decides = key.current is not None and key.current.id in chosen
            begun = await self._begin(opened, KeyAction.ACTIVATE if decides else KeyAction.UPDATE, asked)
            answers = await self._sent(opened, begun, chosen, VersionChanges(enabled=True))

            def enabled(present: VirtualKey) -> VirtualKey:
                return replace(self._recorder(answers)(present), deactivation=None)

            return await self._actions.conclude(begun, enabled, event="key.activated", detail=reason)

    async def _begin(self, opened: OpenedKey, action: KeyAction, asked: ActionRequest) -> VirtualKey:
        stored = opened.stored
        return await self._actions.begin(
            stored.value, stored.etag, action, asked.request, asked.actor, if_match=asked.if_match
        )

    async def _sent(
        self, opened: OpenedKey, begun: VirtualKey, versions: Sequence[str], changes: VersionChanges
    ) -> list[_Answer]:
        """Change versions in the vault. What was changed before an error is recorded, and the error goes on."""
        answers: list[_Answer] = []

        async def change(version: str) -> None:
            answers.append(await opened.keys.update(begun.azure_name, version, changes))

        try:
            await each(change, versions, at_most=_AT_ONCE)
        except VaultUnavailableError:
            # Perhaps it was done: what is pending is looked at in the vault, by the next request or by the timer.
            raise
        except KeystewardError as error:
            await self._actions.conclude(
                begun, self._recorder(answers), event=f"key.{_verb(begun)}_not_done", detail=error.code
            )
            raise
        return answers

    def _recorder(self, answers: Sequence[_Answer]) -> Callable[[VirtualKey], VirtualKey]:
        def recorded(present: VirtualKey) -> VirtualKey:
            for listed, version in answers:
                present = revised(present, listed, version, self._clock.now())
            return present

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


def _has_current(key: VirtualKey, versions: Sequence[KeyVersion]) -> bool:
    return any(key.current is not None and version.id == key.current.id for version in versions)


def _verb(key: VirtualKey) -> str:
    return key.pending.action.value if key.pending else ""
