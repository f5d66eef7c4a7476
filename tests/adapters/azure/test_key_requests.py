"""Our types as requests of the key API."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.adapters.azure import key_requests
from core.adapters.azure.key_requests import VaultRequest
from core.domain.connections import VaultType
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import Validity
from core.domain.new_keys import NewVersion, ReleasePolicy, RotationPolicy, VersionChanges
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError

RSA = KeyKind(KeyFamily.RSA, 3072)
EC = KeyKind(KeyFamily.EC, curve="P-256K")
THEN = datetime(2027, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
SECONDS = int(THEN.timestamp())
PRIVATE_RSA = {name: f"{name}-value" for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")}


def body(request: VaultRequest) -> Any:
    assert request.body is not None
    return json.loads(request.body.reveal())


def a_jwk(**members: object) -> SecretBytes:
    return SecretBytes(json.dumps(members).encode())


def test_a_creation_with_all_settings() -> None:
    policy = ReleasePolicy('{"version": "1.0.0", "é": 1}', immutable=True)
    new = NewVersion(
        "RSA-HSM",
        RSA,
        ("sign", "verify"),
        Validity(enabled=False, not_before=THEN, expires_on=THEN),
        (("b", "2"), ("a", "1")),
        exportable=True,
        release_policy=policy,
    )
    request = key_requests.create("db-key", new)
    assert (request.method, request.path, request.once) == ("POST", "/keys/db-key/create", True)
    data = base64.urlsafe_b64encode(policy.data.encode()).rstrip(b"=").decode()
    assert body(request) == {
        "kty": "RSA-HSM",
        "key_size": 3072,
        "key_ops": ["sign", "verify"],
        "attributes": {"enabled": False, "nbf": SECONDS, "exp": SECONDS, "exportable": True},
        "tags": {"a": "1", "b": "2"},
        "release_policy": {"contentType": "application/json; charset=utf-8", "data": data, "immutable": True},
    }


@pytest.mark.parametrize(
    ("kind", "type_", "said"),
    [
        (EC, "EC", {"kty": "EC", "crv": "P-256K"}),
        (KeyKind(KeyFamily.AES, 256), "oct-HSM", {"kty": "oct-HSM", "key_size": 256}),
    ],
)
def test_a_plain_creation_says_no_more_than_needed(kind: KeyKind, type_: str, said: dict[str, object]) -> None:
    request = key_requests.create("k", NewVersion(type_, kind, ("sign",)))
    assert body(request) == {**said, "key_ops": ["sign"], "attributes": {"enabled": True}}


def test_an_rsa_import_has_all_private_members_and_no_others() -> None:
    given = a_jwk(**PRIVATE_RSA, kty="RSA", kid="theirs", alg="RS256", use="sig", ext=True, key_ops=["decrypt"])
    request = key_requests.import_key("k", NewVersion("RSA-HSM", RSA, ("sign",)), given)
    assert (request.method, request.path, request.once) == ("PUT", "/keys/k", True)
    assert body(request) == {
        "Hsm": True,
        "key": {"kty": "RSA-HSM", **PRIVATE_RSA, "key_ops": ["sign"]},
        "attributes": {"enabled": True},
    }


def test_an_ec_import_names_the_curve_as_azure_does() -> None:
    given = a_jwk(kty="EC", crv="secp256k1", x="x", y="y", d="d")
    said = body(key_requests.import_key("k", NewVersion("EC", EC, ("sign",)), given))
    assert (said["Hsm"], said["key"]) == (
        False,
        {"kty": "EC", "crv": "P-256K", "x": "x", "y": "y", "d": "d", "key_ops": ["sign"]},
    )


@pytest.mark.parametrize(
    ("kind", "private_key"),
    [
        (RSA, a_jwk(kty="RSA", n="n", e="e")),
        (RSA, a_jwk(kty="EC", crv="P-256", x="x", y="y", d="d")),
        (EC, a_jwk(kty="EC", crv="P-256", x="x", y="y")),
        (KeyKind(KeyFamily.AES, 256), a_jwk(kty="oct", k="k")),
        (RSA, SecretBytes(b"no JSON")),
        (RSA, SecretBytes(b"\xff")),
        (RSA, SecretBytes(b'["n", "e", "d"]')),
        (RSA, SecretBytes(b"[" * 100_000)),
    ],
    ids=range(8),
)
def test_what_is_no_private_key_of_its_kind_is_not_sent(kind: KeyKind, private_key: SecretBytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        key_requests.import_key("k", NewVersion("RSA", kind, ("sign",)), private_key)
    assert caught.value.__cause__ is None


def test_a_body_is_a_secret() -> None:
    request = key_requests.import_key("k", NewVersion("RSA", RSA, ("sign",)), a_jwk(**PRIVATE_RSA))
    assert "d-value" not in repr(request)


@pytest.mark.parametrize(("kind", "more"), [(EC, {"crv": "P-256K"}), (RSA, {})])
def test_a_transfer_blob_goes_whole(kind: KeyKind, more: dict[str, str]) -> None:
    blob = b'{"schema_version":"1.0.0"}?>'
    said = body(key_requests.import_transfer_blob("k", NewVersion("X-HSM", kind, ("sign",)), blob))
    assert said == {
        "key": {"kty": "X-HSM", **more, "key_ops": ["sign"], "key_hsm": "eyJzY2hlbWFfdmVyc2lvbiI6IjEuMC4wIn0_Pg"},
        "attributes": {"enabled": True},
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (VersionChanges(), {"attributes": {}}),
        (VersionChanges(enabled=False), {"attributes": {"enabled": False}}),
        (VersionChanges(not_before=THEN, expires_on=THEN), {"attributes": {"nbf": SECONDS, "exp": SECONDS}}),
        (VersionChanges(operations=("sign",)), {"attributes": {}, "key_ops": ["sign"]}),
        (VersionChanges(operations=(), tags=()), {"attributes": {}, "key_ops": [], "tags": {}}),
        (VersionChanges(tags=(("a", "1"),)), {"attributes": {}, "tags": {"a": "1"}}),
    ],
)
def test_an_update_says_only_what_changes(changes: VersionChanges, said: dict[str, object]) -> None:
    request = key_requests.update("k", "0" * 32, changes)
    assert (request.method, request.path, request.once) == ("PATCH", f"/keys/k/{'0' * 32}", False)
    assert body(request) == said


ROTATE_AFTER = {"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}
NOTIFY = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}


@pytest.mark.parametrize(
    ("policy", "vault_type", "actions", "attributes"),
    [
        (RotationPolicy("P30D", None, "P90D"), VaultType.STANDARD, [ROTATE_AFTER], {"expiryTime": "P90D"}),
        (RotationPolicy("P30D"), VaultType.MANAGED_HSM, [ROTATE_AFTER], {}),
        (
            RotationPolicy(rotate_before_expiry="P7D"),
            VaultType.PREMIUM,
            [{"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "Rotate"}}],
            {},
        ),
        (RotationPolicy(expires_after="P90D"), VaultType.STANDARD, [NOTIFY], {"expiryTime": "P90D"}),
        (RotationPolicy(), VaultType.MANAGED_HSM, [], {}),
    ],
)
def test_a_rotation_policy(
    policy: RotationPolicy, vault_type: VaultType, actions: list[object], attributes: dict[str, str]
) -> None:
    request = key_requests.set_rotation_policy("k", policy, vault_type)
    assert (request.method, request.path) == ("PUT", "/keys/k/rotationpolicy")
    assert body(request) == {"lifetimeActions": actions, "attributes": attributes}


NAME = "../a?b#c"
QUOTED = "..%2Fa%3Fb%23c"


@pytest.mark.parametrize(
    ("request_", "method", "path"),
    [
        (key_requests.delete(NAME), "DELETE", f"/keys/{QUOTED}"),
        (key_requests.recover(NAME), "POST", f"/deletedkeys/{QUOTED}/recover"),
        (key_requests.purge(NAME), "DELETE", f"/deletedkeys/{QUOTED}"),
        (key_requests.rotate(NAME), "POST", f"/keys/{QUOTED}/rotate"),
        (key_requests.rotation_policy(NAME), "GET", f"/keys/{QUOTED}/rotationpolicy"),
        (key_requests.update(NAME, NAME, VersionChanges()), "PATCH", f"/keys/{QUOTED}/{QUOTED}"),
        (key_requests.restore(SecretBytes(b"\xff")), "POST", "/keys/restore"),
    ],
)
def test_paths_hold_whatever_name(request_: VaultRequest, method: str, path: str) -> None:
    assert (request_.method, request_.path) == (method, path)


def test_only_what_makes_versions_is_sent_once() -> None:
    new = NewVersion("EC", EC, ("sign",))
    once = [
        key_requests.create("k", new),
        key_requests.import_key("k", new, a_jwk(x="x", y="y", d="d")),
        key_requests.import_transfer_blob("k", new, b""),
        key_requests.rotate("k"),
    ]
    often = [
        key_requests.update("k", "v", VersionChanges()),
        key_requests.delete("k"),
        key_requests.recover("k"),
        key_requests.purge("k"),
        key_requests.restore(SecretBytes(b"b")),
        key_requests.set_rotation_policy("k", RotationPolicy(), VaultType.STANDARD),
    ]
    assert all(request.once and request.changes for request in once)
    assert all(request.changes and not request.once for request in often)
    assert not any(request.changes for request in (key_requests.back_up("k"), key_requests.rotation_policy("k")))
