"""Certificates in PEM, as people upload them."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from core.domain.secrets import SecretText
from core.errors import InvalidRequestError
from core.services.certificates import check_authorities, read_identity
from tests.builders.azure import a_key_pair, an_identity

KEY_MARK = "-----BEGIN PRIVATE KEY-----"


def split(pem: str) -> tuple[str, str]:
    certificate, _, key = pem.partition(KEY_MARK)
    return certificate, KEY_MARK + key


def test_thumbprint_and_end_are_read() -> None:
    pem, certificate = an_identity(days=30)
    facts = read_identity(SecretText(pem), "f", rsa_only=True)
    assert facts.thumbprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert facts.expires_on - certificate.not_valid_before_utc == timedelta(days=30)


def test_the_key_may_come_first_and_a_chain_behind() -> None:
    certificate, key = split(an_identity()[0])
    read_identity(SecretText(key + certificate + split(an_identity()[0])[0]), "f")


def test_a_client_certificate_may_have_an_elliptic_key() -> None:
    pem, _ = an_identity(ec.generate_private_key(ec.SECP256R1()))
    read_identity(SecretText(pem), "f")
    with pytest.raises(InvalidRequestError):
        read_identity(SecretText(pem), "f", rsa_only=True)


@pytest.mark.parametrize(
    "pem",
    [
        "nothing",
        split(an_identity()[0])[0],
        split(an_identity()[0])[1],
        an_identity(password=b"secret")[0],
        split(an_identity(a_key_pair())[0])[0] + split(an_identity(a_key_pair())[0])[1],
        split(an_identity()[0])[0] + f"{KEY_MARK}\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
    ids=["nothing", "no key", "no certificate", "encrypted", "another key", "broken key"],
)
def test_what_is_no_identity_is_refused(pem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_identity(SecretText(pem), "tls.client_certificate")
    assert caught.value.field == "connection.tls.client_certificate"
    assert caught.value.__cause__ is None


def test_a_custom_ca_is_certificates_only() -> None:
    pem, _ = an_identity()
    check_authorities(split(pem)[0] * 2, "f")
    for bad in (pem, "nothing", ""):
        with pytest.raises(InvalidRequestError):
            check_authorities(bad, "f")
