"""The sealed material of source keys: stored once, read back before anything relies on it, opened where it is needed.

Invariants: material is never written over; it is bound to account, key, its own id and kind, and is believed only if
its public key is the one that the key's record shows.
"""

import hmac
from contextlib import suppress
from dataclasses import dataclass

from core.domain import sealing
from core.domain.identifiers import IdKind, derived_id
from core.domain.key_kinds import KeyKind
from core.domain.source_keys import SourceKey, SourceVersion
from core.errors import AlreadyExistsError, IntegrityError
from core.material.material import KeyMaterial
from core.ports import Binding, Collection, Sealer


@dataclass(frozen=True, slots=True)
class SealedMaterial:
    """One version's material as a sealed object."""

    account: str
    key: str
    sealed: str


def material_id(request: str) -> str:
    """Return the id of the material that a request brings."""
    return derived_id(IdKind.MATERIAL, request)


class Materials:
    """Stores and opens material."""

    def __init__(self, rows: Collection[SealedMaterial], sealer: Sealer) -> None:
        self._rows = rows
        self._sealer = sealer

    async def store(self, account: str, key: str, id_: str, material: KeyMaterial) -> KeyMaterial:
        """Store material, and return what was read back.

        Where an earlier attempt of the same request stored (generated) material already, that one stays.
        """
        sealed = await self._sealer.seal(_binding(account, key, id_, material.kind), material.canonical())
        with suppress(AlreadyExistsError):
            await self._rows.insert(key, id_, SealedMaterial(account, key, sealed))
        return await self._read(account, key, id_, material.kind)

    async def find(self, key: SourceKey, id_: str) -> KeyMaterial | None:
        """Return what is stored under an id for a version that is not recorded yet, or None."""
        if await self._rows.get(key.id, id_) is None:
            return None
        return await self._read(key.account, key.id, id_, key.kind)

    async def open(self, key: SourceKey, version: SourceVersion) -> KeyMaterial:
        """Return a version's material; IntegrityError `material_missing`, `material_altered` and those of sealing."""
        material = await self._read(key.account, key.id, version.material, key.kind)
        shown, found = version.public_key.thumbprint or "", material.public_key.thumbprint or ""
        if not hmac.compare_digest(shown, found):
            material.wipe()
            raise IntegrityError(
                "A source key's material is not what its record says.",
                code="material_altered",
                facts={"key": key.id, "version": version.number},
            )
        return material

    async def _read(self, account: str, key: str, id_: str, kind: KeyKind) -> KeyMaterial:
        stored = await self._rows.get(key, id_)
        if stored is None:
            raise IntegrityError("A source key's material is missing.", code="material_missing", facts={"key": key})
        content = await self._sealer.open(_binding(account, key, id_, kind), stored.value.sealed)
        return KeyMaterial.from_canonical(kind, content)


def _binding(account: str, key: str, id_: str, kind: KeyKind) -> Binding:
    return Binding(account, sealing.KEY_MATERIAL, key, f"{id_}.{kind.family.value}-{kind.curve or kind.size}")
