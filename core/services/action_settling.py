"""What becomes of actions that outlive their request: a job goes on with them, and reconciliation looks after the rest.

Invariants: a job goes on with what the vault has accepted; reconciliation asks a vault for none anew: what was done is
recorded, what was not is withdrawn, and what the vault is still at is left for the next look. What is ours alone, the
end of an escrow, it carries through.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from core.domain.callers import Actor
from core.domain.changes import noted
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobKind
from core.domain.keys import VirtualKey
from core.domain.observed import ObservedKey
from core.domain.pending_actions import KeyAction
from core.domain.sync import is_same_key
from core.domain.wanted_changes import WantedChanges, wanted_by
from core.errors import AlreadyExistsError, KeystewardError, NotFoundError, VaultUnavailableError
from core.ports import Clock, VaultKeys
from core.services.deletion_actions import DeletionActions, words_of
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run
from core.services.jobs import Jobs
from core.services.key_records import KeyRecords
from core.services.key_refresh import KeyRefresh
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef
from core.services.reimports import Reimports
from core.services.restoring import Restores, generation_of
from core.services.version_making import VersionMaking
from core.services.waiting import IN_JOB

#: A vault that shows a key neither live nor deleted for so long has it no more.
_GONE_AFTER = timedelta(hours=1)

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
        making: VersionMaking,
        reimports: Reimports,
        clock: Clock,
    ) -> None:
        self._vaults = vaults
        self._records = records
        self._refresh = refresh
        self._actions = actions
        self._deletions = deletions
        self._restores = restores
        self._making = making
        self._reimports = reimports
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
        if key.pending.action is KeyAction.REIMPORT:
            await self._reimports.settle(key, IN_JOB)
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
        unavailable: set[str] = set()
        async for key in self._actions.left_over():
            job = await jobs.find(key.account, job_of(key)) if key.pending else None
            waits = job is not None and not job.ended
            if not waits and key.group not in unavailable and await self._try(key, unavailable):
                settled += 1
            else:
                await self._actions.note_unfinished(key)
        return settled

    async def _try(self, key: VirtualKey, unavailable: set[str]) -> bool:
        try:
            return await self._reconciled(key)
        except KeystewardError as error:
            # One vault that cannot be asked must not keep the others waiting.
            _log.warning("action not reconciled", extra={"key": key.id, "code": error.code})
            if isinstance(error, VaultUnavailableError):
                unavailable.add(key.group)
            return False

    async def _reconciled(self, key: VirtualKey) -> bool:
        if key.pending is None:
            return True
        if key.pending.action is KeyAction.DELETE:
            await self._deletions.destroyed(key)
            return True
        group = await self._vaults.group(key.account, key.group)
        async with self._vaults.opened(group) as keys:
            if key.pending.asked is None:
                return await self._judged(keys, key)
            await self._making.settle(keys, group, key)
            return True

    async def _judged(self, keys: VaultKeys, key: VirtualKey) -> bool:
        """Conclude or withdraw the key's action by what the vault shows; False where that tells nothing yet."""
        pending = key.pending
        if pending is None:
            return True
        observed = await self._refresh.observe(keys, key)
        if observed is None or (pending.action is KeyAction.PURGE and not is_same_key(key, observed)):
            return await self._judged_gone(key)
        if not is_same_key(key, observed):
            await self._actions.withdraw(key, "another key has its name")
        elif (wanted := wanted_by(pending)) is not None:
            await self._judged_versions(key, observed, wanted)
        elif _is_done(key, observed):
            change = self._refresh.taking_over(key, observed)
            await self._actions.conclude(key, change, detail=_joined("found done", words_of(key)))
        else:
            await self._actions.withdraw(key, "found not done")
        return True

    async def _judged_versions(self, key: VirtualKey, observed: ObservedKey, wanted: WantedChanges) -> None:
        """Record what was done of an action on versions: all, a part, which is said to be one, or nothing."""
        met = () if observed.listed.deletion else wanted.met(observed.versions)
        if not met:
            await self._actions.withdraw(key, "found not done")
            return
        whole = len(met) == len(wanted.versions)
        found = "found done" if whole else f"found done for {len(met)} of {len(wanted.versions)} versions"
        seen = self._refresh.taking_over(key, observed)

        def changed(present: VirtualKey) -> VirtualKey:
            actor = present.pending.actor if present.pending else present.created_by
            return noted(seen(present), wanted, actor, self._clock.now())

        event = wanted.event if whole else None
        await self._actions.conclude(key, changed, event=event, detail=_joined(found, wanted.words), done=whole)

    async def _judged_gone(self, key: VirtualKey) -> bool:
        pending = key.pending
        if pending is None:
            return True
        if pending.action is KeyAction.PURGE:
            await self._deletions.concluded_purge(key)
            return True
        if pending.action is KeyAction.RESTORE:
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
    return False


def _joined(*words: str) -> str:
    return ": ".join(filter(None, words))


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
        try:
            await self._jobs.prepare(job)
        except AlreadyExistsError:
            # Two who asked for the same have waited for as long.
            return await self._jobs.find(key.account, id_)
        await self._jobs.launch(job)
        return job
