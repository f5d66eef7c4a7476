"""Delete, recover, purge, retention and protection, and what conflicts with them while they run."""

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from local.emulator.client import ControlClient

from .clients import ClientOf, MakeRaw, MakeVault, RawClient, SyncClientOf, TestVault, settled

DAY = 86400


async def deleted_key(raw: RawClient, name: str) -> None:
    """Make a key and delete it, and wait until the deletion shows."""
    assert (await raw("POST", f"/keys/{name}/create", {"kty": "EC"})).status == 200
    assert (await raw("DELETE", f"/keys/{name}")).status == 200
    await settled(lambda: raw("GET", f"/deletedkeys/{name}"), 200)


async def test_a_vault_shows_a_deletion_after_a_while(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/window/create", {"kty": "EC"})
    await raw("DELETE", "/keys/window")

    assert (await raw("GET", "/keys/window")).error == (404, "KeyNotFound", None)
    assert (await raw("GET", "/deletedkeys/window")).error == (404, "KeyNotFound", None)
    being_deleted = (409, "Conflict", "ObjectIsBeingDeleted")
    create = await raw("POST", "/keys/window/create", {"kty": "EC"})
    assert (create.error, create.message) == (being_deleted, "Key is currently being deleted.")
    for method, path in (("DELETE", "/deletedkeys/window"), ("POST", "/deletedkeys/window/recover")):
        assert (await raw(method, path)).error == being_deleted

    await settled(lambda: raw("GET", "/deletedkeys/window"), 200)
    create = await raw("POST", "/keys/window/create", {"kty": "EC"})
    assert create.error == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert create.message.startswith("Key window is currently in a deleted but recoverable state")


async def test_a_vault_shows_a_recovery_after_a_while(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await deleted_key(raw, "back")

    recovered = await raw("POST", "/deletedkeys/back/recover")

    assert recovered.status == 200
    assert (await raw("GET", "/deletedkeys/back")).status == 404
    assert (await raw("GET", "/keys/back")).status == 404
    for method, path in (
        ("POST", "/keys/back/create"),
        ("DELETE", "/keys/back"),
        ("POST", "/deletedkeys/back/recover"),
    ):
        answer = await raw(method, path, {"kty": "EC"} if path.endswith("create") else None)
        assert answer.error == (409, "Conflict", "ObjectIsBeingRecovered"), path
    assert (await settled(lambda: raw("GET", "/keys/back"), 200)).json["key"] == recovered.json["key"]


async def test_a_purged_name_is_free_after_a_while(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await deleted_key(raw, "purged")

    purged = await raw("DELETE", "/deletedkeys/purged")

    assert (purged.status, purged.text) == (204, "")
    assert (await raw("GET", "/deletedkeys/purged")).status == 404
    create = await raw("POST", "/keys/purged/create", {"kty": "EC"})
    assert create.error == (409, "Conflict", "ObjectIsBeingDeleted")
    await settled(lambda: raw("POST", "/keys/purged/create", {"kty": "EC"}), 200)


async def test_an_hsm_shows_everything_at_once(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    await raw("POST", "/keys/prompt/create", {"kty": "EC"})

    statuses = [
        (await raw(method, path)).status
        for method, path in (
            ("DELETE", "/keys/prompt"),
            ("GET", "/deletedkeys/prompt"),
            ("GET", "/keys/prompt"),
            ("POST", "/deletedkeys/prompt/recover"),
            ("GET", "/keys/prompt"),
            ("DELETE", "/keys/prompt"),
            ("DELETE", "/deletedkeys/prompt"),
            ("GET", "/deletedkeys/prompt"),
        )
    ]

    assert statuses == [200, 200, 404, 200, 200, 200, 204, 404]


async def test_the_sdk_waits_for_deletion_and_recovery(client_of: ClientOf, either: TestVault) -> None:
    client = client_of(either)
    first = await client.create_ec_key("sdk-cycle", tags={"v": "1"})
    second = await client.create_ec_key("sdk-cycle")

    deleted = await client.delete_key("sdk-cycle")
    assert (deleted.id, deleted.recovery_id) == (second.id, f"{either.url}/deletedkeys/sdk-cycle")
    assert "sdk-cycle" in [item.name async for item in client.list_deleted_keys()]
    with pytest.raises(ResourceExistsError):
        await client.create_ec_key("sdk-cycle")
    recovered = await client.recover_deleted_key("sdk-cycle")

    assert recovered.id == second.id
    assert (await client.get_key("sdk-cycle", first.properties.version)).properties.tags == {"v": "1"}


async def test_the_synchronous_sdk_deletes_and_purges(sync_client_of: SyncClientOf, standard: TestVault) -> None:
    with sync_client_of(standard) as client:
        client.create_ec_key("sync-cycle")
        client.begin_delete_key("sync-cycle").wait()
        client.purge_deleted_key("sync-cycle")

        with pytest.raises(ResourceNotFoundError):
            client.get_deleted_key("sync-cycle")


async def test_purge_protection_leaves_the_key_to_retention(raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("standard", purge_protection=True)
    raw = await raw_of(vault)
    await deleted_key(raw, "safe")

    refused = await raw("DELETE", "/deletedkeys/safe")

    assert refused.error == (403, "Forbidden", None)
    assert refused.message.startswith('Operation "purge" is not allowed because purge protection is enabled')
    assert refused.message.endswith(f"\r\nVault: {vault.name};location=westeurope")
    attributes = (await raw("GET", "/deletedkeys/safe")).json["attributes"]
    assert (attributes["recoveryLevel"], attributes["recoverableDays"]) == ("Recoverable", 90)


@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
async def test_retention_purges_by_the_clock(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, fresh_conditions: None, sku: str
) -> None:
    raw = await raw_of(await make_vault(sku, retention_days=7))
    await deleted_key(raw, "kept")

    await control.put("clock", {"offset_seconds": 7 * DAY - 60})
    assert (await raw("GET", "/deletedkeys/kept")).status == 200
    await control.put("clock", {"offset_seconds": 7 * DAY + 60})

    assert (await raw("GET", "/deletedkeys/kept")).status == 404
    assert (await raw("GET", "/deletedkeys")).json["value"] == []
    assert (await raw("POST", "/keys/kept/create", {"kty": "EC"})).status == 200


async def test_a_key_recovered_and_deleted_again_gets_a_new_retention(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, fresh_conditions: None
) -> None:
    raw = await raw_of(await make_vault("managed_hsm", retention_days=7))
    await deleted_key(raw, "again")
    await raw("POST", "/deletedkeys/again/recover")
    await control.put("clock", {"offset_seconds": 3 * DAY})
    await raw("DELETE", "/keys/again")

    await control.put("clock", {"offset_seconds": 8 * DAY})
    assert (await raw("GET", "/deletedkeys/again")).status == 200
    await control.put("clock", {"offset_seconds": 11 * DAY})
    assert (await raw("GET", "/deletedkeys/again")).status == 404


async def test_without_soft_delete_a_deleted_key_is_gone(raw_of: MakeRaw, make_vault: MakeVault) -> None:
    raw = await raw_of(await make_vault("standard", soft_delete=False))
    made = await raw("POST", "/keys/plain/create", {"kty": "EC"})

    deleted = await raw("DELETE", "/keys/plain")

    assert made.json["attributes"]["recoveryLevel"] == "Purgeable"
    assert deleted.json["key"] == made.json["key"]
    assert "recoveryId" not in deleted.json
    purge = await raw("DELETE", "/deletedkeys/plain")
    assert (purge.error, purge.message) == (
        (400, "NotSupported", None),
        'Operation "purge" is not enabled for this vault.',
    )
