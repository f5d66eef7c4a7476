"""Escrow: the manifest that goes with every sealed backup, the archive that holds them, and which generations stay.

Invariants:
- An archive is lines of JSON, `{"manifest": {...}, "sealed": "<JWE>"}`, one line an escrowed key. A line's place
  (offset, length) never changes: destroying an entry overwrites its line with spaces.
- The sealed object is bound to the manifest's digest, so that neither can be exchanged alone.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from core.domain.keys import EscrowGeneration, Presence, VirtualKey
from core.errors import IntegrityError

SCHEMA = 1
#: A version that no escrow has for so long was overlooked, or the vault gives no backup of it.
OVERDUE_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What must be known to restore a backup, and to know whether it may be restored at a place.

    Azure restores a vault's backup only within the same subscription and geography, and a managed HSM's only where
    the same security domain is (Microsoft: 'Azure Key Vault backup', 'Managed HSM disaster recovery').
    `backup_digest` is the SHA-256 of the vault's blob, hex.
    """

    generation: str
    account: str
    group: str
    key: str
    azure_name: str
    vault_id: str
    vault_uri: str
    vault_type: str
    location: str
    geography: str
    subscription: str
    tenant: str
    versions: tuple[str, ...]
    backup_digest: str
    created_on: str
    job: str
    schema: int = SCHEMA

    def text(self) -> str:
        """The canonical JSON whose digest binds the sealed object."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an archive."""

    manifest: Manifest
    sealed: str

    def line(self) -> bytes:
        """The line with its line feed."""
        return f'{{"manifest":{self.manifest.text()},"sealed":"{self.sealed}"}}\n'.encode()


def digest(content: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def bound_version(manifest: Manifest) -> str:
    """What the sealed object is bound to beside account, purpose and key."""
    return f"{manifest.generation}.{digest(manifest.text().encode())}"


def read_entry(line: bytes) -> Entry:
    """Read a line of an archive; IntegrityError `escrow_unreadable` if it is not one."""
    try:
        members = json.loads(line)
        manifest = members["manifest"]
        return Entry(Manifest(**{**manifest, "versions": tuple(manifest["versions"])}), members["sealed"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("An escrow entry cannot be read.", code="escrow_unreadable") from error


def archive_of(entries: list[Entry]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return an archive's bytes, and each entry's offset and length."""
    content = bytearray()
    places: list[tuple[int, int]] = []
    for entry in entries:
        line = entry.line()
        places.append((len(content), len(line)))
        content += line
    return bytes(content), places


def blanked(content: bytes, places: list[tuple[int, int]]) -> bytes | None:
    """Return the archive with the lines at `places` overwritten, or None if nothing is left in it."""
    remaining = bytearray(content)
    for offset, length in places:
        remaining[offset : offset + length] = b" " * (length - 1) + b"\n"
    return bytes(remaining) if remaining.strip() else None


def split_by_retention(
    generations: tuple[EscrowGeneration, ...], keep: int
) -> tuple[tuple[EscrowGeneration, ...], tuple[EscrowGeneration, ...]]:
    """Return the generations that stay and those that go; the newest always stays."""
    count = max(keep, 1)
    return generations[-count:], generations[:-count]


def generation_of(
    manifest: Manifest, archive: str, place: tuple[int, int], line: bytes, now: datetime
) -> EscrowGeneration:
    """Return the record of an entry that was read back at `now`."""
    return EscrowGeneration(
        id=manifest.generation,
        archive=archive,
        offset=place[0],
        length=place[1],
        digest=digest(line),
        versions=manifest.versions,
        created_on=datetime.fromisoformat(manifest.created_on),
        verified_on=now,
    )


def overdue(key: VirtualKey, now: datetime) -> frozenset[str]:
    """Return the versions of a live key that no escrow has, though they are known for more than a day.

    Of a key whose backup the vault refused, and of one whose escrow is known to be broken, more is known than that.
    """
    broken = bool(key.escrow) and key.escrow[-1].broken is not None
    if key.presence is not Presence.LIVE or key.escrow_problem is not None or broken:
        return frozenset()
    known_since = {version.id: max(version.created_on, key.recorded_on) for version in key.versions}
    return frozenset(id_ for id_ in key.unescrowed if now - known_since[id_] > OVERDUE_AFTER)


def require_complete(manifest: Manifest, key: VirtualKey, generation: EscrowGeneration) -> None:
    """Raise IntegrityError unless a manifest tells all that it takes to restore this generation of this key.

    `escrow_schema_unknown`, `escrow_misplaced` (it is another key's), `escrow_incomplete`.
    """
    if manifest.schema != SCHEMA:
        raise IntegrityError("An escrow entry has a format that is not known.", code="escrow_schema_unknown")
    found = (manifest.generation, manifest.account, manifest.group, manifest.key, manifest.azure_name.lower())
    if found != (generation.id, key.account, key.group, key.id, key.azure_name.lower()):
        raise IntegrityError("An escrow entry is not the key's.", code="escrow_misplaced")
    place = (manifest.vault_id, manifest.vault_uri, manifest.vault_type, manifest.geography, manifest.subscription)
    if not all(place) or not manifest.versions or set(manifest.versions) != set(generation.versions):
        raise IntegrityError("An escrow's manifest does not say all that a restore needs.", code="escrow_incomplete")
