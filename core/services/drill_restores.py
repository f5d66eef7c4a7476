"""The restores of a drill: a few keys, each restored into the scratch vault, compared, and cleared from there.

Invariants: which keys they are is in the job before any is restored; the outcome of each is noted before its copy is
cleared, so that a vault that deletes slowly makes no second restore of one; a cancellation stops none in the middle.
A worker that lost the job writes down again what it may have restored since.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from core.concurrency import each
from core.domain.connections import VaultFacts, VaultType
from core.domain.drills import DrillOrder, check_scratch, is_restorable
from core.domain.groups import Group, vault_of
from core.domain.jobs import Job, JobError, ResultStatus, TargetResult
from core.errors import ConflictError, IntegrityError, KeystewardError, NotFoundError, VaultUnavailableError
from core.ports import VaultKeys
from core.services.escrow_checks import EscrowChecks
from core.services.group_vaults import GroupVaults
from core.services.job_runs import JobCancelledError, LeaseLostError, Run, with_error
from core.services.key_records import KeyRecords
from core.services.restoring import check_place
from core.services.scratch_copies import ScratchCopy
from core.services.scratch_restores import ScratchRestores

_AT_ONCE = 4
_BROKEN = frozenset({"restore_incomplete", "restore_differs"})


@dataclass(slots=True)
class _Attempt:
    """One try of one target: with its copy as soon as that is written down."""

    target: TargetResult
    copy: ScratchCopy | None = None


class DrillRestores:
    """Restores keys for proof, and clears what it restored."""

    def __init__(
        self, records: KeyRecords, checks: EscrowChecks, scratch: ScratchRestores, vaults: GroupVaults
    ) -> None:
        self._records = records
        self._checks = checks
        self._scratch = scratch
        self._vaults = vaults

    async def targets(self, group: Group, order: DrillOrder, keys: Sequence[str]) -> tuple[TargetResult, ...]:
        """Return what is to be restored, as results that are pending."""
        rows = await self._records.keys.get_many(group.id, keys)
        into = order.restore_into or ""
        return tuple(TargetResult(into, rows[key].value.azure_name, key=key) for key in keys if key in rows)

    async def clear(self, run: Run, order: DrillOrder) -> None:
        """Clear what an earlier try of the job left in the scratch vault."""
        if order.restore_into is None or not await self._scratch.has_any(run.job.id):
            return
        scratch = await self._vaults.group(run.job.account, order.restore_into)
        async with self._vaults.opened(scratch) as keys:
            await self._scratch.clear_of(run.job.id, keys)

    async def report(self, job: Job) -> None:
        """Raise findings for what the job leaves in the scratch vault."""
        await self._scratch.report(job.id)

    async def restore(self, run: Run, group: Group, into: str) -> None:
        """Settle the job's results that are pending.

        Raises NotFoundError `group_not_found`, the errors of `check_scratch`, and VaultUnavailableError where some have
        to be tried again.
        """
        scratch = await self._vaults.group(run.job.account, into)
        pending = [number for number, result in enumerate(run.job.results) if not result.settled]
        if not pending:
            return
        facts = await self._vaults.facts(scratch)
        check_scratch(vault_of(group), facts)
        async with self._vaults.opened(scratch) as keys:

            async def settle(number: int) -> VaultUnavailableError | None:
                if run.job.cancel_requested:
                    return None
                return await self._settle(run, keys, replace(scratch, vault=facts), number)

            waiting = [error for error in await each(settle, pending, at_most=_AT_ONCE) if error is not None]
        if run.job.cancel_requested:
            raise JobCancelledError
        if waiting:
            raise waiting[0]

    async def _settle(self, run: Run, keys: VaultKeys, scratch: Group, number: int) -> VaultUnavailableError | None:
        """Restore and compare one key, note that, and clear it; return the error for which to try again."""
        attempt = _Attempt(run.job.results[number])
        try:
            await _note(run, number, *await self._outcome(run, keys, scratch, attempt))
        except VaultUnavailableError as error:
            # What became of the restore shows after a while: the next try clears it first.
            return error
        except (LeaseLostError, asyncio.CancelledError):
            if attempt.copy is not None:
                await self._scratch.open_again(attempt.copy)
            raise
        return await self._clear(run, keys, attempt.target)

    async def _outcome(
        self, run: Run, keys: VaultKeys, scratch: Group, attempt: _Attempt
    ) -> tuple[TargetResult, JobError | None]:
        target = attempt.target
        try:
            await self._prove(run, keys, scratch, attempt)
        except VaultUnavailableError:
            raise
        except KeystewardError as error:
            failed = replace(target, status=ResultStatus.FAILED, code=error.code, detail=error.detail)
            return failed, JobError(error.code, error.detail, target.name)
        return replace(target, status=ResultStatus.DONE), None

    async def _prove(self, run: Run, keys: VaultKeys, scratch: Group, attempt: _Attempt) -> None:
        target, vault = attempt.target, vault_of(scratch)
        key = (await self._records.get(run.job.account, run.job.group or "", target.key or "")).value
        try:
            opened = await self._checks.open(key)
            if opened is None:
                raise NotFoundError("The key has no escrow any more.", code="escrow_not_found")
            key = opened.key
            check_place(opened.manifest, vault)
            if not is_restorable(key.versions, vault):
                raise ConflictError("A standard vault takes no HSM-protected keys.", code="restore_elsewhere")
            attempt.copy = await self._scratch.begin(run.job.id, keys, scratch, opened)
            await self._scratch.prove(run, keys, attempt.copy, opened)
        except KeystewardError as error:
            if _is_broken(error, vault):
                await self._checks.note_broken(key, error)
            raise

    async def _clear(self, run: Run, keys: VaultKeys, target: TargetResult) -> VaultUnavailableError | None:
        try:
            await self._scratch.clear_of(run.job.id, keys, target.key)
        except VaultUnavailableError as error:
            return error
        except KeystewardError as error:
            # It stays in the list of copies, and becomes a finding when the job ends.
            problem = JobError(error.code, error.detail, target.name)
            with suppress(JobCancelledError):
                await run.revise(lambda job: replace(job, progress=with_error(job.progress, problem)))
        return None


async def _note(run: Run, number: int, result: TargetResult, error: JobError | None = None) -> None:
    word = "restored" if error is None else "failed"

    def noted(job: Job) -> Job:
        results = tuple(result if at == number else kept for at, kept in enumerate(job.results))
        counts = {**job.progress.counts, word: job.progress.counts.get(word, 0) + 1}
        progress = replace(job.progress, done=job.progress.done + 1, counts=counts)
        settled = {**job.checkpoint, "settled": str(sum(1 for each in results if each.settled))}
        return replace(job.progressed(with_error(progress, error) if error else progress, settled), results=results)

    with suppress(JobCancelledError):
        await run.revise(noted)


def _is_broken(error: KeystewardError, scratch: VaultFacts) -> bool:
    """Whether the escrow is to blame. A managed HSM refuses backups of another security domain, too."""
    refused = error.code == "restore_refused" and scratch.type is not VaultType.MANAGED_HSM
    return refused or error.code in _BROKEN or isinstance(error, IntegrityError)
