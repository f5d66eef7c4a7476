"""Virtual keys: what is recorded of a key that a vault holds, and the state that follows from it at a time.

Invariants: `recorded` is our copy, `observed` is what the vault said; a state is derived at a time and never stored;
versions are ordered by creation (then id), oldest first, and numbered from 1.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.callers import Actor


class KeyState(StrEnum):
    """The states of chapter 'Life of a key'."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    SOFT_DELETED = "soft-deleted"
    PURGED = "purged"
    DESTROYED = "destroyed"


class Presence(StrEnum):
    """Where a key is, apart from dates."""

    LIVE = "live"
    SOFT_DELETED = "soft_deleted"
    PURGED = "purged"
    DESTROYED = "destroyed"


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
    hex. `versions` are the version ids that the vault listed before it made the backup.
    """

    id: str
    archive: str
    offset: int
    length: int
    digest: str
    versions: tuple[str, ...]
    created_on: datetime
    verified_on: datetime


class DriftKind(StrEnum):
    """What changed outside Keysteward."""

    NEW_VERSION = "new_version"
    OPERATIONS = "operations"
    DATES = "dates"
    TAGS = "tags"
    ENABLED = "enabled"
    SOFT_DELETED = "soft_deleted"
    RECOVERED = "recovered"
    VANISHED = "vanished"
    RESTORED = "restored"
    VERSION_VANISHED = "version_vanished"
    MATERIAL = "material"
    RECREATED = "recreated"


@dataclass(frozen=True, slots=True)
class Drift:
    """One change made outside Keysteward, with before and after, as found by one sync."""

    kind: DriftKind
    observed_on: datetime
    job: str
    before: str | None
    after: str | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What happened to a key, by whom, when. `event` is a stable word such as `key.discovered`."""

    on: datetime
    event: str
    actor: Actor
    detail: str = ""


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

    @property
    def current(self) -> KeyVersion | None:
        """The newest version, the one that Azure uses when no version is named."""
        return self.versions[-1] if self.versions else None


def state_at(presence: Presence, validity: Validity, now: datetime) -> KeyState:
    """Return the state at `now` that follows from where the key is and from its current version."""
    gone = {
        Presence.SOFT_DELETED: KeyState.SOFT_DELETED,
        Presence.PURGED: KeyState.PURGED,
        Presence.DESTROYED: KeyState.DESTROYED,
    }.get(presence)
    if gone is not None:
        return gone
    if not validity.enabled:
        return KeyState.DEACTIVATED
    if validity.not_before is not None and now < validity.not_before:
        return KeyState.PRE_ACTIVE
    # An expired key still decrypts, unwraps and verifies: data must stay recoverable.
    if validity.expires_on is not None and now >= validity.expires_on:
        return KeyState.DEACTIVATED
    return KeyState.ACTIVE
