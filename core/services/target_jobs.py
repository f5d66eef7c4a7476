"""Jobs with several targets: each by itself, a bounded number at once in each group, each with its own result.

Invariants: a target that fails does not stop the others, and a cancellation stops none in the middle; one whose vault
is away is tried again with the job; a target that is done again, after a crash, has to find what the first try made.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from core.concurrency import each
from core.domain.jobs import Job, JobError, ResultStatus, TargetResult
from core.errors import ConflictError, KeystewardError, StaleWriteError, VaultUnavailableError
from core.services.job_runs import JobCancelledError, Run, with_error

#: Each group has a vault of its own: one that is slow, or away, must not hold the others up.
_GROUPS_AT_ONCE = 32
_IN_ONE_GROUP = 8
_CONTENDED_FOR = timedelta(seconds=5)

#: Brings one target, by its number, to its end; returns the key and, if there is one, the version that came of it.
type Act = Callable[[int], Awaitable[tuple[str, str | None]]]


async def run_targets(run: Run, act: Act, what: str) -> None:
    """Settle the targets of a job that are not settled yet; `what` names them in words, such as `copies`.

    Raises VaultUnavailableError where some have to be tried again, ConflictError `targets_failed` at the end if some
    failed.
    """
    lanes: dict[str, list[int]] = defaultdict(list)
    for number, result in enumerate(run.job.results):
        if not result.settled:
            lanes[result.group].append(number)

    async def settle(number: int) -> VaultUnavailableError | None:
        # What is under way comes to its end, so that nothing is left half done; nothing more is begun.
        return None if run.job.cancel_requested else await _settle(run, act, number)

    async def walk(lane: list[int]) -> list[VaultUnavailableError | None]:
        return await each(settle, lane, at_most=_IN_ONE_GROUP)

    walked = await each(walk, list(lanes.values()), at_most=_GROUPS_AT_ONCE)
    unavailable = [error for lane in walked for error in lane if error is not None]
    if run.job.cancel_requested:
        raise JobCancelledError
    if unavailable:
        longest = max(error.retry_after for error in unavailable)
        raise VaultUnavailableError(unavailable[0].detail, code=unavailable[0].code, retry_after=longest)
    failed = sum(1 for result in run.job.results if result.status is ResultStatus.FAILED)
    if failed:
        detail = f"{failed} of {len(run.job.results)} {what} failed; the results say why."
        raise ConflictError(detail, code="targets_failed")


async def _settle(run: Run, act: Act, number: int) -> VaultUnavailableError | None:
    """Settle one target and note its result; return the error for which it has to be tried again, if there is one."""
    base = run.job.results[number]
    waiting: VaultUnavailableError | None = None
    try:
        key, version = await act(number)
        result = replace(base, status=ResultStatus.DONE, key=key, version=version, code=None, detail="")
    except VaultUnavailableError as error:
        waiting = error
        result = replace(base, code=error.code, detail=error.detail)
    except StaleWriteError as error:
        # Others kept writing the same record, as targets do that come from one key: that ends.
        waiting = VaultUnavailableError(error.detail, code=error.code, retry_after=_CONTENDED_FOR)
        result = replace(base, code=error.code, detail=error.detail)
    except KeystewardError as error:
        result = replace(base, status=ResultStatus.FAILED, code=error.code, detail=error.detail)

    def noted(job: Job) -> Job:
        settled = job.settled(number, result)
        if result.status is not ResultStatus.FAILED:
            return settled
        return replace(settled, progress=with_error(settled.progress, _error_of(result)))

    with suppress(JobCancelledError):
        await run.revise(noted)
    return waiting


def _error_of(result: TargetResult) -> JobError:
    return JobError(result.code or "internal", result.detail, result.name)
