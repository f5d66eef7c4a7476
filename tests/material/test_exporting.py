"""Exports that openssl reads, and public keys as PEM."""

import re

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from core.domain.key_kinds import KeyKind
from core.domain.keys import PublicKey
from core.domain.public_keys import ec_public_key, rsa_public_key
from core.domain.secrets import SecretText
from core.errors import InvalidRequestError
from core.material.exporting import ExportFormat, exported, public_pem

from .keys import (
    AES_KINDS,
    EC_KINDS,
    PASS,
    PASSPHRASE,
    RSA_2048,
    RSA_4096,
    a_key,
    content_of,
    expected_of,
    openssl,
    pem_of,
    read,
    read_file,
)

ASYMMETRIC = (RSA_2048, RSA_4096, *EC_KINDS)
PEM, DER, RAW = ExportFormat.PEM, ExportFormat.DER, ExportFormat.RAW


@pytest.mark.parametrize("kind", ASYMMETRIC, ids=str)
def test_openssl_reads_what_was_exported(kind: KeyKind) -> None:
    pem, der = exported(a_key(kind), PEM).reveal(), exported(a_key(kind), DER).reveal()
    assert pem == pem_of(kind)
    assert der == content_of(kind)
    assert read(pem, expected_of(kind)) == read_file(der, expected_of(kind)) == a_key(kind)


@pytest.mark.parametrize("kind", [RSA_2048, EC_KINDS[2]], ids=str)
def test_openssl_reads_what_was_exported_under_a_passphrase(kind: KeyKind) -> None:
    pem = exported(a_key(kind), PEM, PASSPHRASE).reveal()
    der = exported(a_key(kind), DER, PASSPHRASE).reveal()
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert openssl("pkey", "-passin", PASS, stdin=pem) == pem_of(kind)
    assert openssl("pkey", "-inform", "DER", "-passin", PASS, stdin=der) == pem_of(kind)
    assert read(pem, expected_of(kind), passphrase=PASSPHRASE) == a_key(kind)
    assert read_file(der, expected_of(kind), PASSPHRASE) == a_key(kind)


def test_the_encryption_is_strong_and_new_each_time() -> None:
    first, second = (exported(a_key(EC_KINDS[0]), DER, PASSPHRASE).reveal() for _ in range(2))
    shown = openssl("asn1parse", "-inform", "DER", stdin=first).decode()
    for word in ("PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc"):
        assert word in shown
    assert int(re.findall(r"INTEGER\s+:([0-9A-F]+)", shown)[0], 16) == 600_000
    assert first != second


@hypothesis_given(passphrase=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
@settings(max_examples=8, deadline=None)
def test_any_passphrase_opens_what_it_closed(passphrase: str) -> None:
    secret = SecretText(passphrase)
    assert read_file(exported(a_key(EC_KINDS[0]), DER, secret).reveal(), passphrase=secret) == a_key(EC_KINDS[0])


@pytest.mark.parametrize("kind", AES_KINDS, ids=str)
def test_aes_keys_leave_as_octets(kind: KeyKind) -> None:
    assert exported(a_key(kind), RAW).reveal() == content_of(kind)


@pytest.mark.parametrize(
    ("kind", "format_", "passphrase"),
    [
        (AES_KINDS[0], PEM, None),
        (AES_KINDS[0], DER, None),
        (AES_KINDS[0], RAW, PASSPHRASE),
        (AES_KINDS[0], RAW, SecretText("")),
        (AES_KINDS[0], DER, PASSPHRASE),
        (EC_KINDS[0], RAW, None),
        (RSA_2048, RAW, PASSPHRASE),
    ],
    ids=str,
)
def test_other_combinations_are_refused(kind: KeyKind, format_: ExportFormat, passphrase: SecretText | None) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        exported(a_key(kind), format_, passphrase)
    assert refused.value.code == "export_format_unsuitable"


def test_an_empty_passphrase_does_not_mean_none() -> None:
    for passphrase in ("", "\udc80"):
        with pytest.raises(InvalidRequestError) as refused:
            exported(a_key(RSA_2048), PEM, SecretText(passphrase))
        assert refused.value.code == "export_passphrase_empty"


@pytest.mark.parametrize("kind", ASYMMETRIC, ids=str)
def test_public_keys_are_those_of_openssl(kind: KeyKind) -> None:
    assert public_pem(a_key(kind).public_key).encode() == openssl("pkey", "-pubout", stdin=pem_of(kind))


@pytest.mark.parametrize(
    "public_key",
    [
        None,
        PublicKey(),
        PublicKey(n="AQAB"),
        PublicKey(n="AQAB", e="AQAB"),
        PublicKey(n="*", e="AQAB"),
        PublicKey(n="a", e="a"),
        PublicKey(curve="P-256", x="AQ"),
        ec_public_key("P-256", b"\1", b"\2"),
        ec_public_key("P-224", b"\1", b"\2"),
        rsa_public_key(b"", b""),
    ],
    ids=range(10),
)
def test_where_there_is_no_public_key(public_key: PublicKey | None) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        public_pem(public_key)
    assert refused.value.code == "public_key_not_available"
