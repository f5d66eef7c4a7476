"""Groups over HTTP: saved while not connected, repaired, linked to a vault, and what of them stays for ever."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.client import Json
from tests.integration.estate import PAUSED, Estate


async def test_many_groups_are_created_at_once(estate: Estate) -> None:
    made = await asyncio.gather(*(estate.source_group() for _ in range(12)))
    assert {group["id"] for group in await estate.api.pages("groups")} == set(made)
    # Their creator is the admin of each.
    for group in made:
        await estate.api.change("PATCH", f"groups/{group}", {"title": "Renamed"})


async def test_a_group_is_saved_while_not_connected_and_repaired(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k"}])
    wrong = estate.site.ledger.add("wrong client secret", "wrong-" + uuid.uuid4().hex)
    group = await estate.group(
        connection=estate.azure.connection(credential={"kind": "client_secret", "secret": wrong})
    )
    path = f"groups/{group['id']}"
    assert (group["connection_state"], group["report"]["cause"]) == ("not_connected", "secret_wrong")
    assert (await estate.findings(group["id"]))["not_connected"]["severity"] == "warning"
    selection = {"resource_id": vault.resource_id}
    problem = await estate.api.refused(
        "PUT",
        f"{path}/vault",
        selection,
        status=409,
        code="not_connected",
        headers={"If-Match": (await estate.api.done("GET", path)).etag},
    )
    assert problem["cause"] == "secret_wrong"

    right = {"kind": "client_secret", "secret": estate.azure.application["secret"]}
    repaired = await estate.api.change("PATCH", path, {"connection": {"credential": right}})
    assert (repaired["connection_state"], repaired["vault"]) == ("connected", None)
    assert "not_connected" not in await estate.findings(group["id"])
    linked = await estate.api.change("PUT", f"{path}/vault", selection, of=path)
    assert linked["vault"]["resource_id"] == vault.resource_id
    await estate.sync(group["id"])


async def test_a_secret_is_write_only(estate: Estate) -> None:
    soon = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    secret = estate.azure.application["secret"]
    credential = {"kind": "client_secret", "secret": secret, "expires_on": soon}
    group = await estate.link(await estate.azure.vault(), connection=estate.azure.connection(credential=credential))
    shown = (await estate.api.get(f"groups/{group}"))["connection"]["credential"]
    assert (shown["secret"], shown["hint"]) == ("********", secret[-4:])
    assert datetime.fromisoformat(shown["expires_on"]) == datetime.fromisoformat(soon)
    assert "credential_expiring" in await estate.findings(group)
    titled = await estate.api.change(
        "PATCH", f"groups/{group}", {"connection": {"client_id": estate.azure.application["client_id"]}}
    )
    assert titled["connection_state"] == "connected", "the stored secret stays"


@pytest.mark.parametrize("sku", ["standard", "premium", "managed_hsm"])
async def test_a_vault_of_each_type_is_selected(estate: Estate, sku: str) -> None:
    protected: Json = {"retention_days": 30, "purge_protection": True}
    vault = await estate.azure.vault(
        sku, keys=[{"name": "k", "kty": "EC-HSM" if sku == "managed_hsm" else "EC"}], **protected
    )
    group = await estate.group()
    path = f"groups/{group['id']}"
    assert (group["connection_state"], group["vault"]) == ("connected", None)
    linked = await estate.api.change("PUT", f"{path}/vault", {"resource_id": vault.resource_id}, of=path)
    facts = linked["vault"]
    assert (facts["type"], facts["uri"], facts["location"]) == (sku, vault.uri, "westeurope")
    assert (facts["soft_delete_retention_days"], facts["purge_protection"], facts["rbac"]) == (
        30,
        True,
        sku == "managed_hsm",
    )
    await estate.sync(group["id"])
    listed = next(one for one in await estate.api.pages("groups") if one["id"] == group["id"])
    assert (listed["external"], listed["connection_state"], listed["counts"]["active"]) == (True, "connected", 1)
    assert listed["last_sync"]["status"] == "succeeded"


@pytest.mark.parametrize("field", ["cloud", "subscription_id", "vault"])
async def test_what_is_fixed_is_refused(estate: Estate, field: str) -> None:
    group = await estate.link(await estate.azure.vault())
    other = await estate.azure.vault()
    bodies: dict[str, Json] = {
        "cloud": {"connection": {"cloud": "usgov"}},
        "subscription_id": {"connection": {"subscription_id": str(uuid.uuid4())}},
        "vault": {"vault": other.resource_id},
    }
    body = bodies[field]
    before = await estate.api.done("GET", f"groups/{group}")
    problem = await estate.api.refused(
        "PATCH", f"groups/{group}", body, status=409, code="field_fixed", headers={"If-Match": before.etag}
    )
    assert field in problem["field"]
    assert (await estate.api.done("GET", f"groups/{group}")).json == before.json
    same = {"connection": {"subscription_id": estate.azure.subscription.upper()}}
    await estate.api.change("PATCH", f"groups/{group}", same)


async def test_a_selected_vault_stays(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault())
    path, other = f"groups/{group}", await estate.azure.vault()
    etag = (await estate.api.done("GET", path)).etag
    body = {"resource_id": other.resource_id}
    await estate.api.refused("PUT", f"{path}/vault", body, status=409, code="field_fixed", headers={"If-Match": etag})


async def test_a_vault_that_is_not_offered(estate: Estate) -> None:
    vault = await estate.azure.vault()
    body = {"kind": "azure", "title": "A", "connection": estate.azure.connection(), "vault": vault.resource_id + "x"}
    await estate.api.refused("POST", "groups", body, status=409, code="vault_not_offered")


async def test_a_vault_belongs_to_one_group_of_an_account(estate: Estate) -> None:
    vault = await estate.azure.vault()
    await estate.link(vault)
    body = {"kind": "azure", "title": "A", "connection": estate.azure.connection(), "vault": vault.resource_id}
    await estate.api.refused("POST", "groups", body, status=409, code="vault_already_linked")


async def test_facts_of_the_vault_are_refreshed_by_a_sync(estate: Estate) -> None:
    vault = await estate.azure.vault()
    group = await estate.link(vault)
    assert "no_purge_protection" in await estate.findings(group)
    await estate.azure.control.patch(f"vaults/{vault.name}", {"purge_protection": True})
    await estate.sync(group)
    assert (await estate.api.get(f"groups/{group}"))["vault"]["purge_protection"] is True
    assert "no_purge_protection" not in await estate.findings(group)


async def test_a_source_group_has_no_connection(estate: Estate) -> None:
    group = await estate.source_group()
    shown = await estate.api.get(f"groups/{group}")
    assert (shown["external"], shown["connection_state"], shown["connection"]) == (False, "not_applicable", None)
    await estate.api.refused("POST", f"groups/{group}/sync", status=409, code="group_kind")
    await estate.api.refused("POST", f"groups/{group}/connection/test", status=409, code="group_kind")
    body = {"kind": "source", "title": "S", "connection": estate.azure.connection()}
    problem = await estate.api.refused("POST", "groups", body, status=400, code="group_invalid")
    assert problem["field"] == "connection"


async def test_a_group_without_a_vault_does_not_sync(estate: Estate) -> None:
    group = await estate.group()
    await estate.api.refused("POST", f"groups/{group['id']}/sync", status=409, code="vault_not_selected")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"schedule": {"cron": "not a cron"}}, "schedule_invalid"),
        ({"schedule": {"time_zone": "Nowhere/Nowhere"}}, "schedule_invalid"),
        ({"schedule": {"full_every_days": 0}}, "group_invalid"),
        ({"escrow": {"keep_generations": 0}}, "group_invalid"),
        ({"title": "\u0007"}, "title_invalid"),
    ],
)
async def test_a_malformed_group_is_refused(estate: Estate, members: Json, code: str) -> None:
    body = {"kind": "azure", "title": "A", "connection": estate.azure.connection(), "schedule": PAUSED, **members}
    await estate.api.refused("POST", "groups", body, status=400, code=code)


async def test_a_group_is_deleted_only_without_keys(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k"}])
    group = await estate.link(vault)
    await estate.sync(group)
    await estate.api.refused("DELETE", f"groups/{group}", status=409, code="group_not_empty")
    empty = await estate.azure.vault()
    other = await estate.link(empty)
    await estate.api.done("DELETE", f"groups/{other}")
    await estate.api.refused("GET", f"groups/{other}", status=404, code="group_not_found")
    await estate.link(empty)
