"""A certificate authority for TLS on loopback.

Invariants:
- Everything is kept in one folder and used again; private keys are readable by their owner alone.
- Certificates carry what Python 3.13 and OpenSSL 3 demand of a strictly verified chain: basic constraints, key usage,
  subject and authority key identifiers, and subject alternative names.
- Two processes may open the same folder at once: the folder is locked while something is made in it.
"""

import fcntl
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK_HOSTS = ("localhost", "127.0.0.1")
_CA_LIFETIME = timedelta(days=3650)
_LEAF_LIFETIME = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(days=1)


@dataclass(frozen=True)
class Leaf:
    """A certificate with its private key, as PEM files."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority whose files live in `folder`."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @property
    def ca_file(self) -> Path:
        """The CA certificate in PEM, for a client's trust store."""
        return self._folder / "ca.pem"

    def issue(self, name: str, *, hosts: tuple[str, ...] = LOOPBACK_HOSTS, expired: bool = False) -> Leaf:
        """Return the server certificate kept as `name`, made anew when absent or near its end."""
        return self._leaf(name, _server_extensions(hosts), expired=expired)

    def issue_client(self, name: str) -> Leaf:
        """Return the client certificate kept as `name`, made anew when absent or near its end."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._leaf(name, [(usage, False)], expired=False)

    def _leaf(self, name: str, extensions: list[tuple[x509.ExtensionType, bool]], *, expired: bool) -> Leaf:
        leaf = Leaf(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        with _locked(self._folder):
            if expired or not _is_fresh(leaf.cert_file):
                key = ec.generate_private_key(ec.SECP256R1())
                builder = _builder(name, self._certificate.subject, key, _LEAF_LIFETIME, expired=expired)
                issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
                for extension, critical in [*extensions, (issuer_key_id, False), *_basics(is_authority=False)]:
                    builder = builder.add_extension(extension, critical)
                _write(leaf, builder.sign(self._key, hashes.SHA256()), key)
        return leaf


def ensure_authority(folder: Path, common_name: str = "Local development CA") -> Authority:
    """Return the authority of this folder, made on first use and when it comes near its end."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Leaf(folder / "ca.pem", folder / "ca.key")
    with _locked(folder):
        if not _is_fresh(files.cert_file):
            _make_authority(folder, files, common_name)
    certificate = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
    key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{files.key_file} holds no EC key")
    return Authority(folder, certificate, key)


def _make_authority(folder: Path, files: Leaf, common_name: str) -> None:
    # A certificate of an earlier authority would be refused by everyone who trusts the new one.
    for stale in folder.glob("*.pem"):
        stale.unlink()
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(common_name, None, key, _CA_LIFETIME, expired=False)
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    for extension, critical in [*_basics(is_authority=True), (key_id, False)]:
        builder = builder.add_extension(extension, critical)
    _write(files, builder.sign(key, hashes.SHA256()), key)


def _builder(
    common_name: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey, lifetime: timedelta, *, expired: bool
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    not_after = datetime.now(UTC) + (lifetime if not expired else -_BACKDATED)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_after - lifetime - _BACKDATED)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _basics(*, is_authority: bool) -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    return [(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True), (usage, True)]


def _server_extensions(hosts: tuple[str, ...]) -> list[tuple[x509.ExtensionType, bool]]:
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return [(names, False), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_fresh(cert_file: Path) -> bool:
    if not cert_file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    return certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE


def _write(leaf: Leaf, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    _replace(leaf.key_file, key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    _replace(leaf.cert_file, certificate.public_bytes(encoding))


def _replace(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)
    unfinished.replace(file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
