"""Schedules of keys: set, taken away, and carried out when they are due.

Invariants: the tree of due times is only a hint, and the key's record decides; the next run is planned before the
record says so; a run starts one job, whichever timer finds it first, and late rather than never. The cost of a tick is
that of the keys that are due.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from core.concurrency import each
from core.domain.groups import GroupKind
from core.domain.keys import HistoryEntry, KeyClass, VirtualKey, extended
from core.domain.rotation_schedules import KeySchedule, RotationSchedule, checked, moved_on, planned
from core.domain.schedulable import AnyKey, current_life, is_rotatable, require_schedulable
from core.domain.source_keys import SourceKey
from core.errors import KeystewardError, NotFoundError, StaleWriteError
from core.ports import Clock, OrderedIndex
from core.services.attribute_actions import ActionRequest
from core.services.conditional import require_match
from core.services.due_keys import ROTATIONS, in_step
from core.services.due_times import DueTimes, position
from core.services.group_vaults import GroupVaults
from core.services.key_records import KeyRecords
from core.services.opened_keys import KeyRef
from core.services.rotation_jobs import RotationJobs
from core.services.source_records import SourceRecords

_TRIES = 8
_AT_ONCE = 4

_log = logging.getLogger(__name__)

type _Change = Callable[[AnyKey], KeySchedule | None]


class RotationSchedules:
    """The rotation schedules of all keys."""

    def __init__(
        self,
        vaults: GroupVaults,
        index: OrderedIndex,
        jobs: RotationJobs,
        *,
        records: KeyRecords,
        sources: SourceRecords,
        clock: Clock,
    ) -> None:
        self._vaults = vaults
        self._due = DueTimes(index, ROTATIONS)
        self._jobs = jobs
        self._records = records
        self._sources = sources
        self._clock = clock

    async def put(self, ref: KeyRef, schedule: RotationSchedule, asked: ActionRequest) -> AnyKey:
        """Give a key a schedule in place of the one that it has.

        Raises InvalidRequestError `rotation_schedule_invalid`; ConflictError `schedule_on_copy`,
        `schedule_on_imported`, `key_managed`, `key_size_unknown`, `key_permission_missing` and those of the
        lifecycle's table; StaleWriteError.
        """
        schedule, now = checked(schedule), self._clock.now()

        def scheduled(key: AnyKey) -> KeySchedule:
            require_schedulable(key, schedule, now)
            life = current_life(key)
            if life is None:
                raise NotFoundError("The key has no version.", code="key_version_not_found")
            return planned(schedule, life, asked.actor, now)

        return await self._amend(ref, scheduled, asked, "key.schedule_set", schedule.trigger.value)

    async def delete(self, ref: KeyRef, asked: ActionRequest) -> AnyKey:
        """Take a key's schedule away; NotFoundError `rotation_schedule_not_found`, StaleWriteError."""

        def unscheduled(key: AnyKey) -> None:
            require_schedule(key)

        return await self._amend(ref, unscheduled, asked, "key.schedule_deleted", "")

    async def start_due(self) -> int:
        """Start a job for every key that is due, and plan its next run; return how many were started."""
        due = [one async for one in self._due.due(self._clock.now())]

        async def run(one: tuple[str, Mapping[str, object]]) -> bool:
            try:
                return await self._run_due(*one)
            except KeystewardError as error:
                # One key that cannot be started now must not keep the others waiting; the next tick finds it again.
                _log.warning("rotation not started", extra={"key": str(one[1]["key"]), "code": error.code})
                return False

        return sum(await each(run, due, at_most=_AT_ONCE))

    async def _run_due(self, place: str, entry: Mapping[str, object]) -> bool:
        class_ = KeyClass(str(entry["class"]))
        ref = KeyRef(str(entry["account"]), str(entry["group"]), str(entry["key"]))
        key = await self._find(ref, class_)
        started = False
        due = key.schedule.next_on if key and key.schedule else None
        if key is not None and key.schedule is not None and due is not None and position(due, key.id) == place:
            if is_rotatable(key):
                await self._jobs.scheduled(key, key.schedule, due)
                started = True
            await self._move_on(ref, class_, due)
        await self._due.done(place)
        return started

    async def _move_on(self, ref: KeyRef, class_: KeyClass, due: datetime) -> None:
        now = self._clock.now()

        def moved(key: AnyKey) -> KeySchedule | None:
            # Somebody, or the rotation itself, may have planned anew meanwhile.
            life = current_life(key)
            if key.schedule is None or life is None or key.schedule.next_on != due:
                return key.schedule
            return moved_on(key.schedule, life, max(now, due))

        if class_ is KeyClass.SOURCE:
            await self._sources.amend(ref.account, ref.group, ref.key, lambda key: replace(key, schedule=moved(key)))
        else:
            await self._amend_virtual(ref, lambda key: replace(key, schedule=moved(key)), None)

    async def _find(self, ref: KeyRef, class_: KeyClass) -> AnyKey | None:
        if class_ is KeyClass.SOURCE:
            source = await self._sources.find(ref.group, ref.key)
            return source.value if source else None
        virtual = await self._records.keys.get(ref.group, ref.key)
        return virtual.value if virtual else None

    async def _amend(self, ref: KeyRef, change: _Change, asked: ActionRequest, event: str, detail: str) -> AnyKey:
        entry = HistoryEntry(self._clock.now(), event, asked.actor, detail)
        group = await self._vaults.group(ref.account, ref.group)
        if group.kind is GroupKind.SOURCE:

            def changed(key: SourceKey) -> SourceKey:
                return replace(key, schedule=change(key)).recorded(entry)

            stored = await self._sources.amend(ref.account, ref.group, ref.key, changed, asked.if_match)
            return stored.value

        def revised(key: VirtualKey) -> VirtualKey:
            return replace(key, schedule=change(key), history=extended(key.history, entry))

        return await self._amend_virtual(ref, revised, asked.if_match)

    async def _amend_virtual(
        self, ref: KeyRef, change: Callable[[VirtualKey], VirtualKey], if_match: str | None
    ) -> VirtualKey:
        for _ in range(_TRIES):
            stored = await self._records.get(ref.account, ref.group, ref.key)
            require_match(stored.etag, if_match, "The key")
            changed = in_step(change(stored.value))
            if changed == stored.value:
                return changed
            if await self._records.rewrite(stored, changed):
                return changed
        raise StaleWriteError("The key")


def require_schedule(key: AnyKey) -> KeySchedule:
    """Return a key's schedule; NotFoundError `rotation_schedule_not_found`."""
    if key.schedule is None:
        raise NotFoundError("The key has no rotation schedule.", code="rotation_schedule_not_found")
    return key.schedule
