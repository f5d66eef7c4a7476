"""A sync over HTTP: what it finds, how often it runs, and when."""

import asyncio
from datetime import datetime

import pytest

from tests.integration.client import Json
from tests.integration.estate import Estate

DAY = 86_400

MIXED: list[Json] = [
    {"name": "plain", "count": 27},
    {"name": "rsa", "kty": "RSA", "versions": 3, "tags": {"env": "prod"}},
    {"name": "off", "enabled": False},
    {"name": "old", "created_offset": -90 * DAY, "expires_offset": -DAY},
    {"name": "next", "not_before_offset": DAY, "expires_offset": 90 * DAY},
    {"name": "gone", "versions": 2, "deleted": True},
]
LIVE = 31


async def test_a_first_sync_and_an_unchanged_one(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=MIXED)
    group = await estate.link(vault)
    job = await estate.sync(group)
    progress = job["progress"]
    assert progress["counts"] == {"discovered": LIVE + 1, "added": LIVE + 1, "escrowed": LIVE}
    assert (progress["phase"], progress["done"], progress["total"]) == ("done", LIVE + 1, LIVE + 1)
    assert (await estate.api.get(f"groups/{group}"))["counts"] | {"counted_on": None} == {
        "pre_active": 1,
        "active": 28,
        "deactivated": 2,
        "soft_deleted": 1,
        "purged": 0,
        "destroyed": 0,
        "counted_on": None,
    }
    before = await estate.azure.requests(vault)
    again = await estate.sync(group)
    assert again["progress"]["counts"] == {"discovered": LIVE + 1, "unchanged": LIVE + 1}
    after = await estate.azure.requests(vault)
    asked = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert set(asked) == {"list_keys", "list_deleted_keys"}, "no request for a single key"


async def test_a_full_sync_asks_for_every_key(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "versions": 2}])
    group = await estate.link(vault)
    await estate.sync(group)
    async with estate.azure.owner(vault) as owner:
        versions = [version async for version in owner.list_properties_of_key_versions("k")]
        oldest = min((version for version in versions), key=lambda version: str(version.created_on))
        await owner.update_key_properties("k", oldest.version, tags={"changed": "behind the back"})
    assert "updated" not in (await estate.sync(group))["progress"]["counts"]
    full = await estate.sync(group, "full")
    assert full["options"] == {"mode": "full"}
    key = await estate.key(group, "k")
    assert [(drift["kind"], drift["version"]) for drift in key["drift"]] == [("tags", oldest.version)]
    assert (await estate.api.get(f"groups/{group}"))["last_full_sync_on"] == full["requested_on"]


async def test_a_sync_of_a_managed_hsm(estate: Estate) -> None:
    keys: list[Json] = [{"name": "wrap", "count": 3, "kty": "oct-HSM"}, {"name": "root", "kty": "RSA-HSM"}]
    group = await estate.link(await estate.azure.vault("managed_hsm", keys=keys))
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 4, "added": 4, "escrowed": 4}
    key = await estate.key(group, "wrap-000000")
    assert (key["type"], key["versions"][0]["public_key"]["n"]) == ("oct-HSM", None)


async def test_a_group_syncs_once_at_a_time(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 5}])
    group = await estate.link(vault)
    async with estate.azure.fault(vault, {"kind": "delay", "seconds": 0.5}):
        jobs = await asyncio.gather(*(estate.start(group) for _ in range(5)))
        assert len({job["id"] for job in jobs}) == 1
        await asyncio.sleep(0.3)
        assert (await estate.start(group))["id"] == jobs[0]["id"]
        ended = await estate.ended(jobs[0])
    assert ended["progress"]["counts"]["added"] == 5
    assert [job["id"] for job in await estate.api.pages("jobs")] == [jobs[0]["id"]]
    assert (await estate.start(group))["id"] != jobs[0]["id"]


async def test_a_message_delivered_twice_does_it_once(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 30}])
    group = await estate.link(vault)
    probed = (await estate.azure.requests(vault))["backup_key"]
    async with estate.azure.fault(vault, {"kind": "delay", "seconds": 0.2}):
        job = await estate.start(group)
        await asyncio.gather(*(estate.run_job_message(job) for _ in range(4)))
        ended = await estate.ended(job)
    assert (ended["status"], ended["attempts"]) == ("succeeded", 1)
    assert ended["progress"]["counts"] == {"discovered": 30, "added": 30, "escrowed": 30}
    assert (await estate.azure.requests(vault))["backup_key"] == probed + 30
    await estate.run_job_message(job)
    await asyncio.sleep(0.3)
    assert await estate.api.get(f"jobs/{job['id']}") == ended


