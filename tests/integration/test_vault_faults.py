"""Vaults that refuse, vanish, throttle, fail or answer nonsense in the middle of a sync: told by code, nothing lost.

Each test ends with the fault gone, another sync, and a look at every key: that is what 'loses nothing' means here.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate

COUNT = 30


async def a_vault(estate: Estate, **members: Any) -> tuple[Vault, str]:
    """Return a vault with COUNT keys and the group linked to it."""
    vault = await estate.azure.vault(keys=[{"name": "k", "count": COUNT}], **members)
    return vault, await estate.link(vault)


async def assert_whole(estate: Estate, group: str, count: int = COUNT) -> None:
    """Check that after one more sync every key is recorded once and escrowed."""
    job = await estate.sync(group)
    assert job["progress"]["counts"]["discovered"] == count
    keys = await estate.keys(group)
    assert len(keys) == count
    assert not [name for name, key in keys.items() if key["escrow_pending"] or key["drifted"]]
    for sort in ("name", "expires_on", "updated_on"):
        listed = await estate.api.pages("keys", sort=sort, limit="200")
        assert sorted(key["id"] for key in listed) == sorted(key["id"] for key in keys.values())
    assert "sync_failed" not in await estate.findings(group)


async def failed_sync(estate: Estate, group: str, code: str) -> Json:
    """Sync a group; it has to fail as a whole, with this code at last, and show it."""
    job = await estate.ended(await estate.start(group))
    assert job["status"] == "failed", job["progress"]
    assert job["progress"]["errors"][-1]["code"] == code, job["progress"]["errors"]
    assert (await estate.findings(group))["sync_failed"]["severity"] == "warning"
    assert (await estate.api.get(f"groups/{group}"))["last_sync"]["status"] == "failed"
    return job


@pytest.mark.parametrize(
    ("operation", "skip"), [("list_keys", 1), ("get_key", 1), ("backup_key", 1), ("list_deleted_keys", 0)]
)
async def test_a_permission_is_revoked_in_the_middle(estate: Estate, operation: str, skip: int) -> None:
    vault, group = await a_vault(estate)
    refusal = {"kind": "respond", "status": 403, "code": "Forbidden", "message": "upstream words"}
    async with estate.azure.fault(vault, refusal, operation=operation, skip=skip):
        job = await estate.ended(await estate.start(group))
    codes = {error["code"] for error in job["progress"]["errors"]}
    assert codes == {"vault_denied"}
    assert "upstream words" not in str(job)
    if operation.startswith("list"):
        assert job["status"] == "failed"
    else:
        assert (job["status"], job["progress"]["counts"]["failed"]) == ("succeeded", COUNT - 1)
    assert "sync_failed" in await estate.findings(group)
    await assert_whole(estate, group)


async def test_a_permission_that_was_really_revoked(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.add_keys(vault, {"name": "late"})
    await estate.azure.forbid(vault, "list")
    await failed_sync(estate, group, "vault_denied")
    shown = await estate.api.get(f"groups/{group}")
    assert (shown["connection_state"], shown["report"]["cause"]) == ("not_connected", "access_denied")
    assert len(await estate.keys(group)) == COUNT
    await estate.azure.permit(vault, "list")
    await assert_whole(estate, group, COUNT + 1)
    assert (await estate.api.get(f"groups/{group}"))["connection_state"] == "connected"
    assert "not_connected" not in await estate.findings(group)


async def test_a_secret_that_is_withdrawn_between_two_syncs(estate: Estate) -> None:
    _, group = await a_vault(estate)
    await estate.sync(group)
    principal = f"principals/{estate.azure.application['object_id']}"
    await estate.azure.control.delete(f"{principal}/secrets")
    report = await estate.api.post(f"groups/{group}/connection/test")
    assert (report["result"], report["cause"]) == ("not_connected", "secret_wrong")
    await estate.azure.control.post(f"{principal}/secrets", {"value": estate.azure.application["secret"]})
    await assert_whole(estate, group)


async def test_a_vault_that_vanished(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.control.delete(f"vaults/{vault.name}")
    await estate.azure.vault()
    await failed_sync(estate, group, "vault_not_found")
    shown = await estate.api.get(f"groups/{group}")
    assert (shown["connection_state"], shown["report"]["cause"]) == ("not_connected", "vault_not_found")
    keys = await estate.keys(group)
    assert len(keys) == COUNT
    assert {(key["state"], key["escrow_pending"]) for key in keys.values()} == {("active", False)}, "nothing is purged"


async def test_a_key_that_cannot_be_backed_up(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    refusal = {"kind": "respond", "status": 400, "code": "BadParameter", "message": "upstream words"}
    async with estate.azure.fault(vault, refusal, operation="backup_key", path="k-000007"):
        job = await estate.ended(await estate.start(group))
        assert (job["status"], job["progress"]["counts"]["escrowed"]) == ("succeeded", COUNT - 1)
        (error,) = job["progress"]["errors"]
        assert (error["code"], error["key"]) == ("backup_refused", "k-000007")
        finding = (await estate.findings(group))["escrow_failed"]
        key = await estate.key(group, "k-000007")
        assert (finding["severity"], finding["key"]) == ("critical", key["id"])
        assert (key["escrow_problem"], key["escrow_pending"], key["escrow"]) == ("backup_refused", True, [])
        assert "upstream words" not in str((job, finding, key))
        unchanged = await estate.sync(group)
        assert unchanged["progress"]["counts"] == {"discovered": COUNT, "unchanged": COUNT}
    full = await estate.sync(group, "full")
    assert full["progress"]["counts"]["escrowed"] == 1
    assert "escrow_failed" not in await estate.findings(group)
    await assert_whole(estate, group)


async def test_a_key_with_600_versions(estate: Estate) -> None:
    many = {"name": "many", "versions": 600, "version_interval": 60}
    vault = await estate.azure.vault(keys=[many, {"name": "few", "versions": 2}])
    group = await estate.link(vault)
    job = await estate.ended(await estate.start(group))
    assert (job["status"], job["progress"]["counts"]["escrowed"]) == ("succeeded", 1)
    assert [error["key"] for error in job["progress"]["errors"]] == ["many"]
    key = await estate.key(group, "many")
    assert (key["versions_total"], key["escrow_problem"]) == (600, "backup_refused")
    versions = await estate.api.pages(f"groups/{group}/keys/{key['id']}/versions", limit="200")
    assert [version["number"] for version in versions] == list(range(600, 0, -1))
    assert len({version["id"] for version in versions}) == 600
    assert (await estate.findings(group))["escrow_failed"]["key"] == key["id"]


@pytest.mark.parametrize("operation", ["list_keys", "list_deleted_keys", "list_key_versions"])
async def test_an_empty_page_with_a_next_link(estate: Estate, operation: str) -> None:
    keys = [{"name": "k", "count": COUNT}, {"name": "gone", "count": 30, "deleted": True}]
    vault = await estate.azure.vault(keys=keys)
    group = await estate.link(vault)
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation=operation, count=1):
        job = await estate.sync(group)
    assert job["progress"]["counts"] == {"discovered": COUNT + 30, "added": COUNT + 30, "escrowed": COUNT}
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation=operation, count=1):
        job = await estate.sync(group, "full")
    assert "purged" not in job["progress"]["counts"]
    assert len(await estate.keys(group)) == COUNT + 30


async def test_a_list_that_never_ends(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation="list_keys"):
        await failed_sync(estate, group, "vault_answer_malformed")
    await assert_whole(estate, group)


MALFORMED = [
    "{not json",
    '{"value": [{"kid": 7}]}',
    '{"value": [{"attributes": {"enabled": true}}]}',
    '{"value": [], "nextLink": "http://elsewhere.example/keys"}',
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_a_malformed_page(estate: Estate, body: str) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.add_keys(vault, {"name": "late"})
    action = {"kind": "respond", "status": 200, "body": body}
    async with estate.azure.fault(vault, action, operation="list_keys", skip=1):
        job = await estate.ended(await estate.start(group))
    assert job["status"] == "failed"
    assert job["progress"]["errors"][-1]["code"] in {"vault_answer_malformed", "vault_answer_unusable"}
    keys = await estate.keys(group)
    assert {key["state"] for key in keys.values()} == {"active"}, "what is not listed is not taken for purged"
    await assert_whole(estate, group, COUNT + 1)


@pytest.mark.parametrize("operation", ["get_key", "backup_key", "list_key_versions"])
async def test_a_malformed_answer_about_one_key(estate: Estate, operation: str) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": 200, "body": '{"value": 3, "key": []}'}
    async with estate.azure.fault(vault, action, operation=operation, path="k-000003"):
        job = await estate.ended(await estate.start(group))
    assert (job["status"], job["progress"]["counts"]["failed"]) == ("succeeded", 1)
    assert [error["key"] for error in job["progress"]["errors"]] == ["k-000003"]
    await estate.sync(group, "full")
    await assert_whole(estate, group)


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {}])
@pytest.mark.parametrize("operation", ["list_keys", "backup_key"])
async def test_throttling(estate: Estate, headers: dict[str, str], operation: str) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": 429, "code": "Throttled", "headers": headers}
    async with estate.azure.fault(vault, action, operation=operation, count=2):
        await estate.sync(group)
    await assert_whole(estate, group)


async def test_a_throttle_that_does_not_end_is_waited_out_in_the_queue(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    action = {"kind": "respond", "status": 429, "code": "Throttled", "headers": {"Retry-After": "90"}}
    async with estate.azure.fault(vault, action, operation="list_keys"):
        job = await estate.start(group)
        seen = await estate.job_when(
            job, lambda one: one["status"] == "queued" and one["not_before"] is not None, within=20
        )
    assert seen["progress"]["errors"][-1]["code"] == "vault_throttled"
    wait = datetime.fromisoformat(seen["not_before"]) - datetime.fromisoformat(seen["started_on"])
    assert timedelta(seconds=90) <= wait < timedelta(seconds=120)
    shown = await estate.api.get(f"groups/{group}")
    assert shown["connection_state"] == "connected", "a vault that throttles is not a broken connection"
    assert (await estate.start(group))["id"] == job["id"]
    await estate.api.post(f"jobs/{job['id']}/cancel")
    assert (await estate.ended(job))["status"] == "cancelled"
    assert {key["state"] for key in (await estate.keys(group)).values()} == {"active"}


@pytest.mark.parametrize("status", [500, 503, 408])
async def test_a_vault_that_fails_for_a_moment(estate: Estate, status: int) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": status}
    async with estate.azure.fault(vault, action, probability=0.1, seed=status, count=8):
        await estate.sync(group)
    await assert_whole(estate, group)


@pytest.mark.parametrize("kind", ["cut", "cut_after"])
async def test_connections_that_are_cut(estate: Estate, kind: str) -> None:
    vault, group = await a_vault(estate)
    async with estate.azure.fault(vault, {"kind": kind}, probability=0.15, seed=3, count=12):
        await estate.sync(group)
    await assert_whole(estate, group)


async def test_a_key_that_fails_does_not_stop_the_others(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": 404, "code": "KeyNotFound"}
    async with estate.azure.fault(vault, action, operation="backup_key", path="k-00000[1-3]/"):
        job = await estate.ended(await estate.start(group))
    assert (job["status"], job["progress"]["counts"]["escrowed"]) == ("succeeded", COUNT - 3)
    assert len({error["key"] for error in job["progress"]["errors"]}) == 3
    await assert_whole(estate, group)


async def test_a_group_whose_vault_is_slow_does_not_hold_up_another(estate: Estate) -> None:
    slow, slow_group = await a_vault(estate)
    _, quick_group = await a_vault(estate)
    async with estate.azure.fault(slow, {"kind": "delay", "seconds": 1.0}):
        waiting = await estate.start(slow_group)
        await estate.sync(quick_group)
        assert (await estate.api.get(f"jobs/{waiting['id']}"))["ended_on"] is None
        assert (await estate.ended(waiting))["status"] == "succeeded"
