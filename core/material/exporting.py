"""Material on its way out, as an explicit and permitted export.

Invariants: a passphrase that is given is used, or the export is refused: nothing that was asked to be encrypted leaves
in plaintext. What is encrypted opens with `openssl pkey` and any other reader of PBES2.
"""

import base64
import binascii
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.domain.key_kinds import KeyFamily
from core.domain.keys import PublicKey
from core.domain.secrets import SecretBytes, SecretText
from core.errors import InvalidRequestError
from core.material.encrypted import encrypted_pkcs8
from core.material.material import CURVES, KeyMaterial

_LINE = 64


class ExportFormat(StrEnum):
    """The forms of a key outside: PKCS#8 in PEM or DER for RSA and EC, raw octets for AES."""

    PEM = "pem"
    DER = "der"
    RAW = "raw"


def exported(
    material: KeyMaterial,
    format: ExportFormat,  # noqa: A002 - what callers call it
    passphrase: SecretText | None = None,
) -> SecretBytes:
    """Return the key in this form, PKCS#8 encrypted if there is a passphrase.

    Raises InvalidRequestError `export_format_unsuitable`, `export_passphrase_empty`.
    """
    symmetric = material.kind.family is KeyFamily.AES
    if symmetric is not (format is ExportFormat.RAW) or (symmetric and passphrase is not None):
        raise InvalidRequestError(
            "RSA and EC keys are exported as PEM or DER, AES keys as raw octets without a passphrase.",
            code="export_format_unsuitable",
            field="format",
        )
    content = material.canonical()
    label = "PRIVATE KEY"
    if passphrase is not None:
        content, label = _encrypted(content, passphrase), "ENCRYPTED PRIVATE KEY"
    return _pem(label, content) if format is ExportFormat.PEM else content


def public_pem(public_key: PublicKey | None) -> str:
    """Return a public key as PEM (SubjectPublicKeyInfo).

    Raises InvalidRequestError `public_key_not_available` where there is none, or only its thumbprint.
    """
    try:
        key = None if public_key is None else _public(public_key)
    except (ValueError, KeyError, binascii.Error, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise InvalidRequestError(
            "The public key is not known: symmetric keys have none, and of old versions only the thumbprint is kept.",
            code="public_key_not_available",
        )
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _encrypted(content: SecretBytes, passphrase: SecretText) -> SecretBytes:
    try:
        password = passphrase.encode()
    except UnicodeEncodeError:
        password = SecretBytes(b"")
    if not password:
        raise InvalidRequestError(
            "The passphrase is empty, or no text.",
            code="export_passphrase_empty",
            field="passphrase",
        )
    return SecretBytes(encrypted_pkcs8(content.reveal(), password.reveal()))


def _pem(label: str, content: SecretBytes) -> SecretBytes:
    body = base64.b64encode(content.reveal()).decode()
    lines = [body[start : start + _LINE] for start in range(0, len(body), _LINE)]
    return SecretBytes("\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode())


def _public(public_key: PublicKey) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    if public_key.n is not None and public_key.e is not None:
        return rsa.RSAPublicNumbers(_number(public_key.e), _number(public_key.n)).public_key()
    if public_key.curve is not None and public_key.x is not None and public_key.y is not None:
        curve = CURVES[public_key.curve]
        return ec.EllipticCurvePublicNumbers(_number(public_key.x), _number(public_key.y), curve).public_key()
    return None


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
