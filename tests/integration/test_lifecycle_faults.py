"""Actions on keys while vaults throttle, fail, cut connections or take their time, and while the host dies.

Whatever happens on the way, a key ends where somebody meant it to be, or its history says that it does not; nothing of
it is lost, and what was done is not taken for somebody else's doing.
"""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import aiohttp
import pytest_asyncio

from local.host.crash import EXIT_CODE
from local.stack import Stack
from tests.integration.azure import Vault
from tests.integration.client import Json, Reply
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.ledger import Ledger
from tests.integration.test_crashes import assert_nothing_in_the_open
from tests.integration.test_lifecycle import a_place, events, made, sync_finds_nothing

type Moment = Literal["before", "after"]

#: Longer than a request waits for a vault; a request that is silent for so long is dead.
WINDOW, DEAD_AFTER = 21.5, 400
#: When a vault shows what it has accepted, in all tests but that one.
SHOWN_AFTER = 0.2
#: A client of Azure waits for an answer for so long.
READ_SECONDS = 30
BUSY: Json = {"kind": "respond", "status": 503, "code": "Busy", "headers": {"Retry-After": "90"}}


@dataclass(frozen=True)
class Way:
    """An action: its request, the vault's operation, how the key comes to where it begins, and where it ends."""

    verb: str
    operation: str
    state: str
    event: str
    body: Json | None = None
    before: tuple[str, ...] = ()

    async def path(self, estate: Estate, group: str, name: str = "k") -> str:
        """Make a key of two versions and bring it to where the action begins."""
        path = await made(estate, group, name, 2)
        for verb in self.before:
            await estate.api.done("POST", f"{path}/{verb}", BODIES.get(verb))
        if self.before[-1:] == ("purge",):
            # Until then the vault finds a conflict with the name.
            await asyncio.sleep(2 * SHOWN_AFTER)
        return path

    async def send(self, estate: Estate, path: str, once: str = "once") -> Reply:
        """Send the request, the same each time."""
        headers = {"Idempotency-Key": f"{once}-{path}"}
        if not self.verb:
            return await estate.api.send("DELETE", path, headers=headers)
        return await estate.api.send("POST", f"{path}/{self.verb}", self.body, headers=headers)


BODIES: dict[str, Json] = {"soft-delete": {"acknowledge": True}, "deactivate": {"reason": "x"}}
WAYS = {
    "deactivate": Way("deactivate", "update_key", "deactivated", "key.deactivated", BODIES["deactivate"]),
    "activate": Way("activate", "update_key", "active", "key.activated", before=("deactivate",)),
    "soft-delete": Way("soft-delete", "delete_key", "soft-deleted", "key.soft_deleted", BODIES["soft-delete"]),
    "recover": Way("recover", "recover_deleted_key", "active", "key.recovered", before=("soft-delete",)),
    "purge": Way("purge", "purge_deleted_key", "purged", "key.purged", before=("soft-delete",)),
    "restore": Way("restore", "restore_key", "active", "key.restored", before=("soft-delete", "purge")),
    "delete": Way("", "", "destroyed", "key.destroyed", before=("soft-delete", "purge")),
}
#: What befalls the first request to the vault, and whether the action is done all the same.
FAULTS: dict[str, tuple[Json, bool]] = {
    "done, and cut": ({"kind": "cut_after"}, True),
    "cut": ({"kind": "cut"}, True),
    "throttled": ({"kind": "respond", "status": 429, "code": "Throttled"}, True),
    "throttled, with a time": (
        {"kind": "respond", "status": 429, "code": "Throttled", "headers": {"Retry-After": "1"}}, True,
    ),
    "broken": ({"kind": "respond", "status": 500}, True),
    "busy for long": (BUSY, False),
    "nonsense": ({"kind": "respond", "status": 200, "body": "{"}, False),
}  # fmt: skip


