"""Rotation of the sealing key: wrap every data key under its newest version; sealed objects stay as they are.

Invariants: a data key's record is replaced only after its new wrapping was unwrapped again and found equal; a record
that is under the newest version already is not touched, so a run that broke off is resumed by running again; one that
fails does not stop the others.
"""

import asyncio
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, replace

from core.domain.callers import Caller
from core.domain.data_keys import WrappedDataKey, data_key_unavailable, encoded
from core.domain.permissions import Permission
from core.errors import KeystewardError, StaleWriteError
from core.ports import DataKeyRecords, SealingKey, Stored
from core.services.access import Access

_CONCURRENCY = 8
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RewrapFailure:
    """A data key that is still under an older version, and the stable code of why."""

    account: str
    data_key: str
    code: str


@dataclass(frozen=True, slots=True)
class RewrapResult:
    """What a run did: `rewrapped` now, `current` already under `sealing_key`, `failed` left as they were."""

    sealing_key: str
    rewrapped: int
    current: int
    failed: tuple[RewrapFailure, ...]


class RewrapDataKeys:
    """Rewraps the data keys of all accounts."""

    def __init__(self, access: Access, records: DataKeyRecords, sealing_key: SealingKey) -> None:
        self._access = access
        self._records = records
        self._sealing_key = sealing_key

    async def __call__(self, caller: Caller, *, new_version: bool) -> RewrapResult:
        """Rewrap under the newest version, after making one where `new_version` is set; needs `sealing_key.rotate`."""
        self._access.require_platform(caller, Permission.SEALING_KEY_ROTATE)
        target = await (self._sealing_key.rotate() if new_version else self._sealing_key.newest())
        run = _Run(self._records, self._sealing_key, target)
        references = iter([reference async for reference in self._records.references()])
        async with asyncio.TaskGroup() as workers:
            for _ in range(_CONCURRENCY):
                workers.create_task(run.work_through(references))
        return RewrapResult(target, run.rewrapped, run.current, tuple(run.failed))


class _Run:
    """One run's target and what it has counted so far."""

    def __init__(self, records: DataKeyRecords, sealing_key: SealingKey, target: str) -> None:
        self._records = records
        self._sealing_key = sealing_key
        self._target = target
        self.rewrapped = 0
        self.current = 0
        self.failed: list[RewrapFailure] = []

    async def work_through(self, references: Iterator[tuple[str, str]]) -> None:
        """Take one reference after the other from what all workers share, until none is left."""
        for account, data_key in references:
            await self._one(account, data_key)

    async def _one(self, account: str, data_key: str) -> None:
        try:
            done = await self._rewrap(account, data_key)
        except KeystewardError as error:
            self.failed.append(RewrapFailure(account, data_key, error.code))
            return
        self.rewrapped += done
        self.current += not done

    async def _rewrap(self, account: str, data_key: str) -> bool:
        """Return False where nothing was to do."""
        for attempt in range(1, _ATTEMPTS + 1):
            stored = await self._records.read(account, data_key)
            if stored.value.sealing_key == self._target:
                return False
            try:
                await self._replace(stored)
            except StaleWriteError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return True
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _replace(self, stored: Stored[WrappedDataKey]) -> None:
        record = stored.value
        plain = await self._sealing_key.unwrap(record.sealing_key, record.wrapped_bytes)
        wrapped_key = await self._sealing_key.wrap(self._target, plain)
        proof = await self._sealing_key.unwrap(self._target, wrapped_key)
        if not hmac.compare_digest(proof.reveal(), plain.reveal()):
            raise data_key_unavailable(record.id)
        await self._records.replace(
            replace(record, wrapped=encoded(wrapped_key), sealing_key=self._target), stored.etag
        )
