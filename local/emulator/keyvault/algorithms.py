"""What a cryptographic algorithm is given and how it refuses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.emulator.keyvault.material import Material


class CryptoError(Exception):
    """The input does not fit the key or the algorithm; the message says how, never what the input was."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The octets of a request; a member that was not sent is empty."""

    value: bytes
    iv: bytes = b""
    tag: bytes = b""
    aad: bytes = b""


type Transform = Callable[[Material, Inputs], Mapping[str, bytes]]
"""Turns inputs into the binary members of the answer."""
type Check = Callable[[Material, bytes, bytes], bool]
"""Says whether its third argument is a signature of the digest before it."""


def require_family(material: Material, family: str) -> None:
    """Raise unless the key is of the family that an algorithm works with."""
    if material.family != family:
        raise CryptoError(f"The algorithm is not supported by keys of type {material.family}.")