async def assert_ended(estate: Estate, group: str, way: Way, path: str, *, done: int = 1) -> Json:
    """Check that the key is where the action leads, once, with both versions, and that lists and vault agree."""
    shown: Json = await estate.api.get(path)
    assert (shown["state"], shown["pending"]) == (way.state, None), shown["history"]
    assert events(shown).count(way.event) == done, events(shown)
    assert (shown["versions_total"], shown["drift"]) == (2, [])
    if way.state != "destroyed":
        assert len(shown["escrow"][0]["versions"]) == 2
    for sort in ("name", "expires_on", "updated_on"):
        listed = [key for key in await estate.api.pages("keys", sort=sort, group=group) if key["id"] == shown["id"]]
        assert [key["state"] for key in listed] == [way.state]
    return shown


# --- a vault that takes its time ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slow:
    """An action that the vault takes longer for than a request waits; `replies` are those of two who ask for it."""

    way: Way
    estate: Estate
    group: str
    path: str
    replies: "asyncio.Task[list[Reply]]"


@pytest_asyncio.fixture(scope="module", autouse=True)
async def slow(site: Site) -> AsyncIterator[list[Slow]]:
    """Actions that were sent to slow vaults; they go on while the other tests of this file run."""
    wanted = ("soft-delete", "recover", "restore")
    estate = await site.estate()
    vault, group = await a_place(estate)
    before = {"restore": ("soft-delete",)}
    paths = [
        await Way(**{**vars_of(WAYS[verb]), "before": before.get(verb, WAYS[verb].before)}).path(estate, group, verb)
        for verb in wanted
    ]
    await site.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), WINDOW))
    # Its name is free again after a while only.
    await estate.api.done("POST", f"{paths[2]}/purge")
    operations = {WAYS[verb].operation for verb in wanted}
    count = await estate.azure.requests(vault)
    asked = [asyncio.create_task(two_ask(estate, WAYS[verb], path)) for verb, path in zip(wanted, paths, strict=True)]

    async def sent() -> bool | None:
        requests = await estate.azure.requests(vault)
        return True if all(requests.get(operation, 0) > count.get(operation, 0) for operation in operations) else None

    await site.until(sent)
    await site.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), SHOWN_AFTER))
    yield [
        Slow(WAYS[verb], estate, group, path, task)
        for verb, path, task in zip(wanted, paths, asked, strict=True)
    ]  # fmt: skip
    for task in asked:
        task.cancel()
    await site.control.put("timings", {})


