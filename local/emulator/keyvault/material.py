"""Key material: generated or imported with real cryptography, kept as PKCS#8 or raw octets.

A `Material` is immutable and may be shared by versions. Its private half leaves this package in three ways
only: inside an encrypted backup, inside an encrypted release, and in the emulator's own saved state.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from local.emulator.keyvault.encoding import integer_from_base64url, integer_to_base64url

Family = Literal["RSA", "EC", "oct"]

RSA_SIZES = (2048, 3072, 4096)
OCT_SIZES = (128, 192, 256)
CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "P-256K": ec.SECP256K1(),
}
_CURVE_NAMES = {curve.name: name for name, curve in CURVES.items()}
DEFAULT_EXPONENT = 65537


class MaterialError(Exception):
    """Material that is malformed, inconsistent or of an unsupported size; the message says which."""


@dataclass(frozen=True)
class Material:
    """Private octets (PKCS#8 DER, or raw for oct) and the public members as the wire writes them."""

    family: Family
    private: bytes
    public: Mapping[str, str]
    size: int

    @cached_property
    def rsa_key(self) -> rsa.RSAPrivateKey:
        """Return the loaded RSA key."""
        key = serialization.load_der_private_key(self.private, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise MaterialError("not an RSA key")
        return key

    @cached_property
    def ec_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the loaded EC key."""
        key = serialization.load_der_private_key(self.private, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise MaterialError("not an EC key")
        return key

    @property
    def curve(self) -> str:
        """Return the wire name of the curve; empty unless EC."""
        return self.public.get("crv", "")


async def generate(family: Family, *, size: int = 0, curve: str = "", exponent: int = DEFAULT_EXPONENT) -> Material:
    """Generate material; RSA takes up to a second of processor time, so it runs on a thread."""
    if family == "RSA":
        return await asyncio.to_thread(generate_rsa, size, exponent)
    if family == "EC":
        return generate_ec(curve)
    return from_octets(secrets.token_bytes(size // 8))


def generate_rsa(size: int, exponent: int = DEFAULT_EXPONENT) -> Material:
    """Generate an RSA key of `size` bits."""
    return from_private_key(rsa.generate_private_key(exponent, size))


def generate_ec(curve: str) -> Material:
    """Generate a key on the named curve."""
    return from_private_key(ec.generate_private_key(CURVES[curve]))


def from_octets(value: bytes) -> Material:
    """Take symmetric material.

    Raises:
        MaterialError: the length is not 16, 24 or 32 octets.

    """
    if len(value) * 8 not in OCT_SIZES:
        raise MaterialError("The symmetric key must have 128, 192 or 256 bits.")
    return Material("oct", value, {}, len(value) * 8)


def from_private_key(key: object) -> Material:
    """Take a loaded private key.

    Raises:
        MaterialError: the type, size or curve is not supported.

    """
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size not in RSA_SIZES:
            raise MaterialError(f"The RSA key size {key.key_size} is not supported.")
        public = key.public_key().public_numbers()
        members = {"n": integer_to_base64url(public.n), "e": integer_to_base64url(public.e)}
        return Material("RSA", _pkcs8(key), members, key.key_size)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name not in _CURVE_NAMES:
            raise MaterialError(f"The curve {key.curve.name} is not supported.")
        point = key.public_key().public_numbers()
        width = (key.curve.key_size + 7) // 8
        x, y = integer_to_base64url(point.x, width), integer_to_base64url(point.y, width)
        return Material("EC", _pkcs8(key), {"crv": _CURVE_NAMES[key.curve.name], "x": x, "y": y}, key.curve.key_size)
    raise MaterialError("The private key is neither RSA nor EC.")


def from_pkcs8(der: bytes) -> Material:
    """Take a DER PKCS#8 private key, verifying that its parts fit together.

    Raises:
        MaterialError: it does not parse, or its type, size or curve is not supported.

    """
    try:
        key = serialization.load_der_private_key(der, None)
    except (ValueError, TypeError) as error:
        raise MaterialError("The private key is not valid PKCS#8.") from error
    except Exception as error:  # cryptography raises UnsupportedAlgorithm for unknown curves
        raise MaterialError("The private key is of an unsupported kind.") from error
    return from_private_key(key)


def from_json_web_key(family: Family, members: Mapping[str, object]) -> Material:
    """Take the private members of a JSON Web Key.

    Raises:
        MaterialError: a member is missing or malformed, or the numbers do not belong together.

    """
    try:
        return from_private_key(_rsa_of(members) if family == "RSA" else _ec_of(members))
    except MaterialError:
        raise
    except ValueError as error:
        raise MaterialError("The key material is not valid.") from error


def _rsa_of(members: Mapping[str, object]) -> rsa.RSAPrivateKey:
    n, e, d = (_number(members, name) for name in ("n", "e", "d"))
    if n.bit_length() not in RSA_SIZES:
        # Before factoring: its cost grows with the size.
        raise MaterialError(f"The RSA key size {n.bit_length()} is not supported.")
    if "p" in members and "q" in members:
        p, q = _number(members, "p"), _number(members, "q")
    else:
        p, q = rsa.rsa_recover_prime_factors(n, e, d)
    dp = _number(members, "dp") if "dp" in members else rsa.rsa_crt_dmp1(d, p)
    dq = _number(members, "dq") if "dq" in members else rsa.rsa_crt_dmq1(d, q)
    qi = _number(members, "qi") if "qi" in members else rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()


def _ec_of(members: Mapping[str, object]) -> ec.EllipticCurvePrivateKey:
    curve = members.get("crv")
    if not isinstance(curve, str) or curve not in CURVES:
        raise MaterialError("The curve is missing or not supported.")
    x, y, d = (_number(members, name) for name in ("x", "y", "d"))
    return ec.EllipticCurvePrivateNumbers(d, ec.EllipticCurvePublicNumbers(x, y, CURVES[curve])).private_key()


def _number(members: Mapping[str, object], name: str) -> int:
    text = members.get(name)
    if not isinstance(text, str) or not text:
        raise MaterialError(f"The member '{name}' of the key is missing or not base64url.")
    return integer_from_base64url(text)


def _pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
