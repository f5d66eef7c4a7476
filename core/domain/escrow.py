"""Escrow: the manifest that goes with every sealed backup, the archive that holds them, and which generations stay.

Invariants:
- An archive is lines of JSON, `{"manifest": {...}, "sealed": "<JWE>"}`, one line an escrowed key. A line's place
  (offset, length) never changes: destroying an entry overwrites its line with spaces.
- The sealed object is bound to the manifest's digest, so that neither can be exchanged alone.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime

from core.domain.keys import EscrowGeneration
from core.errors import IntegrityError

SCHEMA = 1


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
