"""Keys from passphrases as old files need them: read for their owners' sake, never written.

Sources: RFC 7292, appendix B.2 (PKCS#12, with SHA-1); OpenSSL's EVP_BytesToKey(3) with MD5 and one round.
"""

import hashlib
from enum import IntEnum

_BLOCK = 64


class Purpose(IntEnum):
    """What octets are derived for: RFC 7292, B.3."""

    KEY = 1
    IV = 2


def pkcs12_octets(passphrase: str, salt: bytes, iterations: int, purpose: Purpose, count: int) -> bytes:
    """Return `count` octets of PKCS#12's derivation. It runs in Python: 100,000 iterations take about 0.1 s."""
    mixed = _filled(salt) + _filled(passphrase.encode("utf-16-be") + b"\0\0")
    derived = b""
    while len(derived) < count:
        digest = bytes((purpose,)) * _BLOCK + mixed
        for _ in range(iterations):
            digest = hashlib.sha1(digest, usedforsecurity=False).digest()
        derived += digest
        addend = int.from_bytes(_filled(digest)[:_BLOCK]) + 1
        mixed = b"".join(_sum(mixed[start : start + _BLOCK], addend) for start in range(0, len(mixed), _BLOCK))
    return derived[:count]


def openssl_octets(password: bytes, salt: bytes, count: int) -> bytes:
    """Return `count` octets of the derivation for traditional encrypted PEM."""
    derived, block = b"", b""
    while len(derived) < count:
        block = hashlib.md5(block + password + salt, usedforsecurity=False).digest()
        derived += block
    return derived[:count]


def _filled(content: bytes) -> bytes:
    """Repeat `content` until it fills whole blocks."""
    length = -(-len(content) // _BLOCK) * _BLOCK
    return (content * (length // max(len(content), 1) + 1))[:length]


def _sum(block: bytes, addend: int) -> bytes:
    return ((int.from_bytes(block) + addend) % (1 << 8 * _BLOCK)).to_bytes(_BLOCK)
