"""Vaults that throttle, fail, hang or cut connections: the work waits, goes on, or says why not; nothing is lost."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import COUNT, a_vault, assert_whole, in_each


async def test_throttling_with_and_without_a_time_to_wait(site: Site) -> None:
    waits: list[Json] = [{"Retry-After": "1"}, {}]
    await in_each(site, throttled, itertools.product(waits, ["list_keys", "get_key", "backup_key"]))


async def throttled(estate: Estate, headers: Json, operation: str) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": 429, "code": "Throttled", "headers": headers}
    async with estate.azure.fault(vault, action, operation=operation, count=2):
        await estate.sync(group)
    await assert_whole(estate, group)


@asynccontextmanager
async def put_off(estate: Estate) -> AsyncIterator[tuple[str, Json]]:
    """Let a second sync wait in the queue, because the vault throttles for longer than a request waits."""
    vault, group = await a_vault(estate)
    await estate.sync(group)
    action = {"kind": "respond", "status": 429, "code": "Throttled", "headers": {"Retry-After": "90"}}
    async with estate.azure.fault(vault, action, operation="list_keys"):
        job = await estate.start(group)
        waiting = await estate.job_when(
            job, lambda one: one["status"] == "queued" and one["not_before"] is not None, within=20
        )
        yield group, waiting
    assert {key["state"] for key in (await estate.keys(group)).values()} == {"active"}


async def test_a_throttle_that_does_not_end_is_waited_out_in_the_queue(estate: Estate) -> None:
    async with put_off(estate) as (group, job):
        assert job["progress"]["errors"][-1]["code"] == "vault_throttled"
        wait = datetime.fromisoformat(job["not_before"]) - datetime.fromisoformat(job["started_on"])
        assert timedelta(seconds=90) <= wait < timedelta(seconds=120)
        shown = await estate.api.get(f"groups/{group}")
        assert shown["connection_state"] == "connected", "a vault that throttles is not a broken connection"
        assert (await estate.start(group))["id"] == job["id"]
        await estate.api.post(f"jobs/{job['id']}/cancel")
        assert (await estate.ended(job))["status"] == "cancelled"


async def test_a_message_that_the_queue_gave_up_fails_its_job(estate: Estate) -> None:
    async with put_off(estate) as (group, job):
        message = json.dumps({"account": estate.account, "job": job["id"]})
        await estate.site.stack.host.run_function("fail_poisoned_job", message)
        ended = await estate.ended(job)
        assert (ended["status"], ended["progress"]["errors"][-1]["code"]) == ("failed", "job_poisoned")
        assert "sync_failed" in await estate.findings(group)
        await estate.site.stack.host.run_function("run_job", "no message of ours")


async def test_a_vault_that_fails_for_a_moment(site: Site) -> None:
    await in_each(site, failing, [(500,), (502,), (503,), (504,), (408,)])


async def failing(estate: Estate, status: int) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": status}
    async with estate.azure.fault(vault, action, probability=0.1, seed=status, count=8):
        await estate.sync(group)
    await assert_whole(estate, group)


async def test_connections_that_are_cut(site: Site) -> None:
    await in_each(site, cut, [("cut",), ("cut_after",)])


async def cut(estate: Estate, kind: str) -> None:
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
