"""Transfer blobs without any key: how they are read, and everything that can be wrong with one."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.key_kinds import AES_SIZES, CURVES, RSA_SIZES, KeyFamily, KeyKind
from core.domain.transfer_blobs import (
    BlobProblem,
    KeyExchangeKey,
    TransferBlob,
    kid_parts,
    problems_of_form,
    problems_of_key_exchange_key,
    problems_of_target,
    read_transfer_blob,
    same_vault,
    written,
)
from core.errors import InvalidRequestError

VAULT = "https://payments.managedhsm.azure.net"
VERSION = "0123456789abcdef0123456789abcdef"
KID = f"{VAULT}/keys/exchange/{VERSION}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
CIPHERTEXT = b"\xfb\xff\xfe" + bytes(range(1, 254)) + bytes(40)
BLOB = TransferBlob(KID, CIPHERTEXT, "Keysteward", "1.0.0", "dir", "CKM_RSA_AES_KEY_WRAP")
KEY = KeyExchangeKey(KID, 2048, b"\xff" * 256, b"\1\0\1", True, None, None, "RSA-HSM", ("import",))
# What openssl's PKCS#8 has, wrapped: the lengths in Microsoft's and others' examples.
USUAL = {"P-256": 152, "P-256K": 144, "P-384": 200, "P-521": 256, 2048: 1232, 3072: 1808, 4096: 2384}


def document(**members: Any) -> dict[str, Any]:
    return {**json.loads(written(KID, CIPHERTEXT)), **members}


def codes(problems: tuple[BlobProblem, ...]) -> list[str]:
    assert all(problem.detail.endswith(".") for problem in problems)
    return [problem.code for problem in problems]


def with_length(octets: int) -> TransferBlob:
    """A blob with so many octets behind a modulus of 2048 bits."""
    return replace(BLOB, ciphertext=bytes(256 + octets))


def test_what_was_written_is_read() -> None:
    file = written(KID, CIPHERTEXT)
    assert file == (
        b'{"schema_version":"1.0.0","header":{"kid":"' + KID.encode() + b'","alg":"dir","enc":"CKM_RSA_AES_KEY_WRAP"},'
        b'"ciphertext":"' + base64.urlsafe_b64encode(CIPHERTEXT).rstrip(b"=") + b'","generator":"Keysteward"}'
    )
    assert read_transfer_blob(file) == BLOB
    assert problems_of_form(BLOB) == ()


@given(ciphertext=st.binary(min_size=1, max_size=3000))
@settings(max_examples=50, deadline=None)
def test_any_ciphertext_comes_back(ciphertext: bytes) -> None:
    assert read_transfer_blob(written(KID, ciphertext)).ciphertext == ciphertext


@pytest.mark.parametrize(
    "file",
    [
        json.dumps(document(), indent=4).encode(),
        json.dumps(document()).encode("utf-8-sig"),
        json.dumps(document()).encode("utf-16"),
        b"\xfe\xff" + json.dumps(document()).encode("utf-16-be"),
        b"\r\n " + json.dumps(document()).encode() + b"\r\n",
        json.dumps(document()).replace('"', "'").encode(),
        json.dumps(document(ciphertext=base64.b64encode(CIPHERTEXT).decode())).encode(),
        json.dumps(document(ciphertext=base64.b64encode(CIPHERTEXT).decode().rstrip("="))).encode(),
        json.dumps(document(ciphertext=base64.urlsafe_b64encode(CIPHERTEXT).decode())).encode(),
        base64.b64encode(written(KID, CIPHERTEXT)),
        base64.encodebytes(written(KID, CIPHERTEXT)),
        base64.urlsafe_b64encode(written(KID, CIPHERTEXT)).rstrip(b"="),
        json.dumps(document(more={"x": [1, 2]}, header={**document()["header"], "more": 1})).encode(),
    ],
    ids=range(13),
)
def test_files_of_other_tools_are_read(file: bytes) -> None:
    assert read_transfer_blob(file) == BLOB


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"this is no blob!", "no JSON"),
        (b"[1]", "no JSON"),
        (b"{'a': \"b\"}", "no JSON"),
        (b"A", "no JSON"),
        (base64.b64encode(b"[]"), "no JSON object"),
        (base64.b64encode(b'"text"'), "no JSON object"),
        (b'{"a":' * 30_000, "64 KiB"),
        (b'{"a":' * 10_000, "no JSON"),
        (b'{"a":' + b"1" * 10_000 + b"}", "no JSON"),
        (b" " * 65_537, "64 KiB"),
        (b"\xff\xff\xff", "no text"),
        (b"\xff\xfe{", "no text"),
        (base64.b64encode(b"\xff\xff"), "no text"),
        (b"{}", "no header"),
        (json.dumps(document(header=None)).encode(), "no header"),
        (json.dumps(document(header="dir")).encode(), "no header"),
        (json.dumps(document(ciphertext=None)).encode(), "no ciphertext"),
        (json.dumps(document(ciphertext="")).encode(), "no ciphertext"),
        (json.dumps(document(ciphertext=5)).encode(), "no ciphertext"),
        (json.dumps(document(ciphertext="no base64!")).encode(), "no ciphertext"),
        (json.dumps(document(ciphertext="AAAAA")).encode(), "no ciphertext"),
        (written(KID, CIPHERTEXT).replace(b'"generator"', b'"ciphertext"'), "twice"),
        (written(KID, CIPHERTEXT).replace(b'"alg"', b'"kid"'), "twice"),
    ],
    ids=range(25),
)
def test_what_is_no_blob(file: bytes, what: str) -> None:
    with pytest.raises(InvalidRequestError, match=what) as refused:
        read_transfer_blob(file)
    assert refused.value.code == "transfer_blob_unreadable"
    assert refused.value.__cause__ is None


@given(file=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_octets_are_no_blob(file: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_transfer_blob(file)


def test_members_that_are_missing_or_no_text() -> None:
    empty = read_transfer_blob(json.dumps({"header": {}, "ciphertext": "AAAA"}).encode())
    assert empty == TransferBlob("", bytes(3))
    others = {"schema_version": 1, "generator": [], "header": {"kid": 1, "alg": None, "enc": {}}}
    assert read_transfer_blob(json.dumps({**others, "ciphertext": "AAAA"}).encode()) == empty
    assert codes(problems_of_form(empty)) == [
        "transfer_blob_schema",
        "transfer_blob_algorithm",
        "transfer_blob_encryption",
        "transfer_blob_kid",
    ]


def test_a_blob_shows_no_ciphertext() -> None:
    assert "ciphertext" not in repr(BLOB)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schema_version": "1.0.1"}, "transfer_blob_schema"),
        ({"schema_version": "1.0"}, "transfer_blob_schema"),
        ({"alg": "RSA-OAEP"}, "transfer_blob_algorithm"),
        ({"enc": "ckm_rsa_aes_key_wrap"}, "transfer_blob_encryption"),
        ({"enc": "A256KW"}, "transfer_blob_encryption"),
        ({"kid": f"{VAULT}/keys/exchange"}, "transfer_blob_kid"),
        ({"kid": f"{VAULT}/keys/exchange/"}, "transfer_blob_kid"),
        ({"kid": f"{VAULT}/secrets/exchange/{VERSION}"}, "transfer_blob_kid"),
        ({"kid": f"http://payments.vault.azure.net/keys/exchange/{VERSION}"}, "transfer_blob_kid"),
        ({"kid": f"{KID}?api-version=7.4"}, "transfer_blob_kid"),
        ({"kid": f"https://user@payments.vault.azure.net/keys/exchange/{VERSION}"}, "transfer_blob_kid"),
        ({"kid": f"{KID}\n"}, "transfer_blob_kid"),
    ],
)
def test_problems_of_form(changes: dict[str, Any], code: str) -> None:
    assert codes(problems_of_form(replace(BLOB, **changes))) == [code]


@pytest.mark.parametrize(
    ("kid", "parts"),
    [
        (KID, ("payments.managedhsm.azure.net", "exchange", VERSION)),
        (KID + "/", ("payments.managedhsm.azure.net", "exchange", VERSION)),
        (f"{VAULT}/keys/exchange", ("payments.managedhsm.azure.net", "exchange", None)),
        ("https://Payments.Vault.Azure.net:443/keys/A-b/C", ("payments.vault.azure.net", "A-b", "C")),
        ("HTTPS://127.0.0.1:8443/keys/a/b", ("127.0.0.1:8443", "a", "b")),
        ("https://[::1]:8443/keys/a/b", ("[::1]:8443", "a", "b")),
    ],
)
def test_parts_of_a_kid(kid: str, parts: tuple[str, str, str | None]) -> None:
    assert kid_parts(kid) == parts


def test_what_is_no_kid() -> None:
    for kid in (
        "",
        "exchange",
        "https:///keys/a/b",
        "https://a/keys//b",
        "https://a/keys/a_b/c",
        "https://a/keys/a/b/c",
    ):
        with pytest.raises(InvalidRequestError) as refused:
            kid_parts(kid)
        assert refused.value.code == "transfer_blob_kid"


@pytest.mark.parametrize(
    "vault",
    [VAULT, VAULT + "/", VAULT + ":443", "HTTPS://PAYMENTS.managedhsm.azure.net:443/"],
)
@pytest.mark.parametrize(
    "kid",
    [KID, KID.replace(".net", ".net:443"), KID.replace("payments", "Payments"), KID.replace("exchange", "Exchange")],
)
def test_a_usable_key_exchange_key(vault: str, kid: str) -> None:
    assert problems_of_key_exchange_key(replace(BLOB, kid=kid), KEY, vault, NOW) == ()


def test_hosts_of_one_vault() -> None:
    host = kid_parts(KID)[0]
    assert same_vault(host, VAULT)
    assert same_vault(host, VAULT.upper() + ":443/")
    assert not same_vault(host, VAULT + ":8443")
    assert not same_vault(host, "no uri")


def test_vaults_at_other_ports() -> None:
    local = "https://127.0.0.1:8443"
    blob, key = replace(BLOB, kid=f"{local}/keys/a/b"), replace(KEY, kid=f"{local}/keys/a/b")
    assert problems_of_key_exchange_key(blob, key, local, NOW) == ()
    assert codes(problems_of_key_exchange_key(blob, key, "https://127.0.0.1", NOW)) == ["transfer_blob_other_vault"]
    local = "https://[::1]:8443/"
    blob, key = replace(BLOB, kid=f"{local}keys/a/b"), replace(KEY, kid=f"{local}keys/a/b")
    assert problems_of_key_exchange_key(blob, key, local, NOW) == ()


@pytest.mark.parametrize(
    ("blob", "key", "vault", "expected"),
    [
        (BLOB, KEY, "https://other.managedhsm.azure.net", "transfer_blob_other_vault"),
        (BLOB, None, "https://payments.vault.azure.net", "transfer_blob_other_vault"),
        (BLOB, KEY, "https://payments.managedhsm.azure.net.example", "transfer_blob_other_vault"),
        (BLOB, KEY, "https://payments.managedhsm.azure.net:99999", "transfer_blob_other_vault"),
        (BLOB, KEY, "", "transfer_blob_other_vault"),
        (replace(BLOB, kid=""), KEY, VAULT, "transfer_blob_other_vault"),
        (replace(BLOB, kid=""), KEY, "", "transfer_blob_other_vault"),
        (BLOB, None, VAULT, "key_exchange_key_not_found"),
        (BLOB, replace(KEY, kid=KID[:-1] + "0"), VAULT, "key_exchange_key_not_found"),
        (BLOB, replace(KEY, kid=KID.replace("exchange", "other")), VAULT, "key_exchange_key_not_found"),
        (BLOB, replace(KEY, kid=""), VAULT, "key_exchange_key_not_found"),
        (replace(BLOB, kid=f"{VAULT}/keys/exchange"), KEY, VAULT, "key_exchange_key_not_found"),
        (BLOB, replace(KEY, type="RSA"), VAULT, "key_exchange_key_type"),
        (BLOB, replace(KEY, type="EC-HSM"), VAULT, "key_exchange_key_type"),
        (BLOB, replace(KEY, size=1024), VAULT, "key_exchange_key_type"),
        (BLOB, replace(KEY, operations=()), VAULT, "key_exchange_key_operations"),
        (BLOB, replace(KEY, operations=("import", "wrapKey")), VAULT, "key_exchange_key_operations"),
        (BLOB, replace(KEY, operations=("unwrapKey",)), VAULT, "key_exchange_key_operations"),
        (BLOB, replace(KEY, enabled=False), VAULT, "key_exchange_key_disabled"),
        (BLOB, replace(KEY, not_before=NOW + TICK), VAULT, "key_exchange_key_expired"),
        (BLOB, replace(KEY, expires_on=NOW), VAULT, "key_exchange_key_expired"),
    ],
    ids=range(21),
)
def test_problems_of_key_exchange_keys(
    blob: TransferBlob,
    key: KeyExchangeKey | None,
    vault: str,
    expected: str,
) -> None:
    assert codes(problems_of_key_exchange_key(blob, key, vault, NOW)) == [expected]


def test_every_problem_of_use_is_named() -> None:
    key = replace(KEY, type="RSA", operations=("decrypt",), enabled=False, expires_on=NOW - TICK)
    assert codes(problems_of_key_exchange_key(BLOB, key, VAULT, NOW)) == [
        "key_exchange_key_type",
        "key_exchange_key_operations",
        "key_exchange_key_disabled",
        "key_exchange_key_expired",
    ]
    assert problems_of_key_exchange_key(BLOB, replace(KEY, not_before=NOW, expires_on=NOW + TICK), VAULT, NOW) == ()


@pytest.mark.parametrize("octets", [-256, -16, -1, 0, 8, 15, 17, 23, 25, 1233])
def test_lengths_that_are_no_wrap(octets: int) -> None:
    assert codes(problems_of_target(with_length(octets), 2048, KeyKind(KeyFamily.RSA, 2048))) == [
        "transfer_blob_length"
    ]


@pytest.mark.parametrize("size", RSA_SIZES)
def test_the_length_follows_the_key_exchange_key(size: int) -> None:
    blob, kind = replace(BLOB, ciphertext=bytes(size // 8 + 40)), KeyKind(KeyFamily.AES, 256)
    assert problems_of_target(blob, size, kind) == ()
    others = [other for other in RSA_SIZES if other != size]
    assert all(problems_of_target(blob, other, kind) for other in others)


@pytest.mark.parametrize("size", AES_SIZES)
def test_symmetric_keys_have_one_length_each(size: int) -> None:
    fitting = [octets for octets in range(16, 400) if not problems_of_target(with_length(octets), 2048, aes(size))]
    assert fitting == [size // 8 + 8]
    assert problems_of_target(with_length(size // 8 + 8), 2048, aes(None)) == ()


def aes(size: int | None) -> KeyKind:
    return KeyKind(KeyFamily.AES, size)


def ec(curve: str | None) -> KeyKind:
    return KeyKind(KeyFamily.EC, curve=curve)


def rsa(size: int | None) -> KeyKind:
    return KeyKind(KeyFamily.RSA, size)


def test_usual_keys_are_told_apart() -> None:
    kinds: dict[object, KeyKind] = {**{curve: ec(curve) for curve in CURVES}, **{size: rsa(size) for size in RSA_SIZES}}
    for name, octets in USUAL.items():
        fitting = {other for other, kind in kinds.items() if not problems_of_target(with_length(octets), 2048, kind)}
        # P-256K without its curve's name is as long as P-256 with a shorter one.
        assert fitting == ({"P-256", "P-256K"} if name == "P-256" else {name})
        family = rsa(None) if isinstance(name, int) else ec(None)
        assert problems_of_target(with_length(octets), 2048, family) == ()
        for other in (aes(None), ec(None) if isinstance(name, int) else rsa(None)):
            assert codes(problems_of_target(with_length(octets), 2048, other)) == ["transfer_blob_key_type"]


def test_forms_of_pkcs8_that_others_write() -> None:
    # P-256 without its public point, with the curve twice, and with Windows' attribute; P-521 without a leading zero.
    for octets in (67, 79, 138, 150, 153):
        assert problems_of_target(with_length(-(-octets // 8) * 8 + 8), 2048, ec("P-256")) == ()
    for octets in (97, 98, 99, 241, 250):
        assert problems_of_target(with_length(-(-octets // 8) * 8 + 8), 2048, ec("P-521")) == ()
    # RSA 2048 with the exponent 3, with short numbers, and with Windows' attribute.
    for octets in (1190, 1214, 1219, 1233):
        assert problems_of_target(with_length(-(-octets // 8) * 8 + 8), 2048, rsa(2048)) == ()


def test_the_detail_names_the_stated_type() -> None:
    (problem,) = problems_of_target(with_length(24), 2048, rsa(3072))
    assert "RSA 3072" in problem.detail
    (problem,) = problems_of_target(with_length(24), 2048, ec(None))
    assert "EC." in problem.detail
