"""Key material as people give it: in the clear, or wrapped under a source key that unwraps it.

Invariant: what is returned is whole, consistent key material of a size that is allowed somewhere; whoever gets it wipes
it.
"""

import asyncio
from dataclasses import dataclass

from core.material.material import KeyMaterial
from core.material.reading import Expected, GivenMaterial, read_material, read_octets, read_unwrapped
from core.material.wrapping import OaepHash, WrapAlgorithm, default_algorithm, unwrap
from core.services.source_keys import SourceKeys, SourceUse


@dataclass(frozen=True, slots=True)
class Unwrapping:
    """The source key that unwraps given material, and how; None takes what fits the key."""

    use: SourceUse
    algorithm: WrapAlgorithm | None = None
    oaep_hash: OaepHash | None = None


@dataclass(frozen=True, slots=True)
class GivenKey:
    """Material, what its giver says that it is, and what it is wrapped under."""

    material: GivenMaterial
    expected: Expected
    unwrapping: Unwrapping | None = None


class GivenKeys:
    """Reads given keys."""

    def __init__(self, sources: SourceKeys) -> None:
        self._sources = sources

    async def read(self, account: str, given: GivenKey) -> KeyMaterial:
        """Return the material.

        Raises InvalidRequestError with a code for each kind of bad material (`core.material.reading`), `unwrap_failed`,
        `wrapped_material_malformed`; those of SourceKeys.opened; ConflictError `wrapping_key_unsuitable`.
        """
        if given.unwrapping is None:
            # To check that the numbers of an RSA key belong together takes a good part of a second.
            return await asyncio.to_thread(read_material, given.material, given.expected)
        wrapped = read_octets(given.material)
        key, _, wrapping_key = await self._sources.opened(account, given.unwrapping.use, "unwrap")
        algorithm = given.unwrapping.algorithm or default_algorithm(key.kind.family)
        with wrapping_key:
            octets = unwrap(wrapping_key, wrapped.reveal(), algorithm, given.unwrapping.oaep_hash)
        return await asyncio.to_thread(read_unwrapped, octets, given.expected)
