"""The identities with which the emulated service and its HSMs sign: made once a process, self-signed."""

import base64
import datetime as dt
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

_KEY_SIZE = 2048
_EXPONENT = 65537
_VALIDITY = dt.timedelta(days=365)


class SigningIdentity:
    """An RSA key with a self-signed certificate that says whose it is."""

    def __init__(self, common_name: str) -> None:
        self._private = rsa.generate_private_key(_EXPONENT, _KEY_SIZE)
        self._certificate = _self_signed(self._private, common_name)

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, claims: dict[str, Any]) -> str:
        """Return `claims` as an RS256 JWS that carries the certificate."""
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        key = RSAKey.import_key(
            self._private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        header = {"typ": "JWT", "alg": "RS256", "kid": key.thumbprint(), "x5c": [base64.b64encode(der).decode()]}
        return jwt.encode(header, claims, key)

    def sign_octets(self, message: bytes) -> bytes:
        """Return an RSASSA-PKCS1-v1_5 signature with SHA-256."""
        return self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())


@cache
def release_identity() -> SigningIdentity:
    """Return the identity that signs released keys."""
    return SigningIdentity("vault.azure.net")


@cache
def hsm_identity(security_domain: str) -> SigningIdentity:
    """Return the identity that attests the keys of a security domain."""
    return SigningIdentity(f"hsm-{security_domain}"[:64])


def _self_signed(private: rsa.RSAPrivateKey, common_name: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=private.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(minutes=5),
        not_valid_after=now + _VALIDITY,
    )
    return builder.sign(private, hashes.SHA256())
