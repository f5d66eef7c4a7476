"""Escrow drills: how often, how many keys, where a few of them are restored for proof, and what a proof is.

Invariants: a scratch vault is never the keys' own, and lets what is deleted be purged; a proof compares what a vault
gave back with what is recorded, version by version. With a sample, a drill goes on where the last one stopped, so that
every key has its turn.

Sources: 'Azure Key Vault backup' (same subscription and geography), 'Managed HSM disaster recovery' (same security
domain), 'About keys' (a standard vault holds no HSM-protected keys).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.connections import VaultFacts, VaultType
from core.domain.escrow import Manifest
from core.domain.geographies import geography_of
from core.domain.keys import KeyVersion, VirtualKey
from core.domain.observed import ObservedKey
from core.errors import ConflictError, InvalidRequestError, VaultAnswerError

DAYS_LIMIT = 365
SAMPLE_LIMIT = 100_000
RESTORES_LIMIT = 10


@dataclass(frozen=True, slots=True)
class DrillSettings:
    """When a group's escrow is drilled by itself, and how.

    `sample`: how many keys one drill looks at, None for all. `restore_into`: a scratch group, into whose vault
    `restores` of them are restored, or None.
    """

    every_days: int = 7
    sample: int | None = None
    restore_into: str | None = None
    restores: int = 1
    paused: bool = False


@dataclass(frozen=True, slots=True)
class DrillOrder:
    """What one drill is to do."""

    sample: int | None = None
    restore_into: str | None = None
    restores: int = 1

    def options(self) -> dict[str, str]:
        """Return it as the options of a job."""
        sample = {} if self.sample is None else {"sample": str(self.sample)}
        if self.restore_into is None:
            return sample
        return {**sample, "restore_into": self.restore_into, "restores": str(self.restores)}

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "DrillOrder":
        """Read a job's options."""
        sample = options.get("sample")
        return cls(
            sample=int(sample) if sample else None,
            restore_into=options.get("restore_into"),
            restores=int(options.get("restores", "1")),
        )


@dataclass(frozen=True, slots=True)
class LastDrill:
    """The latest ended drill of a group. `position` is where the next one with a sample goes on."""

    job: str
    status: str
    ended_on: datetime
    opened: int = 0
    verified: int = 0
    restored: int = 0
    failed: int = 0
    missing: int = 0
    position: str = ""


def check_drill(settings: DrillSettings | DrillOrder) -> None:
    """Raise InvalidRequestError `group_invalid` for a number out of its bounds."""
    if isinstance(settings, DrillSettings) and not 1 <= settings.every_days <= DAYS_LIMIT:
        raise _out_of_bounds("drill.every_days", f"Days are 1 to {DAYS_LIMIT}.")
    if settings.sample is not None and not 1 <= settings.sample <= SAMPLE_LIMIT:
        raise _out_of_bounds("drill.sample", f"A sample is 1 to {SAMPLE_LIMIT} keys.")
    if not 1 <= settings.restores <= RESTORES_LIMIT:
        raise _out_of_bounds("drill.restores", f"Restores are 1 to {RESTORES_LIMIT}.")


def next_drill(settings: DrillSettings, since: datetime, now: datetime) -> datetime | None:
    """Return when a group is drilled next, `since` the last drill or its creation; None while that is paused."""
    return None if settings.paused else max(now, since + timedelta(days=settings.every_days))


def check_scratch(own: VaultFacts, scratch: VaultFacts) -> None:
    """Raise ConflictError unless keys of one vault can be restored into a scratch vault, and purged there.

    `scratch_own_vault`, `restore_elsewhere`, `scratch_purge_protected`.
    """
    if own.resource_id.lower() == scratch.resource_id.lower():
        detail = "A drill restores into another vault than the keys' own, where their names are taken."
        raise ConflictError(detail, code="scratch_own_vault", field="restore_into")
    hardware = [facts.type is VaultType.MANAGED_HSM for facts in (own, scratch)]
    same = hardware == [True, True] or (not any(hardware) and _place_of(own) == _place_of(scratch))
    if not same:
        raise ConflictError(
            "Azure restores a vault's backup within the same subscription and geography only, and a managed HSM's into "
            "managed HSMs with the same security domain only.",
            code="restore_elsewhere",
            field="restore_into",
        )
    if scratch.purge_protection:
        raise ConflictError(
            "The scratch vault has purge protection: what a drill restores could not be purged afterwards.",
            code="scratch_purge_protected",
            field="restore_into",
        )


def is_restorable(versions: Iterable[KeyVersion], scratch: VaultFacts) -> bool:
    """Whether a vault can hold such versions."""
    return scratch.type is not VaultType.STANDARD or not any(version.type.endswith("-HSM") for version in versions)


def chosen(job: str, keys: Iterable[str], count: int) -> tuple[str, ...]:
    """Return `count` of `keys`, at random and yet the same for the same job."""
    return tuple(sorted(keys, key=lambda key: hashlib.sha256(f"{job} {key}".encode()).digest())[:count])


def check_proof(key: VirtualKey, manifest: Manifest, observed: ObservedKey) -> None:
    """Raise VaultAnswerError unless a restored key has every version of its manifest, with the recorded public keys.

    `restore_incomplete`, `restore_differs`.
    """
    came_back = {version.id: version.public_key.thumbprint for version in observed.versions}
    if not set(manifest.versions) <= came_back.keys():
        raise VaultAnswerError("Versions did not come back from the backup.", code="restore_incomplete")
    for version in key.versions:
        if came_back.get(version.id, version.public_key.thumbprint) != version.public_key.thumbprint:
            detail = "A version came back from the backup with another public key."
            raise VaultAnswerError(detail, code="restore_differs")


def _place_of(vault: VaultFacts) -> tuple[str, str]:
    parts = vault.resource_id.lower().split("/")
    return (parts[2] if len(parts) > 2 else ""), geography_of(vault.location)  # noqa: PLR2004 - as in a resource id


def _out_of_bounds(field: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="group_invalid", field=field)
