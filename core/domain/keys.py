"""Keys as recorded: virtual keys, which a vault holds, and what they share with source keys; and the state at a time.

Invariants: `recorded` is our copy, `observed` is what the vault said; a state is derived at a time and never stored;
versions are ordered by creation (then by when they were recorded), oldest first, and numbered from 1.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.callers import Actor
from core.domain.drift import Drift, DriftReview, unreviewed
from core.domain.pending_actions import Deactivation, PendingAction, Retirement
from core.domain.rotation_schedules import KeySchedule
from core.domain.vault_rotation import VaultRotation

#: How many drift and history entries a key carries; the oldest go first.
KEPT_ENTRIES = 200


class KeyClass(StrEnum):
    """Where the material is: in a vault, or in Keysteward."""

    VIRTUAL = "virtual"
    SOURCE = "source"


class KeyState(StrEnum):
    """The states of chapter 'Life of a key'."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    SOFT_DELETED = "soft-deleted"
    PURGED = "purged"
    DESTROYED = "destroyed"


class Condition(StrEnum):
    """Where a key is in its life; finer than its state, which calls both disabled and expired keys deactivated."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    SOFT_DELETED = "soft-deleted"
    PURGED = "purged"
    DESTROYED = "destroyed"


class Presence(StrEnum):
    """Where a key is, apart from dates."""

    LIVE = "live"
    SOFT_DELETED = "soft_deleted"
    PURGED = "purged"
    DESTROYED = "destroyed"


#: Where a key is no more in its vault.
GONE = frozenset({Presence.PURGED, Presence.DESTROYED})


_CONDITIONS = {
    Presence.SOFT_DELETED: Condition.SOFT_DELETED,
    Presence.PURGED: Condition.PURGED,
    Presence.DESTROYED: Condition.DESTROYED,
}


class KeyOrigin(StrEnum):
    """Who made the material: the vault, Keysteward's source key, or somebody who imported it."""

    NATIVE = "native"
    IMPORTED = "imported"
    KEYSTEWARD = "keysteward"


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether a key is enabled, and its activation and deactivation dates: usable in [not_before, expires_on)."""

    enabled: bool = True
    not_before: datetime | None = None
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half as JWK members (base64url); a symmetric key has none of them.

    `thumbprint` is the SHA-256 JWK thumbprint of RFC 7638, base64url.
    """

    n: str | None = None
    e: str | None = None
    curve: str | None = None
    x: str | None = None
    y: str | None = None
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version as the vault showed it. `id` is Azure's 32 hex characters, `type` its kty (RSA, RSA-HSM, ...)."""

    id: str
    created_on: datetime
    updated_on: datetime
    type: str
    size: int | None
    operations: tuple[str, ...]
    validity: Validity
    public_key: PublicKey
    tags: tuple[tuple[str, str], ...] = ()
    exportable: bool = False
    managed: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """When the vault deleted the key and when it will purge it by itself."""

    deleted_on: datetime | None
    scheduled_purge_on: datetime | None


