"""What becomes of actions that outlive their request: a job goes on with them, and reconciliation looks after the rest.

Invariants: a job goes on with what the vault has accepted; reconciliation only looks: what was done is recorded, what
was not is withdrawn, and what the vault is still at is left for the next look.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from core.domain.callers import Actor
from core.domain.changes import absorbed
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobKind
from core.domain.keys import VirtualKey
from core.domain.observed import ObservedKey
from core.domain.pending_actions import KeyAction
from core.errors import KeystewardError, NotFoundError
from core.ports import Clock, VaultKeys
from core.services.deletion_actions import DeletionActions
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run
from core.services.jobs import Jobs
from core.services.key_records import KeyRecords
from core.services.key_refresh import KeyRefresh
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef
from core.services.restoring import Restores, generation_of
from core.services.waiting import IN_JOB

#: A vault that shows a key neither live nor deleted for so long has it no more.
_GONE_AFTER = timedelta(hours=1)
_ATTRIBUTES = frozenset({KeyAction.UPDATE, KeyAction.DEACTIVATE, KeyAction.ACTIVATE})
_ADDING = frozenset({KeyAction.ROTATE, KeyAction.REIMPORT})

_log = logging.getLogger(__name__)


class ActionSettling:
    """Brings pending actions to their end. `Work` of jobs of the kind `action`."""

    def __init__(  # noqa: PLR0913 - the collaborators of every action
        self,
        vaults: GroupVaults,
        records: KeyRecords,
        refresh: KeyRefresh,
        actions: OpenActions,
        *,
        deletions: DeletionActions,
        restores: Restores,
        clock: Clock,
    ) -> None:
        self._vaults = vaults
        self._records = records
        self._refresh = refresh
        self._actions = actions
        self._deletions = deletions
        self._restores = restores
        self._clock = clock

    async def run(self, run: Run) -> None:
        """Go on with the action of the job's key; StillWorkingError has the job tried again later."""
        options = run.job.options
        try:
            stored = await self._records.get(run.job.account, run.job.group or "", options["key"])
        except NotFoundError:
            return
        key = stored.value
        if key.pending is None or key.pending.id != options["request"]:
            return
        group = await self._vaults.group(key.account, key.group)
        async with self._vaults.opened(group) as keys:
            if key.pending.action is KeyAction.RESTORE:
                await self._restores.settle(keys, key, IN_JOB)
            else:
                await self._deletions.settle(keys, key, IN_JOB)

    async def ended(self, job: Job) -> None:
        """Do nothing: what the job left pending, reconciliation looks at."""

    async def reconcile(self, jobs: Jobs) -> int:
        """Look at every action that was left over; return how many were settled."""
        settled = 0
        async for key in self._actions.left_over():
            job = await jobs.find(key.account, job_of(key)) if key.pending else None
            if job is not None and not job.ended:
                continue
            try:
                settled += await self._reconciled(key)
            except KeystewardError as error:
                # One vault that cannot be asked must not keep the others waiting.
                _log.warning("action not reconciled", extra={"key": key.id, "code": error.code})
        return settled

    async def _reconciled(self, key: VirtualKey) -> bool:
        if key.pending is None:
            return True
        if key.pending.action is KeyAction.DELETE:
            await self._deletions.destroyed(key)
            return True
        group = await self._vaults.group(key.account, key.group)
        async with self._vaults.opened(group) as keys:
            return await self._judged(keys, key)

    async def _judged(self, keys: VaultKeys, key: VirtualKey) -> bool:
        """Conclude or withdraw the key's action by what the vault shows; False where that tells nothing yet."""
        pending = key.pending
        if pending is None:
            return True
        observed = await self._refresh.observe(keys, key)
        if observed is None:
            return await self._judged_gone(key)
        if _is_done(key, observed):
            await self._actions.conclude(
                key, lambda present: absorbed(present, observed, self._clock.now()), detail="found done"
            )
        elif pending.action in _ADDING and _has_new(key, observed):
            # It is not what was asked for: left for the sync, which shows it as drift.
            await self._actions.withdraw(key, "something else was found")
        else:
            await self._actions.withdraw(key, "found not done")
        return True

    async def _judged_gone(self, key: VirtualKey) -> bool:
        pending = key.pending
        if pending is None:
            return True
        if pending.action is KeyAction.PURGE:
            await self._deletions.concluded_purge(key)
            return True
        if pending.action in {KeyAction.RESTORE, KeyAction.REIMPORT}:
            await self._actions.withdraw(key, "found not done")
            return True
        if self._clock.now() - pending.started_on < _GONE_AFTER:
            # The vault may still be deleting or recovering it.
            return False
        await self._actions.withdraw(key, "found gone")
        return True


def _is_done(key: VirtualKey, observed: ObservedKey) -> bool:
    """Whether what the vault shows is the outcome of the key's pending action."""
    pending = key.pending
    if pending is None:
        return False
    deleted = observed.listed.deletion is not None
    if pending.action is KeyAction.SOFT_DELETE:
        return deleted
    if pending.action is KeyAction.RECOVER:
        return not deleted
    if pending.action is KeyAction.RESTORE:
        wanted = set(generation_of(key, pending.details.get("generation")).versions)
        return not deleted and wanted <= {version.id for version in observed.versions}
    if pending.action in _ATTRIBUTES:
        return not deleted and {v.id: v.updated_on for v in observed.versions} != {
            v.id: v.updated_on for v in key.versions
        }
    return False


def _has_new(key: VirtualKey, observed: ObservedKey) -> bool:
    known = {version.id for version in key.versions}
    return any(version.id not in known for version in observed.versions)


def job_of(key: VirtualKey) -> str:
    """Return the id of the job that goes on with a key's pending action."""
    return derived_id(IdKind.JOB, key.account, key.pending.id if key.pending else "")


class ActionJobs:
    """Leaves to a job what a request cannot wait for."""

    def __init__(self, records: KeyRecords, jobs: Jobs) -> None:
        self._records = records
        self._jobs = jobs

    async def go_on(self, ref: KeyRef, actor: Actor) -> Job | None:
        """Start the job that goes on with a key's pending action, or return the one there is; None: nothing pending."""
        key = (await self._records.get(ref.account, ref.group, ref.key)).value
        if key.pending is None:
            return None
        id_ = job_of(key)
        earlier = await self._jobs.find(key.account, id_)
        if earlier is not None:
            return earlier
        options: Mapping[str, str] = {"key": key.id, "action": key.pending.action, "request": key.pending.id}
        job = self._jobs.named(id_, JobKind.ACTION, key.account, key.group, actor, options)
        await self._jobs.prepare(job)
        await self._jobs.launch(job)
        return job
