"""The real host process dies at calls spread over a whole sync, comes back and goes on: every invariant holds.

The calls of an undisturbed sync are counted; then the process ends right before or right after every k-th of them.
"""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import aiohttp
import pytest
import pytest_asyncio

from local.demo.outside import purge
from local.host.crash import EXIT_CODE
from local.stack import Stack
from tests.integration.azure import Azure, Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.ledger import Ledger
from tests.integration.test_zz_secrets import FORMS, opened

type Moment = Literal["before", "after"]

FIRST_SYNCS, LATER_SYNCS = 7, 3
#: Longer than any lease: a worker that is silent for so long is dead.
LEASE_OVER = 130
KEYS: list[Json] = [
    {"name": "k", "count": 26, "created_offset": -60},
    {"name": "many", "versions": 3},
    {"name": "off", "enabled": False, "created_offset": -60},
    {"name": "gone", "count": 2, "deleted": True},
]
CHANGES = {
    "k-000000": ["new_version"],
    "k-000001": ["soft_deleted"],
    "off": ["enabled"],
    "gone-000000": ["recovered"],
    "gone-000001": ["vanished"],
}
NAMES = {f"k-{number:06}" for number in range(26)} | {"many", "off", "gone-000000", "gone-000001"}


@pytest_asyncio.fixture(scope="module")
async def doomed(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> AsyncIterator[Site]:
    """A stack of its own, because its host dies again and again."""
    async with Stack(tmp_path_factory.mktemp("doomed")) as stack:
        trust = ssl.create_default_context(cafile=stack.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            yield Site(stack, session, ledger)


@dataclass
class Ordeal:
    """One account with its group, whose sync is going to be cut at a call."""

    estate: Estate
    group: str

    @classmethod
    async def of(cls, azure: Azure, site: Site, vault: Vault) -> "Ordeal":
        """Link the vault in a new account."""
        estate = await site.estate()
        estate.azure = azure
        return cls(estate, await estate.link(vault))

    async def cut_at(self, call: int, moment: Moment) -> Json:
        """Sync while the process dies at the nth call from now, bring it back, and return the sync, ended."""
        site = self.estate.site
        await site.stack.host.crash_at(call, moment)
        # The request itself may be what dies.
        with suppress(aiohttp.ClientError):
            await self.estate.start(self.group)
        assert await asyncio.wait_for(site.stack.host.part.wait(), 30) == EXIT_CODE
        await site.restart_host()
        async with site.product_clock(LEASE_OVER):
            job = await self.estate.start(self.group)
            await site.stack.host.run_function("reconcile_jobs")
            ended = await self.estate.ended(job)
        assert (ended["status"], ended["progress"]["errors"]) == ("succeeded", []), (call, moment, ended)
        return ended

    async def keys(self) -> dict[str, Json]:
        """Return every key whole; each has to be in every list once, escrowed, and discovered once."""
        listed = await self.estate.keys(self.group)
        assert listed.keys() == NAMES
        ids = sorted(key["id"] for key in listed.values())
        for sort in ("name", "expires_on", "updated_on"):
            found = await self.estate.api.pages("keys", sort=sort, limit="200")
            assert sorted(key["id"] for key in found) == ids, sort
        paths = [f"groups/{self.group}/keys/{id_}" for id_ in (key["id"] for key in listed.values())]
        whole = dict(zip(listed, await asyncio.gather(*map(self.estate.api.get, paths)), strict=True))
        for name, key in whole.items():
            assert [entry["event"] for entry in key["history"]].count("key.discovered") == 1, name
            if key["state"] in {"active", "deactivated"}:
                assert set(key["escrow"][0]["versions"]) == {version["id"] for version in key["versions"]}, name
        return whole


async def calls_of_a_sync(ordeal: Ordeal) -> int:
    """Return how many calls the app makes while an undisturbed sync runs."""
    host = ordeal.estate.site.stack.host
    before = int((await host.status())["outgoing_calls"])
    await ordeal.estate.sync(ordeal.group)
    return int((await host.status())["outgoing_calls"]) - before


def cuts(calls: int, points: int) -> Iterator[tuple[int, Moment]]:
    """Return calls spread evenly over `calls`, by turns cut before and after them."""
    moments: Iterator[Moment] = itertools.cycle(("before", "after"))
    # What a test asks meanwhile makes calls, too: the last ones may be never reached.
    return zip((1 + number * calls * 9 // 10 // points for number in range(points)), moments, strict=False)


async def assert_nothing_in_the_open(site: Site) -> None:
    """Check that no crash left a secret behind, in storage or in the logs."""
    async with opened(site.stack) as stores:
        async for place, content in stores.content():
            assert list(site.ledger.found_in(content)) == [], place
            assert [what for what, form in FORMS.items() if form.search(content)] == [], place


async def test_a_first_sync_is_cut(doomed: Site) -> None:
    azure = (await doomed.estate()).azure
    vault = await azure.vault(keys=KEYS)
    calls = await calls_of_a_sync(await Ordeal.of(azure, doomed, vault))
    for call, moment in cuts(calls, FIRST_SYNCS):
        ordeal = await Ordeal.of(azure, doomed, vault)
        job = await ordeal.cut_at(call, moment)
        assert job["progress"]["counts"]["discovered"] == len(NAMES), (call, moment, job)
        for name, key in (await ordeal.keys()).items():
            assert key["drift"] == [], (call, moment, name)
    await assert_nothing_in_the_open(doomed)


async def test_a_sync_of_changes_is_cut(doomed: Site) -> None:
    azure = (await doomed.estate()).azure
    vault = await azure.vault(keys=KEYS)
    ordeals = [await Ordeal.of(azure, doomed, vault) for _ in range(LATER_SYNCS + 1)]
    for ordeal in ordeals:
        await ordeal.estate.sync(ordeal.group)
    async with azure.owner(vault) as owner:
        await owner.rotate_key("k-000000")
        await owner.update_key_properties("off", enabled=True)
        await owner.delete_key("k-000001")
        await owner.recover_deleted_key("gone-000000")
        await purge(owner, "gone-000001")
    calls = await calls_of_a_sync(ordeals.pop())
    for ordeal, (call, moment) in zip(ordeals, cuts(calls, LATER_SYNCS), strict=True):
        await ordeal.cut_at(call, moment)
        keys = await ordeal.keys()
        drift = {name: [each["kind"] for each in key["drift"]] for name, key in keys.items() if key["drift"]}
        assert drift == CHANGES, (call, moment)
        assert keys["gone-000001"]["state"] == "purged"
        assert len(keys["k-000000"]["escrow"]) == 2
    await assert_nothing_in_the_open(doomed)