@dataclass(frozen=True, slots=True)
class EscrowGeneration:
    """One escrowed backup: where it lies, what it covers, and when it was read back and found whole.

    `offset` and `length` (bytes) locate the entry in the archive blob; `digest` is the SHA-256 of the entry's bytes,
    hex. `versions` are the version ids that the vault listed before it made the backup. `broken` is why a drill could
    not open it.
    """

    id: str
    archive: str
    offset: int
    length: int
    digest: str
    versions: tuple[str, ...]
    created_on: datetime
    verified_on: datetime
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What happened to a key, by whom, when. `event` is a stable word such as `key.discovered`.

    `request` names the request of which this is the outcome.
    """

    on: datetime
    event: str
    actor: Actor
    detail: str = ""
    request: str = ""


def extended(history: tuple[HistoryEntry, ...], *entries: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """Return a history with new entries, within what a key carries."""
    return (*history, *entries)[-KEPT_ENTRIES:]


def has_done(history: tuple[HistoryEntry, ...], request: str) -> bool:
    """Whether a request has had its outcome: asked again, it is not done again."""
    return any(entry.request == request for entry in history)


@dataclass(frozen=True, slots=True)
class CopiedVersion:
    """Which version of a source key a version of its copy is; `thumbprint` is that of the public key, if it has one."""

    version: str
    source_version: int
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class CopiedFrom:
    """The link of a copy to its source key, with the versions that came from there, oldest first."""

    group: str
    key: str
    name: str
    copied_by: Actor
    copied_on: datetime
    versions: tuple[CopiedVersion, ...] = ()

    def has(self, version: KeyVersion) -> bool:
        """Whether a version of the copy is material of the source key: by its public key or, without one, by its id."""
        thumbprint = version.public_key.thumbprint
        if thumbprint is None:
            return any(copied.version == version.id for copied in self.versions)
        return any(copied.thumbprint == thumbprint for copied in self.versions)

    @property
    def latest(self) -> CopiedVersion | None:
        """The version that was copied last."""
        return self.versions[-1] if self.versions else None


@dataclass(frozen=True, slots=True)
class CopiedTo:
    """The link of a source key to one of its copies, as of `source_version`. Names are those at the time of copying."""

    group: str
    group_title: str
    key: str
    name: str
    azure_name: str | None
    source_version: int
    copied_by: Actor
    copied_on: datetime


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key of an Azure group as recorded. It holds no material.

    `name` is the display name, unique in the account; `azure_name` is unique in the vault.
    `fingerprint` is what the vault's key list last showed of the key; a sync compares it before asking for more.
    """

    id: str
    account: str
    group: str
    name: str
    azure_name: str
    origin: KeyOrigin
    created_by: Actor
    recorded_on: datetime
    observed_on: datetime
    presence: Presence
    versions: tuple[KeyVersion, ...]
    fingerprint: str
    deletion: Deletion | None = None
    escrow: tuple[EscrowGeneration, ...] = ()
    escrow_problem: str | None = None
    drift: tuple[Drift, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    copied_from: CopiedFrom | None = None
    pending: PendingAction | None = None
    deactivation: Deactivation | None = None
    retirements: tuple[Retirement, ...] = ()
    schedule: KeySchedule | None = None
    drift_review: DriftReview | None = None
    vault_rotation: VaultRotation | None = None

    @property
    def current(self) -> KeyVersion | None:
        """The newest version, the one that Azure uses when no version is named."""
        return self.versions[-1] if self.versions else None

    @property
    def unescrowed(self) -> frozenset[str]:
        """The versions that the newest escrow does not have: all of them where it is known to be broken."""
        newest = self.escrow[-1] if self.escrow else None
        covered = newest.versions if newest is not None and newest.broken is None else ()
        return frozenset(version.id for version in self.versions) - frozenset(covered)

    @property
    def drifted(self) -> bool:
        """Whether there is drift at which nobody has looked yet."""
        return bool(unreviewed(self.drift, self.drift_review))

    @property
    def material_differs(self) -> bool:
        """Whether the current version of a copy, as long as its vault has it, is not material of its source key."""
        if self.copied_from is None or self.current is None or self.presence in GONE:
            return False
        return not self.copied_from.has(self.current)


def condition_at(presence: Presence, validity: Validity, now: datetime) -> Condition:
    """Return the condition at `now` that follows from where a key is and from its current version."""
    gone = _CONDITIONS.get(presence)
    if gone is not None:
        return gone
    if not validity.enabled:
        return Condition.DISABLED
    if validity.not_before is not None and now < validity.not_before:
        return Condition.PRE_ACTIVE
    # An expired key still decrypts, unwraps and verifies: data must stay recoverable.
    if validity.expires_on is not None and now >= validity.expires_on:
        return Condition.EXPIRED
    return Condition.ACTIVE


def state_of(condition: Condition) -> KeyState:
    """Return the state that people see."""
    is_deactivated = condition in {Condition.DISABLED, Condition.EXPIRED}
    return KeyState.DEACTIVATED if is_deactivated else KeyState(condition.value)


def state_at(presence: Presence, validity: Validity, now: datetime) -> KeyState:
    """Return the state at `now` that follows from where the key is and from its current version."""
    return state_of(condition_at(presence, validity, now))
