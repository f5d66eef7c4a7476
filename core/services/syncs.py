"""Starting syncs: on request, or because a schedule says so.

Invariants:
- A group has at most one sync that has not ended; asking again returns it.
- A schedule runs what was missed once, late rather than never. The tree of due times is only a hint: the group's own
  `next_sync_on` decides, so an entry that was left over by a crash starts nothing.
- The cost of a tick is that of the groups that are due.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from core.domain.callers import Actor, ActorKind
from core.domain.groups import Group, SyncSchedule, vault_of
from core.domain.jobs import Job, JobKind
from core.errors import ConflictError, InvalidRequestError, NotFoundError, StaleWriteError
from core.ports import Clock, Collection, OrderedIndex
from core.services.amend import amend
from core.services.due_times import DueTimes, position
from core.services.jobs import Jobs
from core.services.locks import GroupLocks
from core.services.sync_work import FULL

CHANGES = "changes"
_TIMER = Actor(ActorKind.TIMER, "schedule_syncs", "schedule")


def next_run(schedule: SyncSchedule, after: datetime) -> datetime | None:
    """Return the first time after `after` (UTC) at which `schedule` runs, or None while it is paused.

    A local time that a change to daylight-saving time skips runs at the change; one that comes twice runs once
    (cronsim follows Debian's cron).
    """
    if schedule.paused:
        return None
    zone = _zone(schedule.time_zone)
    try:
        return next(CronSim(schedule.cron, after.astimezone(zone))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InvalidRequestError("The cron expression is not valid.", code="schedule_invalid", field="cron") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = "The time zone is not an IANA name."
        raise InvalidRequestError(message, code="schedule_invalid", field="time_zone") from error


class Syncs:
    """Starts sync jobs."""

    def __init__(
        self, groups: Collection[Group], index: OrderedIndex, jobs: Jobs, locks: GroupLocks, clock: Clock
    ) -> None:
        self._groups = groups
        self._due = DueTimes(index, "due/sync")
        self._jobs = jobs
        self._locks = locks
        self._clock = clock

    async def start(self, account: str, group: str, *, mode: str, actor: Actor) -> Job:
        """Start a sync of a group, or return the one that has not ended.

        `mode` is `changes` (what the vault's lists show as changed) or `full` (every version of every key).
        Raises ConflictError `group_kind` for a source group, `vault_not_selected` for a group without a vault.
        """
        stored = await self._groups.get(account, group)
        if stored is None:
            raise NotFoundError("There is no such group.", code="group_not_found")
        vault_of(stored.value)
        job = self._jobs.draft(JobKind.SYNC, account, group, actor, {"mode": mode})
        await self._jobs.prepare(job)
        holder = await self._locks.take(group, job)
        if holder.id != job.id:
            await self._jobs.discard(job)
            return holder
        await self._jobs.launch(job)
        return job

    async def plan(self, group: Group) -> None:
        """Put a group's next sync in the tree of due times. Call it after `next_sync_on` was written."""
        if group.next_sync_on is not None:
            entry = {"account": group.account, "group": group.id}
            await self._due.plan(group.next_sync_on, group.id, entry)

    async def schedule_due(self) -> int:
        """Start every sync that is due, and plan the next of each; return how many were started."""
        now = self._clock.now()
        return sum([await self._run_due(place, entry, now) async for place, entry in self._due.due(now)])

    async def _run_due(self, place: str, entry: Mapping[str, object], now: datetime) -> int:
        account, group_id = str(entry["account"]), str(entry["group"])
        stored = await self._groups.get(account, group_id)
        due = stored.value.next_sync_on if stored else None
        started = 0
        if stored is not None and due is not None and position(due, group_id) == place:
            started = await self._start_due(stored.value, now)
            await self._plan_next(stored.value, due, now)
        await self._due.done(place)
        return started

    async def _start_due(self, group: Group, now: datetime) -> int:
        full_due = group.last_full_sync_on is None or now >= group.last_full_sync_on + timedelta(
            days=group.schedule.full_every_days
        )
        try:
            await self.start(group.account, group.id, mode=FULL if full_due else CHANGES, actor=_TIMER)
        except (ConflictError, NotFoundError):
            return 0
        return 1

    async def _plan_next(self, group: Group, due: datetime, now: datetime) -> None:
        following = next_run(group.schedule, max(now, due))
        if following is not None:
            # Before the record: a crash in between leaves a hint too many, never a group that is not planned.
            await self.plan(replace(group, next_sync_on=following))

        def moved(fresh: Group) -> Group:
            return replace(fresh, next_sync_on=following) if fresh.next_sync_on == due else fresh

        try:
            await amend(self._groups, group.account, group.id, moved)
        except StaleWriteError:
            return
