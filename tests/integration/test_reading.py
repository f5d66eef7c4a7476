"""Reading over HTTP: lists over all groups, and one key with everything that is known of it."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio
from azure.keyvault.keys import KeyVaultKey

from local.demo.outside import purge
from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site

DAY = 86_400
#: As RFC 8812 registers what Azure calls P-256K.
REGISTERED = {"P-256K": "secp256k1"}
#: Keys by vault. Each was made on a day of its own, so that dates order them.
SEEDS: dict[str, list[Json]] = {
    "premium": [
        {"name": "rsa", "kty": "RSA-HSM", "versions": 3, "distinct_material": True, "tags": {"env": "prod", "of": "a"}},
        {"name": "Ledger", "curve": "P-384", "tags": {"env": "test"}, "created_offset": -DAY},
        {"name": "disabled", "enabled": False, "created_offset": -2 * DAY},
        {"name": "expired", "expires_offset": -DAY, "created_offset": -3 * DAY},
        {"name": "next-month", "expires_offset": 30 * DAY, "created_offset": -4 * DAY},
        {"name": "next-year", "expires_offset": 365 * DAY, "created_offset": -5 * DAY, "tags": {"env": "prod"}},
        {"name": "not-yet", "not_before_offset": DAY, "created_offset": -6 * DAY},
        {"name": "deleted", "deleted": True, "created_offset": -7 * DAY},
    ],
    "standard": [
        {"name": "purged", "created_offset": -8 * DAY},
        {"name": "ledger-copy", "created_offset": -9 * DAY, "curve": "P-521"},
        {"name": "retagged", "created_offset": -10 * DAY, "tags": {"env": "prod"}},
    ],
    "managed_hsm": [
        {"name": "wrapping", "kty": "oct-HSM", "created_offset": -11 * DAY},
        {"name": "koblitz", "kty": "EC-HSM", "curve": "P-256K", "created_offset": -12 * DAY},
    ],
}
EVERYTHING = {str(seed["name"]) for seeds in SEEDS.values() for seed in seeds}


@dataclass(frozen=True)
class Library:
    """Three synced groups of one account, by the tier of their vaults; two keys were changed behind our back."""

    estate: Estate
    vaults: dict[str, Vault]
    groups: dict[str, str]

    async def names(self, **query: str) -> list[str]:
        """The names of the keys that a list shows, in its order."""
        return [key["azure_name"] for key in await self.estate.api.pages("keys", **query)]


@pytest_asyncio.fixture(scope="module")
async def library(site: Site) -> AsyncIterator[Library]:
    """Made once: no test here changes it."""
    estate = await site.estate()
    vaults = {sku: await estate.azure.vault(sku, keys=seeds) for sku, seeds in SEEDS.items()}
    groups = {sku: await estate.link(vault, title=f"The {sku}") for sku, vault in vaults.items()}
    await asyncio.gather(*map(estate.sync, groups.values()))
    async with estate.azure.owner(vaults["standard"]) as owner:
        await owner.update_key_properties("retagged", tags={"env": "dev"})
        await owner.delete_key("purged")
        await purge(owner, "purged")
    await estate.sync(groups["standard"])
    yield Library(estate, vaults, groups)


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, EVERYTHING),
        ({"state": "active"}, EVERYTHING - {"disabled", "expired", "not-yet", "deleted", "purged"}),
        ({"state": "deactivated"}, {"disabled", "expired"}),
        ({"state": "pre-active"}, {"not-yet"}),
        ({"state": "soft-deleted"}, {"deleted"}),
        ({"state": "purged"}, {"purged"}),
        ({"state": "destroyed"}, set()),
        ({"origin": "native"}, EVERYTHING),
        ({"origin": "keysteward"}, set()),
        ({"kind": "virtual"}, EVERYTHING),
        ({"kind": "source"}, set()),
        ({"type": "RSA-HSM"}, {"rsa"}),
        ({"type": "oct-HSM"}, {"wrapping"}),
        ({"tag": "env"}, {"rsa", "Ledger", "next-year", "retagged"}),
        ({"tag": "env=prod"}, {"rsa", "next-year"}),
        ({"tag": "env="}, set()),
        ({"expires_before": in_days(0)}, {"expired"}),
        ({"expires_after": in_days(0)}, {"next-month", "next-year"}),
        ({"expires_after": in_days(0), "expires_before": in_days(60)}, {"next-month"}),
        ({"text": "LEDGER"}, {"Ledger", "ledger-copy"}),
        ({"drifted": "true"}, {"retagged", "purged"}),
        ({"drifted": "true", "state": "active"}, {"retagged"}),
        ({"tag": "env=prod", "expires_after": in_days(0), "text": "year"}, {"next-year"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("sort", ["name", "-expires_on"])
async def test_filters(library: Library, query: dict[str, str], expected: set[str], sort: str) -> None:
    names = await library.names(**query, sort=sort, limit="3")
    assert len(names) == len(set(names))
    assert set(names) == expected


@pytest.mark.parametrize("sku", SEEDS)
async def test_the_filter_by_group(library: Library, sku: str) -> None:
    names = await library.names(group=library.groups[sku], limit="2")
    assert sorted(names) == sorted(str(seed["name"]) for seed in SEEDS[sku])
    assert names == sorted(names, key=str.lower)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("member", ["name", "expires_on", "updated_on"])
async def test_orders(library: Library, member: str, descending: bool) -> None:
    sort = ("-" if descending else "") + member
    found = await library.estate.api.pages("keys", sort=sort, limit="4")
    assert {key["azure_name"] for key in found} == EVERYTHING
    values = [key[member] for key in found]
    if member == "name":
        assert values == sorted(values, key=str.casefold, reverse=descending)
    else:
        # What has no date comes last, and first when the order is turned round.
        dates = [datetime.fromisoformat(value).timestamp() if value else float("inf") for value in values]
        assert dates == sorted(dates, reverse=descending)
    if member == "updated_on":
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13, 200])
async def test_pages_over_three_groups_show_each_key_once(library: Library, limit: int) -> None:
    whole = await library.names(limit="200")
    page = await library.estate.api.get("keys", limit=str(limit))
    assert len(page["items"]) == min(limit, len(EVERYTHING))
    assert await library.names(limit=str(limit)) == whole


async def test_a_cursor_is_of_its_list_alone(library: Library) -> None:
    api = library.estate.api
    cursor = (await api.get("keys", limit="2"))["next"]
    for other in ({"sort": "-name"}, {"sort": "expires_on"}, {"group": library.groups["standard"]}):
        query = {"next": cursor, **other}
        await api.refused("GET", "keys", query=query, status=400, code="invalid_cursor")
    for wrong in ({"limit": "0"}, {"limit": "201"}, {"sort": "size"}, {"state": "lost"}, {"expires_before": "soon"}):
        await api.refused("GET", "keys", query=wrong, status=400, code="invalid_field")


def base64url(number: bytes) -> str:
    return base64.urlsafe_b64encode(number).rstrip(b"=").decode()


def thumbprint(members: dict[str, str]) -> str:
    """RFC 7638, section 3: the required members in lexicographic order, without white space, hashed."""
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(text.encode()).digest())


def assert_same_version(shown: Json, told: KeyVaultKey) -> None:
    """What is shown of a version is what the official SDK says of it."""
    properties, material = told.properties, cast("Any", told.key)
    dates = ("created_on", "updated_on", "not_before", "expires_on")
    assert {name: datetime.fromisoformat(shown[name]) if shown[name] else None for name in dates} == {
        name: getattr(properties, name) for name in dates
    }
    assert (shown["id"], shown["kid"], shown["enabled"]) == (properties.version, told.id, properties.enabled)
    assert (shown["type"], shown["tags"]) == (told.key_type, properties.tags or {})
    assert sorted(shown["operations"]) == sorted(told.key_operations)
    public = {name: value for name, value in shown["public_key"].items() if value is not None}
    if told.key_type.startswith("RSA"):
        expected = {"n": base64url(material.n), "e": base64url(material.e)}
        jwk = {"kty": "RSA", **expected}
    elif told.key_type.startswith("EC"):
        expected = {"curve": str(material.crv.value), "x": base64url(material.x), "y": base64url(material.y)}
        curve = REGISTERED.get(expected["curve"], expected["curve"])
        jwk = {"kty": "EC", "crv": curve, "x": expected["x"], "y": expected["y"]}
    else:
        assert public == {}
        return
    assert public == {**expected, "thumbprint": thumbprint(jwk)}


@pytest.mark.parametrize(
    ("sku", "name"),
    [
        ("premium", "rsa"),
        ("premium", "Ledger"),
        ("premium", "disabled"),
        ("premium", "not-yet"),
        ("premium", "next-month"),
        ("standard", "ledger-copy"),
        ("managed_hsm", "wrapping"),
        ("managed_hsm", "koblitz"),
    ],
)
async def test_versions_are_what_the_sdk_says(library: Library, sku: str, name: str) -> None:
    key = await library.estate.key(library.groups[sku], name)
    path = f"groups/{library.groups[sku]}/keys/{key['id']}/versions"
    assert await library.estate.api.pages(path, limit="1") == key["versions"]
    async with library.estate.azure.owner(library.vaults[sku]) as owner:
        told = sorted([(str(v.created_on), v.version) async for v in owner.list_properties_of_key_versions(name)])
        by_age = [(number, id_) for number, (_, id_) in enumerate(told, 1)]
        assert [(version["number"], version["id"]) for version in reversed(key["versions"])] == by_age
        for version in key["versions"]:
            assert_same_version(version, await owner.get_key(name, version["id"]))
        current = await owner.get_key(name)
    assert key["kid"] == current.id.rpartition("/")[0]
    assert (key["type"], key["enabled"], key["tags"]) == (
        current.key_type,
        current.properties.enabled,
        current.properties.tags or {},
    )


async def test_a_key_says_whose_it_is_and_how_it_is_kept(library: Library) -> None:
    vault, group = library.vaults["premium"], library.groups["premium"]
    before = datetime.now(UTC)
    key = await library.estate.key(group, "rsa")
    assert key["group"] == {"id": group, "title": "The premium", "connection": "connected"}
    assert key["resource_id"] == f"{vault.resource_id}/keys/rsa"
    assert (key["origin"], key["kind"], key["created_by"]["kind"]) == ("native", "virtual", "sync")
    assert key["name"] == f"{vault.name}/rsa"
    assert datetime.fromisoformat(key["state_on"]) >= before
    [generation] = key["escrow"]
    assert set(generation["versions"]) == {version["id"] for version in key["versions"]}
    assert datetime.fromisoformat(generation["verified_on"]) >= datetime.fromisoformat(generation["created_on"])
    assert (key["escrow_pending"], key["escrow_problem"], key["drift"]) == (False, None, [])
    [job] = [job for job in await library.estate.api.pages("jobs") if job["group"] == group]
    assert (
        generation["archive"]
        == f"{library.estate.account}/{group}/{job['id']}/" + generation["archive"].rpartition("/")[2]
    )
    assert [(entry["event"], entry["actor"]["id"]) for entry in key["history"]][-1] == ("key.discovered", job["id"])
    escrows = await library.estate.api.pages(f"groups/{group}/keys/{key['id']}/escrow")
    assert escrows == key["escrow"]


async def test_a_deleted_key_says_until_when_it_can_be_recovered(library: Library) -> None:
    key = await library.estate.key(library.groups["premium"], "deleted")
    async with library.estate.azure.owner(library.vaults["premium"]) as owner:
        told = await owner.get_deleted_key("deleted")
    assert key["state"] == "soft-deleted"
    assert datetime.fromisoformat(key["deletion"]["deleted_on"]) == told.deleted_date
    assert datetime.fromisoformat(key["deletion"]["scheduled_purge_on"]) == told.scheduled_purge_date
    assert (key["escrow"], key["escrow_pending"]) == ([], True)


async def test_drift_and_history_tell_before_and_after(library: Library) -> None:
    group = library.groups["standard"]
    retagged = await library.estate.key(group, "retagged")
    [drift] = retagged["drift"]
    assert (drift["kind"], drift["version"]) == ("tags", retagged["versions"][0]["id"])
    assert (json.loads(drift["before"]), json.loads(drift["after"])) == ({"env": "prod"}, {"env": "dev"})
    newest, *_, oldest = retagged["history"]
    assert (newest["event"], newest["actor"]["kind"], oldest["event"]) == ("drift.tags", "outside", "key.discovered")
    assert drift["job"] == newest["actor"]["id"]
    purged = await library.estate.key(group, "purged")
    assert [(drift["kind"], drift["before"], drift["after"]) for drift in purged["drift"]] == [
        ("vanished", "live", "purged")
    ]
    assert purged["escrow"]
    for key in (retagged, purged):
        path = f"groups/{group}/keys/{key['id']}"
        assert await library.estate.api.pages(f"{path}/drift", limit="1") == key["drift"]
        assert await library.estate.api.pages(f"{path}/history", limit="1") == key["history"]


async def test_a_key_is_found_in_its_own_group_only(library: Library) -> None:
    key = await library.estate.key(library.groups["premium"], "rsa")
    api, other = library.estate.api, library.groups["standard"]
    await api.refused("GET", f"groups/{other}/keys/{key['id']}", status=404, code="key_not_found")
    await api.refused("GET", f"groups/{other}/keys/{key['id']}/versions", status=404, code="key_not_found")
    await api.refused("GET", f"groups/{other}/keys/key_{'a' * 24}", status=404, code="key_not_found")


async def test_groups_are_listed_with_counts_and_connections(library: Library) -> None:
    estate = library.estate
    listed = {group["id"]: group for group in await estate.api.pages("groups", limit="1")}
    assert set(library.groups.values()) <= set(listed)
    counted = {
        sku: {state: count for state, count in listed[id_]["counts"].items() if count and state != "counted_on"}
        for sku, id_ in library.groups.items()
    }
    assert counted == {
        "premium": {"active": 4, "deactivated": 2, "pre_active": 1, "soft_deleted": 1},
        "standard": {"active": 2, "purged": 1},
        "managed_hsm": {"active": 2},
    }
    for sku, id_ in library.groups.items():
        group = listed[id_]
        assert (group["connection_state"], group["vault"]["type"], group["external"]) == ("connected", sku, True)
        assert group["last_sync"]["status"] == "succeeded"
        assert "connection" not in group


async def test_findings_are_listed_worst_first_and_by_group(library: Library) -> None:
    api, groups = library.estate.api, library.groups
    whole = await api.pages("findings", limit="1")
    ranks = {"critical": 1, "warning": 2, "notice": 3}
    severities = [ranks[finding["severity"]] for finding in whole]
    assert severities == sorted(severities)
    assert {(finding["code"], finding["group"]) for finding in whole if not _by_the_clock(finding)} == {
        ("deleted_without_escrow", groups["premium"]),
        ("drift", groups["standard"]),
        *(("no_purge_protection", group) for group in groups.values()),
    }
    deleted = await library.estate.key(groups["premium"], "deleted")
    drifted = sorted(key["id"] for key in (await library.estate.keys(groups["standard"], drifted="true")).values())
    assert [finding["key"] for finding in whole if finding["key"] and not _by_the_clock(finding)] == [
        deleted["id"],
        *drifted,
    ]
    assert all(finding["advice"] and finding["detail"] for finding in whole)
    for group in groups.values():
        found = await api.pages("findings", group=group)
        assert found == [finding for finding in whole if finding["group"] == group]


def _by_the_clock(finding: Json) -> bool:
    """Whether an hourly timer raised it, which may come just now."""
    return finding["code"] in {"key_expired", "key_expiring"}


async def test_jobs_are_listed_newest_first(library: Library) -> None:
    whole = await library.estate.api.pages("jobs", limit="1")
    # Those of one millisecond have no order.
    times = [int(datetime.fromisoformat(job["requested_on"]).timestamp() * 1000) for job in whole]
    assert times == sorted(times, reverse=True)
    assert [job["group"] for job in whole].count(library.groups["standard"]) == 2
    assert {(job["kind"], job["status"]) for job in whole} == {("sync", "succeeded")}
    assert whole == await library.estate.api.pages("jobs", limit="200")
    await library.estate.api.refused("GET", f"jobs/job_{'a' * 24}", status=404, code="job_not_found")


async def test_a_key_with_600_versions_is_shown_whole_though_no_vault_backs_it_up(estate: Estate) -> None:
    many = {"name": "many", "versions": 600, "version_interval": 60}
    vault = await estate.azure.vault(keys=[many, {"name": "plain"}])
    group = await estate.link(vault)
    job = await estate.ended(await estate.start(group))
    assert job["status"] == "succeeded"
    counts = job["progress"]["counts"]
    assert (counts["added"], counts["escrowed"], counts["failed"]) == (2, 1, 1)
    key = await estate.key(group, "many")
    assert (key["versions_total"], len(key["versions"]), key["versions"][0]["number"]) == (600, 50, 600)
    versions = await estate.api.pages(f"groups/{group}/keys/{key['id']}/versions", limit="200")
    assert [version["number"] for version in versions] == list(range(600, 0, -1))
    assert all(version["public_key"]["thumbprint"] for version in versions)
    assert sum(version["public_key"]["x"] is not None for version in versions) == 500
    async with estate.azure.owner(vault) as owner:
        told = {version.version async for version in owner.list_properties_of_key_versions("many")}
    assert {version["id"] for version in versions} == told
    assert (key["escrow"], key["escrow_pending"]) == ([], True)
    assert key["escrow_problem"]
    finding = (await estate.findings(group))["escrow_failed"]
    assert (finding["severity"], finding["key"]) == ("critical", key["id"])
    assert (await estate.key(group, "plain"))["escrow_pending"] is False
