"""AES and HMAC algorithms of oct keys, by their wire names."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.padding import PKCS7

from local.emulator.keyvault.algorithms import Check, CryptoError, Inputs, Transform, require_family
from local.emulator.keyvault.material import OCT_SIZES, Material

_NONCE_OCTETS = 12
_TAG_OCTETS = 16
_BLOCK_OCTETS = 16


def _check_size(material: Material, size: int) -> None:
    require_family(material, "oct")
    if material.size != size:
        raise CryptoError(f"The algorithm needs a key of {size} bits.")


def _encrypt_gcm(size: int, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    _check_size(material, size)
    iv = inputs.iv or os.urandom(_NONCE_OCTETS)
    if len(iv) != _NONCE_OCTETS:
        raise CryptoError(f"The iv must have {_NONCE_OCTETS} octets.")
    sealed = AESGCM(material.private).encrypt(iv, inputs.value, inputs.aad or None)
    parts = {"value": sealed[:-_TAG_OCTETS], "iv": iv, "tag": sealed[-_TAG_OCTETS:]}
    return parts | ({"aad": inputs.aad} if inputs.aad else {})


def _decrypt_gcm(size: int, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    _check_size(material, size)
    if len(inputs.iv) != _NONCE_OCTETS or len(inputs.tag) != _TAG_OCTETS:
        raise CryptoError(f"The iv must have {_NONCE_OCTETS} octets and the tag {_TAG_OCTETS}.")
    try:
        opened = AESGCM(material.private).decrypt(inputs.iv, inputs.value + inputs.tag, inputs.aad or None)
    except InvalidTag as error:
        raise CryptoError("The tag does not match.") from error
    return {"value": opened}


def _cbc(material: Material, iv: bytes) -> Cipher[modes.CBC]:
    if len(iv) != _BLOCK_OCTETS:
        raise CryptoError(f"The iv must have {_BLOCK_OCTETS} octets.")
    return Cipher(algorithms.AES(material.private), modes.CBC(iv))


def _encrypt_cbc(size: int, padded: bool, material: Material, inputs: Inputs) -> Mapping[str, bytes]:  # noqa: FBT001 - bound by partial
    _check_size(material, size)
    iv = inputs.iv or os.urandom(_BLOCK_OCTETS)
    encryptor = _cbc(material, iv).encryptor()
    value = inputs.value
    if padded:
        padder = PKCS7(8 * _BLOCK_OCTETS).padder()
        value = padder.update(value) + padder.finalize()
    _check_blocks(value)
    return {"value": encryptor.update(value) + encryptor.finalize(), "iv": iv}


def _decrypt_cbc(size: int, padded: bool, material: Material, inputs: Inputs) -> Mapping[str, bytes]:  # noqa: FBT001 - bound by partial
    _check_size(material, size)
    _check_blocks(inputs.value)
    decryptor = _cbc(material, inputs.iv).decryptor()
    value = decryptor.update(inputs.value) + decryptor.finalize()
    if not padded:
        return {"value": value}
    unpadder = PKCS7(8 * _BLOCK_OCTETS).unpadder()
    try:
        return {"value": unpadder.update(value) + unpadder.finalize()}
    except ValueError as error:
        raise CryptoError("The value cannot be decrypted with this key.") from error


def _check_blocks(value: bytes) -> None:
    if len(value) % _BLOCK_OCTETS:
        raise CryptoError(f"The length of the value must be a multiple of {_BLOCK_OCTETS} octets.")


def _wrap(size: int | None, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    _check_size(material, size or material.size)
    try:
        return {"value": aes_key_wrap(material.private, inputs.value)}
    except ValueError as error:
        raise CryptoError("The value cannot be wrapped.") from error


def _unwrap(size: int | None, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    _check_size(material, size or material.size)
    try:
        return {"value": aes_key_unwrap(material.private, inputs.value)}
    except (InvalidUnwrap, ValueError) as error:
        raise CryptoError("The value cannot be unwrapped with this key.") from error


def _wrap_padded(material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    require_family(material, "oct")
    try:
        return {"value": aes_key_wrap_with_padding(material.private, inputs.value)}
    except ValueError as error:
        raise CryptoError("The value cannot be wrapped.") from error


def _unwrap_padded(material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    require_family(material, "oct")
    try:
        return {"value": aes_key_unwrap_with_padding(material.private, inputs.value)}
    except (InvalidUnwrap, ValueError) as error:
        raise CryptoError("The value cannot be unwrapped with this key.") from error


def _sign(digest: str, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    require_family(material, "oct")
    return {"value": hmac.digest(material.private, inputs.value, digest)}


def _verify(digest: str, material: Material, value: bytes, signature: bytes) -> bool:
    require_family(material, "oct")
    return hmac.compare_digest(hmac.digest(material.private, value, digest), signature)


_DIGESTS = {"HS256": hashlib.sha256().name, "HS384": hashlib.sha384().name, "HS512": hashlib.sha512().name}

ENCRYPT: Mapping[str, Transform] = {
    **{f"A{size}GCM": partial(_encrypt_gcm, size) for size in OCT_SIZES},
    **{f"A{size}CBC": partial(_encrypt_cbc, size, False) for size in OCT_SIZES},
    **{f"A{size}CBCPAD": partial(_encrypt_cbc, size, True) for size in OCT_SIZES},
}
DECRYPT: Mapping[str, Transform] = {
    **{f"A{size}GCM": partial(_decrypt_gcm, size) for size in OCT_SIZES},
    **{f"A{size}CBC": partial(_decrypt_cbc, size, False) for size in OCT_SIZES},
    **{f"A{size}CBCPAD": partial(_decrypt_cbc, size, True) for size in OCT_SIZES},
}
WRAP: Mapping[str, Transform] = {
    **{f"A{size}KW": partial(_wrap, size) for size in OCT_SIZES},
    "CKM_AES_KEY_WRAP": partial(_wrap, None),
    "CKM_AES_KEY_WRAP_PAD": _wrap_padded,
}
UNWRAP: Mapping[str, Transform] = {
    **{f"A{size}KW": partial(_unwrap, size) for size in OCT_SIZES},
    "CKM_AES_KEY_WRAP": partial(_unwrap, None),
    "CKM_AES_KEY_WRAP_PAD": _unwrap_padded,
}
SIGN: Mapping[str, Transform] = {name: partial(_sign, digest) for name, digest in _DIGESTS.items()}
VERIFY: Mapping[str, Check] = {name: partial(_verify, digest) for name, digest in _DIGESTS.items()}
