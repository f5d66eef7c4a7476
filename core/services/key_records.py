"""Writes the records of virtual keys and keeps the ordered indexes true to them.

Invariants: of two who write one record, the later one decides what lists show, whoever of them places it last; before a
record is written over, lists show it, so that nothing of what was cut off stays in them; a key takes the place of
another with its Azure name only when that one is out of the vault, and then moves it. What a record
tells by itself of findings is settled between record and lists: what is cut off there is done again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from core.domain.keys import GONE, Presence, VirtualKey
from core.domain.summaries import KeySummary, summary_of
from core.errors import NotFoundError, StaleWriteError
from core.ports import Collection, OrderedIndex, Stored
from core.services.due_keys import DueKeys, in_step
from core.services.findings import FindingCode, Findings, Subject
from core.services.key_places import KeyPlaces, Placing

_TRIES = 8
#: A key that is younger than this may be recorded by a sync and by the request that made it at the same moment.
_YOUNG = timedelta(minutes=15)
_OF_ESCROW = frozenset(
    {FindingCode.ESCROW_FAILED, FindingCode.ESCROW_BROKEN, FindingCode.NOT_ESCROWED, FindingCode.ESCROW_STALE}
)
_REFUSED = "The vault refused to back up the key '{}'."
_DRIFTED = "The key '{}' was changed outside Keysteward, most recently: {}."


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A record to write: `before` is its index entry so far, `etag` None for a new row.

    `replaced` marks a purged key whose Azure name another key has taken; `over` is the record that is written over.
    """

    key: VirtualKey
    before: KeySummary | None = None
    etag: str | None = None
    replaced: bool = False
    over: VirtualKey | None = None


