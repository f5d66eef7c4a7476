"""The work of a rotation job: a new version of a source key, then of its copies; or of one key in a vault.

Invariants: each target is one request of its own, the same in every try, so that whatever is cut off is found; a copy
that is at a later version already is left there; the job says of every copy what became of it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from core.domain.groups import GroupKind
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobStatus, ResultStatus, TargetResult
from core.domain.keys import CopiedFrom, CopiedTo, KeyClass
from core.domain.pending_actions import AskedSource
from core.domain.rotations import RotationOrder, life_of, rotated_validity, source_version_of, version_made_by
from core.domain.source_keys import MaterialOrigin, SourceKey, is_ahead
from core.errors import ConflictError, IntegrityError, VaultUnavailableError
from core.ports import Clock
from core.services.attribute_actions import ActionRequest
from core.services.findings import FindingCode, Findings, Subject
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run
from core.services.key_records import KeyRecords
from core.services.opened_keys import KeyRef
from core.services.retirements import Retirements
from core.services.rotations import Rotating, Rotations
from core.services.source_keys import NewSourceVersion, SourceKeys, SourceUse
from core.services.source_rotations import RotatingSource, SourceRotations, version_number
from core.services.target_jobs import run_targets

#: Another action on the key, such as a deletion, takes so long.
_PATIENCE = timedelta(minutes=1)


class RotationWork:
    """Runs rotation jobs."""

    def __init__(  # noqa: PLR0913 - keys of both kinds, and where they are
        self,
        rotations: Rotations,
        source_rotations: SourceRotations,
        *,
        sources: SourceKeys,
        records: KeyRecords,
        vaults: GroupVaults,
        retirements: Retirements,
        findings: Findings,
        clock: Clock,
    ) -> None:
        self._rotations = rotations
        self._source_rotations = source_rotations
        self._sources = sources
        self._records = records
        self._vaults = vaults
        self._retirements = retirements
        self._findings = findings
        self._clock = clock

    async def run(self, run: Run) -> None:
        """Rotate what is not rotated yet; errors as for `run_targets`, and those of SourceRotations.rotate."""
        order = run.job.rotation
        if order is None:
            raise IntegrityError("A rotation job says nothing of what to rotate.")
        if order.of_source:
            number = await self._source_version(run, order)
            act = partial(self._copy, run.job, order, number)
        else:
            act = partial(self._key, run.job, order)
        await run_targets(run, partial(_patiently, act), "keys")

    async def ended(self, job: Job) -> None:
        """Raise a finding for what a failed job did not rotate; what makes a version of a key clears it."""
        order = job.rotation
        if order is None or job.status is not JobStatus.FAILED:
            return
        raised: dict[tuple[FindingCode, Subject], str] = {}
        if order.of_source and "version" not in job.options:
            latest = job.progress.errors[-1].code if job.progress.errors else "internal"
            about = (FindingCode.ROTATION_FAILED, Subject(order.group, order.key))
            raised[about] = f"The source key was not rotated: {latest}."
        for result in job.results:
            if result.status is not ResultStatus.DONE:
                about = (FindingCode.ROTATION_FAILED, Subject(result.group, result.key or ""))
                raised[about] = f"The key '{result.name}' was not rotated: {result.code}."
        await self._findings.settle(job.account, raised)

    async def _source_version(self, run: Run, order: RotationOrder) -> int:
        """Make the new version of the source key, or find it; return its number."""
        job = run.job
        how = RotatingSource(
            ActionRequest(order.request, job.requested_by), order.validity, order.previous, imported=order.imported
        )
        stored = await self._source_rotations.rotate(KeyRef(job.account, order.group, order.key), how)
        number = version_number(stored.value, order.request)
        if number is None:
            raise IntegrityError("A version that was made is not recorded.")
        if "version" not in job.options:
            await run.edit(options={**job.options, "version": str(number)})
        return number

    async def _key(self, job: Job, order: RotationOrder, number: int) -> tuple[str, str | None]:
        asked = ActionRequest(_request(job, job.results[number]), job.requested_by)
        how = Rotating(asked, order.validity, order.previous, size=order.size)
        key = await self._rotations.rotate(KeyRef(job.account, order.group, order.key), how)
        return key.id, version_made_by(key, asked.request)

    async def _copy(self, job: Job, order: RotationOrder, version: int, number: int) -> tuple[str, str | None]:
        result = job.results[number]
        group = await self._vaults.group(job.account, result.group)
        if group.kind is GroupKind.SOURCE:
            return await self._source_copy(job, order, version, result)
        key = (await self._records.get(job.account, result.group, result.key or "")).value
        _require_copy_of(key.copied_from, order)
        at = source_version_of(key)
        if at is not None and at >= version:
            return key.id, key.current.id if key.current else None
        asked = ActionRequest(_request(job, result), job.requested_by)
        use = SourceUse(order.group, order.key, version)
        how = Rotating(asked, order.validity, order.previous, source=use)
        key = await self._rotations.rotate(KeyRef(job.account, result.group, key.id), how)
        return key.id, version_made_by(key, asked.request)

    async def _source_copy(
        self, job: Job, order: RotationOrder, version: int, result: TargetResult
    ) -> tuple[str, str | None]:
        """Give a copy in a source group the new material."""
        ref = KeyRef(job.account, result.group, result.key or "")
        use = SourceUse(order.group, order.key, version)
        copy = (await self._sources.get(ref.account, ref.group, ref.key)).value
        _require_copy_of(copy.copied_from, order)
        if is_ahead(copy, version):
            return copy.id, str(copy.current.number)
        request, now, grace = _request(job, result), self._clock.now(), order.previous.grace
        source, _, material = await self._sources.opened(job.account, use, "export")
        with material:
            new = NewSourceVersion(
                request=request,
                material=material,
                validity=rotated_validity(life_of(copy.current), order.validity, now),
                actor=job.requested_by,
                origin=MaterialOrigin.COPIED,
                event="key.rotated",
                retire_on=None if grace is None else now + grace,
                copied=AskedSource(source.group, source.id, source.name, version),
            )
            made = (await self._sources.add_version(ref.account, ref.group, ref.key, new)).value
        number = version_number(made, request)
        if number is None:
            return made.id, str(made.current.number)
        await self._sources.link(job.account, use, _link(job, source, made, version), "key.copy_rotated")
        if grace is not None and not grace:
            await self._retirements.try_now(ref, KeyClass.SOURCE)
        return made.id, str(number)


def _request(job: Job, result: TargetResult) -> str:
    return derived_id(IdKind.INTENT, job.id, result.key or "")


def _require_copy_of(link: CopiedFrom | None, order: RotationOrder) -> None:
    if link is None or link.key != order.key:
        raise ConflictError("The key is no copy of the source key any more.", code="not_a_copy")


def _link(job: Job, source: SourceKey, copy: SourceKey, version: int) -> CopiedTo:
    earlier = next((link for link in source.copies if link.key == copy.id), None)
    return CopiedTo(
        group=copy.group,
        group_title=earlier.group_title if earlier else "",
        key=copy.id,
        name=copy.name,
        azure_name=None,
        source_version=version,
        copied_by=job.requested_by,
        copied_on=job.requested_on,
    )


async def _patiently(act: Callable[[int], Awaitable[tuple[str, str | None]]], number: int) -> tuple[str, str | None]:
    """Wait with the job for the end of another action on the key."""
    try:
        return await act(number)
    except ConflictError as error:
        if error.code != "key_action_pending":
            raise
        raise VaultUnavailableError(error.detail, code=error.code, retry_after=_PATIENCE) from None
