"""Jobs with several targets: each by itself, a bounded number at once, each with its own result.

Invariants: a target that fails does not stop the others; one whose vault is away is tried again with the job; a target
that is done again, after a crash, has to find what the first try made.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from core.concurrency import each
from core.domain.jobs import Job, JobError, ResultStatus, TargetResult
from core.errors import ConflictError, KeystewardError, VaultUnavailableError
from core.services.job_runs import Run, with_error

_AT_ONCE = 16

#: Brings one target, by its number, to its end; returns the key and, if there is one, the version that came of it.
type Act = Callable[[int], Awaitable[tuple[str, str | None]]]


async def run_targets(run: Run, act: Act, what: str) -> None:
    """Settle the targets of a job that are not settled yet; `what` names them in words, such as `copies`.

    Raises VaultUnavailableError where some have to be tried again, ConflictError `targets_failed` at the end if some
    failed.
    """
    pending = [number for number, result in enumerate(run.job.results) if not result.settled]

    async def settle(number: int) -> VaultUnavailableError | None:
        return await _settle(run, act, number)

    unavailable = [error for error in await each(settle, pending, at_most=_AT_ONCE) if error is not None]
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
    except KeystewardError as error:
        result = replace(base, status=ResultStatus.FAILED, code=error.code, detail=error.detail)

    def noted(job: Job) -> Job:
        settled = job.settled(number, result)
        if result.status is not ResultStatus.FAILED:
            return settled
        return replace(settled, progress=with_error(settled.progress, _error_of(result)))

    await run.revise(noted)
    return waiting


def _error_of(result: TargetResult) -> JobError:
    return JobError(result.code or "internal", result.detail, result.name)
