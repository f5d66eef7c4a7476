"""Jobs: started once, run by whoever holds the lease, resumed after a crash, cancelled between two steps.

Invariants:
- A job runs under a lease that its worker renews; a second delivery of its message finds the lease and does nothing.
- Whoever lost the lease learns of it at the next write (the row's ETag moved) and stops without recording more.
- A job that was started is in the tree of active jobs until it ended, so reconciliation finds whatever lost its
  message or its worker. The cost of reconciliation is that of the active jobs.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from core import correlation
from core.domain.callers import Actor
from core.domain.identifiers import IdKind, new_id
from core.domain.jobs import Job, JobError, JobKind, JobStatus, JobStep
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultUnavailableError,
)
from core.ports import Clock, Collection, OrderedIndex, Queue, Stored
from core.services.job_runs import LEASE, JobCancelledError, LeaseLostError, Run, kept_alive, with_error

#: A queued job without a worker for this long has lost its message.
_QUEUED_TOO_LONG = timedelta(minutes=2)
#: After so many starts a job is given up: something kills its worker each time.
MAX_ATTEMPTS = 8
_ACTIVE = "jobs-active"
#: Between two tries; doubled from one to the next, so that a vault may be away for an hour.
_SHORTEST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(hours=1)

_log = logging.getLogger(__name__)


class Work(Protocol):
    """What a kind of job does."""

    async def run(self, run: Run) -> None:
        """Do the work. Raising a KeystewardError fails the job; VaultUnavailableError has it tried again later."""

    async def ended(self, job: Job) -> None:
        """Clean up after a job that ended in whichever way. Idempotent."""


@dataclass(frozen=True, slots=True)
class JobTrees:
    """Names and positions in the job trees."""

    @staticmethod
    def of_account(account: str) -> str:
        """The tree of an account's jobs, newest first."""
        return f"jobs/{account}"

    @staticmethod
    def position(job: Job) -> str:
        """Newer jobs sort first."""
        return f"{9_999_999_999_999 - int(job.requested_on.timestamp() * 1000):013d}{job.id}"


