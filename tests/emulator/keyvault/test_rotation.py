"""Rotation policies, rotation on demand, and rotation by the clock."""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

from local.emulator.client import ControlClient

from .clients import ClientOf, MakeRaw, MakeVault, SyncClientOf, TestVault

DAY = 86400
SENT = {
    "lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "rotate"}}],
    "attributes": {"expiryTime": "P90D"},
}


async def test_vault_policy(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/policy/create", {"kty": "EC"})
    notify = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}

    before = await raw("GET", "/keys/policy/rotationpolicy")
    put = await raw("PUT", "/keys/policy/rotationpolicy", SENT)

    assert before.json == {"lifetimeActions": [notify], "attributes": None}
    attributes = put.json["attributes"]
    assert put.json == {
        "id": f"{vault.url}/keys/policy/rotationpolicy",
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}, notify],
        "attributes": {"expiryTime": "P90D", "created": attributes["created"], "updated": attributes["updated"]},
    }
    assert (await raw("GET", "/keys/policy/rotationpolicy")).json == put.json


async def test_hsm_policy(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    await raw("POST", "/keys/policy/create", {"kty": "EC"})

    before = await raw("GET", "/keys/policy/rotationpolicy")
    put = await raw("PUT", "/keys/policy/rotationpolicy", SENT)

    assert before.json == {"attributes": {"created": 0, "expiryTime": "", "updated": 0}, "id": ""}
    assert put.json["id"] == "keys/policy/rotationpolicy"
    assert put.json["lifetimeActions"] == SENT["lifetimeActions"]


async def test_rotation_on_demand(raw_of: MakeRaw, either: TestVault) -> None:
    raw = await raw_of(either)
    made = (await raw("POST", "/keys/turn/create", {"kty": "EC-HSM", "crv": "P-384", "key_ops": ["sign"]})).json
    await raw("PUT", "/keys/turn/rotationpolicy", SENT)

    rotated = (await raw("POST", "/keys/turn/rotate", b"")).json

    assert rotated["key"]["kid"] != made["key"]["kid"]
    assert rotated["key"]["x"] != made["key"]["x"]
    assert [rotated["key"][name] for name in ("kty", "crv", "key_ops")] == ["EC-HSM", "P-384", ["sign"]]
    assert rotated["attributes"]["exp"] == rotated["attributes"]["created"] + 90 * DAY
    assert (await raw("GET", "/keys/turn")).json["key"]["kid"] == rotated["key"]["kid"]


async def test_an_hsm_rotates_only_under_a_policy(raw_of: MakeRaw, vault: TestVault, hsm: TestVault) -> None:
    statuses = []
    for each in (vault, hsm):
        raw = await raw_of(each)
        await raw("POST", "/keys/no-policy/create", {"kty": "EC"})
        statuses.append((await raw("POST", "/keys/no-policy/rotate")).status)

    assert statuses == [200, 400]


@pytest.mark.parametrize(
    "trigger", [{"timeAfterCreate": "P30D"}, {"timeBeforeExpiry": "P60D"}], ids=["after create", "before expiry"]
)
async def test_rotation_by_the_clock(
    control: ControlClient,
    raw_of: MakeRaw,
    make_vault: MakeVault,
    fresh_conditions: None,
    trigger: dict[str, str],
) -> None:
    raw = await raw_of(await make_vault("premium"))
    created = (await raw("POST", "/keys/auto/create", {"kty": "EC"})).json["attributes"]["created"]
    await raw("PATCH", "/keys/auto", {"attributes": {"exp": created + 90 * DAY}})
    policy = {
        "lifetimeActions": [{"trigger": trigger, "action": {"type": "Rotate"}}],
        "attributes": {"expiryTime": "P90D"},
    }
    assert (await raw("PUT", "/keys/auto/rotationpolicy", policy)).status == 200

    counts = []
    for days in (29, 31, 59, 62):
        await control.put("clock", {"offset_seconds": days * DAY})
        counts.append(len((await raw("GET", "/keys/auto/versions")).json["value"]))

    assert counts == [1, 2, 2, 3]


async def test_rotation_keeps_on_after_recovery_but_not_while_deleted(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, fresh_conditions: None
) -> None:
    raw = await raw_of(await make_vault("managed_hsm"))
    await raw("POST", "/keys/paused/create", {"kty": "EC"})
    await raw("PUT", "/keys/paused/rotationpolicy", SENT)
    await raw("DELETE", "/keys/paused")
    await control.put("clock", {"offset_seconds": 40 * DAY})
    await raw("GET", "/keys")

    await raw("POST", "/deletedkeys/paused/recover")

    await raw("GET", "/keys")
    assert len((await raw("GET", "/keys/paused/versions")).json["value"]) == 2


@pytest.mark.parametrize(
    ("actions", "expiry"),
    [
        ([("timeAfterCreate", "P1D", "Rotate")], None),
        ([("timeAfterCreate", "30 days", "Rotate")], None),
        ([("timeAfterCreate", "P", "Rotate")], None),
        ([("timeAfterCreate", 30, "Rotate")], None),
        ([("timeBeforeExpiry", "P30D", "Rotate")], None),
        ([("timeAfterCreate", "P30D", "Destroy")], None),
        ([("timeAfterCreate", "P30D", "Rotate"), ("timeAfterCreate", "P60D", "Rotate")], None),
        ([("timeAfterCreate", "P30D", "Rotate")], "P1D"),
    ],
)
async def test_bad_policies_are_refused(
    raw_of: MakeRaw, either: TestVault, actions: list[tuple[str, object, str]], expiry: str | None
) -> None:
    raw = await raw_of(either)
    name = f"bad-policy-{abs(hash(str(actions) + str(expiry)))}"
    await raw("POST", f"/keys/{name}/create", {"kty": "EC"})
    body: dict[str, object] = {
        "lifetimeActions": [{"trigger": {trigger: time}, "action": {"type": kind}} for trigger, time, kind in actions]
    }
    if expiry:
        body["attributes"] = {"expiryTime": expiry}

    assert (await raw("PUT", f"/keys/{name}/rotationpolicy", body)).error == (400, "BadParameter", None)


async def test_an_hsm_has_no_notifications(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    await raw("POST", "/keys/quiet/create", {"kty": "EC"})
    notify = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}

    answer = await raw("PUT", "/keys/quiet/rotationpolicy", {"lifetimeActions": [notify]})

    assert answer.error == (400, "BadParameter", None)


async def test_the_sdk_sets_reads_and_rotates(client_of: ClientOf, either: TestVault) -> None:
    client = client_of(either)
    first = await client.create_rsa_key("sdk-rotation", size=3072, public_exponent=3)
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P2M")
    policy = KeyRotationPolicy(lifetime_actions=[action], expires_in="P3M")

    updated = await client.update_key_rotation_policy("sdk-rotation", policy)
    read = await client.get_key_rotation_policy("sdk-rotation")
    rotated = await client.rotate_key("sdk-rotation")

    assert (updated.expires_in, read.expires_in) == ("P3M", "P3M")
    assert read.lifetime_actions[0].time_after_create == "P2M"
    assert (len(rotated.key.n), rotated.key.e) == (len(first.key.n), b"\x03")
    with pytest.raises(HttpResponseError):
        await client.rotate_key("not-there")


def test_the_synchronous_sdk_rotates(sync_client_of: SyncClientOf, standard: TestVault) -> None:
    with sync_client_of(standard) as client:
        first = client.create_ec_key("sync-rotation")

        assert client.rotate_key("sync-rotation").id != first.id
