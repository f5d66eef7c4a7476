"""A drill with a real restore, cut at every call out of the process, before it or after: no copy stays unnoticed."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest

from core.domain.drills import DrillOrder
from core.domain.jobs import Job, JobStatus
from core.errors import VaultUnavailableError
from core.services import scratch_restores, waiting
from core.services.findings import FindingCode
from tests.builders.drills import SCRATCH, STORES, DrillStage, a_drill_vault
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.lists import check_lists
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart

ORDER = DrillOrder(restore_into=SCRATCH, restores=2)

type Aftermath = Callable[[DrillStage, Job | None], Awaitable[None]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(scratch_restores, "IN_JOB", 5.0)
    monkeypatch.setattr(scratch_restores, "IN_REQUEST", 5.0)


async def prepared() -> DrillStage:
    stage = DrillStage(a_drill_vault(3))
    await stage.set_up()
    await stage.sync()
    return stage


async def the_drill(stage: DrillStage) -> Job | None:
    jobs = [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT)]
    return next((job for job in jobs if job.kind == "drill"), None)


async def another_worker(stage: DrillStage, job: Job | None) -> None:
    """The lease of the dead worker runs out, reconciliation sends the message again, and it is delivered twice."""
    for _ in range(4):
        stage.clock.move(timedelta(minutes=5))
        stage.queue.sent.clear()
        await stage.jobs.reconcile()
        for message, _ in list(stage.queue.sent) * 2:
            await stage.jobs.run(message["account"], message["job"])
    job = await the_drill(stage)
    if job is not None:
        assert job.status is JobStatus.SUCCEEDED, job
        restored = int(job.options["restores"])
        assert job.progress.counts == {"opened": 3, "verified": 3, "restored": restored}
        assert job.progress.done == 3 + restored
        last = (await stage.group()).last_drill
        assert last is not None
        assert (last.job, last.restored) == (job.id, restored)


async def nobody(stage: DrillStage, job: Job | None) -> None:
    """Its message is given up, and no worker ever comes back."""
    stage.clock.move(timedelta(minutes=5))
    if job is not None and not job.ended:
        await stage.jobs.poisoned(ACCOUNT, job.id)
        await stage.jobs.reconcile()
    stage.queue.sent.clear()
    left = await stage.copies()
    found = await stage.found(code=FindingCode.SCRATCH_COPY_LEFT)
    if job is not None:
        assert len(found) == left, "what is left is a finding"


async def somebody_cancels(stage: DrillStage, job: Job | None) -> None:
    """The job is cancelled before another worker comes."""
    stage.clock.move(timedelta(minutes=5))
    if job is not None and not job.ended:
        await stage.jobs.cancel(ACCOUNT, job.id)
        await stage.jobs.reconcile()
        for message, _ in list(stage.queue.sent):
            await stage.jobs.run(message["account"], message["job"])


async def check(stage: DrillStage) -> None:
    """What must hold whatever happened, once the timers have run and somebody has drilled again."""
    for _ in range(2):
        stage.clock.move(timedelta(minutes=5))
        await stage.care.scratch_restores.clear_left_over(stage.jobs)
    assert (stage.scratch.live, stage.scratch.deleted, await stage.copies()) == ({}, {}, 0)
    assert await stage.found(code=FindingCode.SCRATCH_COPY_LEFT) == []
    assert stage.vault.calls["restore"] == stage.vault.calls["delete"] == stage.vault.calls["purge"] == 0
    stage.clock.move(timedelta(minutes=5))
    job = await stage.drill(restore_into=SCRATCH, restores=3)
    assert job.progress.counts == {"opened": 3, "verified": 3, "restored": 3}
    assert await stage.found() == []
    await check_lists(stage)


@pytest.mark.parametrize("aftermath", [another_worker, nobody, somebody_cancels])
@pytest.mark.parametrize("after", [False, True])
async def test_a_drill_that_is_cut_at_any_call_leaves_nothing_in_the_scratch_vault(
    aftermath: Aftermath, after: bool
) -> None:
    for at in count(1):
        stage = await prepared()
        fuse = Fuse(at, after=after)
        kept = put_fuse(stage, fuse, STORES)
        with suppress(CrashError):
            job = await stage.drills.start(ACCOUNT, GROUP, ORDER, ALICE)
            await stage.jobs.run(ACCOUNT, job.id)
        restart(stage, kept)
        await aftermath(stage, await the_drill(stage))
        await check(stage)
        if not fuse.blew:
            assert at > 60
            return


@pytest.mark.parametrize("after", [False, True])
async def test_a_vault_whose_answer_is_lost_at_any_call_leaves_nothing(after: bool) -> None:
    for at in count(1):
        stage = await prepared()
        calls = 0

        def lose(operation: str, name: str, at: int = at, stage: DrillStage = stage) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise VaultUnavailableError("lost", retry_after=timedelta(seconds=5))

        if after:
            stage.scratch.after = lose
        else:
            stage.scratch.before = lose
        job = await stage.drill(restore_into=SCRATCH, restores=2)
        for _ in range(4):
            stage.clock.move(timedelta(minutes=5))
            job = await stage.run(job)
        assert job.status is JobStatus.SUCCEEDED, (at, job.progress.errors)
        assert job.progress.counts["restored"] == 2
        met = calls >= at
        stage.scratch.before = stage.scratch.after = lambda operation, name: None
        await check(stage)
        if not met:
            assert at > 10
            return


@pytest.mark.parametrize("after", [False, True])
async def test_a_worker_that_wakes_up_after_another_took_over_leaves_nothing(after: bool) -> None:
    for at in count(1):
        stage = await prepared()
        job = await stage.drills.start(ACCOUNT, GROUP, DrillOrder(restore_into=SCRATCH), ALICE)
        other = copy.copy(stage)
        other.wire()
        takeovers: list[asyncio.Task[None]] = []

        async def take_over(other: DrillStage = other, takeovers: list[asyncio.Task[None]] = takeovers) -> None:
            # A task of its own: what the sleeping worker cancels is its own work.
            takeovers.append(asyncio.create_task(another_worker(other, None)))
            await asyncio.wait(takeovers)

        fuse = Fuse(at, after=after, act=take_over)
        kept = put_fuse(stage, fuse, STORES)
        await stage.jobs.run(ACCOUNT, job.id)
        restart(stage, kept)
        await asyncio.gather(*takeovers)
        await check(stage)
        if not fuse.blew:
            assert at > 40
            return