class Jobs:
    """Starts, runs, lists, cancels and reconciles jobs; `works` says what each kind does."""

    def __init__(
        self, jobs: Collection[Job], index: OrderedIndex, queue: Queue, clock: Clock, works: Mapping[JobKind, Work]
    ) -> None:
        self._jobs = jobs
        self._index = index
        self._queue = queue
        self._clock = clock
        self._works = works

    def draft(
        self, kind: JobKind, account: str, group: str | None, actor: Actor, options: Mapping[str, str] | None = None
    ) -> Job:
        """Return a new job that nobody knows of yet."""
        return self.named(new_id(IdKind.JOB), kind, account, group, actor, options)

    def named(
        self,
        id_: str,
        kind: JobKind,
        account: str,
        group: str | None,
        actor: Actor,
        options: Mapping[str, str] | None = None,
    ) -> Job:
        """Return a new job with an id that follows from what it is for, so that it is started once."""
        return Job(
            id=id_,
            account=account,
            kind=kind,
            group=group,
            requested_by=actor,
            requested_on=self._clock.now(),
            options=options or {},
            correlation_id=correlation.current.get(),
        )

    async def prepare(self, job: Job) -> None:
        """Record the job so that reconciliation knows of it, without starting it."""
        await self._index.apply(_ACTIVE, {job.id: {"account": job.account}})
        await self._jobs.insert(job.account, job.id, job)

    async def launch(self, job: Job) -> None:
        """List the prepared job and enqueue its message; again is harmless."""
        entry = {"id": job.id, "group": job.group}
        await self._index.apply(JobTrees.of_account(job.account), {JobTrees.position(job): entry})
        await self._enqueue(job)

    async def discard(self, job: Job) -> None:
        """Forget a prepared job that is not to be launched."""
        await self._jobs.delete(job.account, job.id)
        await self._index.apply(_ACTIVE, {job.id: None})

    async def get(self, account: str, job: str) -> Stored[Job]:
        """Return a job, or NotFoundError `job_not_found`."""
        stored = await self._jobs.get(account, job)
        if stored is None:
            raise NotFoundError("There is no such job.", code="job_not_found")
        return stored

    async def find(self, account: str, job: str) -> Job | None:
        """Return a job, or None."""
        stored = await self._jobs.get(account, job)
        return stored.value if stored else None

    async def page(self, account: str, *, after: str | None, limit: int) -> tuple[list[Job], str | None]:
        """Return an account's jobs, newest first."""
        page = await self._index.page(JobTrees.of_account(account), after=after, limit=limit)
        found = await self._jobs.get_many(account, [str(entry["id"]) for _, entry in page.entries])
        return [found[id_].value for _, entry in page.entries if (id_ := str(entry["id"])) in found], page.next

    async def cancel(self, account: str, job: str) -> Job:
        """Ask a job to stop; one that nobody works on stops at once. A job that ended is a 409 `job_ended`."""
        for _ in range(5):
            stored = await self.get(account, job)
            if stored.value.ended:
                raise ConflictError(f"The job has {stored.value.status} already.", code="job_ended")
            wanted = replace(stored.value, cancel_requested=True)
            if wanted.status is JobStatus.QUEUED:
                wanted = wanted.stepped(JobStep.CANCEL, self._clock.now())
            with suppress(StaleWriteError):
                written = await self._jobs.replace(account, job, wanted, stored.etag)
                if written.value.ended:
                    await self._settle(written.value)
                return written.value
        raise StaleWriteError("The job")

    async def run(self, account: str, job: str) -> None:
        """Run a job for the message that names it; does nothing if it ended, waits, or another worker is on it."""
        stored = await self._jobs.get(account, job)
        if stored is None:
            await self._index.apply(_ACTIVE, {job: None})
            return
        if stored.value.ended:
            await self._settle(stored.value)
            return
        run = await self._take(stored)
        if run is None:
            return
        correlation.current.set(run.job.correlation_id or job)
        with suppress(LeaseLostError):
            await self._work(run)

    async def reconcile(self) -> int:
        """Enqueue again every active job that has neither worker nor message; return how many."""
        requeued = 0
        async for leaf in self._index.leaves(_ACTIVE):
            for job, entry in leaf:
                requeued += await self._reconcile_one(str(entry["account"]), job)
        return requeued

    async def poisoned(self, account: str, job: str) -> None:
        """Fail a job whose message the queue gave up."""
        stored = await self._jobs.get(account, job)
        if stored is None or stored.value.ended or stored.value.leased_at(self._clock.now()):
            return
        run = await self._take(stored)
        if run is not None:
            detail = "The queue gave the job's message up after several failed deliveries."
            await self._fail(run, JobError("job_poisoned", detail))

    async def _reconcile_one(self, account: str, job_id: str) -> int:
        now = self._clock.now()
        stored = await self._jobs.get(account, job_id)
        if stored is None or stored.value.ended:
            if stored is not None:
                await self._settle(stored.value)
            # A job that is being prepared is in this tree for a moment before its row is there.
            elif not await self._appears(account, job_id):
                await self._index.apply(_ACTIVE, {job_id: None})
            return 0
        job = stored.value
        if self._held(job, now) or (job.status is JobStatus.QUEUED and now < self._patience(job)):
            return 0
        # What started it may have been cut off before it was listed.
        await self.launch(job)
        return 1

    async def _appears(self, account: str, job_id: str) -> bool:
        await asyncio.sleep(1)
        return await self._jobs.get(account, job_id) is not None

    @staticmethod
    def _patience(job: Job) -> datetime:
        return max(job.requested_on, job.not_before or job.requested_on) + _QUEUED_TOO_LONG

    @staticmethod
    def _held(job: Job, now: datetime) -> bool:
        # A lease that lies further ahead than any worker sets it was written before the clock was turned back.
        return job.leased_at(now) and job.lease_until is not None and job.lease_until - now <= 2 * LEASE

    async def _take(self, stored: Stored[Job]) -> Run | None:
        now = self._clock.now()
        if self._held(stored.value, now):
            return None
        owner = secrets.token_hex(8)
        attempts = stored.value.attempts + 1
        job = replace(stored.value.stepped(JobStep.START, now), attempts=attempts).leased(owner, now, LEASE)
        try:
            taken = await self._jobs.replace(job.account, job.id, job, stored.etag)
        except StaleWriteError:
            return None
        return Run(self._jobs, self._clock, taken)

    async def _work(self, run: Run) -> None:
        if run.job.attempts > MAX_ATTEMPTS:
            detail = f"The job's worker was lost {MAX_ATTEMPTS} times."
            await self._fail(run, JobError("job_attempts_exhausted", detail))
            return
        try:
            await self._perform(run)
        except JobCancelledError:
            await self._settle(await run.step(JobStep.CANCEL))
        except VaultUnavailableError as error:
            await self._try_later(run, error)
        except KeystewardError as error:
            await self._fail(run, JobError(error.code, error.detail))
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug must end the job visibly, not poison the queue
            # The type alone: an unknown error's text may hold anything.
            _log.error("job ended by an unexpected error", extra={"job": run.job.id, "error": type(error).__name__})
            await self._fail(run, JobError("internal", "Something unexpected happened. The log has it."))

    async def _perform(self, run: Run) -> None:
        if not run.job.cancel_requested:
            async with kept_alive(run):
                await self._works[run.job.kind].run(run)
            await self._settle(await run.step(JobStep.SUCCEED))
        else:
            await self._settle(await run.step(JobStep.CANCEL))

    async def _try_later(self, run: Run, error: VaultUnavailableError) -> None:
        problem = JobError(error.code, error.detail)
        if run.job.attempts >= MAX_ATTEMPTS:
            await self._fail(run, problem)
            return
        delay = min(max(error.retry_after, _SHORTEST_DELAY) * 2 ** (run.job.attempts - 1), _LONGEST_DELAY)
        await run.edit(progress=with_error(run.job.progress, problem), not_before=self._clock.now() + delay)
        await run.step(JobStep.RETRY)
        await self._enqueue(run.job, delay)

    async def _fail(self, run: Run, error: JobError) -> None:
        _log.warning("job failed", extra={"job": run.job.id, "code": error.code})
        await run.edit(progress=with_error(run.job.progress, error))
        await self._settle(await run.step(JobStep.FAIL))

    async def _settle(self, job: Job) -> None:
        await self._works[job.kind].ended(job)
        await self._index.apply(_ACTIVE, {job.id: None})

    async def _enqueue(self, job: Job, delay: timedelta = timedelta()) -> None:
        await self._queue.send({"account": job.account, "job": job.id}, delay=delay)
