"""The work of a copy job: each target by itself, a bounded number at once, each with its own result.

Invariants: a target that fails does not stop the others; one whose vault is away is tried again with the job; a target
that is done again, after a crash, finds what the first try made. Both ends of a copy carry a link to the other.
"""

from dataclasses import replace

from core.concurrency import each
from core.domain.copies import CopyOrder, CopyTarget, back_link, link_of
from core.domain.jobs import Job, JobError, ResultStatus
from core.errors import ConflictError, IntegrityError, KeystewardError, VaultUnavailableError
from core.ports import Clock
from core.services.copies import new_key
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run, with_error
from core.services.new_keys import NewKeys
from core.services.source_keys import SourceKeys, SourceUse

_AT_ONCE = 8


class CopyWork:
    """Runs copy jobs."""

    def __init__(self, new_keys: NewKeys, sources: SourceKeys, vaults: GroupVaults, clock: Clock) -> None:
        self._new_keys = new_keys
        self._sources = sources
        self._vaults = vaults
        self._clock = clock

    async def run(self, run: Run) -> None:
        """Make the copies that are not settled yet.

        Raises VaultUnavailableError where some have to be tried again, ConflictError `copies_failed` at the end if some
        failed.
        """
        order = run.job.order
        if order is None:
            raise IntegrityError("A copy job says nothing of what to copy.")
        pending = [number for number, result in enumerate(run.job.results) if not result.settled]
        unavailable = await each(lambda number: self._settle(run, order, number), pending, at_most=_AT_ONCE)
        waiting = [error for error in unavailable if error is not None]
        if waiting:
            raise VaultUnavailableError(
                waiting[0].detail, code=waiting[0].code, retry_after=max(error.retry_after for error in waiting)
            )
        failed = sum(1 for result in run.job.results if result.status is ResultStatus.FAILED)
        if failed:
            detail = f"{failed} of {len(run.job.results)} copies failed; the results say why."
            raise ConflictError(detail, code="copies_failed")

    async def ended(self, job: Job) -> None:
        """Do nothing: a copy job holds nothing that has to be given back."""

    async def _settle(self, run: Run, order: CopyOrder, number: int) -> VaultUnavailableError | None:
        """Make one copy and note its result; return the error for which it has to be tried again, if there is one."""
        target = order.targets[number]
        base = run.job.results[number]
        waiting: VaultUnavailableError | None = None
        try:
            key = await self._copy(run.job, order, target)
            result = replace(base, status=ResultStatus.DONE, key=key, code=None, detail="")
        except VaultUnavailableError as error:
            waiting = error
            result = replace(base, code=error.code, detail=error.detail)
        except KeystewardError as error:
            result = replace(base, status=ResultStatus.FAILED, code=error.code, detail=error.detail)

        def noted(job: Job) -> Job:
            settled = job.settled(number, result)
            if result.status is not ResultStatus.FAILED:
                return settled
            problem = JobError(result.code or "", result.detail, target.name)
            return replace(settled, progress=with_error(settled.progress, problem))

        await run.revise(noted)
        return waiting

    async def _copy(self, job: Job, order: CopyOrder, target: CopyTarget) -> str:
        use = SourceUse(order.group, order.key, order.version)
        group = await self._vaults.group(job.account, target.group)
        source, version, material = await self._sources.opened(job.account, use, "export")
        link = link_of(source, version, job.requested_by, self._clock.now())
        with material:
            made = await self._new_keys.bring(new_key(target, group, job.requested_by), material, link)
        # The time of the link is that of the first try, whichever try records it.
        recorded = made.copied_from or link
        await self._sources.link(job.account, use, back_link(group, target, made.id, recorded))
        return made.id
