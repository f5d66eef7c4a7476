"""Escrow over HTTP: generations by setting, what is superseded is gone, and what is wrong shows."""

from tests.integration.client import Json
from tests.integration.estate import Estate
from tests.integration.test_sealing import blobs, content, opened_by_hand


async def stored(estate: Estate) -> bytes:
    """Return all that the account has in escrow."""
    async with blobs(estate.site.stack) as service:
        names = service.get_container_client("escrow").list_blob_names(name_starts_with=estate.account)
        return b"".join([await content(service, "escrow", name) async for name in names])


async def test_superseded_generations_are_kept_by_setting(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k"}, {"name": "still"}])
    group = await estate.link(vault, escrow={"keep_generations": 2})
    await estate.sync(group)
    made = [(await estate.key(group, "k"))["escrow"][0]]
    async with estate.azure.owner(vault) as owner:
        for _ in range(3):
            await owner.rotate_key("k")
            # Within one second of Azure's time a list does not show the second change.
            await estate.sync(group, "full")
            made.append((await estate.key(group, "k"))["escrow"][0])
    key = await estate.key(group, "k")
    assert key["escrow"] == [made[3], made[2]]
    assert [len(generation["versions"]) for generation in key["escrow"]] == [4, 3]
    assert await estate.api.pages(f"groups/{group}/keys/{key['id']}/escrow", limit="1") == key["escrow"]
    remaining = await stored(estate)
    assert [generation["id"].encode() in remaining for generation in made] == [False, False, True, True]
    manifest, _ = await opened_by_hand(estate, await estate.key(group, "still"))
    assert manifest["azure_name"] == "still", "its line in the archive of the first sync is untouched"

    await estate.api.change("PATCH", f"groups/{group}", {"escrow": {"keep_generations": 1}})
    async with estate.azure.owner(vault) as owner:
        await owner.rotate_key("k")
    await estate.sync(group, "full")
    assert len((await estate.key(group, "k"))["escrow"]) == 1


async def test_the_manifest_tells_where_a_backup_can_be_restored(estate: Estate) -> None:
    vault = await estate.azure.vault("premium", keys=[{"name": "k", "versions": 2}], location="northeurope")
    group = await estate.link(vault)
    job = await estate.sync(group)
    key = await estate.key(group, "k")
    manifest, _ = await opened_by_hand(estate, key)
    told: Json = {
        "account": estate.account,
        "group": group,
        "key": key["id"],
        "job": job["id"],
        "azure_name": "k",
        "vault_id": vault.resource_id,
        "vault_uri": vault.uri,
        "vault_type": "premium",
        "location": "northeurope",
        "geography": "Europe",
        "subscription": estate.azure.subscription,
        "schema": 1,
    }
    assert {name: manifest[name] for name in told} == told
    assert set(manifest["versions"]) == {version["id"] for version in key["versions"]}


async def test_a_key_that_was_deleted_before_its_first_escrow(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "deleted": True}])
    group = await estate.link(vault)
    await estate.sync(group)
    key = await estate.key(group, "k")
    finding = (await estate.findings(group))["deleted_without_escrow"]
    assert (finding["severity"], finding["key"]) == ("critical", key["id"])
    async with estate.azure.owner(vault) as owner:
        await owner.recover_deleted_key("k")
    assert (await estate.sync(group))["progress"]["counts"]["escrowed"] == 1
    assert "deleted_without_escrow" not in await estate.findings(group)


async def test_a_key_that_goes_while_it_is_read(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 5}])
    group = await estate.link(vault)
    async with (
        estate.azure.owner(vault) as owner,
        estate.azure.fault(vault, {"kind": "delay", "seconds": 1.5}, path="k-000002/", method="GET"),
    ):
        job = await estate.start(group)
        await estate.job_when(job, lambda seen: seen["status"] == "running")
        await owner.delete_key("k-000002")
        ended = await estate.ended(job)
    assert ended["status"] == "succeeded"
    await estate.sync(group)
    keys = await estate.keys(group)
    assert {name: key["state"] for name, key in keys.items() if key["state"] != "active"} == {
        "k-000002": "soft-deleted"
    }


async def test_escrow_that_is_turned_off_stays(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "created_offset": -60}])
    group = await estate.link(vault)
    await estate.sync(group)
    (alice,) = await estate.api.pages("members")
    grant = {"role": "admin", "extra": ["escrow.disable"]}
    await estate.api.put(f"groups/{group}/members/{alice['id']}", grant)
    await estate.api.change("PATCH", f"groups/{group}", {"escrow": {"enabled": False}})
    async with estate.azure.owner(vault) as owner:
        await owner.rotate_key("k")
    assert "escrowed" not in (await estate.sync(group))["progress"]["counts"]
    key = await estate.key(group, "k")
    assert (len(key["escrow"]), key["escrow_pending"]) == (1, True)
    await estate.api.change("PATCH", f"groups/{group}", {"escrow": {"enabled": True}})
    assert (await estate.sync(group))["progress"]["counts"]["escrowed"] == 1
    assert (await estate.key(group, "k"))["escrow_pending"] is False
