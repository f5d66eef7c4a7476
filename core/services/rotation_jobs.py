"""Starts rotation jobs: of a source key with copies, as somebody asked, or of a key whose schedule is due.

Invariants: what can be refused is refused before a job starts; the material of a linked rotation is stored before its
job, and is nowhere in it; a job's id follows from its request, or from its key and due time, so that it starts once.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from core.domain.callers import Actor, ActorKind
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobKind, TargetResult
from core.domain.keys import CopiedTo
from core.domain.rotation_schedules import KeySchedule
from core.domain.rotations import RotationOrder
from core.domain.schedulable import AnyKey
from core.domain.source_keys import SourceKey, require_permission
from core.errors import AlreadyExistsError, ConflictError, InvalidRequestError
from core.ports import Clock
from core.services.jobs import Jobs
from core.services.opened_keys import KeyRef
from core.services.source_rotations import RotatingSource, SourceRotations

_TIMER = Actor(ActorKind.TIMER, "rotate_due_keys", "schedule")


class RotationJobs:
    """Starts the jobs."""

    def __init__(self, rotations: SourceRotations, jobs: Jobs, clock: Clock) -> None:
        self._rotations = rotations
        self._jobs = jobs
        self._clock = clock

    async def order(self, ref: KeyRef, how: RotatingSource, copies: Sequence[str] | None) -> Job:
        """Start the rotation of a source key with these copies (None: all), or return the job of this request.

        Raises ConflictError `key_permission_missing`, `not_a_copy`, InvalidRequestError `dates_invalid` for material
        that may not be used yet, and the errors of SourceRotations.prepare.
        """
        id_ = derived_id(IdKind.JOB, ref.account, how.asked.request)
        earlier = await self._jobs.find(ref.account, id_)
        if earlier is not None:
            return earlier
        if how.validity and how.validity.not_before and how.validity.not_before > self._clock.now():
            detail = "Copies get a version that can be used: leave the activation date out, or the copies."
            raise InvalidRequestError(detail, code="dates_invalid", field="not_before")
        key = (await self._rotations.read(ref)).value
        require_permission(key, "export")
        results = tuple(TargetResult(copy.group, copy.name, key=copy.key) for copy in _chosen(key, copies))
        await self._rotations.prepare(ref, how)
        order = RotationOrder(
            group=ref.group,
            key=ref.key,
            request=how.asked.request,
            of_source=True,
            imported=how.material is not None,
            validity=how.validity,
            previous=how.previous,
        )
        return await self._started(id_, key, order, results, how.asked.actor)

    async def scheduled(self, key: AnyKey, scheduled: KeySchedule, due: datetime) -> Job:
        """Start the rotation of a key that was due, or return the job that did."""
        id_ = derived_id(IdKind.JOB, key.id, due.isoformat())
        schedule = scheduled.schedule
        order = RotationOrder(
            group=key.group,
            key=key.id,
            request=derived_id(IdKind.INTENT, id_),
            of_source=isinstance(key, SourceKey),
            previous=schedule.previous,
            size=schedule.size,
        )
        results: tuple[TargetResult, ...] = (TargetResult(key.group, key.name, key=key.id),)
        if isinstance(key, SourceKey):
            copies = key.copies if schedule.rotate_copies else ()
            results = tuple(TargetResult(copy.group, copy.name, key=copy.key) for copy in copies)
        return await self._started(id_, key, order, results, _TIMER, {"due": due.isoformat()})

    async def _started(
        self,
        id_: str,
        key: AnyKey,
        order: RotationOrder,
        results: tuple[TargetResult, ...],
        actor: Actor,
        options: dict[str, str] | None = None,
    ) -> Job:
        earlier = await self._jobs.find(key.account, id_)
        if earlier is None:
            draft = self._jobs.named(
                id_, JobKind.ROTATE, key.account, key.group, actor, {"key": key.id, **(options or {})}
            )
            progress = replace(draft.progress, total=len(results))
            draft = replace(draft, rotation=order, results=results, progress=progress)
            try:
                await self._jobs.prepare(draft)
                earlier = draft
            except AlreadyExistsError:
                earlier = (await self._jobs.get(key.account, id_)).value
        if not earlier.ended:
            # Whoever prepared it may have been cut off before it was launched.
            await self._jobs.launch(earlier)
        return earlier


def _chosen(key: SourceKey, copies: Sequence[str] | None) -> tuple[CopiedTo, ...]:
    if copies is None:
        return key.copies
    links = {link.key: link for link in key.copies}
    for number, copy in enumerate(copies):
        if copy not in links:
            detail = "This is no copy of the key."
            raise ConflictError(detail, code="not_a_copy", field=f"copies.{number}")
    return tuple(links[copy] for copy in dict.fromkeys(copies))
