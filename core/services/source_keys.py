"""Source keys: generated, imported, copied, given new versions; their material opened for those who may use it.

Invariants: material is sealed, stored and read back before the record that relies on it is written. The ids of a key
and of its material follow from the request, so a request that is repeated finds what it made.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from core.domain.callers import Actor
from core.domain.groups import GroupKind, require_kind
from core.domain.identifiers import IdKind, derived_id
from core.domain.key_kinds import KeyKind
from core.domain.key_names import checked_name
from core.domain.key_settings import checked_tags, checked_validity, in_source_group
from core.domain.keys import CopiedFrom, CopiedTo, CopiedVersion, HistoryEntry, Validity
from core.domain.new_keys import NewKey
from core.domain.pending_actions import AskedSource, Retirement
from core.domain.source_keys import (
    MaterialOrigin,
    SourceKey,
    SourceVersion,
    is_ahead,
    require_use,
    with_copy,
    with_version,
    without_copy,
)
from core.errors import InvalidRequestError, KeystewardError, StaleWriteError
from core.material.material import KeyMaterial
from core.ports import Clock, Stored
from core.services.conditional import require_match
from core.services.display_names import DisplayNames
from core.services.findings import FindingCode, Findings, Subject
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
    """A version that a source key is to get; `material` None has it generated, unless it was stored before.

    With `retire_on`, the version that is current until then is disabled at that time. `copied` says of which version of
    which other source key it is a copy.
    """

    request: str
    material: KeyMaterial | None
    validity: Validity
    actor: Actor
    origin: MaterialOrigin | None = None
    event: str = "key.version_added"
    retire_on: datetime | None = None
    copied: AskedSource | None = None


class SourceKeys:
    """The keys of source groups. Permissions of callers are decided before anything here is called."""

    def __init__(
        self, records: SourceRecords, materials: Materials, names: DisplayNames, findings: Findings, clock: Clock
    ) -> None:
        self._records = records
        self._materials = materials
        self._names = names
        self._findings = findings
        self._clock = clock

    async def get(self, account: str, group: str, key: str) -> Stored[SourceKey]:
        """Return a key; NotFoundError `key_not_found`."""
        return await self._records.get(account, group, key)

    async def reconcile(self) -> int:
        """Have the lists show what a crash kept from them; return how many keys were looked at."""
        return await self._records.reconcile()

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
        """Give a key a new current version, unless it is a copy that has a later one of its source key by now.

        Raises InvalidRequestError (`material_type_mismatch` where the material is of another kind, `dates_invalid`),
        StaleWriteError.
        """
        stored = await self._added(account, group, key, new, if_match)
        await self._findings.settle(account, {}, [(FindingCode.ROTATION_FAILED, Subject(group, key))])
        return stored

    async def _added(
        self, account: str, group: str, key: str, new: NewSourceVersion, if_match: str | None
    ) -> Stored[SourceKey]:
        stored = await self._records.get(account, group, key)
        id_ = material_id(new.request)
        if any(version.material == id_ for version in stored.value.versions):
            if not await self._records.is_listed(stored.value):
                await self._records.relist(stored.value)
            return stored
        require_match(stored.etag, if_match, "The key")
        check_same_kind(stored.value, new.material)
        version = await self._version(stored.value, len(stored.value.versions) + 1, new)

        def added(present: SourceKey) -> SourceKey:
            if any(kept.material == id_ for kept in present.versions):
                return present
            if new.copied is not None and is_ahead(present, new.copied.version):
                return present
            # Another one may have come meanwhile.
            return _next(present, replace(version, number=len(present.versions) + 1), new)

        try:
            return await self._records.amend(account, group, key, added, if_match)
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

    async def prepare(
        self, account: str, group: str, key: str, new: NewSourceVersion, if_match: str | None = None
    ) -> Stored[SourceKey]:
        """Store the material of a version that the same request adds later; errors as for `add_version`."""
        stored = await self._records.get(account, group, key)
        require_match(stored.etag, if_match, "The key")
        check_same_kind(stored.value, new.material)
        checked_validity(new.validity, self._clock.now())
        (await self._stored(stored.value, new)).wipe()
        return stored

    async def link(self, account: str, use: SourceUse, copy: CopiedTo, event: str = "key.copied_to") -> None:
        """Record a copy on its source, and at which version it is; done again, it changes nothing."""

        def linked(key: SourceKey) -> SourceKey:
            if copy in key.copies:
                return key
            return with_copy(key, copy).recorded(HistoryEntry(copy.copied_on, event, copy.copied_by, copy.key))

        await self._records.amend(account, use.group, use.key, linked)

    async def unlink(self, account: str, use: SourceUse, copy: str, actor: Actor) -> None:
        """Forget a copy that has another source key's material by now; done again, it changes nothing."""
        entry = HistoryEntry(self._clock.now(), "key.copy_unlinked", actor, copy)

        def unlinked(key: SourceKey) -> SourceKey:
            if all(link.key != copy for link in key.copies):
                return key
            return without_copy(key, copy).recorded(entry)

        await self._records.amend(account, use.group, use.key, unlinked)

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
        wanted = NewSourceVersion(new.request, material, validity, new.actor)
        try:
            version = await self._version(draft, 1, replace(wanted, origin=origin))
        except KeystewardError:
            await self._names.release(draft.account, draft.name, new.request)
            raise
        entry = HistoryEntry(draft.created_on, _EVENTS[origin], new.actor)
        return await self._records.insert(with_version(draft, version).recorded(entry))

    async def _version(self, key: SourceKey, number: int, new: NewSourceVersion) -> SourceVersion:
        """Store material for a version, and return the version as the material that was read back makes it."""
        now = self._clock.now()
        validity = checked_validity(new.validity, now)
        origin = new.origin or (MaterialOrigin.IMPORTED if new.material else MaterialOrigin.GENERATED)
        with await self._stored(key, new) as kept:
            return SourceVersion(number, material_id(new.request), now, new.actor, origin, kept.public_key, validity)

    async def _stored(self, key: SourceKey, new: NewSourceVersion) -> KeyMaterial:
        id_ = material_id(new.request)
        stored = await self._materials.find(key, id_) if new.material is None else None
        if stored is not None:
            return stored
        with new.material or await generated(key.kind) as material:
            return await self._materials.store(key.account, key.id, id_, material)


def check_same_kind(key: SourceKey, material: KeyMaterial | None) -> None:
    """Raise InvalidRequestError `material_type_mismatch` for material that is not of the key's kind."""
    if material is not None and material.kind != key.kind:
        detail = f"The key is {key.kind}; a new version has to be of the same kind."
        raise InvalidRequestError(detail, code="material_type_mismatch", field="material")


def _next(key: SourceKey, version: SourceVersion, new: NewSourceVersion) -> SourceKey:
    """Return the key with a new current version, and with what else that brings."""
    changed = with_version(key, version)
    if new.retire_on is not None:
        retirement = Retirement(str(key.current.number), new.retire_on, new.actor)
        changed = replace(changed, retirements=(*changed.retirements, retirement))
    link = key.copied_from
    if new.copied is not None and link is not None:
        copied = CopiedVersion(str(version.number), new.copied.version, version.public_key.thumbprint)
        changed = replace(changed, copied_from=replace(link, versions=(*link.versions, copied)))
    return changed.recorded(HistoryEntry(version.created_on, new.event, new.actor, str(version.number)))


async def generated(kind: KeyKind) -> KeyMaterial:
    """Generate material; RSA takes up to some seconds of processor time, so on a thread."""
    return await asyncio.to_thread(KeyMaterial.generate, kind)
