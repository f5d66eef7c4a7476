"""Writes down what is about to be done to a key, and what came of it.

Invariants: the pending action is written over the very record that was looked at, so of two actions one begins; its
hint for reconciliation is there before it and goes after it; whoever concludes finds the action that it began, or
leaves the record alone.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from core.domain.callers import Actor
from core.domain.keys import HistoryEntry, VirtualKey, extended
from core.domain.lifecycle import require
from core.domain.pending_actions import LEFT_OVER_AFTER, KeyAction, PendingAction
from core.domain.summaries import summary_of
from core.errors import ConflictError, StaleWriteError
from core.ports import Clock, OrderedIndex
from core.services.conditional import require_match
from core.services.due_times import DueTimes, position
from core.services.key_records import KeyChange, KeyRecords

#: What history says of an action, by what came of it.
DONE: Mapping[KeyAction, str] = {
    KeyAction.UPDATE: "key.updated",
    KeyAction.DEACTIVATE: "key.deactivated",
    KeyAction.ACTIVATE: "key.activated",
    KeyAction.ROTATE: "key.rotated",
    KeyAction.SOFT_DELETE: "key.soft_deleted",
    KeyAction.RECOVER: "key.recovered",
    KeyAction.PURGE: "key.purged",
    KeyAction.RESTORE: "key.restored",
    KeyAction.REIMPORT: "key.reimported",
    KeyAction.DELETE: "key.destroyed",
}

#: Whoever asks for one of these while it is under way waits for the same outcome.
_SAME_FOR_ALL = frozenset({KeyAction.SOFT_DELETE, KeyAction.RECOVER, KeyAction.PURGE, KeyAction.DELETE})

type Change = Callable[[VirtualKey], VirtualKey]


class OpenActions:
    """The pending actions of all keys."""

    def __init__(self, records: KeyRecords, index: OrderedIndex, clock: Clock) -> None:
        self._records = records
        self._open = DueTimes(index, "actions-open")
        self._clock = clock

    async def begin(  # noqa: PLR0913 - an action and its state
        self,
        key: VirtualKey,
        etag: str,
        action: KeyAction,
        request: str,
        actor: Actor,
        *,
        details: Mapping[str, str] | None = None,
        if_match: str | None = None,
    ) -> VirtualKey:
        """Write an action down on the record that was read with `etag`, or find it there, begun before.

        Raises StaleWriteError, ConflictError `key_action_pending` and those of `lifecycle.require`.
        """
        if key.pending is not None and (key.pending.id == request or _joins(key.pending, action)):
            return key
        require_match(etag, if_match, "The key")
        if key.pending is not None:
            raise ConflictError(
                f"Another action on the key is under way: {key.pending.action.value}.", code="key_action_pending"
            )
        now = self._clock.now()
        require(key, action, now)
        pending = PendingAction(request, action, actor, now, details or {})
        begun = replace(key, pending=pending)
        await self._open.plan(now, request, {"account": key.account, "group": key.group, "key": key.id})
        if await self._records.write(key.account, key.group, [KeyChange(begun, summary_of(key), etag)]):
            await self._open.done(position(now, request))
            raise StaleWriteError("The key")
        return begun

    async def conclude(
        self, key: VirtualKey, change: Change, *, event: str | None = None, detail: str = ""
    ) -> VirtualKey:
        """Record the outcome of the key's pending action, and that nothing is pending any more."""
        pending = key.pending
        if pending is None:
            return key
        entry = HistoryEntry(self._clock.now(), event or DONE[pending.action], pending.actor, detail)

        def concluded(present: VirtualKey | None) -> VirtualKey:
            recorded = present or key
            if recorded.pending is None or recorded.pending.id != pending.id:
                return recorded
            changed = change(recorded)
            return replace(changed, pending=None, history=extended(changed.history, entry))

        recorded = await self._records.amend(key.account, key.group, key.id, concluded)
        await self._open.done(position(pending.started_on, pending.id))
        return recorded

    async def withdraw(self, key: VirtualKey, detail: str) -> VirtualKey:
        """Record that the key's pending action did not happen."""
        action = key.pending.action.value if key.pending else ""
        return await self.conclude(key, lambda present: present, event=f"key.{action}_not_done", detail=detail)

    async def left_over(self) -> AsyncIterator[VirtualKey]:
        """Yield the keys with an action whose request must have ended."""
        async for place, entry in self._open.due(self._clock.now() - LEFT_OVER_AFTER):
            stored = await self._records.keys.get(str(entry["group"]), str(entry["key"]))
            pending = stored.value.pending if stored else None
            if stored is None or pending is None or position(pending.started_on, pending.id) != place:
                await self._open.done(place)
            else:
                yield stored.value


def _joins(pending: PendingAction, action: KeyAction) -> bool:
    return pending.action is action and action in _SAME_FOR_ALL
