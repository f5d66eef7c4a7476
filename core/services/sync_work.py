"""The work of a sync job: refresh the vault's facts, walk along its keys, and show on the group how it went.

Invariant: a job that is run again goes on at its checkpoint, and does nothing twice that can be told apart.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from core.domain.connections import ConnectionReport, VaultFacts
from core.domain.groups import Group, KeyCounts, LastSync, vault_of
from core.domain.jobs import Job, JobStatus
from core.domain.sync import SyncContext
from core.errors import KeystewardError, NotFoundError, VaultAnswerError
from core.ports import Clock, Collection, OrderedIndex, VaultKeys, Vaults
from core.services.amend import amend
from core.services.escrows import Escrows
from core.services.findings import FindingCode, Findings, Subject
from core.services.group_vaults import GroupConnections
from core.services.job_runs import Run
from core.services.key_records import KeyRecords
from core.services.locks import GroupLocks
from core.services.scratch_copies import ScratchCopies
from core.services.sync_batch import SyncBatch
from core.services.sync_pass import SyncPass, position_in, without_progress
from core.services.sync_stream import Position, SyncStream, prefetched

#: Calls under way at once in one vault.
_CALLS_AT_ONCE = 96
FULL = "full"


class SyncWork:
    """Runs sync jobs."""

    def __init__(  # noqa: PLR0913 - the collaborators of a sync
        self,
        groups: Collection[Group],
        index: OrderedIndex,
        *,
        vaults: Vaults,
        connections: GroupConnections,
        records: KeyRecords,
        escrows: Escrows,
        findings: Findings,
        locks: GroupLocks,
        clock: Clock,
    ) -> None:
        self._groups = groups
        self._index = index
        self._vaults = vaults
        self._connections = connections
        self._records = records
        self._escrows = escrows
        self._findings = findings
        self._locks = locks
        self._scratch = ScratchCopies(index, clock)
        self._clock = clock

    async def run(self, run: Run) -> None:
        """Sync the job's group."""
        group, selected = await self._group(run.job)
        connection = await self._connections.open(group)
        try:
            vault = await self._vaults.facts(connection, selected)
            async with self._vaults.keys(group.id, connection, vault) as keys:
                counts = await self._sync(run, group, vault, keys)
        except KeystewardError as error:
            # A vault that throttles is connected; to test it now would only wait for the end of its pause.
            if error.code != "vault_throttled":
                report = await self._vaults.test(connection, selected)
                await self._show(group, lambda fresh: replace(fresh, report=replace(report, vaults=())))
            raise
        full_on = run.job.requested_on if run.job.options.get("mode") == FULL else None
        now = self._clock.now()

        def synced(fresh: Group) -> Group:
            report = replace(fresh.report or ConnectionReport(now), tested_on=now, cause=None, stage=None, detail="")
            full_sync_on = full_on or fresh.last_full_sync_on
            return replace(fresh, vault=vault, counts=counts, report=report, last_full_sync_on=full_sync_on)

        await self._show(group, synced)

    async def ended(self, job: Job) -> None:
        """Free the group for its next sync, and show how this one ended."""
        if job.group is None:
            return
        await self._locks.release(job.group, job.id)
        if job.ended_on is None:
            return
        about = (FindingCode.SYNC_FAILED, Subject(job.group))
        if job.status is JobStatus.FAILED or job.progress.errors_total:
            latest = job.progress.errors[-1].detail if job.progress.errors else ""
            detail = f"Job {job.id} ended with {job.progress.errors_total} errors. The latest: {latest}"
            await self._findings.settle(job.account, {about: detail})
        elif job.status is JobStatus.SUCCEEDED:
            await self._findings.settle(job.account, {}, {about})
        ended = LastSync(job.id, job.status.value, job.ended_on)

        def noted(fresh: Group) -> Group:
            newer = fresh.last_sync is not None and fresh.last_sync.ended_on > ended.ended_on
            return fresh if newer else replace(fresh, last_sync=ended)

        # Last of all: whoever sees the sync on the group sees its findings, too.
        await amend(self._groups, job.account, job.group, noted)

    async def _show(self, group: Group, change: Callable[[Group], Group]) -> None:
        shown = await amend(self._groups, group.account, group.id, change)
        if shown is not None:
            await self._connections.note(shown)

    async def _group(self, job: Job) -> tuple[Group, VaultFacts]:
        stored = await self._groups.get(job.account, job.group or "")
        if stored is None:
            raise NotFoundError("There is no such group.", code="group_not_found")
        return stored.value, vault_of(stored.value)

    async def _sync(self, run: Run, group: Group, vault: VaultFacts, keys: VaultKeys) -> KeyCounts:
        try:
            return await self._pass(run, group, vault, keys)
        except VaultAnswerError:
            if position_in(run.job) == Position():
                raise
            # The vault may have forgotten the page on which the work stopped. What is written is found unchanged.
            await run.record(without_progress(run.job.progress), {"restart": "true"})
            return await self._pass(run, group, vault, keys)

    async def _pass(self, run: Run, group: Group, vault: VaultFacts, keys: VaultKeys) -> KeyCounts:
        start = position_in(run.job)
        now = self._clock.now()
        batch = SyncBatch(
            SyncContext(group.account, group.id, group.key_label, run.job.id, now),
            vault,
            group.escrow,
            keys=keys,
            records=self._records,
            escrows=self._escrows,
            findings=self._findings,
            calls=asyncio.Semaphore(_CALLS_AT_ONCE),
        )
        full = run.job.options.get("mode") == FULL
        # Read before the lists: a copy that is not in it yet is not restored before this sync ends.
        passed_by = await self._scratch.names_in(group.id)
        sync_pass = SyncPass(run, batch, now, full=full, escrow=group.escrow.enabled, passed_by=passed_by)
        async with (
            prefetched(keys.list_keys(start.live_token)) as live,
            prefetched(keys.list_deleted(start.deleted_token)) as deleted,
        ):
            return await sync_pass.go(SyncStream(self._index, group.id, start).walk(live, deleted))
