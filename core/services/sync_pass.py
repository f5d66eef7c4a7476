"""One walk along a vault's lists: batches of what changed, a bounded number at once, with checkpoints between them.

Invariants:
- Batches end in any order; the checkpoint moves only over those that ended without a gap before them.
- Memory holds a bounded number of batches, whatever the size of the vault.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from core.domain.groups import KeyCounts
from core.domain.jobs import Job, Progress
from core.domain.keys import GONE, KeyState
from core.domain.sync import is_unchanged
from core.services.job_runs import SHOWN_ERRORS, Run
from core.services.sync_batch import Outcome, SyncBatch
from core.services.sync_stream import Met, Position

#: Keys asked for in one batch; their escrows are one archive. The size of a page of the vault's list.
BATCH_KEYS = 25
#: Keys that may pass unchanged before a batch is closed, so that progress moves.
_BATCH_ITEMS = 500
_BATCHES_AT_ONCE = 16
_SECONDS_BETWEEN_RECORDS = 0.5
_STATE_PREFIX = "state."
_START = Position()


@dataclass(slots=True)
class _Batch:
    """Keys to examine, what the unchanged ones beside them count for, and where the walk is after them."""

    items: list[Met] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    end: Position = _START
    passed: int = 0

    @property
    def full(self) -> bool:
        return len(self.items) >= BATCH_KEYS or self.passed >= _BATCH_ITEMS


def position_in(job: Job) -> Position:
    """Return where a job's checkpoint says that its work stopped."""
    point = job.checkpoint
    return Position(point.get("name", ""), point.get("live_token"), point.get("deleted_token"))


class SyncPass:
    """Runs the batches of one sync; `full` examines every key, whatever the lists show.

    `passed_by` are names, in lower case, of what a drill restored for proof: no keys of the group.
    """

    def __init__(
        self, run: Run, batch: SyncBatch, now: datetime, *, full: bool, escrow: bool, passed_by: frozenset[str]
    ) -> None:
        self._run = run
        self._batch = batch
        self._now = now
        self._full = full
        self._escrow = escrow
        self._passed_by = passed_by
        self._tasks: dict[asyncio.Task[Outcome], int] = {}
        self._waiting: dict[int, tuple[_Batch, Outcome | None]] = {}
        self._submitted = 0
        self._settled = 0
        self._settled_counts = Counter({k: int(v) for k, v in _counts_in(run.job).items()})
        self._counts = Counter(self._settled_counts)
        self._position = position_in(run.job)
        self._in_order = True
        self._listing = True
        self._errors_total = run.job.progress.errors_total
        self._errors = list(run.job.progress.errors)
        self._began = self._recorded_at = monotonic()
        self._done_before = self._settled_counts["discovered"]

    async def go(self, items: AsyncIterator[Met]) -> KeyCounts:
        """Walk to the end; return the keys by state."""
        try:
            batch = _Batch()
            async for met in items:
                self._add(batch, met)
                if batch.full:
                    await self._submit(batch)
                    batch = _Batch()
            await self._submit(batch)
            self._listing = False
            while self._tasks:
                await self._reap(wait=True)
            await self._record()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return self._key_counts()

    def _add(self, batch: _Batch, met: Met) -> None:
        self._in_order = self._in_order and met.in_order
        batch.end = met.position
        batch.passed += 1
        known, listed = met.recorded, met.listed
        passed_by = met.name in self._passed_by and (known is None or known.presence in GONE)
        if known is None and passed_by:
            return
        if known and (met.gone or passed_by):
            batch.counts[_STATE_PREFIX + known.state(self._now).value] += 1
            return
        batch.counts["discovered"] += 1
        if not self._full and known and listed and is_unchanged(known, listed, escrow=self._escrow):
            batch.counts["unchanged"] += 1
            batch.counts[_STATE_PREFIX + known.state(self._now).value] += 1
        else:
            batch.items.append(met)

    async def _submit(self, batch: _Batch) -> None:
        number = self._submitted
        self._submitted += 1
        self._waiting[number] = (batch, None)
        if batch.items:
            self._tasks[asyncio.create_task(self._batch.process(batch.items))] = number
        else:
            self._end(number, Outcome())
        await self._reap(wait=len(self._tasks) >= _BATCHES_AT_ONCE)

    async def _reap(self, *, wait: bool) -> None:
        if self._tasks:
            when = asyncio.FIRST_COMPLETED
            done, _ = await asyncio.wait(self._tasks, timeout=None if wait else 0, return_when=when)
            for task in done:
                self._end(self._tasks.pop(task), task.result())
        if monotonic() - self._recorded_at >= _SECONDS_BETWEEN_RECORDS:
            await self._record()

    def _end(self, number: int, outcome: Outcome) -> None:
        batch, _ = self._waiting[number]
        batch.counts.update(outcome.counts)
        for summary in outcome.summaries:
            batch.counts[_STATE_PREFIX + summary.state(self._now).value] += 1
        self._counts.update(batch.counts)
        self._errors = [*self._errors, *outcome.errors][-SHOWN_ERRORS:]
        self._errors_total += len(outcome.errors)
        self._waiting[number] = (batch, outcome)
        while (settled := self._waiting.get(self._settled)) is not None and settled[1] is not None:
            del self._waiting[self._settled]
            self._settled += 1
            self._settled_counts.update(settled[0].counts)
            self._position = settled[0].end if settled[0].passed else self._position

    async def _record(self) -> None:
        self._recorded_at = monotonic()
        done = self._counts["discovered"]
        progress = Progress(
            phase="listing" if self._listing else "finishing" if self._tasks else "done",
            done=done,
            total=None if self._listing else done + self._in_flight(),
            rate=round((done - self._done_before) / max(monotonic() - self._began, 0.001), 1),
            counts={name: count for name, count in self._counts.items() if not name.startswith(_STATE_PREFIX)},
            errors=tuple(self._errors),
            errors_total=self._errors_total,
        )
        await self._run.record(progress, self._checkpoint())

    def _in_flight(self) -> int:
        return sum(batch.counts["discovered"] for batch, outcome in self._waiting.values() if outcome is None)

    def _checkpoint(self) -> dict[str, str]:
        if not self._in_order:
            # Names no longer say how far the walk has come: a crash has it start over.
            return {"restart": "true"}
        point = {"name": self._position.name, "counts": json.dumps(self._settled_counts)}
        tokens = {"live_token": self._position.live_token, "deleted_token": self._position.deleted_token}
        return point | {name: token for name, token in tokens.items() if token is not None}

    def _key_counts(self) -> KeyCounts:
        def of(state: KeyState) -> int:
            return self._counts[_STATE_PREFIX + state.value]

        return KeyCounts(
            pre_active=of(KeyState.PRE_ACTIVE),
            active=of(KeyState.ACTIVE),
            deactivated=of(KeyState.DEACTIVATED),
            soft_deleted=of(KeyState.SOFT_DELETED),
            purged=of(KeyState.PURGED),
            destroyed=of(KeyState.DESTROYED),
            counted_on=self._now,
        )


def _counts_in(job: Job) -> Mapping[str, int]:
    counts: dict[str, int] = json.loads(job.checkpoint.get("counts", "{}"))
    return counts


def without_progress(progress: Progress) -> Progress:
    """Return what is left of a progress when the walk starts over: the errors, not the counts."""
    return replace(progress, done=0, total=None, counts={})
