"""Starting escrow drills: on request, or because it is time.

Invariants: a group has at most one drill that has not ended; asking again returns it. The tree of due times is only a
hint: the group's own `next_drill_on` decides. The cost of a tick is that of the groups that are due.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from core.domain.callers import Actor, ActorKind
from core.domain.drills import DrillOrder, check_drill, check_scratch, next_drill
from core.domain.groups import Group, vault_of
from core.domain.jobs import Job, JobKind
from core.errors import ConflictError, InvalidRequestError, NotFoundError, StaleWriteError
from core.ports import Clock, Collection, OrderedIndex
from core.services.access import group_not_found
from core.services.amend import amend
from core.services.due_times import DueTimes, position
from core.services.jobs import Jobs
from core.services.locks import GroupLocks

_TIMER = Actor(ActorKind.TIMER, "drill_escrow", "schedule")


class Drills:
    """Starts drills."""

    def __init__(
        self, groups: Collection[Group], index: OrderedIndex, jobs: Jobs, locks: GroupLocks, clock: Clock
    ) -> None:
        self._groups = groups
        self._due = DueTimes(index, "due/drills")
        self._jobs = jobs
        self._locks = locks
        self._clock = clock

    async def start(self, account: str, group: str, order: DrillOrder, actor: Actor) -> Job:
        """Start a drill of a group, or return the one that has not ended.

        Raises NotFoundError `group_not_found` and the errors of `check`.
        """
        stored = await self._groups.get(account, group)
        if stored is None:
            raise group_not_found()
        await self.check(stored.value, order)
        return await self._started(stored.value, order, actor)

    async def check(self, group: Group, order: DrillOrder) -> None:
        """Refuse what could not be done.

        Raises ConflictError `group_kind`, `vault_not_selected`, `scratch_own_vault`, `scratch_purge_protected`,
        `restore_elsewhere`; InvalidRequestError `group_invalid`, and `group_unknown` for an unknown scratch group.
        """
        check_drill(order)
        own = vault_of(group)
        if order.restore_into is None:
            return
        scratch = await self._groups.get(group.account, order.restore_into)
        if scratch is None:
            detail = "There is no such group to restore into."
            raise InvalidRequestError(detail, code="group_unknown", field="restore_into")
        check_scratch(own, vault_of(scratch.value))

    def planned(self, group: Group) -> Group:
        """Return the group with the time of its next drill, if it has a vault."""
        if group.vault is None:
            return group
        since = group.last_drill.ended_on if group.last_drill else group.created_on
        return replace(group, next_drill_on=next_drill(group.drill, since, self._clock.now()))

    async def plan(self, group: Group) -> None:
        """Put a group's next drill in the tree of due times. Call it before `next_drill_on` is written."""
        if group.next_drill_on is not None:
            await self._due.plan(group.next_drill_on, group.id, {"account": group.account, "group": group.id})

    async def schedule_due(self) -> int:
        """Start every drill that is due, and plan the next of each; return how many were started."""
        now = self._clock.now()
        return sum([await self._run_due(place, entry, now) async for place, entry in self._due.due(now)])

    async def _run_due(self, place: str, entry: Mapping[str, object], now: datetime) -> int:
        account, group_id = str(entry["account"]), str(entry["group"])
        stored = await self._groups.get(account, group_id)
        due = stored.value.next_drill_on if stored else None
        started = 0
        if stored is not None and due is not None and position(due, group_id) == place:
            started = await self._start_due(stored.value)
            await self._plan_next(stored.value, due, now)
        await self._due.done(place)
        return started

    async def _start_due(self, group: Group) -> int:
        wanted = group.drill
        order = DrillOrder(wanted.sample, wanted.restore_into, wanted.restores)
        try:
            # A scratch vault that will not do any more fails the job, where it shows, after the rest was done.
            await self._started(group, order, _TIMER)
        except (ConflictError, NotFoundError):
            return 0
        return 1

    async def _plan_next(self, group: Group, due: datetime, now: datetime) -> None:
        following = next_drill(group.drill, max(due, now), now)
        # Before the record: a crash in between leaves a hint too many, never a group that is not planned.
        await self.plan(replace(group, next_drill_on=following))

        def moved(fresh: Group) -> Group:
            return replace(fresh, next_drill_on=following) if fresh.next_drill_on == due else fresh

        try:
            await amend(self._groups, group.account, group.id, moved)
        except StaleWriteError:
            return

    async def _started(self, group: Group, order: DrillOrder, actor: Actor) -> Job:
        job = self._jobs.draft(JobKind.DRILL, group.account, group.id, actor, order.options())
        await self._jobs.prepare(job)
        holder = await self._locks.take(group.id, job)
        if holder.id != job.id:
            await self._jobs.discard(job)
            return holder
        await self._jobs.launch(job)
        return job
