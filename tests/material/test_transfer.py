"""Transfer blobs: openssl opens ours, and ours would open openssl's."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.domain.key_kinds import KeyKind
from core.domain.transfer_blobs import (
    KeyExchangeKey,
    problems_of_form,
    problems_of_key_exchange_key,
    problems_of_target,
    read_transfer_blob,
)
from core.errors import ConflictError
from core.material.transfer import make_transfer_blob
from core.material.wrapping import OaepHash, WrapAlgorithm, unwrap

from .keys import (
    AES_KINDS,
    ALL_KINDS,
    EC_KINDS,
    RSA_2048,
    RSA_3072,
    RSA_4096,
    a_key,
    content_of,
    openssl,
    openssl_with,
    rsa_numbers,
)

VAULT = "https://payments.managedhsm.azure.net"
KID = f"{VAULT}/keys/exchange/0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key_exchange_key(kind: KeyKind = RSA_2048) -> KeyExchangeKey:
    assert kind.size is not None
    numbers = rsa_numbers(kind)
    n, e = numbers.n.to_bytes(kind.size // 8), numbers.e.to_bytes(3)
    return KeyExchangeKey(KID, kind.size, n, e, True, None, None, "RSA-HSM", ("import",))


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
@pytest.mark.parametrize("exchange", [RSA_2048, RSA_3072, RSA_4096], ids=str)
def test_openssl_opens_our_blobs(exchange: KeyKind, kind: KeyKind) -> None:
    key = key_exchange_key(exchange)
    blob = read_transfer_blob(make_transfer_blob(key, a_key(kind)))
    assert problems_of_form(blob) == ()
    assert problems_of_key_exchange_key(blob, key, VAULT, NOW) == ()
    assert problems_of_target(blob, key.size, kind) == ()
    assert opened(blob.ciphertext, exchange) == content_of(kind)
    # What openssl makes is the same but for its one-time key; so is what we would open.
    one_time_key = bytes(range(32))
    theirs = encrypted(one_time_key, exchange) + key_wrap(one_time_key, content_of(kind))
    unwrapped = unwrap(a_key(exchange), theirs, WrapAlgorithm.RSA_AES_KEY_WRAP, OaepHash.SHA1)
    assert unwrapped.reveal() == content_of(kind)
    assert len(theirs) == len(blob.ciphertext)
    assert problems_of_target(replace(blob, ciphertext=theirs), key.size, kind) == ()


OAEP = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha1", "rsa_mgf1_md:sha1")
OPTIONS = tuple(part for option in OAEP for part in ("-pkeyopt", option))


def encrypted(one_time_key: bytes, exchange: KeyKind) -> bytes:
    key = openssl("pkey", "-inform", "DER", "-pubout", stdin=content_of(exchange))
    return openssl_with({"key": key}, "pkeyutl", "-encrypt", "-pubin", "-inkey", "{key}", *OPTIONS, stdin=one_time_key)


def key_wrap(one_time_key: bytes, content: bytes, *options: str) -> bytes:
    cipher = ("enc", "-id-aes256-wrap-pad", "-K", one_time_key.hex(), "-iv", "A65959A6")
    return openssl(*cipher, *options, stdin=content)


def opened(ciphertext: bytes, exchange: KeyKind) -> bytes:
    assert exchange.size is not None
    first, second = ciphertext[: exchange.size // 8], ciphertext[exchange.size // 8 :]
    key = ("-inkey", "{key}", "-keyform", "DER")
    files = {"key": content_of(exchange)}
    one_time_key = openssl_with(files, "pkeyutl", "-decrypt", *key, *OPTIONS, stdin=first)
    assert len(one_time_key) == 32
    return key_wrap(one_time_key, second, "-d")


def test_the_file_is_as_specified() -> None:
    blob = json.loads(make_transfer_blob(key_exchange_key(), a_key(AES_KINDS[2])))
    assert list(blob) == ["schema_version", "header", "ciphertext", "generator"]
    assert blob["header"] == {"kid": KID, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}
    assert (blob["schema_version"], blob["generator"]) == ("1.0.0", "Keysteward")
    assert "=" not in blob["ciphertext"]
    # The length that Microsoft's specification leads to for a key of 256 bits.
    assert len(blob["ciphertext"]) == -(-(256 + 40) * 4 // 3)


def test_each_blob_has_a_one_time_key_of_its_own() -> None:
    first, second = (
        read_transfer_blob(make_transfer_blob(key_exchange_key(), a_key(EC_KINDS[0]))).ciphertext for _ in range(2)
    )
    assert first[:256] != second[:256]
    assert first[256:] != second[256:]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "RSA"},
        {"type": "EC-HSM"},
        {"operations": ("import", "decrypt")},
        {"operations": ("unwrapKey",)},
        {"operations": ()},
        {"size": 3072},
        {"n": b""},
        {"n": b"\xff" * 128, "size": 1024},
        {"n": b"\xff" * 1024, "size": 8192},
        {"e": b"\1"},
        {"e": b"\2"},
        {"e": b""},
        {"n": b"\xff" * 255 + b"\xfe"},
    ],
    ids=range(13),
)
def test_nothing_is_wrapped_for_other_keys(changes: dict[str, object]) -> None:
    unsuitable = replace(key_exchange_key(), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConflictError) as refused:
        make_transfer_blob(unsuitable, a_key(AES_KINDS[0]))
    assert refused.value.code == "key_exchange_key_unsuitable"
