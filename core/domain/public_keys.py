"""Public keys from their numbers: one form and one thumbprint, wherever the numbers come from.

Invariant: two public keys have the same thumbprint exactly when they are the same key. So numbers lose their leading
zeros, and coordinates have the full width of their curve.

Sources: RFC 7638 (thumbprint), RFC 7518, 6.2 and 6.3 (members), RFC 8812 (secp256k1).
"""

import base64
import hashlib
import json
from types import MappingProxyType

from core.domain.keys import PublicKey

#: The width of a coordinate in octets, by Azure's name of the curve.
COORDINATE_OCTETS = MappingProxyType({"P-256": 32, "P-256K": 32, "secp256k1": 32, "P-384": 48, "P-521": 66})
# RFC 8812 registers this name for the curve that Azure calls P-256K.
_REGISTERED_CURVES = MappingProxyType({"P-256K": "secp256k1"})


def base64url(content: bytes) -> str:
    """Return base64url without padding, as in all of JOSE."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def rsa_public_key(n: bytes, e: bytes) -> PublicKey:
    """Return the public key with modulus `n` and exponent `e` (big-endian)."""
    n_member, e_member = base64url(n.lstrip(b"\0")), base64url(e.lstrip(b"\0"))
    return PublicKey(n=n_member, e=e_member, thumbprint=_thumbprint({"e": e_member, "kty": "RSA", "n": n_member}))


def ec_public_key(curve: str, x: bytes, y: bytes) -> PublicKey:
    """Return the public key at (`x`, `y`) of a curve by Azure's name; the coordinates are big-endian."""
    x_member, y_member = base64url(_full_width(curve, x)), base64url(_full_width(curve, y))
    members = {"crv": _registered(curve), "kty": "EC", "x": x_member, "y": y_member}
    return PublicKey(curve=curve, x=x_member, y=y_member, thumbprint=_thumbprint(members))


def as_jwk(public_key: PublicKey) -> dict[str, str]:
    """Return the public key's required JWK members, curves by their registered names; none for a symmetric key."""
    if public_key.n is not None and public_key.e is not None:
        return {"kty": "RSA", "n": public_key.n, "e": public_key.e}
    if public_key.curve is not None and public_key.x is not None and public_key.y is not None:
        return {"kty": "EC", "crv": _registered(public_key.curve), "x": public_key.x, "y": public_key.y}
    return {}


def rsa_numbers(public_key: PublicKey) -> tuple[bytes, bytes]:
    """Return modulus and exponent of an RSA key (big-endian); empty ones for any other key."""
    return _octets(public_key.n or ""), _octets(public_key.e or "")


def _octets(member: str) -> bytes:
    return base64.urlsafe_b64decode(member + "=" * (-len(member) % 4))


def _registered(curve: str) -> str:
    return _REGISTERED_CURVES.get(curve, curve)


def _full_width(curve: str, coordinate: bytes) -> bytes:
    width = COORDINATE_OCTETS.get(curve)
    return coordinate if width is None else coordinate.lstrip(b"\0").rjust(width, b"\0")


def _thumbprint(members: dict[str, str]) -> str:
    """RFC 7638, 3: the required members, in order, without white space."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(canonical.encode()).digest())
