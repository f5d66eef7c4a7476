"""What is done to keys behind Keysteward's back, with the official SDK, shows as drift with before and after."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import ResourceExistsError
from azure.keyvault.keys import KeyVaultKey

from local.demo.outside import purge
from tests.integration.client import Json
from tests.integration.estate import Estate

SOON = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
#: Azure's times are whole seconds: a key that is changed in the second of its creation looks unchanged in a list.
MADE_BEFORE = {"created_offset": -60}
#: What is changed of a key, and the drift that it is: kind, before, after.
CHANGES: dict[str, tuple[Json, tuple[str, str, str]]] = {
    "disabled": ({"enabled": False}, ("enabled", "true", "false")),
    "retagged": ({"tags": {"a": "2"}}, ("tags", '{"a": "1"}', '{"a": "2"}')),
    "untagged": ({"tags": {}}, ("tags", '{"a": "1"}', "{}")),
    "restricted": ({"key_operations": ["sign"]}, ("operations", "sign,verify", "sign")),
    "expiring": ({"expires_on": SOON}, ("dates", "..", f"..{SOON.isoformat()}")),
    "postponed": ({"not_before": SOON}, ("dates", "..", f"{SOON.isoformat()}..")),
}


async def test_attributes_are_changed(estate: Estate) -> None:
    of_all = {"tags": {"a": "1"}, "key_ops": ["sign", "verify"], **MADE_BEFORE}
    vault = await estate.azure.vault(keys=[{"name": name, **of_all} for name in (*CHANGES, "untouched")])
    group = await estate.link(vault)
    await estate.sync(group)
    async with estate.azure.owner(vault) as owner:
        for name, (attributes, _) in CHANGES.items():
            await owner.update_key_properties(name, **attributes)
    job = await estate.sync(group)
    assert job["progress"]["counts"] == {"discovered": 7, "unchanged": 1, "updated": 6}
    for name, (_, expected) in CHANGES.items():
        key = await estate.key(group, name)
        (drift,) = key["drift"]
        assert (drift["kind"], drift["before"], drift["after"]) == expected
        assert (drift["job"], drift["version"]) == (job["id"], key["versions"][0]["id"])
        assert len(key["escrow"]) == 1, "attributes alone make no new escrow"
    assert (await estate.keys(group, drifted="true")).keys() == CHANGES.keys()
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 7, "unchanged": 7}


def kinds(key: Json) -> list[str]:
    """Return the drift of a key, oldest first."""
    return [drift["kind"] for drift in reversed(key["drift"])]


async def test_the_life_of_a_key_behind_the_back(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "versions": 2, **MADE_BEFORE}])
    group = await estate.link(vault)
    await estate.sync(group)
    first = await estate.key(group, "k")
    async with estate.azure.owner(vault) as owner:
        await owner.rotate_key("k")
        rotated = (await estate.sync(group))["progress"]["counts"]
        assert (rotated["updated"], rotated["escrowed"]) == (1, 1)

        await owner.delete_key("k")
        assert (await estate.sync(group))["progress"]["counts"]["soft_deleted"] == 1
        deleted = await estate.key(group, "k")
        assert (deleted["state"], deleted["versions_total"]) == ("soft-deleted", 3)
        assert datetime.fromisoformat(deleted["deletion"]["scheduled_purge_on"]) > datetime.now(UTC)
        assert (await estate.api.get(f"groups/{group}"))["counts"]["soft_deleted"] == 1

        await owner.recover_deleted_key("k")
        await estate.sync(group)
        recovered = await estate.key(group, "k")
        assert (recovered["state"], recovered["versions_total"], recovered["deletion"]) == ("active", 3, None)

        await owner.delete_key("k")
        await purge(owner, "k")
        assert (await estate.sync(group))["progress"]["counts"]["purged"] == 1
    purged = await estate.key(group, "k")
    assert (purged["state"], purged["id"], len(purged["escrow"])) == ("purged", first["id"], 2)
    assert kinds(purged) == ["new_version", "soft_deleted", "recovered", "vanished"]
    assert (await estate.api.get(f"groups/{group}"))["counts"]["purged"] == 1
    assert purged["history"][-1]["event"] == "key.discovered"
    assert (await estate.sync(group))["progress"]["counts"] == {}


async def test_another_key_takes_the_name_of_a_purged_one(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k"}])
    group = await estate.link(vault)
    await estate.sync(group)
    old = await estate.key(group, "k")
    async with estate.azure.owner(vault) as owner:
        await owner.delete_key("k")
        await purge(owner, "k")

        async def create() -> KeyVaultKey | None:
            # A name is free some time after its purge only.
            with suppress(ResourceExistsError):
                return await owner.create_ec_key("k")
            return None

        await estate.site.until(create)
    await estate.sync(group)
    both = {key["state"]: key for key in await estate.api.pages("keys", group=group)}
    assert both.keys() == {"purged", "active"}
    assert both["purged"]["id"] == old["id"]
    kept = await estate.api.get(f"groups/{group}/keys/{old['id']}")
    assert (kinds(kept), kept["escrow"]) == (["recreated"], old["escrow"])
    new = await estate.api.get(f"groups/{group}/keys/{both['active']['id']}")
    assert (new["drift"], len(new["escrow"]), new["azure_name"]) == ([], 1, "k")
    by_name = await estate.api.pages("keys", text="k")
    assert len(by_name) == 2


async def test_a_name_in_another_case_is_the_same_key(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "MixedCase"}, {"name": "lower"}, {"name": "UPPER"}])
    group = await estate.link(vault)
    await estate.sync(group)
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 3, "unchanged": 3}
    assert (await estate.keys(group)).keys() == {"MixedCase", "lower", "UPPER"}
