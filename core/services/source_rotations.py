"""Rotation of source keys: a new version with material that is generated or given. Copies stay where they are."""

from dataclasses import dataclass

from core.domain.keys import KeyClass, Validity
from core.domain.rotation_schedules import KEEP_PREVIOUS, Previous
from core.domain.rotations import life_of, rotated_validity
from core.domain.source_keys import MaterialOrigin, SourceKey
from core.material.material import KeyMaterial
from core.ports import Clock, Stored
from core.services.attribute_actions import ActionRequest
from core.services.materials import material_id
from core.services.opened_keys import KeyRef
from core.services.retirements import Retirements
from core.services.source_keys import NewSourceVersion, SourceKeys


@dataclass(frozen=True, slots=True)
class RotatingSource:
    """How somebody wants a source key rotated; without material it is generated, or was stored by the same request."""

    asked: ActionRequest
    validity: Validity | None = None
    previous: Previous = KEEP_PREVIOUS
    material: KeyMaterial | None = None
    imported: bool = False


class SourceRotations:
    """Rotates source keys. Permissions of callers are decided before anything here is called."""

    def __init__(self, sources: SourceKeys, retirements: Retirements, clock: Clock) -> None:
        self._sources = sources
        self._retirements = retirements
        self._clock = clock

    async def read(self, ref: KeyRef) -> Stored[SourceKey]:
        """Return a key; NotFoundError `key_not_found`."""
        return await self._sources.get(ref.account, ref.group, ref.key)

    async def rotate(self, ref: KeyRef, how: RotatingSource) -> Stored[SourceKey]:
        """Give a key a new version, or find that this request did; errors as for SourceKeys.add_version."""
        key = (await self._sources.get(ref.account, ref.group, ref.key)).value
        stored = await self._sources.add_version(
            ref.account, ref.group, ref.key, self._new(key, how), how.asked.if_match
        )
        if how.previous.grace is not None and not how.previous.grace:
            await self._retirements.try_now(ref, KeyClass.SOURCE)
            return await self._sources.get(ref.account, ref.group, ref.key)
        return stored

    async def prepare(self, ref: KeyRef, how: RotatingSource) -> Stored[SourceKey]:
        """Store the material of the version that the same request is going to add; errors as for `rotate`."""
        key = (await self._sources.get(ref.account, ref.group, ref.key)).value
        return await self._sources.prepare(ref.account, ref.group, ref.key, self._new(key, how), how.asked.if_match)

    def _new(self, key: SourceKey, how: RotatingSource) -> NewSourceVersion:
        now = self._clock.now()
        return NewSourceVersion(
            request=how.asked.request,
            material=how.material,
            validity=rotated_validity(life_of(key.current), how.validity, now),
            actor=how.asked.actor,
            origin=MaterialOrigin.IMPORTED if how.material or how.imported else MaterialOrigin.GENERATED,
            event="key.rotated",
            retire_on=None if how.previous.grace is None else now + how.previous.grace,
        )


def version_number(key: SourceKey, request: str) -> int | None:
    """Return the number of the version that a request made, if it did."""
    id_ = material_id(request)
    return next((version.number for version in key.versions if version.material == id_), None)
