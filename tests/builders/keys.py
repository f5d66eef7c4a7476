"""Builders of keys as recorded and as observed; each argument that a test does not name has a plain value."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.domain.callers import Actor, ActorKind
from core.domain.keys import (
    Deletion,
    EscrowGeneration,
    KeyOrigin,
    KeyVersion,
    Presence,
    PublicKey,
    Validity,
    VirtualKey,
)
from core.domain.observed import ListedKey, ListedVersion, ObservedKey
from core.domain.sync import SyncContext, fingerprint

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "acc_aaaaaaaaaaaaaaaaaaaaaaaa"
GROUP = "grp_aaaaaaaaaaaaaaaaaaaaaaaa"
ALICE = Actor(ActorKind.USER, "prn_alice", "Alice")


def a_context(now: datetime = NOW, job: str = "job_1") -> SyncContext:
    return SyncContext(ACCOUNT, GROUP, "payments", job, now)


def a_version(id_: str = "1" * 32, *, created: datetime = CREATED, **changes: object) -> KeyVersion:
    version = KeyVersion(
        id=id_,
        created_on=created,
        updated_on=created,
        type="RSA",
        size=2048,
        operations=("sign", "verify"),
        validity=Validity(),
        public_key=PublicKey(n="AQAB", e="AQAB", thumbprint=f"thumbprint-{id_}"),
    )
    return replace(version, **changes)


def a_listed(name: str = "db-key", version: KeyVersion | None = None, deletion: Deletion | None = None) -> ListedKey:
    version = version or a_version()
    return ListedKey(name, version.created_on, version.updated_on, version.validity, version.tags, deletion=deletion)


def an_observed(*versions: KeyVersion, name: str = "db-key", deletion: Deletion | None = None) -> ObservedKey:
    versions = versions or (a_version(),)
    return ObservedKey(a_listed(name, versions[-1], deletion), versions)


def listed_version(version: KeyVersion) -> ListedVersion:
    return ListedVersion(version.id, version.created_on, version.updated_on, version.validity, version.tags)


def a_generation(*versions: str, id_: str = "esc_1") -> EscrowGeneration:
    return EscrowGeneration(id_, "archive", 0, 10, "00", versions, NOW, NOW)


def a_key(*versions: KeyVersion, **changes: object) -> VirtualKey:
    versions = versions or (a_version(),)
    key = VirtualKey(
        id="key_aaaaaaaaaaaaaaaaaaaaaaaa",
        account=ACCOUNT,
        group=GROUP,
        name="payments/db-key",
        azure_name="db-key",
        origin=KeyOrigin.NATIVE,
        created_by=ALICE,
        recorded_on=NOW,
        observed_on=NOW,
        presence=Presence.LIVE,
        versions=versions,
        fingerprint=fingerprint(a_listed("db-key", versions[-1])),
    )
    return replace(key, **changes)


def a_deletion(on: datetime = NOW) -> Deletion:
    return Deletion(on, on + timedelta(days=90))
