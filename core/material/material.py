"""Key material in plaintext, as short-lived as can be.

Invariants:
- Nothing shows the content: not `repr`, `str` or `format`, not pickling, copying, JSON or Pydantic; comparison takes
  constant time. What takes it out is greppable: `canonical`, `private_jwk`, `private_key`.
- `with` wipes, and so does the garbage collector; wiped material raises. Wiping is best effort: it overwrites our copy,
  but not those that the interpreter and OpenSSL made on the way.
- The content is canonical: PKCS#8 (RFC 5958) in DER, unencrypted, for RSA and EC; the raw octets for AES. What was
  sealed once is kept as it is: `from_canonical` reads it and never writes it anew.

Sources: RFC 7517 and RFC 7518, 6 (private JWK), RFC 8812 (secp256k1, Azure's P-256K).
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn, Self, final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from core.domain.key_kinds import AES_SIZES, RSA_SIZES, KeyFamily, KeyKind
from core.domain.keys import PublicKey
from core.domain.public_keys import COORDINATE_OCTETS, base64url, ec_public_key, rsa_public_key
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError

_MASK = "********"
_EXPONENT = 65537
#: The curves by Azure's names.
CURVES: Mapping[str, ec.EllipticCurve] = MappingProxyType(
    {"P-256": ec.SECP256R1(), "P-256K": ec.SECP256K1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
)
_CURVE_NAMES = MappingProxyType({curve.name: name for name, curve in CURVES.items()})

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class WipedMaterialError(RuntimeError):
    """Material was used after its end: an error in the program."""


class _Guarded:
    """Octets that nothing shows, and that are overwritten at the end."""

    __slots__ = ("_content", "_wiped")

    def __init__(self, content: bytes) -> None:
        self._content = bytearray(content)
        self._wiped = False

    def wipe(self) -> None:
        """Overwrite the content; again is harmless."""
        self._content[:] = bytes(len(self._content))
        self._wiped = True

    def _usable(self) -> bytearray:
        if self._wiped:
            raise WipedMaterialError("This material was wiped.")
        return self._content

    def __enter__(self) -> Self:
        self._usable()
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        if hasattr(self, "_wiped"):
            self.wipe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_MASK})"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return hmac.compare_digest(self._usable(), other._usable())

    def __hash__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not hashable")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be serialised or copied")

    # Without this, the default one would hand out the slots.
    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be serialised or copied")

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> NoReturn:
        raise TypeError(f"{cls.__name__} is no part of a model")


@final
class KeyMaterial(_Guarded):
    """A key with its private half; `kind` and `public_key` are no secrets and outlive the wiping."""

    __slots__ = ("kind", "public_key")

    def __init__(self, kind: KeyKind, public_key: PublicKey, content: bytes) -> None:
        super().__init__(content)
        self.kind = kind
        self.public_key = public_key

    @classmethod
    def of_private_key(cls, key: PrivateKey) -> Self:
        """Take over a private key that was checked."""
        content = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        kind, public_key = _described(key)
        return cls(kind, public_key, content)

    @classmethod
    def of_octets(cls, octets: bytes) -> Self:
        """Take over the octets of an AES key that were checked."""
        return cls(KeyKind(KeyFamily.AES, 8 * len(octets)), PublicKey(), octets)

    @classmethod
    def from_canonical(cls, kind: KeyKind, content: SecretBytes) -> Self:
        """Read what `canonical` returned once; IntegrityError `material_altered` if it is no key of that kind."""
        octets = content.reveal()
        if kind.family is KeyFamily.AES:
            if 8 * len(octets) != kind.size:
                raise _altered()
            return cls.of_octets(octets)
        found, public_key = _described(_loaded(octets))
        if (found.family, found.size or found.curve) != (kind.family, kind.curve or kind.size):
            raise _altered()
        return cls(found, public_key, octets)

    @classmethod
    def generate(cls, kind: KeyKind) -> Self:
        """Make a new key. RSA takes up to seconds of a core: call it in a thread."""
        if kind.family is KeyFamily.RSA and kind.size in RSA_SIZES:
            return cls.of_private_key(rsa.generate_private_key(_EXPONENT, kind.size))
        if kind.family is KeyFamily.EC and kind.curve is not None and kind.curve in CURVES:
            return cls.of_private_key(ec.generate_private_key(CURVES[kind.curve]))
        if kind.family is KeyFamily.AES and kind.size in AES_SIZES:
            return cls.of_octets(secrets.token_bytes(kind.size // 8))
        raise ValueError("There are no keys of this kind; check_allowed comes first.")

    def canonical(self) -> SecretBytes:
        """Return the canonical content, for sealing and wrapping."""
        return SecretBytes(bytes(self._usable()))

    def private_jwk(self) -> SecretBytes:
        """Return the private JWK as JSON text, as Azure's import takes it; TypeError for AES, which Azure does not."""
        key = self.private_key()
        members = _rsa_jwk(key) if isinstance(key, rsa.RSAPrivateKey) else _ec_jwk(key, self.public_key)
        return SecretBytes(json.dumps(members, separators=(",", ":")).encode())

    def private_key(self) -> PrivateKey:
        """Return the key for operations with it; TypeError for AES."""
        if self.kind.family is KeyFamily.AES:
            raise TypeError("A symmetric key has no private half.")
        return _loaded(bytes(self._usable()))


def _altered() -> IntegrityError:
    return IntegrityError("Sealed key material is not a key of the kind that it should be.", code="material_altered")


def _loaded(octets: bytes) -> PrivateKey:
    """Load canonical content. It was checked when it came in and was sealed since: the primes are not tested again."""
    try:
        key = load_der_private_key(octets, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _altered() from None
    return _known(key)


def _known(key: PrivateKeyTypes) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVE_NAMES:
        return key
    raise _altered()


def _described(key: PrivateKey) -> tuple[KeyKind, PublicKey]:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return KeyKind(KeyFamily.RSA, key.key_size), rsa_public_key(_octets(numbers.n), _octets(numbers.e))
    point = key.public_key().public_numbers()
    curve = _CURVE_NAMES[key.curve.name]
    return KeyKind(KeyFamily.EC, curve=curve), ec_public_key(curve, _octets(point.x), _octets(point.y))


def _rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.private_numbers()
    members = {
        "n": numbers.public_numbers.n,
        "e": numbers.public_numbers.e,
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
        "dp": numbers.dmp1,
        "dq": numbers.dmq1,
        "qi": numbers.iqmp,
    }
    return {"kty": "RSA", **{name: base64url(_octets(number)) for name, number in members.items()}}


def _ec_jwk(key: ec.EllipticCurvePrivateKey, public_key: PublicKey) -> dict[str, str]:
    curve, x, y = str(public_key.curve), str(public_key.x), str(public_key.y)
    d = key.private_numbers().private_value.to_bytes(COORDINATE_OCTETS[curve])
    return {"kty": "EC", "crv": curve, "x": x, "y": y, "d": base64url(d)}


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
