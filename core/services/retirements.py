"""Versions that a rotation superseded are disabled when their grace period ends: late rather than never, and once.

Invariants: a retirement stands in the key's record, its time in a tree before that; it is taken off the record when the
vault has disabled the version; a version that is current again is not disabled.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from core.concurrency import each
from core.domain.changes import revised
from core.domain.identifiers import IdKind, derived_id
from core.domain.keys import GONE, HistoryEntry, KeyClass, Presence, VirtualKey
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import KeyAction, Retirement
from core.domain.source_keys import SourceKey, SourceVersion
from core.domain.wanted_changes import WantedChanges
from core.errors import KeystewardError, NotFoundError, VaultUnavailableError
from core.ports import Clock, OrderedIndex, VaultKeys
from core.services.due_keys import RETIREMENTS
from core.services.due_times import DueTimes
from core.services.key_records import KeyRecords
from core.services.open_actions import OpenActions
from core.services.opened_keys import KeyRef, OpenedKeys
from core.services.placements import Seen
from core.services.source_records import SourceRecords

#: After a try that failed, or of a key that is soft-deleted.
_LATER = timedelta(minutes=5)
_AT_ONCE = 16
_RETIRED, _DROPPED = "key.version_retired", "key.retirement_dropped"

_log = logging.getLogger(__name__)


class Retirements:
    """Disables what is due."""

    def __init__(
        self,
        opened: OpenedKeys,
        actions: OpenActions,
        index: OrderedIndex,
        *,
        records: KeyRecords,
        sources: SourceRecords,
        clock: Clock,
    ) -> None:
        self._opened = opened
        self._actions = actions
        self._due = DueTimes(index, RETIREMENTS)
        self._records = records
        self._sources = sources
        self._clock = clock

    async def retire_due(self) -> int:
        """Disable what is due; return how many keys were done. The cost is that of what is due."""
        due = [one async for one in self._due.due(self._clock.now())]
        return sum(await each(self._retire_entry, due, at_most=_AT_ONCE))

    async def try_now(self, ref: KeyRef, class_: KeyClass) -> None:
        """Disable what is due of a key; where that fails, it is left for the timer."""
        try:
            await self._retire(ref, class_)
        except KeystewardError as error:
            _log.warning("version not retired yet", extra={"key": ref.key, "code": error.code})

    async def _retire_entry(self, due: tuple[str, Mapping[str, object]]) -> bool:
        place, entry = due
        ref = KeyRef(str(entry["account"]), str(entry["group"]), str(entry["key"]))
        try:
            settled = await self._retire(ref, KeyClass(str(entry["class"])))
        except NotFoundError:
            settled = True
        except KeystewardError as error:
            _log.warning("version not retired yet", extra={"key": ref.key, "code": error.code})
            settled = False
        if not settled:
            await self._due.plan(self._clock.now() + _LATER, ref.key, entry)
        await self._due.done(place)
        return settled

    async def _retire(self, ref: KeyRef, class_: KeyClass) -> bool:
        """Disable the versions of a key that are due; False where that has to wait."""
        if class_ is KeyClass.SOURCE:
            await self._sources.amend(ref.account, ref.group, ref.key, self._retired)
            return True
        key = (await self._records.get(ref.account, ref.group, ref.key)).value
        due = self._due_of(key)
        if not due:
            return True
        if key.presence in GONE:
            await self._records.amend(ref.account, ref.group, ref.key, lambda now: _without(now or key, due))
            return True
        return await self._in_vault(ref, due)

    async def _in_vault(self, ref: KeyRef, due: tuple[Retirement, ...]) -> bool:
        # The same for each try, so that one goes on with what another left pending.
        request = derived_id(IdKind.INTENT, ref.key, *(retirement.version for retirement in due))
        async with self._opened.open(ref, request) as opened:
            key = opened.key
            if key.presence is not Presence.LIVE:
                return False
            wanted = WantedChanges(_still_enabled(key, due), VersionChanges(enabled=False), retiring=True)
            begun = await self._actions.begin(
                key, opened.stored.etag, KeyAction.UPDATE, request, due[0].by, details=wanted.details()
            )
            try:
                answers = await self._disabled(opened.keys, begun, due)
            except VaultUnavailableError:
                raise
            except KeystewardError as error:
                await self._actions.withdraw(begun, error.code)
                raise

        def retired(present: VirtualKey) -> VirtualKey:
            for listed, version in answers:
                present = revised(present, listed, version, self._clock.now())
            return _without(present, due)

        detail = ", ".join(version.id for _, version in answers)
        await self._actions.conclude(begun, retired, event=_RETIRED if answers else _DROPPED, detail=detail)
        return True

    @staticmethod
    async def _disabled(keys: VaultKeys, key: VirtualKey, due: tuple[Retirement, ...]) -> list[Seen]:
        answers: list[Seen] = []
        for version in _still_enabled(key, due):
            try:
                answers.append(await keys.update(key.azure_name, version, VersionChanges(enabled=False)))
            except NotFoundError:
                continue
        return answers

    def _retired(self, key: SourceKey) -> SourceKey:
        due = self._due_of(key)
        if not due:
            return key
        numbers = {retirement.version for retirement in due} - {str(key.current.number)}
        versions = tuple(_disabled(one) if str(one.number) in numbers else one for one in key.versions)
        entry = HistoryEntry(
            self._clock.now(), _RETIRED if numbers else _DROPPED, due[0].by, ", ".join(sorted(numbers))
        )
        return _without(replace(key, versions=versions, updated_on=entry.on), due).recorded(entry)

    def _due_of(self, key: VirtualKey | SourceKey) -> tuple[Retirement, ...]:
        now = self._clock.now()
        return tuple(retirement for retirement in key.retirements if retirement.on <= now)


def _still_enabled(key: VirtualKey, due: tuple[Retirement, ...]) -> tuple[str, ...]:
    """The versions that are to be disabled: not one that is the current one again."""
    wanted = {retirement.version for retirement in due} - {key.current.id if key.current else ""}
    return tuple(version.id for version in key.versions if version.id in wanted and version.validity.enabled)


def _disabled(version: SourceVersion) -> SourceVersion:
    return replace(version, validity=replace(version.validity, enabled=False))


def _without[Key: (VirtualKey, SourceKey)](key: Key, due: tuple[Retirement, ...]) -> Key:
    return replace(key, retirements=tuple(one for one in key.retirements if one not in due))
