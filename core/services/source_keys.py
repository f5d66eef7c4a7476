"""Source keys: generated, imported, copied, given new versions; their material opened for those who may use it.

Invariants: material is sealed, stored and read back before the record that relies on it is written. The ids of a key
and of its material follow from the request, so a request that is repeated finds what it made.
"""

import asyncio
from dataclasses import dataclass

from core.domain.callers import Actor
from core.domain.groups import GroupKind, require_kind
from core.domain.identifiers import IdKind, derived_id
from core.domain.key_kinds import KeyKind
from core.domain.key_names import checked_name
from core.domain.key_settings import checked_tags, checked_validity, in_source_group
from core.domain.keys import CopiedFrom, CopiedTo, HistoryEntry, Validity
from core.domain.new_keys import NewKey
from core.domain.source_keys import (
    MaterialOrigin,
    SourceKey,
    SourceVersion,
    require_use,
    with_copy,
    with_version,
)
from core.errors import InvalidRequestError, StaleWriteError
from core.material.material import KeyMaterial
from core.ports import Clock, Stored
from core.services.conditional import require_match
from core.services.display_names import DisplayNames
from core.services.materials import Materials, material_id
from core.services.source_records import SourceRecords

_EVENTS = {
    MaterialOrigin.GENERATED: "key.created",
    MaterialOrigin.IMPORTED: "key.imported",
    MaterialOrigin.COPIED: "key.copied",
}


@dataclass(frozen=True, slots=True)
class SourceUse:
    """Which version of which source key (None: the current one)."""

    group: str
    key: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class NewSourceVersion:
    """A version that a source key is to get; `material` None has it generated."""

    request: str
    material: KeyMaterial | None
    validity: Validity
    actor: Actor


