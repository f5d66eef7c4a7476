"""Compact JWE with A256CBC-HS512 (RFC 7516, RFC 7518 section 5.2.5): what backups are wrapped in."""

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from local.emulator.keyvault.encoding import from_base64url, to_base64url

KEY_OCTETS = 64
ENCRYPTION = "A256CBC-HS512"
_HALF = 32
_BLOCK_BITS = 128
_IV_OCTETS = 16
_PARTS = 5


class JweError(Exception):
    """The text is no JWE, or was not made with this key."""


def encrypt(plaintext: bytes, content_key: bytes, *, header: dict[str, str], encrypted_key: bytes) -> str:
    """Return the compact JWE of `plaintext` under a content key of 64 octets."""
    protected = to_base64url(json.dumps(header, separators=(",", ":")).encode())
    iv = os.urandom(_IV_OCTETS)
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(content_key[_HALF:]), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    tag = _tag(content_key, protected.encode(), iv, ciphertext)
    return ".".join([protected, *(to_base64url(part) for part in (encrypted_key, iv, ciphertext, tag))])


def decrypt(token: str, content_key_of: Callable[[dict[str, Any], bytes], bytes]) -> bytes:
    """Return the plaintext; `content_key_of` yields the content key for a header and encrypted key.

    Raises:
        JweError: the token is malformed or its tag does not match.

    """
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise JweError("not a compact JWE")
    try:
        encrypted_key, iv, ciphertext, tag = (from_base64url(part) for part in parts[1:])
        header = json.loads(from_base64url(parts[0]))
    except ValueError as error:
        raise JweError("not a compact JWE") from error
    if not isinstance(header, dict) or header.get("enc") != ENCRYPTION or len(iv) != _IV_OCTETS:
        raise JweError("not encrypted as expected")
    content_key = content_key_of(header, encrypted_key)
    if not hmac.compare_digest(tag, _tag(content_key, parts[0].encode(), iv, ciphertext)):
        raise JweError("the tag does not match")
    decryptor = Cipher(algorithms.AES(content_key[_HALF:]), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def _tag(content_key: bytes, protected: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    length = (len(protected) * 8).to_bytes(8, "big")
    return hmac.digest(content_key[:_HALF], protected + iv + ciphertext + length, hashlib.sha512)[:_HALF]
