"""Which keys can have which schedule: those whose next version needs nobody."""

from datetime import datetime

from core.domain.keys import KeyOrigin, Presence, VirtualKey
from core.domain.lifecycle import require
from core.domain.pending_actions import KeyAction
from core.domain.rotation_schedules import RotationSchedule, Trigger, VersionLife
from core.domain.rotations import kind_of_version, life_of
from core.domain.source_keys import SourceKey, require_permission
from core.errors import ConflictError, InvalidRequestError

type AnyKey = VirtualKey | SourceKey


def current_life(key: AnyKey) -> VersionLife | None:
    """Return when a key's current version was made, and when it expires; None where it has no version."""
    return life_of(key.current) if key.current else None


def require_schedulable(key: AnyKey, schedule: RotationSchedule, now: datetime) -> None:
    """Raise what speaks against a schedule of this key.

    InvalidRequestError `rotation_schedule_invalid`; ConflictError `schedule_on_copy`, `schedule_on_imported`,
    `key_managed`, `key_size_unknown`, `key_permission_missing`, and those of the lifecycle's table.
    """
    if schedule.trigger is Trigger.DAYS_BEFORE_EXPIRY:
        _require_expiry(key, schedule)
    if isinstance(key, SourceKey):
        if schedule.size is not None:
            detail = "The size is that of a symmetric key in a vault; a source key has its own."
            raise InvalidRequestError(detail, code="rotation_schedule_invalid", field="size")
        if schedule.rotate_copies:
            require_permission(key, "export")
        return
    if schedule.rotate_copies:
        detail = "A key in a vault has no copies."
        raise InvalidRequestError(detail, code="rotation_schedule_invalid", field="rotate_copies")
    require(key, KeyAction.ROTATE, now)
    if key.copied_from is not None:
        raise ConflictError("The key is a copy: schedule the rotation of its source key.", code="schedule_on_copy")
    if key.origin is not KeyOrigin.NATIVE:
        detail = "The key's material was imported: only somebody who has new material can rotate it."
        raise ConflictError(detail, code="schedule_on_imported")
    if key.current is not None:
        if key.current.managed:
            detail = "The key belongs to a certificate of the vault, and is renewed with it."
            raise ConflictError(detail, code="key_managed")
        kind_of_version(key.current, schedule.size)


def _require_expiry(key: AnyKey, schedule: RotationSchedule) -> None:
    """Refuse a trigger that would never come, or come again at once."""
    life = current_life(key)
    if life is None or life.expires_on is None:
        detail = "The key's current version does not expire."
        raise InvalidRequestError(detail, code="rotation_schedule_invalid", field=schedule.trigger.value)
    if (life.expires_on - life.created_on).days <= schedule.count:
        detail = f"The key's current version lives for {(life.expires_on - life.created_on).days} days only."
        raise InvalidRequestError(detail, code="rotation_schedule_invalid", field=schedule.trigger.value)


def is_rotatable(key: AnyKey) -> bool:
    """Whether a run makes sense: a key that is deleted or has become a copy is left alone until it is back."""
    if isinstance(key, SourceKey):
        return key.presence is Presence.LIVE
    return key.presence is Presence.LIVE and key.copied_from is None and key.origin is KeyOrigin.NATIVE