async def test_progress_is_seen_and_a_job_is_cancelled(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 250}])
    group = await estate.link(vault)
    async with estate.azure.fault(vault, {"kind": "delay", "seconds": 0.4}):
        job = await estate.start(group)
        seen = await estate.job_when(job, lambda one: one["progress"]["phase"] == "listing")
        assert (seen["status"], seen["progress"]["total"]) == ("running", None)
        asked = await estate.api.post(f"jobs/{job['id']}/cancel")
        assert asked["cancel_requested"] is True
        ended = await estate.ended(job)
    assert ended["status"] == "cancelled"
    await estate.api.refused("POST", f"jobs/{job['id']}/cancel", status=409, code="job_ended")
    assert (await estate.api.get(f"groups/{group}"))["last_sync"]["status"] == "cancelled"
    done = (await estate.sync(group))["progress"]["counts"]
    assert done["discovered"] == 250
    assert len(await estate.keys(group)) == 250
    assert all(not key["escrow_pending"] for key in (await estate.keys(group)).values())


async def scheduled(estate: Estate, group: str) -> Json:
    """Run the timer and return the sync that it started, ended."""
    known = {job["id"] for job in await estate.api.pages("jobs")}
    await estate.site.stack.host.run_function("schedule_syncs")

    async def look() -> list[Json] | None:
        return [job for job in await estate.api.pages("jobs") if job["id"] not in known] or None

    (started,) = await estate.site.until(look)
    return await estate.ended(started)


async def test_a_schedule_runs_what_is_due_once(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k"}])
    schedule = {"cron": "30 3 * * *", "time_zone": "Europe/Zurich", "full_every_days": 7}
    group = await estate.link(vault, schedule=schedule)
    due = (await estate.api.get(f"groups/{group}"))["next_sync_on"]
    wait = (datetime.fromisoformat(due) - datetime.now().astimezone()).total_seconds()
    assert 0 < wait <= DAY
    async with estate.site.product_clock(wait + 60):
        first = await scheduled(estate, group)
        assert (first["requested_by"]["kind"], first["options"]["mode"], first["status"]) == (
            "timer",
            "full",
            "succeeded",
        )
    planned = (await estate.api.get(f"groups/{group}"))["next_sync_on"]
    assert planned > due
    # Two missed runs are one, late; within seven days it looks at changes only.
    async with estate.site.product_clock(wait + 2 * DAY + 600):
        second = await scheduled(estate, group)
        assert (second["options"]["mode"], second["status"]) == ("changes", "succeeded")
        await estate.site.stack.host.run_function("schedule_syncs")
        await asyncio.sleep(0.5)
        assert len(await estate.api.pages("jobs")) == 2
        await estate.api.change("PATCH", f"groups/{group}", {"schedule": {"paused": True}})
    assert (await estate.api.get(f"groups/{group}"))["next_sync_on"] is None


@pytest.mark.parametrize("offset", [3_600, -3_600])
async def test_the_products_clock_moves_during_a_job(estate: Estate, offset: int) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 60}])
    group = await estate.link(vault)
    async with estate.azure.fault(vault, {"kind": "delay", "seconds": 0.3}):
        job = await estate.start(group)
        await estate.job_when(job, lambda one: one["status"] == "running")
        async with estate.site.product_clock(offset):
            # Its message comes again, while its lease seems to be over or to begin in the future.
            await estate.run_job_message(job)
            await estate.site.stack.host.run_function("reconcile_jobs")
            ended = await estate.ended(job)
    assert ended["status"] == "succeeded"
    keys = await estate.keys(group)
    assert len(keys) == 60
    assert all(not key["escrow_pending"] for key in keys.values())
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 60, "unchanged": 60}


@pytest.mark.parametrize("offset", [40 * DAY, -40 * DAY])
async def test_azures_clock_is_another_one(estate: Estate, offset: int) -> None:
    await estate.azure.control.put("clock", {"offset_seconds": offset})
    try:
        vault = await estate.azure.vault(keys=[{"name": "k", "created_offset": -60}])
        group = await estate.link(vault)
        await estate.sync(group)
        await estate.azure.control.put("clock", {"offset_seconds": 0})
        async with estate.azure.owner(vault) as owner:
            await owner.rotate_key("k")
        await estate.sync(group)
    finally:
        await estate.azure.control.put("clock", {"offset_seconds": 0})
    key = await estate.key(group, "k")
    assert key["versions_total"] == 2
    assert len(key["escrow"]) == 2


async def test_tokens_that_expire_early(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 3}])
    group = await estate.link(vault)
    await estate.sync(group)
    # What the product holds in its caches is worth nothing from now on.
    await estate.azure.control.put("clock", {"token_offset_seconds": 2 * DAY})
    try:
        await estate.azure.add_keys(vault, {"name": "later"})
        job = await estate.ended(await estate.start(group))
    finally:
        await estate.azure.control.put("clock", {"token_offset_seconds": 0})
    assert job["status"] in {"succeeded", "failed"}
    assert (await estate.sync(group))["progress"]["counts"]["discovered"] == 4
    assert "later" in await estate.keys(group)
