"""A worker's hold on a job: the lease, progress, and the ways in which the work learns that it must stop.

Invariant: whoever lost the lease learns of it at the next write (the row's ETag moved) and records nothing more.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from core.domain.jobs import Job, JobError, JobStep, Progress
from core.errors import StaleWriteError, VaultUnavailableError
from core.ports import Clock, Collection, Stored

LEASE = timedelta(seconds=60)
_HEARTBEAT_SECONDS = LEASE.total_seconds() / 3
#: Errors shown with a job; the others are counted.
SHOWN_ERRORS = 100


class LeaseLostError(Exception):
    """Another worker has taken the job over; this one must stop without a trace."""


class JobCancelledError(Exception):
    """Somebody asked to cancel the job; its work stops here."""


class Run:
    """One worker's hold on one job: the way to record progress, and to learn that the work must stop."""

    def __init__(self, jobs: Collection[Job], clock: Clock, stored: Stored[Job]) -> None:
        self._jobs = jobs
        self._clock = clock
        self._stored = stored
        self._lock = asyncio.Lock()

    @property
    def job(self) -> Job:
        """The job as last written."""
        return self._stored.value

    async def record(self, progress: Progress, checkpoint: Mapping[str, str] | None = None) -> None:
        """Write progress (and what is needed to resume) and renew the lease; stop the work if it must stop."""
        await self.revise(lambda job: job.progressed(progress, checkpoint or job.checkpoint))

    async def revise(self, change: "_Change") -> None:
        """Write what `change` makes of the job and renew the lease; stop the work if it must stop."""
        await self._write(change)
        if self.job.cancel_requested:
            raise JobCancelledError

    async def renew(self) -> None:
        """Renew the lease alone."""
        await self._write(lambda job: job)

    async def step(self, step: JobStep) -> Job:
        """Move the job on."""
        await self._write(lambda job: job.stepped(step, self._clock.now()))
        return self.job

    async def edit(self, **changes: object) -> None:
        """Replace members of the job."""
        await self._write(lambda job: replace(job, **changes))

    async def _write(self, change: "_Change") -> None:
        async with self._lock:
            owner = self.job.lease_owner or ""
            for _ in range(5):
                job = change(self.job).leased(owner, self._clock.now(), LEASE)
                try:
                    self._stored = await self._jobs.replace(job.account, job.id, job, self._stored.etag)
                except StaleWriteError:
                    await self._reread(owner)
                else:
                    return
            raise LeaseLostError

    async def _reread(self, owner: str) -> None:
        # The only writer beside the holder of the lease is a request to cancel.
        fresh = await self._jobs.get(self.job.account, self.job.id)
        if fresh is None or fresh.value.lease_owner != owner or fresh.value.ended:
            raise LeaseLostError
        cancel = fresh.value.cancel_requested
        self._stored = Stored(replace(self.job, cancel_requested=cancel), fresh.etag)


class _Change(Protocol):
    def __call__(self, job: Job, /) -> Job: ...


def with_error(progress: Progress, error: JobError) -> Progress:
    """Return `progress` with one more error; the list is bounded, the count is not."""
    return replace(
        progress,
        errors=(*progress.errors, error)[-SHOWN_ERRORS:],
        errors_total=progress.errors_total + 1,
    )


@asynccontextmanager
async def kept_alive(run: Run) -> AsyncIterator[None]:
    """Renew the lease while the work runs; losing it ends the work."""
    worker = asyncio.current_task()
    lost = False

    async def beat() -> None:
        nonlocal lost
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            try:
                await run.renew()
            except LeaseLostError:
                lost = True
                if worker is not None:
                    worker.cancel()
                return
            except VaultUnavailableError:
                continue

    heartbeat = asyncio.create_task(beat())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise LeaseLostError from None
        raise
    finally:
        heartbeat.cancel()
