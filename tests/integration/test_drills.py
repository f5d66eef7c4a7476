"""Drills over HTTP: what they prove of the escrow, and that a scratch vault holds nothing of them afterwards."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from local.host.crash import EXIT_CODE
from local.stack import Stack
from tests.integration.azure import NEEDED, Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.ledger import Ledger
from tests.integration.test_crashes import LEASE_OVER
from tests.integration.test_sealing import blobs, content

#: What it takes in a scratch vault.
SCRATCHING = (*NEEDED, "restore", "delete", "purge")
DAY = 86_400
MADE_BEFORE = {"created_offset": -60}


async def scratch_group(estate: Estate, *, grant: tuple[str, ...] = SCRATCHING, **vault: Any) -> tuple[Vault, str]:
    """Make a scratch vault and its group."""
    made = await estate.azure.vault(grant=grant, **vault)
    return made, await estate.link(made)


async def synced(estate: Estate, *, sku: str = "standard", **members: Any) -> tuple[Vault, str]:
    keys: list[Json] = [
        {"name": "k", "count": 3, **MADE_BEFORE},
        {"name": "many", "versions": 3, "distinct_material": True},
    ]
    vault = await estate.azure.vault(sku, keys=keys)
    group = await estate.link(vault, **members)
    await estate.sync(group)
    return vault, group


async def drill(estate: Estate, group: str, **order: Any) -> Json:
    """Drill a group and return the job when it has ended and its group shows it."""
    return await ended(estate, group, await estate.api.post(f"groups/{group}/escrow-drill", order))


async def ended(estate: Estate, group: str, job: Json) -> Json:
    settled = await estate.settled(job)

    async def shown() -> bool | None:
        last = (await estate.api.get(f"groups/{group}"))["last_drill"]
        return True if last and last["job"] == settled["id"] else None

    await estate.site.until(shown)
    return settled


async def names_in(estate: Estate, vault: Vault) -> tuple[set[str], set[str]]:
    """Return the names of live and of soft-deleted keys."""
    async with estate.azure.owner(vault) as owner:
        live = {str(key.name) async for key in owner.list_properties_of_keys()}
        return live, {str(key.name) async for key in owner.list_deleted_keys()}


async def test_a_drill_proves_the_escrow_without_a_request_to_the_vault(estate: Estate) -> None:
    vault, group = await synced(estate)
    before = await estate.azure.requests(vault)
    job = await drill(estate, group)
    assert (job["kind"], job["status"], job["progress"]["errors"]) == ("drill", "succeeded", [])
    assert job["progress"]["counts"] == {"opened": 4, "verified": 4}
    assert await estate.azure.requests(vault) == before
    last = (await estate.api.get(f"groups/{group}"))["last_drill"]
    assert (last["opened"], last["verified"], last["restored"], last["failed"]) == (4, 4, 0, 0)


@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
async def test_keys_are_restored_into_a_scratch_vault_and_purged_there(estate: Estate, sku: str) -> None:
    domain = {"security_domain": "ours"} if sku == "managed_hsm" else {}
    keys: list[Json] = [
        {"name": "k", "count": 2, "kty": "RSA-HSM" if domain else "EC"},
        {"name": "many", "versions": 3},
    ]
    if domain:
        keys[1]["kty"] = "EC-HSM"
    vault = await estate.azure.vault(sku, keys=keys, **domain)
    group = await estate.link(vault)
    await estate.sync(group)
    scratch = await estate.azure.vault(
        sku, grant=None if domain else SCRATCHING, keys=[{**keys[0], "name": "own"}], **domain
    )
    into = await estate.link(scratch)
    await estate.sync(into)
    job = await drill(estate, group, restore_into=into, restores=3)
    assert (job["status"], job["progress"]["errors"]) == ("succeeded", [])
    assert job["progress"]["counts"] == {"opened": 3, "verified": 3, "restored": 3}
    assert {(result["group"], result["status"]) for result in job["results"]} == {(into, "done")}
    assert (await estate.azure.requests(scratch, status=200))["restore_key"] == 3
    assert (await estate.azure.requests(scratch, status=204))["purge_deleted_key"] == 3
    assert await names_in(estate, scratch) == ({"own-000000", "own-000001"}, set())
    # The scratch group never sees what was there.
    await estate.sync(into, "full")
    assert (await estate.keys(into)).keys() == {"own-000000", "own-000001"}
    assert not [key for key in (await estate.keys(into)).values() if key["drifted"]]
    assert set(await estate.findings(group)) <= {"no_purge_protection"}


async def test_a_purged_key_is_proven_as_well(estate: Estate) -> None:
    vault, group = await synced(estate)
    async with estate.azure.owner(vault) as owner:
        await owner.delete_key("many")
        await owner.purge_deleted_key("many")
    await estate.sync(group)
    assert (await estate.key(group, "many"))["state"] == "purged"
    _, into = await scratch_group(estate)
    job = await drill(estate, group, restore_into=into, restores=4)
    assert job["progress"]["counts"] == {"opened": 4, "verified": 4, "restored": 4}


async def test_a_broken_escrow_is_found_and_made_anew(estate: Estate) -> None:
    _, group = await synced(estate)
    key = await estate.key(group, "many")
    archive = key["escrow"][0]["archive"]
    async with blobs(estate.site.stack) as service:
        whole = await content(service, "escrow", archive)
        # The first of a sealed backup's characters that is not the protected header's.
        at = whole.index(key["id"].encode())
        altered = (
            whole[:at] + whole[at : at + 4_000].replace(b'"sealed":"eyJ', b'"sealed":"eyK', 1) + whole[at + 4_000 :]
        )
        assert altered != whole
        await service.get_blob_client("escrow", archive).upload_blob(altered, overwrite=True)
    job = await drill(estate, group)
    assert (job["status"], job["progress"]["counts"]) == ("succeeded", {"opened": 3, "verified": 3, "failed": 1})
    assert [(error["key"], error["code"]) for error in job["progress"]["errors"]] == [("many", "escrow_altered")]
    found = await estate.findings(group)
    assert (found["escrow_broken"]["severity"], found["escrow_broken"]["key"]) == ("critical", key["id"])
    assert found["drill_failed"]["severity"] == "warning"
    broken = await estate.key(group, "many")
    assert (broken["escrow_pending"], broken["escrow"][0]["broken"]) == (True, "escrow_altered")
    assert (await estate.sync(group))["progress"]["counts"]["escrowed"] == 1
    assert "escrow_broken" not in await estate.findings(group)
    assert (await drill(estate, group))["progress"]["counts"] == {"opened": 4, "verified": 4}
    assert set(await estate.findings(group)) == {"no_purge_protection"}


async def test_what_could_not_be_cleared_is_not_begun(estate: Estate) -> None:
    _, group = await synced(estate)
    path = f"groups/{group}/escrow-drill"
    _, protected = await scratch_group(estate, purge_protection=True)
    await estate.api.refused("POST", path, {"restore_into": protected}, status=409, code="scratch_purge_protected")
    _, elsewhere = await scratch_group(estate, location="eastus", geography="United States")
    await estate.api.refused("POST", path, {"restore_into": elsewhere}, status=409, code="restore_elsewhere")
    await estate.api.refused("POST", path, {"restore_into": group}, status=409, code="scratch_own_vault")
    scratch, into = await scratch_group(estate)
    # Protection that came after the group was linked is seen before anything is restored.
    await estate.site.control.patch(f"vaults/{scratch.name}", {"purge_protection": True})
    job = await drill(estate, group, restore_into=into)
    assert (job["status"], job["progress"]["errors"][-1]["code"]) == ("failed", "scratch_purge_protected")
    assert job["progress"]["counts"] == {"opened": 4, "verified": 4}
    assert await names_in(estate, scratch) == (set(), set())


async def test_a_name_that_is_taken_is_left_alone(estate: Estate) -> None:
    _, group = await synced(estate)
    scratch, into = await scratch_group(
        estate, keys=[{"name": "k", "count": 3, "tags": {"theirs": "yes"}}, {"name": "many", "deleted": True}]
    )
    job = await drill(estate, group, restore_into=into, restores=4)
    assert {error["code"] for error in job["progress"]["errors"]} == {"key_name_taken"}
    assert job["progress"]["counts"] == {"opened": 4, "verified": 4, "failed": 4}
    assert await names_in(estate, scratch) == ({f"k-{number:06}" for number in range(3)}, {"many"})
    assert set(await estate.findings(group)) == {"drill_failed", "no_purge_protection"}


async def test_a_copy_that_may_not_be_purged_is_found_and_cleared_when_it_may(estate: Estate) -> None:
    _, group = await synced(estate)
    scratch, into = await scratch_group(estate, grant=(*NEEDED, "restore", "delete"))
    job = await drill(estate, group, restore_into=into)
    assert job["progress"]["errors"][-1]["code"] == "vault_denied"
    left = (await estate.findings(group))["scratch_copy_left"]
    assert left["key"] == job["results"][0]["key"]
    await estate.azure.permit(scratch, "purge")

    async def cleared() -> bool | None:
        await estate.site.stack.host.run_function("clear_scratch_copies")
        return True if "scratch_copy_left" not in await estate.findings(group) else None

    async with estate.site.product_clock(600):
        await estate.site.until(cleared)
    assert await names_in(estate, scratch) == (set(), set())


async def test_a_drill_that_is_due_runs_by_the_clock_once(estate: Estate) -> None:
    _, group = await synced(estate, drill={"every_days": 2, "sample": 3})
    due = (await estate.api.get(f"groups/{group}"))["next_drill_on"]
    host = estate.site.stack.host
    async with estate.site.product_clock(5 * DAY):
        await host.run_function("drill_escrow")

        async def started() -> Json | None:
            drills = [job for job in await estate.api.pages("jobs") if job["kind"] == "drill"]
            return drills[0] if drills else None

        job = await ended(estate, group, await estate.site.until(started))
        assert (job["requested_by"]["kind"], job["options"]) == ("timer", {"sample": "3"})
        assert job["progress"]["done"] == 3
        await host.run_function("drill_escrow")
        assert (await estate.api.get(f"groups/{group}"))["next_drill_on"] > due
    await estate.api.change("PATCH", f"groups/{group}", {"drill": {"paused": True}})
    assert (await estate.api.get(f"groups/{group}"))["next_drill_on"] is None
    assert len([one for one in await estate.api.pages("jobs") if one["kind"] == "drill"]) == 1


@pytest_asyncio.fixture
async def doomed(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> AsyncIterator[Site]:
    """A stack of its own, because its host dies."""
    async with Stack(tmp_path_factory.mktemp("doomed-drill")) as stack:
        trust = ssl.create_default_context(cafile=stack.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            yield Site(stack, session, ledger)


async def test_a_host_that_dies_during_a_restore_leaves_nothing_in_the_scratch_vault(doomed: Site) -> None:
    estate = await doomed.estate()
    _, group = await synced(estate)
    scratch, into = await scratch_group(estate)
    before = int((await doomed.stack.host.status())["outgoing_calls"])
    job = await estate.api.post(f"groups/{group}/escrow-drill", {"restore_into": into})
    # Nobody looks meanwhile, because that makes calls, too.
    await asyncio.sleep(7)
    calls = int((await doomed.stack.host.status())["outgoing_calls"]) - before
    await ended(estate, group, job)
    # Most calls after the middle are about the copy: its restore, the look at it, its deletion and its purge.
    for share in (0.55, 0.75):
        await doomed.stack.host.crash_at(int(calls * share), "after")
        with suppress(aiohttp.ClientError):
            await estate.api.post(f"groups/{group}/escrow-drill", {"restore_into": into})
        assert await asyncio.wait_for(doomed.stack.host.part.wait(), 30) == EXIT_CODE
        await doomed.restart_host()
        async with doomed.product_clock(LEASE_OVER):
            job = await estate.api.post(f"groups/{group}/escrow-drill", {"restore_into": into})
            await doomed.stack.host.run_function("reconcile_jobs")
            job = await ended(estate, group, job)
        assert (job["status"], job["progress"]["counts"]["restored"]) == ("succeeded", 1), (share, job)
        assert await names_in(estate, scratch) == (set(), set()), share
        assert "scratch_copy_left" not in await estate.findings(group)
