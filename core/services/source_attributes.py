"""Changes of source keys' attributes: there is no vault to ask, so each is one conditional write."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from core.domain.connection_drafts import KEEP, Keep
from core.domain.key_kinds import Target, check_allowed
from core.domain.key_settings import checked_tags
from core.domain.keys import Condition, HistoryEntry, Validity, condition_at, has_done
from core.domain.pending_actions import Deactivation
from core.domain.source_keys import SourceKey, SourceVersion
from core.errors import ConflictError, InvalidRequestError
from core.ports import Clock, Stored
from core.services.attribute_actions import ActionRequest, checked_reason
from core.services.opened_keys import KeyRef
from core.services.source_records import SourceRecords


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """What of a source key changes. Dates are a version's and may be taken away; the rest is the key's."""

    not_before: datetime | Keep | None = KEEP
    expires_on: datetime | Keep | None = KEEP
    permissions: tuple[str, ...] | None = None
    tags: tuple[tuple[str, str], ...] | None = None


class SourceAttributes:
    """Updates, deactivates and activates source keys."""

    def __init__(self, records: SourceRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def update(
        self, ref: KeyRef, number: int | None, changes: SourceChanges, asked: ActionRequest
    ) -> Stored[SourceKey]:
        """Change dates of a version (None: the current one), permissions or tags.

        Raises NotFoundError `key_version_not_found`; InvalidRequestError `dates_invalid`, `tags_invalid`;
        PolicyViolationError `key_not_allowed`; StaleWriteError.
        """
        now = self._clock.now()

        def updated(key: SourceKey) -> SourceKey:
            version = key.version(number)
            dated = replace(version, validity=_dated(version.validity, changes))
            permissions = key.permissions if changes.permissions is None else tuple(dict.fromkeys(changes.permissions))
            check_allowed(Target.SOURCE, key.kind, permissions)
            tags = key.tags if changes.tags is None else checked_tags(changes.tags)
            entry = HistoryEntry(now, "key.updated", asked.actor, str(version.number), asked.request)
            changed = replace(_with(key, [dated], now), permissions=permissions, tags=tags)
            return changed.recorded(entry)

        return await self._amended(ref, asked, updated)

    async def deactivate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> Stored[SourceKey]:
        """Disable a key with all versions, or one version, for a reason.

        Raises NotFoundError `key_version_not_found`; InvalidRequestError `reason_invalid`; ConflictError
        `key_already_disabled`; StaleWriteError.
        """
        reason, now = checked_reason(reason), self._clock.now()

        def disabled(key: SourceKey) -> SourceKey:
            chosen = [key.version(number)] if number else list(key.versions)
            enabled = [version for version in chosen if version.validity.enabled]
            if not enabled:
                raise ConflictError("The key is disabled already.", code="key_already_disabled")
            changed = _with(key, (_enabled(version, enabled=False) for version in enabled), now)
            versions = (*_still_disabled(changed), *(str(version.number) for version in enabled))
            noted = Deactivation(now, asked.actor, reason, tuple(dict.fromkeys(versions)))
            entry = HistoryEntry(now, "key.deactivated", asked.actor, reason, asked.request)
            return replace(changed, deactivation=noted).recorded(entry)

        return await self._amended(ref, asked, disabled)

    async def activate(self, ref: KeyRef, number: int | None, reason: str, asked: ActionRequest) -> Stored[SourceKey]:
        """Enable a key again: what its deactivation disabled, and the current version; or one version.

        Raises NotFoundError `key_version_not_found`; ConflictError `key_not_disabled`, `key_expired`; StaleWriteError.
        """
        reason, now = checked_reason(reason) if reason else "", self._clock.now()

        def enabled(key: SourceKey) -> SourceKey:
            noted = (*_still_disabled(key), str(key.current.number))
            chosen = [key.version(number)] if number else [v for v in key.versions if str(v.number) in noted]
            disabled = [version for version in chosen if not version.validity.enabled]
            if not disabled:
                raise _not_disabled(key, now)
            changed = _with(key, (_enabled(version, enabled=True) for version in disabled), now)
            left = _still_disabled(changed)
            deactivation = replace(key.deactivation, versions=left) if key.deactivation and left else None
            entry = HistoryEntry(now, "key.activated", asked.actor, reason, asked.request)
            return replace(changed, deactivation=deactivation).recorded(entry)

        return await self._amended(ref, asked, enabled)

    async def _amended(
        self, ref: KeyRef, asked: ActionRequest, change: Callable[[SourceKey], SourceKey]
    ) -> Stored[SourceKey]:
        """Write a change, or find that this request wrote it before: then its lists may have been cut off."""
        stored = await self._records.get(ref.account, ref.group, ref.key)
        if has_done(stored.value.history, asked.request):
            if not await self._records.is_listed(stored.value):
                await self._records.relist(stored.value)
            return stored
        return await self._records.amend(ref.account, ref.group, ref.key, change, asked.if_match)


def _still_disabled(key: SourceKey) -> tuple[str, ...]:
    """What is left of what a key's deactivation disabled, by number."""
    off = {str(version.number) for version in key.versions if not version.validity.enabled}
    return tuple(number for number in (key.deactivation.versions if key.deactivation else ()) if number in off)


def _not_disabled(key: SourceKey, now: datetime) -> ConflictError:
    if condition_at(key.presence, key.current.validity, now) is Condition.EXPIRED:
        detail = "The key is enabled and past its deactivation date: move that date."
        return ConflictError(detail, code="key_expired")
    return ConflictError("The key is not disabled.", code="key_not_disabled")


def _with(key: SourceKey, versions: Iterable[SourceVersion], now: datetime) -> SourceKey:
    changed = {version.number: version for version in versions}
    kept = tuple(changed.get(version.number, version) for version in key.versions)
    return replace(key, versions=kept, updated_on=now)


def _enabled(version: SourceVersion, *, enabled: bool) -> SourceVersion:
    return replace(version, validity=replace(version.validity, enabled=enabled))


def _dated(present: Validity, changes: SourceChanges) -> Validity:
    begin = present.not_before if isinstance(changes.not_before, Keep) else changes.not_before
    end = present.expires_on if isinstance(changes.expires_on, Keep) else changes.expires_on
    if begin is not None and end is not None and end <= begin:
        detail = "The deactivation date comes after the activation date."
        raise InvalidRequestError(detail, code="dates_invalid", field="expires_on")
    return replace(present, not_before=begin, expires_on=end)
