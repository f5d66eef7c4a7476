"""The versions of a fake vault's keys: random public halves, and key exchange keys that really unwrap."""

import base64
import json
import os
import uuid
from dataclasses import replace
from datetime import datetime
from functools import cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from core.domain.key_kinds import IMPORT_ONLY, KeyFamily, KeyKind, kind_of
from core.domain.keys import KeyVersion, PublicKey, Validity
from core.domain.new_keys import NewVersion, VersionChanges
from core.domain.public_keys import COORDINATE_OCTETS, ec_public_key, rsa_public_key
from core.domain.secrets import SecretBytes
from core.errors import PolicyViolationError

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the format prescribes it
_BITS = {"P-256": 256, "P-256K": 256, "P-384": 384, "P-521": 521}


def a_public_key(kind: KeyKind) -> PublicKey:
    """A public half that looks like one; nobody has the private half."""
    if kind.family is KeyFamily.RSA:
        n = os.urandom((kind.size or 2048) // 8)
        return rsa_public_key(bytes([n[0] | 0x80]) + n[1:-1] + bytes([n[-1] | 1]), b"\x01\x00\x01")
    if kind.family is KeyFamily.EC:
        width = COORDINATE_OCTETS[kind.curve or "P-256"]
        return ec_public_key(kind.curve or "P-256", os.urandom(width), os.urandom(width))
    return PublicKey()


def another_public_key(version: KeyVersion) -> PublicKey:
    """A public half of the same kind as a version's."""
    kind = kind_of(version.type, version.size, version.public_key.curve)
    return a_public_key(kind) if kind is not None else PublicKey()


def public_key_of(kind: KeyKind, private_key: SecretBytes) -> PublicKey:
    """The public half of a private JWK."""
    jwk = json.loads(private_key.reveal())
    if kind.family is KeyFamily.RSA:
        return rsa_public_key(_octets(jwk["n"]), _octets(jwk["e"]))
    return ec_public_key(kind.curve or "", _octets(jwk["x"]), _octets(jwk["y"]))


def made_version(new: NewVersion, id_: str, created: datetime, public_key: PublicKey) -> KeyVersion:
    """A version as the vault shows it after making it."""
    return KeyVersion(
        id=id_,
        created_on=created,
        updated_on=created,
        type=new.type,
        size=_size_of(new.kind),
        operations=tuple(sorted(new.operations)),
        validity=new.validity,
        public_key=public_key,
        tags=tuple(sorted(new.tags)),
        exportable=new.exportable,
    )


def changed(version: KeyVersion, changes: VersionChanges) -> KeyVersion:
    """A version with what `changes` names."""
    validity = version.validity
    return replace(
        version,
        validity=Validity(
            validity.enabled if changes.enabled is None else changes.enabled,
            changes.not_before or validity.not_before,
            changes.expires_on or validity.expires_on,
        ),
        operations=version.operations if changes.operations is None else tuple(sorted(changes.operations)),
        tags=version.tags if changes.tags is None else tuple(sorted(changes.tags)),
    )


class ExchangeKeys:
    """The private halves of a vault's key exchange keys, by version."""

    def __init__(self) -> None:
        self._private: dict[str, rsa.RSAPrivateKey] = {}

    def made(self, new: NewVersion, version: str) -> PublicKey:
        """The public half of a version; one with a private half here if it is a key exchange key."""
        if new.operations != IMPORT_ONLY:
            return a_public_key(new.kind)
        self._private[version] = _private_key(new.kind.size or 2048)
        numbers = self._private[version].public_key().public_numbers()
        return rsa_public_key(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8), b"\x01\x00\x01")

    def taken_in(self, new: NewVersion, blob: bytes) -> PublicKey:
        """The public half of what a transfer blob holds; PolicyViolationError `vault_refused`."""
        try:
            content = json.loads(blob)
            private = self._private[content["header"]["kid"].rpartition("/")[2]]
            sealed = _octets(content["ciphertext"])
            split = private.key_size // 8
            plaintext = aes_key_unwrap_with_padding(private.decrypt(sealed[:split], _OAEP), sealed[split:])
            return _public_half(new.kind, plaintext)
        except (ValueError, KeyError, TypeError, InvalidUnwrap, UnsupportedAlgorithm):
            raise refused() from None


def refused() -> PolicyViolationError:
    """What the vault says to a request in which it finds something wrong."""
    return PolicyViolationError("refused", code="vault_refused", facts={"azure_code": "BadParameter"})


def new_version_id() -> str:
    """A version id as Azure makes them."""
    return uuid.uuid4().hex


def _public_half(kind: KeyKind, plaintext: bytes) -> PublicKey:
    if kind.family is KeyFamily.AES:
        if len(plaintext) * 8 != kind.size:
            raise ValueError("another size")
        return PublicKey()
    key = serialization.load_der_private_key(plaintext, None)
    if isinstance(key, rsa.RSAPrivateKey) and kind.family is KeyFamily.RSA:
        public = key.public_key().public_numbers()
        return rsa_public_key(public.n.to_bytes((public.n.bit_length() + 7) // 8), public.e.to_bytes(4))
    if isinstance(key, ec.EllipticCurvePrivateKey) and kind.family is KeyFamily.EC:
        point, width = key.public_key().public_numbers(), (key.key_size + 7) // 8
        return ec_public_key(kind.curve or "", point.x.to_bytes(width), point.y.to_bytes(width))
    raise ValueError("another type")


@cache
def _private_key(size: int) -> rsa.RSAPrivateKey:
    # Large ones take seconds, so all vaults of a run have the same; blobs are told apart by the version they name.
    return rsa.generate_private_key(65537, size)


def _octets(member: str) -> bytes:
    return base64.urlsafe_b64decode(member + "=" * (-len(member) % 4))


def _size_of(kind: KeyKind) -> int | None:
    """The size as a vault's answer tells it: of a symmetric key it says nothing."""
    return {KeyFamily.RSA: kind.size, KeyFamily.EC: _BITS.get(kind.curve or ""), KeyFamily.AES: None}[kind.family]
