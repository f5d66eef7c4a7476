"""One batch of a sync: ask the vault for what changed, escrow it, write it down.

Invariants: a key that fails is counted and reported, and never stops the others; an escrow is recorded only after it
was verified; a record is written only over the row that was read, so that nothing done meanwhile is lost.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace

from core.domain.connections import VaultFacts
from core.domain.drift import Drift, DriftKind
from core.domain.escrow import split_by_retention
from core.domain.groups import EscrowSettings
from core.domain.jobs import JobError
from core.domain.keys import (
    GONE,
    KEPT_ENTRIES,
    EscrowGeneration,
    HistoryEntry,
    Presence,
    VirtualKey,
    extended,
)
from core.domain.observed import ObservedKey
from core.domain.summaries import KeySummary, summary_of
from core.domain.sync import (
    SyncContext,
    discovered,
    is_same_key,
    needs_escrow,
    updated,
    vanished,
)
from core.domain.vault_rotation import VaultRotation, newer
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultDeniedError,
)
from core.ports import Stored, VaultKeys
from core.services.escrows import Backup, Escrows
from core.services.findings import Findings
from core.services.key_problems import Problems, escrow_problems, sync_problems, was_brought
from core.services.key_reader import KeyReader
from core.services.key_records import KeyChange, KeyRecords
from core.services.sync_stream import Met
from core.services.vault_rotations import read_rotation

_WRITE_TRIES = 3


@dataclass(slots=True)
class Outcome:
    """What a batch did: counts for the report, errors, and each key's summary for the counts by state.

    `stuck` are the records of keys that failed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    errors: list[JobError] = field(default_factory=list)
    summaries: list[KeySummary] = field(default_factory=list)
    stuck: list[VirtualKey] = field(default_factory=list)

    def failed(self, name: str, error: KeystewardError) -> None:
        """Count one key that failed."""
        self.counts["failed"] += 1
        self.errors.append(JobError(error.code, error.detail, name))


@dataclass(slots=True)
class _Examined:
    """One key between asking and writing; `observed` is None where the vault has it no more.

    `refusal` is what the vault said instead of a backup; `earlier` is the record of another key that had the name,
    where the key's own is there already.
    """

    met: Met
    recorded: Stored[VirtualKey] | None
    observed: ObservedKey | None
    backup: Backup | None = None
    refusal: VaultAnswerError | VaultDeniedError | None = None
    generation: EscrowGeneration | None = None
    rotation: VaultRotation | None = None
    earlier: Stored[VirtualKey] | None = None


type _Written = tuple[_Examined, list[KeyChange]]