class SourceKeys:
    """The keys of source groups. Permissions of callers are decided before anything here is called."""

    def __init__(self, records: SourceRecords, materials: Materials, names: DisplayNames, clock: Clock) -> None:
        self._records = records
        self._materials = materials
        self._names = names
        self._clock = clock

    async def get(self, account: str, group: str, key: str) -> Stored[SourceKey]:
        """Return a key; NotFoundError `key_not_found`."""
        return await self._records.get(account, group, key)

    async def generate(self, new: NewKey, kind: KeyKind) -> Stored[SourceKey]:
        """Generate a key.

        Raises InvalidRequestError (`key_name_invalid`, `dates_invalid`, `tags_invalid`, `field_for_other_kind`),
        PolicyViolationError `key_not_allowed`, ConflictError (`group_kind`, `key_display_name_taken`).
        """
        draft = self._draft(new, kind)
        return await self._create(new, draft, None, MaterialOrigin.GENERATED)

    async def bring(
        self, new: NewKey, material: KeyMaterial, copied_from: CopiedFrom | None = None
    ) -> Stored[SourceKey]:
        """Import material as a key or, with a link, copy it from another source key; errors as for `generate`."""
        draft = self._draft(new, material.kind, copied_from)
        origin = MaterialOrigin.COPIED if copied_from else MaterialOrigin.IMPORTED
        return await self._create(new, draft, material, origin)

    async def add_version(
        self, account: str, group: str, key: str, new: NewSourceVersion, if_match: str | None = None
    ) -> Stored[SourceKey]:
        """Give a key a new current version.

        Raises InvalidRequestError (`material_type_mismatch` where the material is of another kind, `dates_invalid`),
        StaleWriteError.
        """
        stored = await self._records.get(account, group, key)
        id_ = material_id(new.request)
        if any(version.material == id_ for version in stored.value.versions):
            return stored
        require_match(stored.etag, if_match, "The key")
        kind = stored.value.kind
        if new.material is not None and new.material.kind != kind:
            detail = f"The key is {kind}; a new version has to be of the same kind."
            raise InvalidRequestError(detail, code="material_type_mismatch", field="material")
        version = await self._version(
            stored.value, len(stored.value.versions) + 1, new, MaterialOrigin.IMPORTED if new.material else None
        )
        entry = HistoryEntry(version.created_on, "key.version_added", new.actor, str(version.number))

        def added(present: SourceKey) -> SourceKey:
            return with_version(present, version).recorded(entry)

        try:
            return await self._records.amend(account, group, key, added, stored.etag)
        except StaleWriteError:
            # A write whose answer was lost looks like somebody else's when it is repeated.
            found = await self._records.get(account, group, key)
            if any(kept.material == id_ for kept in found.value.versions):
                return found
            raise

    async def opened(
        self, account: str, use: SourceUse, permission: str
    ) -> tuple[SourceKey, SourceVersion, KeyMaterial]:
        """Return a key, a version and its material for a use that the key's own permissions allow.

        Raises NotFoundError (`key_not_found`, `key_version_not_found`) and ConflictError (`key_permission_missing`,
        `key_not_active`). Whoever gets the material wipes it.
        """
        key = (await self._records.get(account, use.group, use.key)).value
        version = key.version(use.version)
        require_use(key, version, permission, self._clock.now())
        return key, version, await self._materials.open(key, version)

    async def link(self, account: str, use: SourceUse, copy: CopiedTo) -> None:
        """Record a copy on its source; done again, it changes nothing."""

        def linked(key: SourceKey) -> SourceKey:
            if copy in key.copies:
                return key
            return with_copy(key, copy).recorded(
                HistoryEntry(copy.copied_on, "key.copied_to", copy.copied_by, copy.key)
            )

        await self._records.amend(account, use.group, use.key, linked)

    async def note(self, account: str, use: SourceUse, event: str, actor: Actor, detail: str) -> None:
        """Write into a key's history what is about to be done with its material."""
        entry = HistoryEntry(self._clock.now(), event, actor, detail)
        await self._records.amend(account, use.group, use.key, lambda key: key.recorded(entry))

    def _draft(self, new: NewKey, kind: KeyKind, copied_from: CopiedFrom | None = None) -> SourceKey:
        """Return the key as it will be recorded, without a version."""
        require_kind(new.group, GroupKind.SOURCE)
        if new.names.azure_name is not None:
            detail = "A source key has no Azure name."
            raise InvalidRequestError(detail, code="field_for_other_kind", field="azure_name")
        if new.names.name is None:
            raise InvalidRequestError("A source key needs a name.", code="key_name_invalid", field="name")
        now = self._clock.now()
        return SourceKey(
            id=derived_id(IdKind.KEY, new.group.account, new.request),
            account=new.group.account,
            group=new.group.id,
            name=checked_name(new.names.name),
            kind=kind,
            permissions=in_source_group(kind, new.settings),
            created_by=new.actor,
            created_on=now,
            updated_on=now,
            versions=(),
            tags=checked_tags(new.settings.tags or ()),
            copied_from=copied_from,
        )

    async def _create(
        self, new: NewKey, draft: SourceKey, material: KeyMaterial | None, origin: MaterialOrigin
    ) -> Stored[SourceKey]:
        earlier = await self._records.find(draft.group, draft.id)
        if earlier is not None and await self._records.is_listed(earlier.value):
            return earlier
        validity = checked_validity(new.settings.validity or Validity(), draft.created_on)
        # By the request, as whoever ordered the key (a copy job, for one) may have done before.
        await self._names.reserve(draft.account, draft.name, new.request)
        if earlier is not None:
            # The first attempt was cut off after the record.
            await self._records.relist(earlier.value)
            return earlier
        version = await self._version(draft, 1, NewSourceVersion(new.request, material, validity, new.actor), origin)
        entry = HistoryEntry(draft.created_on, _EVENTS[origin], new.actor)
        return await self._records.insert(with_version(draft, version).recorded(entry))

    async def _version(
        self, key: SourceKey, number: int, new: NewSourceVersion, origin: MaterialOrigin | None
    ) -> SourceVersion:
        """Store material for a version, and return the version as the material that was read back makes it."""
        now = self._clock.now()
        id_ = material_id(new.request)
        validity = checked_validity(new.validity, now)
        with new.material or await generated(key.kind) as material:
            kept = await self._materials.store(key.account, key.id, id_, material)
        with kept:
            return SourceVersion(
                number, id_, now, new.actor, origin or MaterialOrigin.GENERATED, kept.public_key, validity
            )


async def generated(kind: KeyKind) -> KeyMaterial:
    """Generate material; RSA takes up to some seconds of processor time, so on a thread."""
    return await asyncio.to_thread(KeyMaterial.generate, kind)
