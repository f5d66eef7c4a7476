"""Vaults that are going to go wrong, and what 'nothing is lost' means.

A test of a fault ends with the fault gone, another sync, and a look at every key: `assert_whole`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site

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


async def in_each[*Ts](
    site: Site, scenario: Callable[[Estate, *Ts], Coroutine[None, None, None]], cases: Iterable[tuple[*Ts]]
) -> None:
    """Play a scenario in an account of its own for each case, at the same time: most of it is waiting."""
    async with asyncio.TaskGroup() as playing:
        for case in cases:
            playing.create_task(scenario(await site.estate(), *case), name=str(case))
