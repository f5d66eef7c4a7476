"""A vault's JSON as domain types, and everything that is refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.adapters.azure import key_answers
from core.domain.keys import Deletion
from core.domain.new_keys import RotationPolicy
from core.errors import VaultAnswerError

CREATED = 1_680_041_253
HOST = "https://payments.vault.azure.net"
VERSION = "0123456789abcdef0123456789abcdef"
# The example of RFC 7638, 3.1.
RFC_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5h"
    "ajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC_THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def attributes(**more: Any) -> dict[str, Any]:
    return {"enabled": True, "created": CREATED, "updated": CREATED + 5, **more}


def an_item(name: str = "signing", **more: Any) -> dict[str, Any]:
    return {"kid": f"{HOST}/keys/{name}", "attributes": attributes(), **more}


def a_bundle(**key: Any) -> dict[str, Any]:
    rsa = {
        "kid": f"{HOST}/keys/signing/{VERSION}",
        "kty": "RSA",
        "key_ops": ["verify", "sign"],
        "n": RFC_N,
        "e": "AQAB",
    }
    return {"key": {**rsa, **key}, "attributes": attributes()}


def content(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_page_has_its_own_token_and_the_next_ones() -> None:
    link = f"{HOST}:443/keys?api-version=7.4&$skiptoken=eyJOZXh0&maxresults=6"
    page = key_answers.key_page(content({"value": [an_item()], "nextLink": link}), "here")
    assert (page.token, page.next_token) == ("here", "$skiptoken=eyJOZXh0&maxresults=6")
    assert [key.name for key in page.keys] == ["signing"]


@pytest.mark.parametrize("end", [{"nextLink": None}, {}, {"nextLink": ""}])
def test_the_last_page_has_no_next_token(end: dict[str, None]) -> None:
    assert key_answers.key_page(content({"value": [], **end}), None).next_token is None


def test_a_listed_key_has_utc_times_and_sorted_tags() -> None:
    item = an_item(tags={"b": "2", "a": "1"}, managed=True)
    item["attributes"] |= {"nbf": CREATED, "exp": CREATED + 60, "exportable": True, "enabled": False}
    key = key_answers.key_page(content({"value": [item]}), None).keys[0]
    assert key.created_on == datetime(2023, 3, 28, 22, 7, 33, tzinfo=UTC)
    assert key.validity.expires_on == datetime(2023, 3, 28, 22, 8, 33, tzinfo=UTC)
    assert (key.validity.enabled, key.exportable, key.managed) == (False, True, True)
    assert key.tags == (("a", "1"), ("b", "2"))
    assert key.deletion is None


def test_a_deleted_key_has_its_dates() -> None:
    item = an_item(
        recoveryId=f"{HOST}/deletedkeys/signing", deletedDate=CREATED, scheduledPurgeDate=CREATED + 7 * 86_400
    )
    key = key_answers.deleted_page(content({"value": [item]}), None).keys[0]
    deleted_on = datetime(2023, 3, 28, 22, 7, 33, tzinfo=UTC)
    assert key.deletion == Deletion(deleted_on, deleted_on.replace(month=4, day=4))


def test_an_rsa_key_has_its_size_and_the_thumbprint_of_rfc_7638() -> None:
    listed, version = key_answers.key_bundle(content(a_bundle()))
    assert (listed.name, version.id, version.type, version.size) == ("signing", VERSION, "RSA", 2048)
    assert version.public_key.thumbprint == RFC_THUMBPRINT
    assert version.operations == ("sign", "verify")


def test_hardware_does_not_change_a_thumbprint() -> None:
    _, version = key_answers.key_bundle(content(a_bundle(kty="RSA-HSM")))
    assert (version.type, version.public_key.thumbprint) == ("RSA-HSM", RFC_THUMBPRINT)


@pytest.mark.parametrize(("curve", "size"), [("P-256", 256), ("P-256K", 256), ("P-384", 384), ("P-521", 521)])
def test_an_ec_key_has_the_size_of_its_curve(curve: str, size: int) -> None:
    _, version = key_answers.key_bundle(content(a_bundle(kty="EC", crv=curve, x="AQ", y="Ag")))
    assert (version.size, version.public_key.curve, version.public_key.n) == (size, curve, None)
    assert version.public_key.thumbprint is not None


def test_the_thumbprint_of_p_256k_uses_the_registered_name() -> None:
    _, azure = key_answers.key_bundle(content(a_bundle(kty="EC", crv="P-256K", x="AQ", y="Ag")))
    _, registered = key_answers.key_bundle(content(a_bundle(kty="EC", crv="secp256k1", x="AQ", y="Ag")))
    assert azure.public_key.thumbprint == registered.public_key.thumbprint


def test_a_symmetric_key_has_no_public_half() -> None:
    bundle = a_bundle(kty="oct-HSM")
    bundle["attributes"]["key_size"] = 256
    _, version = key_answers.key_bundle(content(bundle))
    assert (version.size, version.public_key.thumbprint) == (256, None)


def test_versions_keep_the_vaults_order() -> None:
    items = [{**an_item(), "kid": f"{HOST}/keys/signing/{id_}"} for id_ in ("b", "a")]
    versions, token = key_answers.version_page(content({"value": items}))
    assert ([version.id for version in versions], token) == (["b", "a"], None)


def test_a_backup_is_the_decoded_blob() -> None:
    assert key_answers.backup_blob(content({"value": "AP9_"})).reveal() == b"\x00\xff\x7f"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        content({"nextLink": None}),
        content({"value": None}),
        content({"value": [1]}),
        content({"value": [{"attributes": attributes()}]}),
        content({"value": [an_item(attributes=None)]}),
        content({"value": [an_item(attributes={"enabled": True})]}),
        content({"value": [an_item(attributes=attributes(created="2023"))]}),
        content({"value": [an_item(attributes=attributes(created=10**18))]}),
        content({"value": [an_item(attributes=attributes(enabled="yes"))]}),
        content({"value": [an_item(kid=f"{HOST}/secrets/signing")]}),
        content({"value": [an_item(kid=f"{HOST}/keys/")]}),
        content({"value": [an_item(tags=["a"])]}),
        content({"value": [an_item(tags={"a": 1})]}),
        content({"value": [], "nextLink": 1}),
        content({"value": [], "nextLink": "nowhere"}),
    ],
    ids=range(20),
)
def test_a_malformed_page_is_refused(answer: bytes) -> None:
    with pytest.raises(VaultAnswerError) as caught:
        key_answers.key_page(answer, None)
    assert caught.value.code == "vault_answer_malformed"
    assert caught.value.__cause__ is None


def test_a_deleted_key_without_dates_is_refused() -> None:
    with pytest.raises(VaultAnswerError):
        key_answers.deleted_page(content({"value": [an_item()]}), None)


@pytest.mark.parametrize(
    "bundle",
    [
        {"attributes": attributes()},
        a_bundle(kty=None),
        a_bundle(n=None),
        a_bundle(n="***"),
        a_bundle(kid=f"{HOST}/keys/signing"),
        a_bundle(key_ops="sign"),
        a_bundle(kty="EC", crv="P-256", x="AQ", y=None),
    ],
    ids=range(7),
)
def test_a_malformed_key_is_refused(bundle: dict[str, Any]) -> None:
    with pytest.raises(VaultAnswerError) as caught:
        key_answers.key_bundle(content(bundle))
    assert caught.value.code == "vault_answer_malformed"


@pytest.mark.parametrize("answer", [{}, {"value": ""}, {"value": "é"}, {"value": 7}])
def test_a_malformed_backup_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(VaultAnswerError):
        key_answers.backup_blob(content(answer))


def rotates(**trigger: str) -> dict[str, Any]:
    return {"trigger": trigger, "action": {"type": "Rotate"}}


NOTIFIES = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}


@pytest.mark.parametrize(
    ("answer", "policy"),
    [
        ({"lifetimeActions": [NOTIFIES], "attributes": None}, RotationPolicy()),
        ({"attributes": {"created": 0, "expiryTime": "", "updated": 0}, "id": ""}, RotationPolicy()),
        (
            {
                "id": f"{HOST}/keys/k/rotationpolicy",
                "lifetimeActions": [rotates(timeAfterCreate="P30D"), NOTIFIES],
                "attributes": {"expiryTime": "P90D", "created": CREATED, "updated": CREATED},
            },
            RotationPolicy("P30D", None, "P90D"),
        ),
        (
            {"lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P1Y"}, "action": {"type": "rotate"}}]},
            RotationPolicy(rotate_before_expiry="P1Y"),
        ),
    ],
    ids=range(4),
)
def test_rotation_policies(answer: dict[str, Any], policy: RotationPolicy) -> None:
    assert key_answers.rotation_policy(content(answer)) == policy


@pytest.mark.parametrize(
    "answer",
    [
        {"lifetimeActions": {"a": 1}},
        {"lifetimeActions": [1]},
        {"lifetimeActions": [{"trigger": {}}]},
        {"lifetimeActions": [{"action": {"type": "Rotate"}}]},
        {"lifetimeActions": [{"action": {"type": 1}, "trigger": {}}]},
        {"lifetimeActions": [rotates(timeAfterCreate="tomorrow")]},
        {"attributes": {"expiryTime": 90}},
        {"attributes": "P90D"},
    ],
    ids=range(8),
)
def test_a_malformed_rotation_policy_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(VaultAnswerError):
        key_answers.rotation_policy(content(answer))
