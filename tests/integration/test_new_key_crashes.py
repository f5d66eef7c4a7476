"""The host dies while keys are made or copied, or waits too long for a vault: each key is made once all the same."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Literal

import aiohttp
import pytest
import pytest_asyncio

from local.host.crash import EXIT_CODE
from local.stack import Stack
from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.ledger import Ledger
from tests.integration.test_copying import Source, assert_copy
from tests.integration.test_crashes import assert_nothing_in_the_open
from tests.integration.test_new_key_faults import ARRIVED_AFTER, WAYS, assert_made_once, assert_may_yet_arrive

type Moment = Literal["before", "after"]

REQUEST_POINTS, COPY_POINTS = 6, 6
#: A request that is silent for so long is dead; so is the worker of a job.
DEAD_AFTER = 400
#: A client of Azure waits for an answer for so long.
READ_SECONDS = 30


@pytest_asyncio.fixture(scope="module", autouse=True)
async def late(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    """Requests that vaults answer too late; they go on while the other tests of this file run."""
    waiting = asyncio.create_task(
        in_each(
            site,
            answered_late,
            [
                ("imported", "delay", READ_SECONDS + 1),
                ("generated", "delay", READ_SECONDS + 8),
                ("generated", "hang", READ_SECONDS + 10),
            ],
        )
    )
    yield waiting
    waiting.cancel()


async def answered_late(estate: Estate, way: str, kind: str, seconds: int) -> None:
    made = WAYS[way]
    vault, group = await made.group(estate)
    async with estate.azure.fault(vault, {"kind": kind, "seconds": seconds}, operation=made.operation, count=1):
        first = await made.send(estate, group)
        second = first
        if (kind, seconds) != ("delay", READ_SECONDS + 1):
            assert_may_yet_arrive(first)
            second = await made.send(estate, group)
            assert_may_yet_arrive(second)
    if kind == "delay":

        async def found() -> Json | None:
            reply = await made.send(estate, group)
            return reply.json if reply.status == 201 else None

        key = await estate.site.until(found)
    else:
        async with estate.site.product_clock(ARRIVED_AFTER):
            key = (await made.send(estate, group)).json
    await assert_made_once(estate, vault, group, key)


@pytest_asyncio.fixture(scope="module")
async def doomed(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> AsyncIterator[Site]:
    """A stack of its own, because its host dies again and again."""
    async with Stack(tmp_path_factory.mktemp("doomed")) as stack:
        trust = ssl.create_default_context(cafile=stack.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            yield Site(stack, session, ledger)


def cuts(calls: int, points: int) -> Iterator[tuple[int, Moment]]:
    """Return calls spread evenly over `calls`, by turns cut before and after them."""
    moments: Iterator[Moment] = itertools.cycle(("before", "after"))
    return zip((1 + number * calls // points for number in range(points)), moments, strict=False)


async def calls_of(site: Site) -> int:
    """Return how many calls the app has made."""
    return int((await site.stack.host.status())["outgoing_calls"])


async def dies(site: Site) -> None:
    """Wait for the end of the host, and start it again."""
    assert await asyncio.wait_for(site.stack.host.part.wait(), 30) == EXIT_CODE
    await site.restart_host()


async def test_a_request_is_cut_off_by_a_crash(doomed: Site) -> None:
    made = WAYS["imported"]
    estate = await doomed.estate()
    groups = [await made.group(estate) for _ in range(REQUEST_POINTS + 1)]
    _, undisturbed = groups.pop()
    before = await calls_of(doomed)
    assert (await made.send(estate, undisturbed)).status == 201
    calls = await calls_of(doomed) - before
    for number, ((vault, group), (call, moment)) in enumerate(zip(groups, cuts(calls, REQUEST_POINTS), strict=True)):
        await doomed.stack.host.crash_at(call, moment)
        with suppress(aiohttp.ClientError):
            await made.send(estate, group)
        await dies(doomed)
        async with doomed.product_clock(DEAD_AFTER):
            if number % 2:
                # Whether reconciliation comes first or the same request again makes no difference.
                await doomed.stack.host.run_function("reconcile_intents")
            reply = await made.send(estate, group)
        assert reply.status == 201, (call, moment, reply.content)
        await assert_made_once(estate, vault, group, reply.json)
    await assert_nothing_in_the_open(doomed)


async def test_a_copy_job_is_cut_off_by_a_crash(doomed: Site) -> None:
    source = await Source.of(await doomed.estate())
    estate = source.estate
    places: list[list[tuple[Vault | None, str]]] = [
        [await estate.vault_group(), (None, await estate.source_group())] for _ in range(COPY_POINTS + 1)
    ]
    undisturbed = places.pop()
    before = await calls_of(doomed)
    await source.copied(*({"group": group} for _, group in undisturbed))
    calls = await calls_of(doomed) - before
    for targets, (call, moment) in zip(places, cuts(calls, COPY_POINTS), strict=True):
        job = await copied_with_a_crash(source, targets, call, moment)
        assert (job["status"], job["progress"]["errors"]) == ("succeeded", []), (call, moment, job)
        copies = await source.copies(job["results"])
        for copy, (vault, group) in zip(copies, targets, strict=True):
            await assert_copy(source, copy, vault)
            assert [one["id"] for one in await estate.api.pages("keys", group=group)] == [copy["id"]]
            assert copy["versions_total"] == 1
    await assert_nothing_in_the_open(doomed)


async def copied_with_a_crash(
    source: Source, targets: list[tuple[Vault | None, str]], call: int, moment: Moment
) -> Json:
    """Copy while the host dies at the nth call from now; return the job, ended."""
    estate = source.estate
    host, once = estate.site.stack.host, {"Idempotency-Key": f"copy-{call}-{moment}"}
    body = {"targets": [{"group": group} for _, group in targets]}
    await host.crash_at(call, moment)
    # The request itself may be what dies, or a look at the job: the undisturbed one was looked at, too.
    with suppress(aiohttp.ClientError):
        job = (await estate.api.send("POST", f"{source.path}/copies", body, headers=once)).json

        async def looked_at() -> None:
            await estate.api.get(f"jobs/{job['id']}")

        await estate.site.until(looked_at)
    await dies(estate.site)
    async with estate.site.product_clock(DEAD_AFTER):
        job = (await estate.api.done("POST", f"{source.path}/copies", body, headers=once)).json
        await host.run_function("reconcile_jobs")
        return await estate.settled(job)


async def test_requests_that_were_answered_late(late: asyncio.Task[None]) -> None:
    await late
