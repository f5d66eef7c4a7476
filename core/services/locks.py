"""One sync at a time a group: a row that names the job which may run.

Invariant: a lock whose job ended, or never came to be, can be taken over; a lock is freed only by its own job.
"""

from contextlib import suppress
from dataclasses import dataclass

from core.domain.jobs import Job
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Collection


@dataclass(frozen=True, slots=True)
class Lock:
    """The job that holds a group."""

    account: str
    job: str


class SyncLocks:
    """Takes and frees the lock of a group."""

    _PARTITION = "sync"

    def __init__(self, locks: Collection[Lock], jobs: Collection[Job]) -> None:
        self._locks = locks
        self._jobs = jobs

    async def take(self, group: str, job: Job) -> Job:
        """Let `job` hold the group, or return the job that holds it already."""
        lock = Lock(job.account, job.id)
        for _ in range(5):
            with suppress(AlreadyExistsError, StaleWriteError):
                held = await self._locks.get(self._PARTITION, group)
                if held is None:
                    await self._locks.insert(self._PARTITION, group, lock)
                    return job
                holder = await self._jobs.get(held.value.account, held.value.job)
                if holder is not None and not holder.value.ended:
                    return holder.value
                await self._locks.replace(self._PARTITION, group, lock, held.etag)
                return job
        raise StaleWriteError("The group's lock")

    async def release(self, group: str, job: str) -> None:
        """Free the group if `job` holds it."""
        held = await self._locks.get(self._PARTITION, group)
        if held is not None and held.value.job == job:
            with suppress(StaleWriteError):
                await self._locks.delete(self._PARTITION, group, held.etag)
