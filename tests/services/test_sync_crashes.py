"""A sync is cut at every single call out of the process, before it or after it, and run again: nothing may be lost."""

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from core.domain.jobs import JobStatus
from core.domain.keys import Presence
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, a_deletion, a_version
from tests.builders.lists import check_lists
from tests.builders.syncs import SyncStage
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart
from tests.fakes.vault import FakeVault

STORES = ("groups", "job_rows", "key_rows", "lock_rows", "index", "blobs", "queue")


def a_vault() -> FakeVault:
    """Three pages with a key of two versions, a deleted one, and changes waiting to be found."""
    vault = FakeVault(live={f"key-{n:02d}": [_version(n, 1)] for n in range(8)}, page_size=3)
    vault.live["key-03"].append(_version(3, 2))
    vault.delete("key-05", a_deletion())
    return vault


def _version(key: int, number: int) -> Any:
    return a_version(f"{key:016x}{number:016x}", created=CREATED + timedelta(days=number))


def change(vault: FakeVault) -> None:
    """What happens behind Keysteward's back between the first sync and the one that crashes."""
    vault.live["key-00"].append(_version(0, 2))
    del vault.live["key-01"]
    vault.delete("key-02", a_deletion())
    vault.live["key-99"] = [_version(99, 1)]


async def prepared() -> SyncStage:
    stage = SyncStage(a_vault())
    await stage.set_up()
    await stage.sync()
    change(stage.vault)
    return stage


async def crashed(at: int, *, after: bool) -> tuple[SyncStage, bool]:
    """Return the stage after the crash, and whether the fuse blew at all."""
    stage = await prepared()
    fuse = Fuse(at, after=after)
    kept = put_fuse(stage, fuse, STORES)
    blew = False
    try:
        job = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
        await stage.jobs.run(ACCOUNT, job.id)
    except CrashError:
        blew = True
    restart(stage, kept)
    return stage, blew


async def crash_and_recover(at: int, *, after: bool) -> tuple[SyncStage, bool]:
    """Return the stage after recovery, and whether the fuse blew at all."""
    stage, blew = await crashed(at, after=after)
    # The lease of the dead worker runs out, reconciliation sends the message again, and it is delivered twice.
    stage.clock.move(timedelta(minutes=5))
    stage.queue.sent.clear()
    await stage.jobs.reconcile()
    for message, _ in list(stage.queue.sent) * 2:
        await stage.jobs.run(message["account"], message["job"])
    return stage, blew


async def check(stage: SyncStage) -> None:
    """What must hold whatever happened, once the next sync has run."""
    job = await stage.sync()
    assert job.status is JobStatus.SUCCEEDED
    keys = await stage.by_name()
    assert {name: key.presence for name, key in keys.items()} == {
        **{f"key-{n:02d}": Presence.LIVE for n in (0, 3, 4, 6, 7)},
        "key-99": Presence.LIVE,
        "key-01": Presence.PURGED,
        "key-02": Presence.SOFT_DELETED,
        "key-05": Presence.SOFT_DELETED,
    }
    for name, key in keys.items():
        if name != "key-05":  # it was deleted before Keysteward ever saw it
            manifest, _ = await stage.escrows.open(key.escrow[-1])
            assert set(manifest.versions) == {version.id for version in key.versions}
    drift = [(name, change.kind.value) for name, key in keys.items() for change in key.drift]
    assert sorted(drift) == [("key-00", "new_version"), ("key-01", "vanished"), ("key-02", "soft_deleted")]
    await check_lists(stage)
    counts = (await stage.group()).counts
    assert (counts.active, counts.purged, counts.soft_deleted) == (6, 1, 2)
    stage.vault.calls.clear()
    last = await stage.sync()
    assert set(stage.vault.calls) == {"list_keys", "list_deleted"}
    assert last.progress.counts["unchanged"] == last.progress.counts["discovered"]


@pytest.mark.parametrize("after", [False, True])
async def test_a_sync_that_is_cut_at_any_call_loses_nothing(after: bool) -> None:
    at = 0
    blew = True
    while blew:
        at += 1
        stage, blew = await crash_and_recover(at, after=after)
        await check(stage)
    assert at > 40


@pytest.mark.parametrize("after", [False, True])
async def test_a_key_that_changes_again_after_the_cut_leaves_nothing_in_the_lists(after: bool) -> None:
    blew = True
    for at in count(1):
        stage, blew = await crashed(at, after=after)
        versions = stage.vault.live["key-00"]
        versions[-1] = replace(versions[-1], updated_on=CREATED + timedelta(days=9))
        stage.clock.move(timedelta(minutes=5))
        await stage.sync()
        await stage.jobs.reconcile()
        for message, _ in list(stage.queue.sent):
            await stage.jobs.run(message["account"], message["job"])
        await stage.sync()
        await check_lists(stage)
        if not blew:
            break
