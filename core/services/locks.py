"""One sync at a time a group, and one drill: a row that names the job which may run.

Invariant: a lock whose job ended, or never came to be, can be taken over; a lock is freed only by its own job.
"""

from contextlib import suppress
from dataclasses import dataclass

from core.domain.jobs import Job, JobKind
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Collection


@dataclass(frozen=True, slots=True)
class Lock:
    """The job that holds a group."""

    account: str
    job: str


class GroupLocks:
    """Takes and frees the lock of a group; `kind` keeps locks for different work apart."""

    def __init__(self, locks: Collection[Lock], jobs: Collection[Job], kind: JobKind = JobKind.SYNC) -> None:
        self._locks = locks
        self._jobs = jobs
        self._partition = kind.value

    async def take(self, group: str, job: Job) -> Job:
        """Let `job` hold the group, or return the job that holds it already."""
        lock = Lock(job.account, job.id)
        for _ in range(5):
            with suppress(AlreadyExistsError, StaleWriteError):
                held = await self._locks.get(self._partition, group)
                if held is None:
                    await self._locks.insert(self._partition, group, lock)
                    return job
                holder = await self._jobs.get(held.value.account, held.value.job)
                if holder is not None and not holder.value.ended:
                    return holder.value
                await self._locks.replace(self._partition, group, lock, held.etag)
                return job
        raise StaleWriteError("The group's lock")

    async def holder(self, group: str) -> Job | None:
        """Return the job that holds the group, if there is one that has not ended."""
        held = await self._locks.get(self._partition, group)
        job = await self._jobs.get(held.value.account, held.value.job) if held else None
        return job.value if job is not None and not job.value.ended else None

    async def release(self, group: str, job: str) -> None:
        """Free the group if `job` holds it."""
        held = await self._locks.get(self._partition, group)
        if held is not None and held.value.job == job:
            with suppress(StaleWriteError):
                await self._locks.delete(self._partition, group, held.etag)
