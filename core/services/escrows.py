"""Escrow: seal the vault's backups, write them as one archive, read the archive back, and only then say so.

Invariants:
- A generation is returned only after its bytes were read back, their digest matched, and the sealed backup opened to
  the digest in its manifest.
- An archive is never written over but to blank entries that no record refers to any more.
"""

import hmac
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from core.domain import sealing
from core.domain.connections import VaultFacts
from core.domain.escrow import (
    Entry,
    Manifest,
    archive_of,
    blanked,
    bound_version,
    digest,
    generation_of,
    read_entry,
)
from core.domain.geographies import geography_of
from core.domain.identifiers import IdKind, new_id
from core.domain.keys import EscrowGeneration, VirtualKey
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, NotFoundError, StaleWriteError
from core.ports import Binding, Blobs, Clock, Sealer


@dataclass(frozen=True, slots=True)
class Backup:
    """A key, and the vault's backup blob that was made after its versions were listed."""

    key: VirtualKey
    content: SecretBytes


class Escrows:
    """Stores, reads and prunes escrowed backups."""

    def __init__(self, archives: Blobs, sealer: Sealer, clock: Clock) -> None:
        self._archives = archives
        self._sealer = sealer
        self._clock = clock

    async def store(self, vault: VaultFacts, job: str, backups: list[Backup]) -> dict[str, EscrowGeneration]:
        """Escrow `backups` of one vault's keys in one archive; return the verified generation of each key, by id."""
        if not backups:
            return {}
        entries = [await self._entry(vault, job, backup) for backup in backups]
        content, places = archive_of(entries)
        first = backups[0].key
        name = f"{first.account}/{first.group}/{job}/{entries[0].manifest.generation}"
        await self._archives.create(name, content)
        stored, _ = await self._archives.read(name)
        generations = {}
        for entry, (offset, length) in zip(entries, places, strict=True):
            line = stored[offset : offset + length]
            await self._verified(line)
            generation = generation_of(entry.manifest, name, (offset, length), line, self._clock.now())
            generations[entry.manifest.key] = generation
        return generations

    async def open(self, generation: EscrowGeneration) -> tuple[Manifest, SecretBytes]:
        """Return a generation's manifest and the vault's blob; IntegrityError if anything is not as it was stored."""
        try:
            line, _ = await self._archives.read(generation.archive, offset=generation.offset, length=generation.length)
        except NotFoundError as error:
            raise IntegrityError("An escrow archive is missing.", code="escrow_missing") from error
        if not hmac.compare_digest(digest(line), generation.digest):
            raise IntegrityError("An escrow entry is not what was stored.", code="escrow_altered")
        return await self._verified(line)

    async def prune(self, generations: Iterable[EscrowGeneration]) -> None:
        """Blank the entries of generations that no key refers to any more; an empty archive is deleted."""
        by_archive: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for generation in generations:
            by_archive[generation.archive].append((generation.offset, generation.length))
        for archive, places in by_archive.items():
            await self._blank(archive, places)

    async def _blank(self, archive: str, places: list[tuple[int, int]]) -> None:
        for _ in range(5):
            try:
                content, etag = await self._archives.read(archive)
                remaining = blanked(content, places)
                if remaining is None:
                    await self._archives.delete(archive)
                else:
                    await self._archives.replace(archive, remaining, etag)
            except NotFoundError:
                return
            except StaleWriteError:
                continue
            return
        raise StaleWriteError("The escrow archive")

    async def _entry(self, vault: VaultFacts, job: str, backup: Backup) -> Entry:
        key = backup.key
        manifest = Manifest(
            generation=new_id(IdKind.ESCROW),
            account=key.account,
            group=key.group,
            key=key.id,
            azure_name=key.azure_name,
            vault_id=vault.resource_id,
            vault_uri=vault.uri,
            vault_type=vault.type.value,
            location=vault.location,
            geography=geography_of(vault.location),
            subscription=_subscription(vault.resource_id),
            tenant=vault.tenant_id,
            versions=tuple(version.id for version in key.versions),
            backup_digest=digest(backup.content.reveal()),
            created_on=self._clock.now().isoformat(),
            job=job,
        )
        return Entry(manifest, await self._sealer.seal(_binding(manifest), backup.content))

    async def _verified(self, line: bytes) -> tuple[Manifest, SecretBytes]:
        entry = read_entry(line)
        content = await self._sealer.open(_binding(entry.manifest), entry.sealed)
        if not hmac.compare_digest(digest(content.reveal()), entry.manifest.backup_digest):
            raise IntegrityError("An escrowed backup does not match its manifest.", code="escrow_altered")
        return entry.manifest, content


def _binding(manifest: Manifest) -> Binding:
    return Binding(manifest.account, sealing.ESCROW, manifest.key, bound_version(manifest))


def _subscription(resource_id: str) -> str:
    """The subscription in `/subscriptions/{id}/...`."""
    parts = resource_id.split("/")
    return parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - the third part of the path