class KeyRecords:
    """The records of virtual keys, and their places in lists."""

    def __init__(self, keys: Collection[VirtualKey], index: OrderedIndex, findings: Findings) -> None:
        self.keys = keys
        self._places = KeyPlaces(index)
        self._due = DueKeys(index)
        self._findings = findings

    async def get(self, account: str, group: str, key: str) -> Stored[VirtualKey]:
        """Return a key; NotFoundError `key_not_found`."""
        stored = await self.keys.get(group, key)
        if stored is None or stored.value.account != account:
            raise key_not_found()
        return stored

    async def write(self, account: str, group: str, changes: Iterable[KeyChange]) -> set[str]:
        """Write records of one group and index those written; return the ids that were refused as stale or taken."""
        wanted = {change.key.id: change for change in changes}
        if not wanted:
            return set()
        await self._finish(account, group, wanted.values())
        by_id = {id_: _own(change) for id_, change in wanted.items()}
        await self._due.plan(change.key for change in by_id.values())
        rows = {id_: (change.key, change.etag) for id_, change in by_id.items()}
        refused = await self.keys.write_many(group, rows)
        written = [change for id_, change in by_id.items() if id_ not in refused]
        await self._note(account, written)
        await self._places.place(account, group, [_placing(change) for change in written])
        await self._place_moved(account, group, [change.key for change in written if _is_contended(change)])
        return refused

    async def rewrite(self, over: Stored[VirtualKey], changed: VirtualKey) -> bool:
        """Write a record over the one that was read; False if that moved meanwhile."""
        change = await self._change(changed.group, in_step(changed), over)
        return not await self.write(changed.account, changed.group, [change])

    async def relist(self, key: VirtualKey) -> None:
        """Have the lists show a key as it is recorded, where a write was cut off before they did."""
        change = _own(await self._change(key.group, key, Stored(key, "")))
        if change.before != summary_of(key):
            await self._places.place(key.account, key.group, [_placing(change)])

    async def amend(
        self, account: str, group: str, key: str, change: Callable[[VirtualKey | None], VirtualKey]
    ) -> VirtualKey:
        """Write what `change` makes of a record (None: there is none yet), again if it moved meanwhile."""
        for _ in range(_TRIES):
            stored = await self.keys.get(group, key)
            present = stored.value if stored else None
            changed = in_step(change(present))
            if not await self.write(account, group, [await self._change(group, changed, stored)]):
                return changed
        raise StaleWriteError("The key")

    async def _finish(self, account: str, group: str, changes: Iterable[KeyChange]) -> None:
        """Have the lists show what is about to be written over, where its own write was cut off before they did."""
        unfinished = [
            KeyChange(change.over, change.before, "", change.replaced)
            for change in changes
            if change.over is not None and _is_unfinished(change.over, change.before)
        ]
        if unfinished:
            await self._note(account, unfinished)
            await self._places.place(account, group, [_placing(change) for change in unfinished])

    async def _note(self, account: str, written: Iterable[KeyChange]) -> None:
        """Settle the findings that a record decides by itself, whoever writes it."""
        raised: dict[tuple[FindingCode, Subject], str] = {}
        cleared: set[tuple[FindingCode, Subject]] = set()
        for change in written:
            key, before = change.key, change.before
            subject, listed = Subject(key.group, key.id), before is not None and before.drifted
            if key.drifted and (not listed or key.drift[-1].observed_on == key.observed_on):
                raised[FindingCode.DRIFT, subject] = _DRIFTED.format(key.name, key.drift[-1].kind.value)
            elif listed and not key.drifted:
                cleared.add((FindingCode.DRIFT, subject))
            if key.escrow_problem is not None:
                raised[FindingCode.ESCROW_FAILED, subject] = _REFUSED.format(key.azure_name)
            elif before is not None and before.escrow_problem is not None:
                cleared.add((FindingCode.ESCROW_FAILED, subject))
            if before is not None and before.escrow_pending and not key.unescrowed:
                cleared |= {(code, subject) for code in _OF_ESCROW}
            if key.presence is Presence.DESTROYED:
                # Nothing can be done about it any more, but to look at its drift.
                cleared |= {(code, subject) for code in FindingCode if code is not FindingCode.DRIFT}
        await self._findings.settle(account, raised, cleared)

    async def _change(self, group: str, changed: VirtualKey, stored: Stored[VirtualKey] | None) -> KeyChange:
        if stored is None:
            return KeyChange(changed)
        recorded = summary_of(stored.value)
        holder = await self._places.holder(group, recorded)
        replaced = holder is not None and holder.id != changed.id
        if holder is not None and replaced and changed.presence not in GONE:
            await self._make_way(changed.account, group, holder)
            replaced = False
        before = await self._places.among_replaced(group, recorded) if replaced else holder
        return KeyChange(changed, before, stored.etag, replaced, stored.value)

    async def _make_way(self, account: str, group: str, holder: KeySummary) -> None:
        """Move a key among the replaced whose Azure name another key has by now: so it is out of the vault."""
        for _ in range(_TRIES):
            stored = await self.keys.get(group, holder.id)
            if stored is None:
                return
            key = stored.value
            gone = key if key.presence in GONE else replace(key, presence=Presence.PURGED)
            if not await self.write(account, group, [KeyChange(gone, holder, stored.etag, replaced=True, over=key)]):
                return
        raise StaleWriteError("The key")

    async def _place_moved(self, account: str, group: str, placed: list[VirtualKey]) -> None:
        """Place keys anew whose record another wrote over before they were placed."""
        for _ in range(_TRIES):
            if not placed:
                return
            rows = await self.keys.get_many(group, [key.id for key in placed])
            moved = [
                (rows[key.id].value, Placing(summary_of(rows[key.id].value), summary_of(key)))
                for key in placed
                if key.id in rows and summary_of(rows[key.id].value) != summary_of(key)
            ]
            await self._places.place(account, group, [placing for _, placing in moved])
            placed = [key for key, _ in moved]


def _own(change: KeyChange) -> KeyChange:
    """Return the change with what is the key's own: at its place there may stand another key with its Azure name."""
    before = change.before if change.before is not None and change.before.id == change.key.id else None
    return replace(change, key=in_step(change.key), before=before)


def _placing(change: KeyChange) -> Placing:
    # A known key that does not stand at its place stands among the replaced, if anywhere.
    returned = change.etag is not None and change.before is None and not change.replaced
    recorded = summary_of(change.over) if change.over is not None else None
    return Placing(summary_of(change.key), change.before, change.replaced, recorded, returned)


def _is_unfinished(key: VirtualKey, listed: KeySummary | None) -> bool:
    """Whether lists show a key otherwise than it is recorded; where another has its place, that one is moved first."""
    return (listed is None or listed.id == key.id) and listed != summary_of(key)


def _is_contended(change: KeyChange) -> bool:
    """Whether somebody else may be recording the same key, which neither of both can know of."""
    versions = change.key.versions
    return change.etag is None and bool(versions) and change.key.observed_on - versions[0].created_on < _YOUNG


def key_not_found() -> NotFoundError:
    """The one answer for a key that is not there or not the caller's."""
    return NotFoundError("There is no such key.", code="key_not_found")