@pytest_asyncio.fixture(scope="module", autouse=True)
async def hung(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    """Requests that vaults let hang for longer than a client waits; they go on while the other tests run."""
    waiting = asyncio.create_task(in_each(site, hangs, [("soft-delete",), ("deactivate",), ("restore",)]))
    yield waiting
    waiting.cancel()


async def hangs(estate: Estate, verb: str) -> None:
    way = WAYS[verb]
    vault, group = await a_place(estate)
    path = await way.path(estate, group)
    silence = {"kind": "hang", "seconds": READ_SECONDS + 5}
    async with estate.azure.fault(vault, silence, operation=way.operation, count=1):
        reply = await way.send(estate, path)
    assert reply.status == 200, (verb, reply.content)
    await assert_ended(estate, group, way, path)


def vars_of(way: Way) -> dict[str, object]:
    return {name: getattr(way, name) for name in way.__dataclass_fields__}


async def two_ask(estate: Estate, way: Way, path: str) -> list[Reply]:
    first = asyncio.create_task(way.send(estate, path, "one"))
    await asyncio.sleep(1)
    return list(await asyncio.gather(first, way.send(estate, path, "another")))


async def test_while_a_vault_is_at_it_nothing_else_is_done(slow: list[Slow]) -> None:
    for one in slow:
        shown = await one.estate.api.get(one.path)
        assert shown["pending"]["action"] == one.way.verb.replace("-", "_")
        for method, verb, body in (
            ("POST", "/deactivate", {"reason": "x"}),
            ("POST", "/rotate", {}),
            ("DELETE", "", None),
        ):
            await one.estate.api.refused(method, f"{one.path}{verb}", body, status=409, code="key_action_pending")
        etag = {"If-Match": (await one.estate.api.done("GET", one.path)).etag}
        await one.estate.api.refused(
            "PATCH", one.path, {"tags": {}}, status=409, code="key_action_pending", headers=etag
        )
    # A sync meanwhile takes nothing of it for somebody else's doing.
    (group,) = {one.group for one in slow}
    await slow[0].estate.sync(group, "full")
    for one in slow:
        assert (await one.estate.api.get(one.path))["drift"] == []


# --- faults -------------------------------------------------------------------------------------------------------


async def test_every_action_under_every_fault(site: Site) -> None:
    asking = [verb for verb, way in WAYS.items() if way.operation and verb != "activate"]
    # Nobody reads the answer to a purge; one that is none leaves it to a job.
    cases = [case for case in itertools.product(asking, FAULTS) if case != ("purge", "nonsense")]
    for some in itertools.batched(cases, 14, strict=False):
        await in_each(site, under_a_fault, some)


async def under_a_fault(estate: Estate, verb: str, fault: str) -> None:
    way, (action, done) = WAYS[verb], FAULTS[fault]
    vault, group = await a_place(estate)
    path = await way.path(estate, group)
    async with estate.azure.fault(vault, action, operation=way.operation, count=1):
        first = await way.send(estate, path)
    if done:
        assert first.status == 200, (verb, fault, first.content)
    else:
        code, status = ("vault_unavailable", 503) if fault == "busy for long" else ("vault_answer_malformed", 502)
        assert (first.status, first.json["code"]) == (status, code), (verb, fault)
        if status == 503:
            assert int(first.headers["Retry-After"]) >= 1
        if (await estate.api.get(path))["pending"] is not None:
            await estate.api.refused("POST", f"{path}/rotate", {}, status=409, code="key_action_pending")
        again = await way.send(estate, path)
        assert again.status == 200, (verb, fault, again.content)
    await assert_ended(estate, group, way, path)
    await sync_finds_nothing(estate, group)
    await assert_ended(estate, group, way, path)


# --- the host dies ------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def doomed(tmp_path_factory: "object", ledger: Ledger) -> AsyncIterator[Site]:
    """A stack of its own, because its host dies again and again."""
    async with Stack(tmp_path_factory.mktemp("doomed")) as stack:  # type: ignore[attr-defined]
        trust = ssl.create_default_context(cafile=stack.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            site = Site(stack, session, ledger)
            await site.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), SHOWN_AFTER))
            yield site


POINTS = {"deactivate": 1, "soft-delete": 2, "purge": 2, "restore": 2, "delete": 1}


