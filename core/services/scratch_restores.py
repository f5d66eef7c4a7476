"""A real restore for proof: a key from its escrow into a scratch vault, compared there, deleted and purged.

Invariants: nothing is restored over a name that the scratch vault holds, live or soft-deleted; a copy is written down
before it is asked for, and while a sync of the scratch group runs that does not know of it, none is; whatever ends a
drill, its copies are cleared by it, by its next try, or by `clear_left_over`, and are findings until then.

Sources: those of `core.services.restoring`.
"""

import asyncio
import logging
from collections import defaultdict

from core.domain.drills import check_proof
from core.domain.groups import Group
from core.domain.secrets import SecretBytes
from core.errors import ConflictError, KeystewardError, VaultAnswerError, VaultUnavailableError
from core.ports import VaultKeys
from core.services.escrow_checks import Opened
from core.services.findings import FindingCode, Findings, Subject
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run
from core.services.jobs import Jobs
from core.services.key_reader import KeyReader
from core.services.locks import GroupLocks
from core.services.restoring import PERHAPS_FREE_LATER
from core.services.scratch_copies import ScratchCopies, ScratchCopy, Seen, clear, look
from core.services.waiting import IN_JOB, IN_REQUEST, awaited

_CALLS_AT_ONCE = 16
_LEFT = "A drill's copy of the key '{}' is still in the vault of the group '{}'."

_log = logging.getLogger(__name__)


class ScratchRestores:
    """Restores into scratch vaults, and leaves nothing there."""

    def __init__(self, copies: ScratchCopies, *, vaults: GroupVaults, locks: GroupLocks, findings: Findings) -> None:
        self._copies = copies
        self._vaults = vaults
        self._locks = locks
        self._findings = findings

    async def begin(self, job: str, keys: VaultKeys, scratch: Group, opened: Opened) -> ScratchCopy:
        """Write a copy down that is about to be restored; ConflictError `key_name_taken`."""
        copy = self._copies.draft(job, opened.key, scratch.id, opened.manifest.versions)
        if (await look(keys, copy))[0] is not Seen.NOTHING:
            raise _taken()
        await self._copies.open(copy)
        return copy

    async def prove(self, run: Run, keys: VaultKeys, copy: ScratchCopy, opened: Opened) -> None:
        """Restore a key and compare it. Its copy is to be cleared afterwards, whatever this raises.

        Raises ConflictError `key_name_taken`; VaultAnswerError `restore_refused`, `restore_incomplete`,
        `restore_differs`; StillWorkingError; and the errors of the vault.
        """
        await awaited(lambda: self._unsynced(copy.scratch), IN_JOB)
        # Whoever lost the lease must not restore what another worker has cleared.
        await run.renew()
        await awaited(lambda: self._restored(keys, copy, opened.backup), IN_JOB)
        observed = await KeyReader(keys, asyncio.Semaphore(_CALLS_AT_ONCE)).find(copy.azure_name, None)
        if observed is None:
            raise VaultAnswerError("The key did not come back from the backup.", code="restore_incomplete")
        check_proof(opened.key, opened.manifest, observed)

    async def clear_of(self, job: str, keys: VaultKeys, key: str | None = None) -> None:
        """Delete, purge and forget the copies of a drill that are written down, or that of one key.

        Raises StillWorkingError and the errors of `scratch_copies.clear`.
        """
        for copy in await self._copies.of_job(job):
            if key in {None, copy.key}:
                await self._clear(keys, copy, IN_JOB)

    async def open_again(self, copy: ScratchCopy) -> None:
        """Write a copy down that another worker may have seen cleared before it was there."""
        await self._copies.touch(copy)

    async def has_any(self, job: str) -> bool:
        """Whether copies of a drill are left."""
        return bool(await self._copies.of_job(job))

    async def report(self, job: str) -> None:
        """Raise a finding for every copy that a drill left."""
        for copy in await self._copies.of_job(job):
            await self._raise(copy)

    async def clear_left_over(self, jobs: Jobs) -> int:
        """Clear the copies whose drill has ended, vault by vault; return how many. What stays is a finding."""
        left: dict[tuple[str, str], list[ScratchCopy]] = defaultdict(list)
        async for copy in self._copies.all():
            job = await jobs.find(copy.account, copy.job)
            if (job is None or job.ended) and self._copies.is_settled(copy):
                left[copy.account, copy.scratch].append(copy)
        return sum([await self._clear_in(*place, copies) for place, copies in left.items()])

    async def _clear_in(self, account: str, scratch: str, copies: list[ScratchCopy]) -> int:
        cleared = 0
        try:
            group = await self._vaults.group(account, scratch)
            async with self._vaults.opened(group) as keys:
                for copy in copies:
                    cleared += await self._try_to_clear(keys, copy)
        except KeystewardError as error:
            _log.warning("scratch copies not cleared", extra={"group": scratch, "code": error.code})
            for copy in copies:
                await self._raise(copy)
        return cleared

    async def _try_to_clear(self, keys: VaultKeys, copy: ScratchCopy) -> bool:
        try:
            await self._clear(keys, copy, IN_REQUEST)
        except KeystewardError as error:
            _log.warning("scratch copy not cleared", extra={"key": copy.key, "code": error.code})
            await self._raise(copy)
            return False
        return True

    async def _clear(self, keys: VaultKeys, copy: ScratchCopy, seconds: float) -> None:
        await clear(keys, self._copies, copy, seconds)
        await self._findings.settle(copy.account, {}, {_about(copy)})
        await self._copies.close(copy)

    async def _raise(self, copy: ScratchCopy) -> None:
        await self._findings.settle(copy.account, {_about(copy): _LEFT.format(copy.azure_name, copy.scratch)})

    async def _unsynced(self, scratch: str) -> bool | None:
        """A sync that starts from now on finds the copy in the list, and passes it by; one that runs does not."""
        return True if await self._locks.holder(scratch) is None else None

    async def _restored(self, keys: VaultKeys, copy: ScratchCopy, backup: SecretBytes) -> bool | None:
        seen, _ = await look(keys, copy)
        if seen is Seen.LIVE:
            return True
        if seen is not Seen.NOTHING:
            raise _taken()
        try:
            await keys.restore(backup)
        except ConflictError as error:
            # Straight after a purge the name is not free yet.
            if error.code not in PERHAPS_FREE_LATER:
                raise
        except VaultUnavailableError:
            raise
        except KeystewardError:
            # The vault said no: there is nothing to clear.
            await self._copies.close(copy)
            raise
        return None


def _taken() -> ConflictError:
    detail = "The scratch vault has a key with this name, live or soft-deleted."
    return ConflictError(detail, code="key_name_taken")


def _about(copy: ScratchCopy) -> tuple[FindingCode, Subject]:
    return FindingCode.SCRATCH_COPY_LEFT, Subject(copy.group, copy.key)
