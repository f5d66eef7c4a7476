"""Keys wrapped by keys: AES key wrap with padding, and RSA-AES key wrap.

Invariants:
- What is wrapped is the canonical content: PKCS#8 in DER, or the octets of an AES key. A one-time key wraps once.
- Unwrapping says only that it failed: whether OAEP or the key wrap refused, the error is the same and the same work was
  done (no oracle as in Manger's attack), since a random key takes the place of the one that OAEP did not give.
- RSA-OAEP has no label, and MGF1 uses the same hash.

Sources: RFC 5649 (AES key wrap with padding); PKCS#11 mechanisms 3.1, CKM_RSA_AES_KEY_WRAP (RSA-OAEP of a one-time AES
key, followed by that key's wrap of the target key); RFC 8017, 7.1 (RSA-OAEP).
"""

import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from core.domain.key_kinds import AES_SIZES, KeyFamily
from core.domain.secrets import SecretBytes
from core.errors import ConflictError, InvalidRequestError
from core.material.material import KeyMaterial

_ONE_TIME_OCTETS = 32
_BLOCK = 8
_SHORTEST_WRAP = 16
_LONGEST = 64 * 1024


class WrapAlgorithm(StrEnum):
    """How one key wraps another."""

    AES_KWP = "AES-KWP"
    RSA_AES_KEY_WRAP = "RSA-AES-KEY-WRAP"


class OaepHash(StrEnum):
    """The hash of RSA-OAEP and of its mask generation function."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


_HASHES: Mapping[OaepHash, Callable[[], hashes.HashAlgorithm]] = MappingProxyType(
    {
        OaepHash.SHA1: hashes.SHA1,
        OaepHash.SHA256: hashes.SHA256,
        OaepHash.SHA384: hashes.SHA384,
        OaepHash.SHA512: hashes.SHA512,
    }
)
#: What is tried where nothing is stated: ours, then PKCS#11's and Azure's.
_TRIED = (OaepHash.SHA256, OaepHash.SHA1)
_FAMILIES: Mapping[WrapAlgorithm, KeyFamily] = MappingProxyType(
    {WrapAlgorithm.AES_KWP: KeyFamily.AES, WrapAlgorithm.RSA_AES_KEY_WRAP: KeyFamily.RSA}
)


def default_algorithm(family: KeyFamily) -> WrapAlgorithm:
    """Return how keys of this family wrap; ConflictError `wrapping_key_unsuitable` for EC, which does not."""
    for algorithm, suitable in _FAMILIES.items():
        if family is suitable:
            return algorithm
    raise _unsuitable()


def wrap(
    wrapping_key: KeyMaterial,
    key_to_wrap: KeyMaterial,
    algorithm: WrapAlgorithm,
    oaep_hash: OaepHash = OaepHash.SHA256,
) -> bytes:
    """Return `key_to_wrap` wrapped; ConflictError `wrapping_key_unsuitable` if the key is not the algorithm's."""
    _check_family(wrapping_key, algorithm)
    content = key_to_wrap.canonical()
    if algorithm is WrapAlgorithm.AES_KWP:
        return aes_key_wrap_with_padding(wrapping_key.canonical().reveal(), content.reveal())
    return rsa_aes_key_wrap(_rsa(wrapping_key).public_key(), content, oaep_hash)


def rsa_aes_key_wrap(public_key: RSAPublicKey, content: SecretBytes, oaep_hash: OaepHash) -> bytes:
    """Return CKM_RSA_AES_KEY_WRAP of `content` under a one-time AES-256 key."""
    one_time_key = secrets.token_bytes(_ONE_TIME_OCTETS)
    encrypted = public_key.encrypt(one_time_key, _oaep(oaep_hash))
    return encrypted + aes_key_wrap_with_padding(one_time_key, content.reveal())


def unwrap(
    wrapping_key: KeyMaterial,
    wrapped_key: bytes,
    algorithm: WrapAlgorithm,
    oaep_hash: OaepHash | None = None,
) -> SecretBytes:
    """Return what was wrapped, which still has to be read. No hash stated: SHA-256 is tried, then SHA-1.

    Raises ConflictError `wrapping_key_unsuitable`, InvalidRequestError `wrapped_material_malformed` and
    `unwrap_failed`.
    """
    _check_family(wrapping_key, algorithm)
    if algorithm is WrapAlgorithm.AES_KWP:
        _check_length(len(wrapped_key))
        key = wrapping_key.canonical().reveal()
        content = _unwrapped(key, wrapped_key)
    else:
        content = _rsa_aes_unwrapped(_rsa(wrapping_key), wrapped_key, (oaep_hash,) if oaep_hash else _TRIED)
    if content is None:
        raise InvalidRequestError(
            "This cannot be unwrapped: it was wrapped by another key or in another way, or it was altered.",
            code="unwrap_failed",
            field="material",
        )
    return SecretBytes(content)


def _rsa_aes_unwrapped(key: RSAPrivateKey, wrapped_key: bytes, tried: tuple[OaepHash, ...]) -> bytes | None:
    modulus_octets = key.key_size // 8
    _check_length(len(wrapped_key) - modulus_octets)
    encrypted, wrapped = wrapped_key[:modulus_octets], wrapped_key[modulus_octets:]
    contents = [_unwrapped(_one_time_key(key, encrypted, oaep_hash), wrapped) for oaep_hash in tried]
    return next((content for content in contents if content is not None), None)


def _one_time_key(key: RSAPrivateKey, encrypted: bytes, oaep_hash: OaepHash) -> bytes:
    """Return the one-time key, or a random one if there is none: the key wrap refuses it later."""
    random_key = secrets.token_bytes(_ONE_TIME_OCTETS)
    try:
        found = key.decrypt(encrypted, _oaep(oaep_hash))
    except ValueError:
        found = random_key
    return found if 8 * len(found) in AES_SIZES else random_key


def _unwrapped(key: bytes, wrapped: bytes) -> bytes | None:
    try:
        return aes_key_unwrap_with_padding(key, wrapped)
    except InvalidUnwrap:
        return None


def _check_length(octets: int) -> None:
    """RFC 5649: whole blocks of 8 octets, at least two of them."""
    if not _SHORTEST_WRAP <= octets <= _LONGEST or octets % _BLOCK:
        raise InvalidRequestError(
            "This is no wrapped key: its length is impossible for this wrapping key and algorithm.",
            code="wrapped_material_malformed",
            field="material",
        )


def _check_family(wrapping_key: KeyMaterial, algorithm: WrapAlgorithm) -> None:
    if wrapping_key.kind.family is not _FAMILIES[algorithm]:
        raise _unsuitable()


def _rsa(wrapping_key: KeyMaterial) -> RSAPrivateKey:
    key = wrapping_key.private_key()
    if not isinstance(key, RSAPrivateKey):
        raise _unsuitable()
    return key


def _oaep(oaep_hash: OaepHash) -> OAEP:
    algorithm = _HASHES[oaep_hash]
    return OAEP(mgf=MGF1(algorithm()), algorithm=algorithm(), label=None)


def _unsuitable() -> ConflictError:
    return ConflictError(
        "This key cannot wrap so: AES keys wrap with AES-KWP, RSA keys with RSA-AES-KEY-WRAP, EC keys not at all.",
        code="wrapping_key_unsuitable",
    )
