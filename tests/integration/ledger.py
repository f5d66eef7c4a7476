"""What no store and no log may hold in the open: every secret that a test uses is written down here when it is made.

Invariant: a secret is found as it is, in hex, and in base64 of either alphabet, also where it is a part of a longer
text that was encoded as a whole.
"""

import base64
import binascii
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_SHORTEST = 16
# Every needle begins with so many bytes; what holds none of these beginnings holds no needle.
_GRAM = 12
_PEM_LINE = 48
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Ledger:
    """The secrets of one run."""

    def __init__(self) -> None:
        self._needles: dict[bytes, dict[bytes, str]] = {}

    def add(self, what: str, secret: str) -> str:
        """Write a text secret down and return it."""
        self.add_bytes(what, secret.encode())
        return secret

    def add_bytes(self, what: str, secret: bytes) -> bytes:
        """Write a binary secret down and return it."""
        assert len(secret) >= _SHORTEST, "too short to be told from other text"
        for form in _forms(secret):
            self._needles.setdefault(form[:_GRAM], {})[form] = what
        return secret

    def add_pem(self, what: str, pem: str) -> str:
        """Write a private key in PEM down and return it; one line from its middle tells it from all others."""
        lines = [line for line in pem.split("PRIVATE KEY")[1].splitlines() if line and "-----" not in line]
        self.add(what, lines[len(lines) // 2])
        self.add_bytes(what, binascii.a2b_base64(lines[len(lines) // 2]))
        return pem

    def add_private_key(self, what: str, key: RSAPrivateKey | EllipticCurvePrivateKey) -> None:
        """Write a private key down: each of its secret numbers, so every DER and JWK of it, and a line of both PEMs."""
        first, *others = (number.to_bytes((number.bit_length() + 7) // 8) for number in _secret_numbers(key))
        for octets in (first, *others):
            self.add_bytes(what, octets)
            self.add(what, str(int.from_bytes(octets)))
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            der = key.private_bytes(Encoding.DER, form, NoEncryption())
            # Of an EC key most lines are its public half.
            secret = der.index(first) + len(first) // 2
            line = der[secret - secret % _PEM_LINE :][:_PEM_LINE]
            self.add(what, base64.b64encode(line).decode())

    def knows(self, secret: str) -> bool:
        """Whether a text secret was written down."""
        return secret.encode() in self._needles.get(secret.encode()[:_GRAM], {})

    def found_in(self, content: bytes) -> Iterator[str]:
        """Yield what of it `content` holds."""
        grams = self._needles.keys() & {content[start : start + _GRAM] for start in range(len(content) - _GRAM + 1)}
        for gram in grams:
            for needle, what in self._needles[gram].items():
                if needle in content:
                    yield what

    def __len__(self) -> int:
        return sum(map(len, self._needles.values()))


def _secret_numbers(key: RSAPrivateKey | EllipticCurvePrivateKey) -> tuple[int, ...]:
    if isinstance(key, EllipticCurvePrivateKey):
        return (key.private_numbers().private_value,)
    numbers = key.private_numbers()
    return (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    # Encoded as a part of something, a text begins at any of three places in a group of four characters.
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        alone = whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        yield alone
        yield alone.translate(_URL_SAFE)
