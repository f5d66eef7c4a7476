"""Source keys: keys whose material is in Keysteward, sealed apart from this record.

Invariants: the record holds no material; versions are numbered from 1 and never change their material; a version's
material is bound to the account, the key and the number, and opens only to the public key that is recorded here.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from core.domain.callers import Actor
from core.domain.key_kinds import KeyKind
from core.domain.keys import (
    CopiedFrom,
    CopiedTo,
    HistoryEntry,
    KeyState,
    Presence,
    PublicKey,
    Validity,
    extended,
    state_at,
)
from core.domain.pending_actions import Deactivation, Retirement
from core.domain.rotation_schedules import KeySchedule
from core.errors import ConflictError, NotFoundError


class MaterialOrigin(StrEnum):
    """Where a version's material comes from."""

    GENERATED = "generated"
    IMPORTED = "imported"
    COPIED = "copied"


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """One version; `material` is the id of its sealed material, in a row of its own."""

    number: int
    material: str
    created_on: datetime
    created_by: Actor
    origin: MaterialOrigin
    public_key: PublicKey
    validity: Validity


@dataclass(frozen=True, slots=True)
class SourceKey:
    """A key of a source group as recorded; `name` is unique in the account."""

    id: str
    account: str
    group: str
    name: str
    kind: KeyKind
    permissions: tuple[str, ...]
    created_by: Actor
    created_on: datetime
    updated_on: datetime
    versions: tuple[SourceVersion, ...]
    tags: tuple[tuple[str, str], ...] = ()
    copies: tuple[CopiedTo, ...] = ()
    copied_from: CopiedFrom | None = None
    presence: Presence = Presence.LIVE
    deactivation: Deactivation | None = None
    retirements: tuple[Retirement, ...] = ()
    schedule: KeySchedule | None = None
    history: tuple[HistoryEntry, ...] = ()

    @property
    def current(self) -> SourceVersion:
        """The newest version."""
        return self.versions[-1]

    def version(self, number: int | None) -> SourceVersion:
        """Return a version (None: the current one); NotFoundError `key_version_not_found`."""
        if number is None:
            return self.current
        if not 1 <= number <= len(self.versions):
            raise NotFoundError("The key has no such version.", code="key_version_not_found", field="version")
        return self.versions[number - 1]

    def state(self, now: datetime) -> KeyState:
        """Return the state at `now`, that of the current version."""
        return state_at(self.presence, self.current.validity, now)

    def recorded(self, *entries: HistoryEntry) -> "SourceKey":
        """Return the key with more history."""
        return replace(self, history=extended(self.history, *entries))


#: Permissions that go on after a version's deactivation date: data must stay recoverable.
_STILL_AFTER_EXPIRY = frozenset({"decrypt", "unwrap", "verify"})


def require_permission(key: SourceKey, permission: str) -> None:
    """Raise ConflictError `key_permission_missing` unless the key's own permissions have this one."""
    if permission not in key.permissions:
        raise ConflictError(
            f"The key '{key.name}' does not have the permission '{permission}'.",
            code="key_permission_missing",
            facts={"key": key.id, "permission": permission},
        )


def require_use(key: SourceKey, version: SourceVersion, permission: str, now: datetime) -> None:
    """Raise ConflictError unless the key's own permissions and its state let a version be used so.

    `key_permission_missing` names the permission, `key_not_active` the state.
    """
    require_permission(key, permission)
    state = state_at(key.presence, version.validity, now)
    expired = state is KeyState.DEACTIVATED and version.validity.enabled
    if state is not KeyState.ACTIVE and not (expired and permission in _STILL_AFTER_EXPIRY):
        raise ConflictError(
            f"The key '{key.name}' is {state.value}.", code="key_not_active", facts={"key": key.id, "state": state}
        )


def is_ahead(key: SourceKey, version: int) -> bool:
    """Whether a copy's current version is a later one of its source key than `version`."""
    copied = key.copied_from.versions if key.copied_from else ()
    return any(one.version == str(key.current.number) and one.source_version > version for one in copied)


def with_version(key: SourceKey, version: SourceVersion) -> SourceKey:
    """Return the key with a new current version."""
    return replace(key, versions=(*key.versions, version), updated_on=version.created_on)


def with_copy(key: SourceKey, copy: CopiedTo) -> SourceKey:
    """Return the key with a link to a copy, in place of an older link to the same one; as it is if that is newer."""
    if any(link.key == copy.key and link.copied_on > copy.copied_on for link in key.copies):
        return key
    if any(link.key == copy.key for link in key.copies):
        return replace(key, copies=tuple(copy if link.key == copy.key else link for link in key.copies))
    return replace(key, copies=(*key.copies, copy))


def without_copy(key: SourceKey, copy: str) -> SourceKey:
    """Return the key without the link to a copy that has another key's material by now."""
    return replace(key, copies=tuple(link for link in key.copies if link.key != copy))