def cuts(calls: int, points: int) -> Iterator[tuple[int, Moment]]:
    """Return calls spread evenly over `calls`, by turns cut before and after them."""
    moments: Iterator[Moment] = itertools.cycle(("after", "before"))
    return zip((1 + (2 * number + 1) * calls // (2 * points) for number in range(points)), moments, strict=False)


async def calls_of(site: Site) -> int:
    return int((await site.stack.host.status())["outgoing_calls"])


async def test_a_host_that_dies_leaves_no_half_action(doomed: Site) -> None:
    estate = await doomed.estate()
    _, group = await a_place(estate)
    for verb, points in POINTS.items():
        way = WAYS[verb]
        paths = await asyncio.gather(*(way.path(estate, group, f"{verb}-{n}") for n in range(points + 1)))
        before = await calls_of(doomed)
        assert (await way.send(estate, paths.pop(), f"{verb}-undisturbed")).status == 200
        calls = await calls_of(doomed) - before
        for number, (path, (call, moment)) in enumerate(zip(paths, cuts(calls, points), strict=True)):
            once = f"{verb}-{number}"
            await doomed.stack.host.crash_at(call, moment)
            with suppress(aiohttp.ClientError):
                await way.send(estate, path, once)
            assert await asyncio.wait_for(doomed.stack.host.part.wait(), 30) == EXIT_CODE, (verb, call)
            await doomed.restart_host()
            async with doomed.product_clock(DEAD_AFTER):
                if number % 2:
                    # Whether reconciliation comes first or the same request again makes no difference.
                    await doomed.stack.host.run_function("reconcile_actions")
                    await doomed.until(lambda path=path: nothing_pending(estate, path))
                reply = await way.send(estate, path, once)
                assert reply.status == 200, (verb, call, moment, reply.content)
                await assert_ended(estate, group, way, path)
    await sync_finds_nothing(estate, group)
    await assert_nothing_in_the_open(doomed)


# --- what was begun at first --------------------------------------------------------------------------------------


async def test_what_takes_longer_than_a_request_waits_ends_as_a_job(slow: list[Slow]) -> None:
    for one in slow:
        first, second = await one.replies
        assert first.status == 202, (one.way.verb, first.content)
        # Who asks for a restore may mean another generation, so each restore is one of its own.
        assert second.status in ({409} if one.way.verb == "restore" else {202, 200}), (one.way.verb, second.content)
        job = first.json
        assert first.headers["Location"].endswith(f"/jobs/{job['id']}")
        assert (job["kind"], job["options"]["action"]) == ("action", one.way.verb.replace("-", "_"))
        if second.status == 202:
            assert second.json["id"] == job["id"]
        assert (await one.estate.settled(job))["status"] == "succeeded"
        await assert_ended(one.estate, one.group, one.way, one.path)
    await sync_finds_nothing(slow[0].estate, slow[0].group)


async def test_a_request_that_hangs_is_sent_again(hung: asyncio.Task[None]) -> None:
    await hung


# --- what nobody asks for again -----------------------------------------------------------------------------------
# Last: the clock of the product is moved, and what is under way then would look left over.


async def test_what_nobody_asks_for_again_is_settled_by_the_timer(site: Site) -> None:
    asking = [verb for verb, way in WAYS.items() if way.operation]
    left = [(await site.estate(), WAYS[verb], done) for verb in asking for done in (True, False)]
    places = await asyncio.gather(*(left_over(*one) for one in left))
    async with site.product_clock(DEAD_AFTER):
        await site.stack.host.run_function("reconcile_actions")
        await asyncio.gather(*(settled(*one, *place) for one, place in zip(left, places, strict=True)))


async def left_over(estate: Estate, way: Way, done: bool) -> tuple[str, str]:
    """Send an action whose answer is lost, when the vault did it or before, and which cannot be asked for again."""
    vault, group = await a_place(estate)
    path = await way.path(estate, group)
    cut = [await estate.azure.control.post("faults", a_rule(vault, way, {"kind": "cut_after"}, 1))] if done else []
    async with estate.azure.fault(vault, BUSY, operation=way.operation):
        reply = await way.send(estate, path)
    for rule in cut:
        await estate.azure.control.delete(f"faults/{rule['id']}")
    assert (reply.status, reply.json["code"]) == (503, "vault_unavailable"), (way.verb, reply.content)
    assert (await estate.api.get(path))["pending"]["action"] == way.verb.replace("-", "_")
    return group, path


async def settled(estate: Estate, way: Way, done: bool, group: str, path: str) -> None:
    """Check what reconciliation made of it, and that the same request comes to its end afterwards."""
    await estate.site.until(lambda: nothing_pending(estate, path))
    shown = await estate.api.get(path)
    said = shown["history"][0]
    not_done = f"key.{way.verb.replace('-', '_')}_not_done"
    if not done:
        assert (said["event"], said["detail"]) == (not_done, "found not done")
        assert shown["state"] != way.state
    elif way.operation == "update_key":
        # Of two versions the vault changed one.
        assert said["event"] == not_done
        assert said["detail"].startswith("found done for 1 of 2 versions")
        assert {one["enabled"] for one in shown["versions"]} == {True, False}
    else:
        await assert_ended(estate, group, way, path)
    await sync_finds_nothing(estate, group)
    assert (await way.send(estate, path)).status == 200
    await assert_ended(estate, group, way, path)


async def nothing_pending(estate: Estate, path: str) -> bool | None:
    return True if (await estate.api.get(path))["pending"] is None else None


def a_rule(vault: Vault, way: Way, action: Json, count: int | None) -> Json:
    return {"service": "keyvault", "vault": vault.name, "operation": way.operation, "action": action, "count": count}
