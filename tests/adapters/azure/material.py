"""Key material on its way into a vault: private JWKs and transfer blobs, made apart from the product's own code."""

import base64
import json

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.domain.keys import PublicKey
from core.domain.secrets import SecretBytes
from tests.emulator.keyvault import transfer_blobs

CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-256K": ec.SECP256K1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}


def a_private_jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> SecretBytes:
    """The key as RFC 7517 writes it."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        public = numbers.public_numbers
        parts = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q}
        parts |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        return SecretBytes(json.dumps({"kty": "RSA", **{name: _number(part) for name, part in parts.items()}}).encode())
    point, width = key.public_key().public_numbers(), (key.key_size + 7) // 8
    members = {"kty": "EC", "crv": "secp256k1" if key.curve.name == "secp256k1" else f"P-{key.key_size}"}
    members |= {"x": _number(point.x, width), "y": _number(point.y, width)}
    return SecretBytes(json.dumps({**members, "d": _number(key.private_numbers().private_value, width)}).encode())


def a_transfer_blob(
    vault_uri: str,
    exchange_key: tuple[str, str, PublicKey],
    target: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes,
) -> bytes:
    """The target key, wrapped for a key exchange key that is given as (name, version, public half)."""
    name, version, public = exchange_key
    assert public.n is not None
    wrapping = rsa.RSAPublicNumbers(65537, int.from_bytes(_octets(public.n))).public_key()
    plaintext = target if isinstance(target, bytes) else transfer_blobs.pkcs8(target)
    sealed = transfer_blobs.ciphertext(wrapping, plaintext)
    return json.dumps(transfer_blobs.blob(f"{vault_uri}/keys/{name}/{version}", sealed)).encode()


def _number(value: int, width: int | None = None) -> str:
    octets = value.to_bytes(width or (value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _octets(member: str) -> bytes:
    return base64.urlsafe_b64decode(member + "=" * (-len(member) % 4))
