"""Jobs with many targets: each group at its own pace, a bounded number at once, a result for each."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.jobs import Job, JobKind, JobStatus, JobStep, ResultStatus, TargetResult
from core.errors import ConflictError, VaultDeniedError, VaultUnavailableError
from core.services.job_runs import JobCancelledError, Run
from core.services.target_jobs import run_targets
from tests.builders.keys import ACCOUNT, ALICE, NOW
from tests.fakes.clock import SteppedClock
from tests.fakes.storage import MemoryCollection

GROUPS, EACH = 20, 10


async def a_run(groups: int = GROUPS, each: int = EACH) -> Run:
    results = tuple(TargetResult(f"grp_{number % groups}", f"key-{number}") for number in range(groups * each))
    job = Job("job_1", ACCOUNT, JobKind.ROTATE, None, ALICE, NOW, results=results, status=JobStatus.RUNNING)
    rows: MemoryCollection[Job] = MemoryCollection()
    return Run(rows, SteppedClock(NOW), await rows.insert(ACCOUNT, job.id, replace(job, lease_owner="worker")))


async def test_a_group_whose_vault_hangs_does_not_hold_the_others_up() -> None:
    run, done, freed = await a_run(), Counter[str](), asyncio.Event()
    active, most = Counter[str](), Counter[str]()

    async def act(number: int) -> tuple[str, str | None]:
        group = run.job.results[number].group
        active[group] += 1
        most[group], most["all"] = max(most[group], active[group]), max(most["all"], active.total())
        if group == "grp_0":
            await freed.wait()
        else:
            await asyncio.sleep(0)
        active[group] -= 1
        done[group] += 1
        if done.total() == (GROUPS - 1) * EACH:
            freed.set()
        return f"key_{number}", f"version-{number}"

    await asyncio.wait_for(run_targets(run, act, "keys"), 20)
    assert done == Counter({f"grp_{number}": EACH for number in range(GROUPS)})
    assert most.pop("all") > GROUPS
    assert max(most.values()) <= 8
    assert [(one.key, one.version) for one in run.job.results] == [
        (f"key_{number}", f"version-{number}") for number in range(GROUPS * EACH)
    ]
    assert (run.job.progress.done, run.job.progress.phase) == (GROUPS * EACH, "rotating")


async def test_each_target_has_its_own_result() -> None:
    run = await a_run(3, 1)
    outcomes = {0: None, 1: VaultUnavailableError("away", retry_after=timedelta(seconds=7)), 2: VaultDeniedError("no")}

    async def act(number: int) -> tuple[str, str | None]:
        error = outcomes[number]
        if error is not None:
            raise error
        return "key", None

    with pytest.raises(VaultUnavailableError) as waiting:
        await run_targets(run, act, "keys")
    assert waiting.value.retry_after == timedelta(seconds=7)
    assert [(one.status, one.code) for one in run.job.results] == [
        (ResultStatus.DONE, None),
        (ResultStatus.PENDING, "vault_unavailable"),
        (ResultStatus.FAILED, "vault_denied"),
    ]
    outcomes[1] = None
    with pytest.raises(ConflictError, match="1 of 3 keys failed"):
        await run_targets(run, act, "keys")
    assert [one.status for one in run.job.results] == [ResultStatus.DONE, ResultStatus.DONE, ResultStatus.FAILED]


async def test_what_is_not_settled_when_a_job_ends_failed() -> None:
    run = await a_run(1, 3)

    async def act(number: int) -> tuple[str, str | None]:
        if number == 0:
            return "key", None
        await run.edit(cancel_requested=True)
        raise VaultUnavailableError("away")

    with pytest.raises(JobCancelledError):
        await run_targets(run, act, "keys")
    ended = run.job.stepped(JobStep.CANCEL, NOW)
    assert [one.status for one in ended.results] == [ResultStatus.DONE, ResultStatus.FAILED, ResultStatus.FAILED]
    assert [one.code for one in ended.results[1:]] == ["vault_unavailable", "target_not_tried"]
    untouched = (await a_run(1, 1)).job.stepped(JobStep.FAIL, NOW)
    assert [(one.status, one.code) for one in untouched.results] == [(ResultStatus.FAILED, "target_not_tried")]
