"""Certificates that people upload, in PEM: checked before they are sealed, so that no call fails on their form.

Invariant: no refusal repeats any of the input.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from core.domain.connection_drafts import refused
from core.domain.secrets import SecretText


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What is shown of a certificate: its SHA-256 thumbprint (hex) and its end."""

    thumbprint: str
    expires_on: datetime


def read_identity(pem: SecretText, field: str, *, rsa_only: bool = False) -> CertificateFacts:
    """Check a certificate with its unencrypted key; `rsa_only` where it signs assertions for Entra ID.

    Raises InvalidRequestError `connection_invalid`.
    """
    content = pem.encode().reveal()
    certificate, key = _certificates(content, field)[0], _private_key(content, field)
    if key.public_key() != certificate.public_key():
        raise refused("The key is not the certificate's: the certificate with the key comes first.", field)
    if rsa_only and not isinstance(key, RSAPrivateKey):
        raise refused("Entra ID takes certificates with RSA keys only.", field)
    return CertificateFacts(certificate.fingerprint(hashes.SHA256()).hex(), certificate.not_valid_after_utc)


def check_authorities(pem: str, field: str) -> None:
    """Check that `pem` holds certificates and no key; InvalidRequestError `connection_invalid`."""
    if "PRIVATE KEY" in pem:
        raise refused("A custom CA is certificates only; this holds a private key.", field)
    _certificates(pem.encode(), field)


def _certificates(content: bytes, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise refused("This holds no certificate in PEM.", field) from None


def _private_key(content: bytes, field: str) -> PrivateKeyTypes:
    start = content.find(b"-----BEGIN", _key_start(content))
    try:
        return load_pem_private_key(content[max(start, 0) :], password=None)
    except TypeError:
        raise refused("The key is encrypted; give it without a password.", field) from None
    except (ValueError, UnsupportedAlgorithm):
        raise refused("This holds no usable private key in PEM.", field) from None


def _key_start(content: bytes) -> int:
    """The start of the line that begins the key, wherever the certificates are."""
    marker = content.find(b"PRIVATE KEY-----")
    return content.rfind(b"-----BEGIN", 0, marker) if marker >= 0 else 0
