"""Backup and restore: what comes back, where it may come back to, and what is refused."""

import json

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import SignatureAlgorithm

from local.emulator import seeds
from local.emulator.client import ControlClient

from .clients import ClientOf, MakeRaw, MakeVault, RawClient, SyncClientOf, TestVault, from_url64, settled, url64

DIGEST = b"\x07" * 32


async def backup_of(raw: RawClient, name: str) -> str:
    answer = await raw("POST", f"/keys/{name}/backup")
    assert answer.status == 200
    return str(answer.json["value"])


async def test_vault_blob(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/blob/create", {"kty": "EC"})

    blob = from_url64(await backup_of(raw, "blob"))

    assert blob.startswith(b"&AzureKeyVaultKeyBackupV1.microsoft.com")
    parts = blob.removeprefix(b"&AzureKeyVaultKeyBackupV1.microsoft.com").split(b".")
    header = json.loads(from_url64(parts[0].decode()))
    assert (list(header), header["alg"], header["enc"]) == (["kid", "alg", "enc"], "RSA-OAEP-256", "A256CBC-HS512")
    assert [len(from_url64(part.decode())) for part in (*parts[1:3], parts[4])] == [256, 16, 32]
    assert b"blob" not in blob


async def test_hsm_blob(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    await raw("POST", "/keys/blob/create", {"kty": "EC"})

    parts = from_url64(await backup_of(raw, "blob")).split(b".")

    header = json.loads(from_url64(parts[0].decode()))
    assert header == {"alg": "dir", "enc": "A256CBC-HS512", "kid": "backup-protection-key"}
    assert (len(parts), parts[1]) == (5, b"")


@pytest.mark.parametrize("sku", ["premium", "managed_hsm"])
async def test_a_key_comes_back_whole_in_another_vault(client_of: ClientOf, make_vault: MakeVault, sku: str) -> None:
    domain = {"security_domain": "shared"} if sku == "managed_hsm" else {}
    source, target = await make_vault(sku, **domain), await make_vault(sku, **domain)
    old, new = client_of(source), client_of(target)
    await old.create_rsa_key("Whole", tags={"v": "1"}, key_operations=["sign", "verify"])
    newest = await old.create_ec_key("Whole", enabled=False, hardware_protected=True)
    versions = {item.version: item async for item in old.list_properties_of_key_versions("Whole")}

    restored = await new.restore_key_backup(await old.backup_key("Whole"))

    assert restored.id == newest.id.replace(source.url, target.url)
    copies = {item.version: item async for item in new.list_properties_of_key_versions("Whole")}
    assert copies.keys() == versions.keys()
    for version, copy in copies.items():
        original = versions[version]
        assert (copy.created_on, copy.updated_on) == (original.created_on, original.updated_on)
        assert (copy.enabled, copy.tags) == (original.enabled, original.tags)
        original_key, key = await old.get_key("Whole", version), await new.get_key("Whole", version)
        assert (key.key.n, key.key.x) == (original_key.key.n, original_key.key.x)
        assert set(key.key_operations) == set(original_key.key_operations)


async def test_a_restored_key_signs_what_the_original_verifies(
    client_of: ClientOf, make_vault: MakeVault, vault: TestVault
) -> None:
    old, new = client_of(vault), client_of(await make_vault("standard"))
    await old.create_ec_key("signer")
    restored = await new.restore_key_backup(await old.backup_key("signer"))

    signed = await new.get_cryptography_client("signer").sign(SignatureAlgorithm.es256, DIGEST)

    original = old.get_cryptography_client("signer", key_version=restored.properties.version)
    assert (await original.verify(SignatureAlgorithm.es256, DIGEST, signed.signature)).is_valid


def test_the_synchronous_client_backs_up_and_restores(sync_client_of: SyncClientOf, standard: TestVault) -> None:
    with sync_client_of(standard) as client:
        made = client.create_ec_key("sync-backup")
        blob = client.backup_key("sync-backup")
        client.begin_delete_key("sync-backup").wait()
        client.purge_deleted_key("sync-backup")
        while True:
            try:
                restored = client.restore_key_backup(blob)
            except ResourceExistsError:
                continue
            break

    assert restored.id == made.id


async def test_a_taken_soft_deleted_or_just_purged_name_conflicts(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    made = (await raw("POST", "/keys/taken/create", {"kty": "EC"})).json["key"]["kid"]
    blob = {"value": await backup_of(raw, "taken")}

    taken = await raw("POST", "/keys/restore", blob)
    await raw("DELETE", "/keys/taken")
    deleted = await raw("POST", "/keys/restore", blob)
    await settled(lambda: raw("DELETE", "/deletedkeys/taken"), 204)
    purged = await raw("POST", "/keys/restore", blob)
    restored = await settled(lambda: raw("POST", "/keys/restore", blob), 200)

    for refused in (taken, deleted, purged):
        assert refused.error == (409, "Conflict", None)
        assert refused.message.startswith(f"There was a conflict restoring the key '{made}'. This can happen if either")
    assert restored.json["key"]["kid"] == made


async def test_a_backup_outlives_purge_and_vault(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, vault: TestVault
) -> None:
    doomed = await make_vault("standard")
    raw = await raw_of(doomed)
    await raw("POST", "/keys/survivor/create", {"kty": "EC"})
    blob = await backup_of(raw, "survivor")
    await control.delete(f"vaults/{doomed.name}")

    assert (await (await raw_of(vault))("POST", "/keys/restore", {"value": blob})).status == 200


@pytest.mark.parametrize("where", ["geography", "subscription"])
async def test_other_geographies_and_subscriptions_refuse(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, vault: TestVault, where: str
) -> None:
    if where == "geography":
        other = await make_vault("premium", geography="Asia Pacific", location="eastasia")
    else:
        subscription = await control.post("subscriptions", {"display_name": "other"})
        other = await make_vault("premium", subscription=subscription["id"])
    raw = await raw_of(vault)
    name = f"bound-to-{where}"
    await raw("POST", f"/keys/{name}/create", {"kty": "EC"})

    answer = await (await raw_of(other))("POST", "/keys/restore", {"value": await backup_of(raw, name)})

    assert answer.error == (403, "Forbidden", None)


async def test_blobs_are_bound_to_security_domain_kind_and_tier(
    raw_of: MakeRaw, make_vault: MakeVault, vault: TestVault, hsm: TestVault, standard: TestVault
) -> None:
    other = await make_vault("managed_hsm")
    raw_vault, raw_hsm, raw_other = await raw_of(vault), await raw_of(hsm), await raw_of(other)
    for raw in (raw_vault, raw_hsm):
        await raw("POST", "/keys/bound/create", {"kty": "RSA-HSM"})
    of_vault, of_hsm = await backup_of(raw_vault, "bound"), await backup_of(raw_hsm, "bound")

    malformed = (400, "Malformed backup blob", None)
    assert (await raw_other("POST", "/keys/restore", {"value": of_hsm})).error == malformed
    assert (await raw_vault("POST", "/keys/restore", {"value": of_hsm})).error == malformed
    assert (await raw_hsm("POST", "/keys/restore", {"value": of_vault})).error == malformed
    on_standard = await (await raw_of(standard))("POST", "/keys/restore", {"value": of_vault})
    assert on_standard.error == (400, "BadParameter", None)


async def test_malformed_blobs(raw_of: MakeRaw, either: TestVault) -> None:
    raw = await raw_of(either)
    await raw("POST", "/keys/tampered/create", {"kty": "EC"})
    blob = from_url64(await backup_of(raw, "tampered"))
    # The last characters of the text are the end of the tag, the middle is ciphertext.
    flipped = blob[:-10] + (b"A" if blob[-10:-9] != b"A" else b"B") + blob[-9:]
    middle = len(blob) // 2
    changed = blob[:middle] + (b"A" if blob[middle : middle + 1] != b"A" else b"B") + blob[middle + 1 :]
    values = ["ZG9lc25vdGV4aXN0", "", "é", "!", 3, None, url64(blob[:100]), url64(flipped), url64(changed)]

    for value in values:
        answer = await raw("POST", "/keys/restore", {"value": value})
        assert answer.error == (400, "Malformed backup blob", None), value
        assert answer.message.startswith("Backup blob is corrupt.")


async def test_500_versions_can_be_backed_up_and_501_cannot(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    vault, other = await make_vault("standard"), await make_vault("standard")
    await control.post(
        f"vaults/{vault.name}/keys",
        {"keys": [{"name": "most", "versions": 500}, {"name": "more", "versions": 501}]},
    )
    raw = await raw_of(vault)

    refused = await raw("POST", "/keys/more/backup")
    restored = await (await raw_of(other))("POST", "/keys/restore", {"value": await backup_of(raw, "most")})

    assert refused.error == (400, "BadParameter", None)
    assert restored.status == 200


async def test_dates_and_being_disabled_do_not_hinder_a_backup(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    vault = await make_vault("standard")
    seeds_ = [
        {"name": "off", "enabled": False},
        {"name": "old", "expires_offset": -10},
        {"name": "early", "not_before_offset": 1000},
    ]
    await control.post(f"vaults/{vault.name}/keys", {"keys": seeds_})
    raw = await raw_of(vault)

    for name in ("off", "old", "early"):
        assert await backup_of(raw, name)


async def test_the_sdk_maps_a_conflict(client_of: ClientOf, either: TestVault) -> None:
    client: KeyClient = client_of(either)
    await client.create_ec_key("mapped")
    blob = await client.backup_key("mapped")

    with pytest.raises(ResourceExistsError):
        await client.restore_key_backup(blob)
    with pytest.raises(HttpResponseError, match="Malformed backup blob"):
        await client.restore_key_backup(b"no backup")
    assert seeds.CONTOSO_TENANT_ID not in blob.decode("latin-1")