class SyncBatch:
    """Works on batches of one sync of one vault."""

    def __init__(  # noqa: PLR0913 - the collaborators of one sync
        self,
        context: SyncContext,
        vault: VaultFacts,
        escrow: EscrowSettings,
        *,
        keys: VaultKeys,
        records: KeyRecords,
        escrows: Escrows,
        findings: Findings,
        calls: asyncio.Semaphore,
    ) -> None:
        self._context = context
        self._vault = vault
        self._escrow = escrow
        self._keys = keys
        self._reader = KeyReader(keys, calls)
        self._records = records
        self._escrows = escrows
        self._findings = findings
        self._calls = calls

    async def process(self, items: list[Met]) -> Outcome:
        """Bring the records of `items` up to date."""
        outcome = Outcome()
        known = [item.recorded.id for item in items if item.recorded]
        rows = await self._records.keys.get_many(self._context.group, known)
        examined = await asyncio.gather(*(self._examine(item, rows, outcome) for item in items))
        found = [one for one in examined if one is not None]
        await self._store_backups(found)
        await self._write(found, outcome)
        await self._note_stuck(outcome)
        return outcome

    async def _examine(self, met: Met, rows: dict[str, Stored[VirtualKey]], outcome: Outcome) -> _Examined | None:
        recorded = rows.get(met.recorded.id) if met.recorded else None
        try:
            observed = await self._observe(met, recorded.value if recorded else None)
            if observed is None and recorded is None:
                return None
            examined = _Examined(met, recorded, observed)
            await self._back_up(examined)
            await self._read_rotation(examined)
        except KeystewardError as error:
            outcome.failed(met.name, error)
            if met.recorded is not None:
                outcome.summaries.append(met.recorded)
            if recorded is not None:
                outcome.stuck.append(recorded.value)
            return None
        return examined

    async def _observe(self, met: Met, recorded: VirtualKey | None) -> ObservedKey | None:
        if met.listed is None:
            return await self._reader.find(met.name, recorded)
        try:
            if met.listed.deletion is not None:
                return await self._reader.deleted(met.listed)
            return await self._reader.live(met.listed, recorded)
        except NotFoundError:
            # It moved between the list and the question.
            return await self._reader.find(met.name, recorded)

    async def _back_up(self, examined: _Examined) -> None:
        key = self._record_of(examined)
        if not self._escrow.enabled or not needs_escrow(key):
            return
        try:
            async with self._calls:
                content = await self._keys.back_up(key.azure_name)
        except (VaultAnswerError, VaultDeniedError) as error:
            examined.refusal = error
        else:
            examined.backup = Backup(key, content)

    async def _read_rotation(self, examined: _Examined) -> None:
        key = self._record_of(examined)
        if was_brought(key):
            async with self._calls:
                examined.rotation = await read_rotation(self._keys, key, self._context.now)

    def _record_of(self, examined: _Examined) -> VirtualKey:
        """Return the key's record as the vault's answer makes it."""
        recorded, observed = examined.recorded, examined.observed
        if observed is None:
            if recorded is None:
                raise NotFoundError("There is neither a record nor a key.", code="key_not_found")
            return vanished(self._context, recorded.value)
        if recorded is None or not is_same_key(recorded.value, observed):
            return discovered(self._context, observed)
        return updated(self._context, recorded.value, observed)

    async def _store_backups(self, examined: list[_Examined]) -> None:
        backups = [one.backup for one in examined if one.backup]
        generations = await self._escrows.store(self._vault, self._context.job, backups)
        for one in examined:
            if one.backup is not None:
                one.generation = generations[one.backup.key.id]

    async def _write(self, examined: list[_Examined], outcome: Outcome) -> None:
        try:
            await self._write_together(examined, outcome)
        except PolicyViolationError as error:
            if len(examined) == 1:
                outcome.failed(examined[0].met.name, error)
                return
            # One record is more than a row can hold; nothing was written yet. The others shall not wait for it.
            for one in examined:
                await self._write([one], outcome)

    async def _write_together(self, examined: list[_Examined], outcome: Outcome) -> None:
        pending = examined
        for _ in range(_WRITE_TRIES):
            changes = {id(one): self._changes(one) for one in pending}
            flat = [change for some in changes.values() for change in some]
            refused = await self._records.write(self._context.account, self._context.group, flat)
            written = [one for one in pending if not refused & {change.key.id for change in changes[id(one)]}]
            await self._finish([(one, changes[id(one)]) for one in written], outcome)
            pending = [one for one in pending if refused & {change.key.id for change in changes[id(one)]}]
            if not pending:
                return
            await self._reread(pending, changes)
        for one in pending:
            problem = ConflictError("The record kept changing while it was written.", code="record_contended")
            outcome.failed(one.met.name, problem)

    async def _reread(self, pending: list[_Examined], changes: dict[int, list[KeyChange]]) -> None:
        ids = [change.key.id for one in pending for change in changes[id(one)]]
        rows = await self._records.keys.get_many(self._context.group, ids)
        for one in pending:
            # The last change is the key itself; the one before it, if any, is of the key whose name it takes.
            *before, own = (rows.get(change.key.id) for change in changes[id(one)])
            earlier = next(iter(before), None)
            one.recorded, one.earlier = own or earlier, earlier if own else None

    def _changes(self, one: _Examined) -> list[KeyChange]:
        key = self._escrowed(self._record_of(one), one)
        key = replace(key, vault_rotation=newer(one.rotation, key.vault_rotation))
        own, earlier = one.recorded, one.earlier
        if own is not None and own.value.id != key.id:
            own, earlier = None, own
        change = KeyChange(key, one.met.recorded, own.etag, over=own.value) if own else KeyChange(key)
        return [self._replaced(one, earlier, key), change] if earlier else [change]

    def _replaced(self, one: _Examined, earlier: Stored[VirtualKey], key: VirtualKey) -> KeyChange:
        old = earlier.value
        replaced = Drift(DriftKind.RECREATED, self._context.now, self._context.job, old.presence.value, key.id)
        presence = old.presence if old.presence in GONE else Presence.PURGED
        purged = replace(old, presence=presence, drift=(*old.drift, replaced)[-KEPT_ENTRIES:])
        return KeyChange(purged, one.met.recorded, earlier.etag, replaced=True, over=old)

    def _escrowed(self, key: VirtualKey, one: _Examined) -> VirtualKey:
        if one.generation is None:
            # A permission may be granted while the key stays as it is, so the next sync asks again.
            fingerprint = "" if isinstance(one.refusal, VaultDeniedError) else key.fingerprint
            problem = one.refusal.code if one.refusal else None
            return replace(key, escrow_problem=problem, fingerprint=fingerprint)
        kept, _ = split_by_retention((*key.escrow, one.generation), self._escrow.keep_generations)
        entry = HistoryEntry(self._context.now, "key.escrowed", self._context.actor, one.generation.id)
        return replace(key, escrow=kept, escrow_problem=None, history=extended(key.history, entry))

    async def _finish(self, written: list[_Written], outcome: Outcome) -> None:
        """Count what was written, raise and clear findings, and drop superseded escrow that nothing refers to now."""
        problems = Problems()
        superseded: list[EscrowGeneration] = []
        for one, changes in written:
            key = changes[-1].key
            self._count(one, changes, outcome)
            superseded += _superseded(one.recorded, key)
            found = sync_problems(key, self._escrow, self._context.now)
            problems.note_all(key, found.items(), known=one.recorded is not None)
        await self._findings.settle(self._context.account, problems.raised, problems.cleared)
        await self._escrows.prune(superseded)

    @staticmethod
    def _count(one: _Examined, changes: list[KeyChange], outcome: Outcome) -> None:
        key = changes[-1].key
        outcome.summaries += [summary_of(change.key) for change in changes]
        outcome.counts[_word(one.met.recorded, key)] += 1
        if one.generation is not None:
            outcome.counts["escrowed"] += 1
        if one.refusal is not None:
            outcome.counts["failed"] += 1
            detail = f"The vault refused to back up the key '{key.azure_name}'."
            outcome.errors.append(JobError(one.refusal.code, detail, key.azure_name))

    async def _note_stuck(self, outcome: Outcome) -> None:
        """Say of keys that could not be escrowed again that they should be by now."""
        problems = Problems()
        for key in outcome.stuck:
            found = escrow_problems(key, self._escrow, self._context.now)
            problems.note_all(key, found.items(), known=False)
        await self._findings.settle(self._context.account, problems.raised)


def _superseded(recorded: Stored[VirtualKey] | None, key: VirtualKey) -> list[EscrowGeneration]:
    if recorded is None or recorded.value.id != key.id:
        return []
    kept = {generation.id for generation in key.escrow}
    return [generation for generation in recorded.value.escrow if generation.id not in kept]


def _word(before: KeySummary | None, key: VirtualKey) -> str:
    """The count that a written key belongs to."""
    if before is None:
        return "added"
    if key.presence is not before.presence and key.presence is Presence.SOFT_DELETED:
        return "soft_deleted"
    return "purged" if key.presence is Presence.PURGED else "updated"
