"""Writes down what is about to be done to a key, and what came of it.

Invariants: the pending action is written over the very record that was looked at, so of two actions one begins; its
hint for reconciliation is there before it and goes after it; whoever concludes finds the action that it began, or
leaves the record alone.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from core.domain.callers import Actor
from core.domain.keys import HistoryEntry, VirtualKey, extended, has_done
from core.domain.lifecycle import require
from core.domain.pending_actions import LEFT_OVER_AFTER, UNFINISHED_AFTER, AskedVersion, KeyAction, PendingAction
from core.domain.rotations import with_strangers
from core.errors import ConflictError, StaleWriteError
from core.ports import Clock, OrderedIndex, Stored
from core.services.conditional import require_match
from core.services.due_times import DueTimes, position
from core.services.findings import FindingCode, Findings, Subject
from core.services.key_records import KeyRecords

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

_UNFINISHED = "The action '{}' on the key '{}' has been pending for more than an hour."

type Change = Callable[[VirtualKey], VirtualKey]


class OpenActions:
    """The pending actions of all keys."""

    def __init__(self, records: KeyRecords, index: OrderedIndex, clock: Clock) -> None:
        self._records = records
        self._open = DueTimes(index, "actions-open")
        self._findings = Findings(index, clock)
        self._clock = clock

    async def has_done(self, key: VirtualKey, request: str) -> bool:
        """Whether a request has had its outcome; where it has, the lists know of it afterwards, too."""
        if not has_done(key.history, request):
            return False
        await self.relist(key)
        return True

    async def relist(self, key: VirtualKey) -> None:
        """Tell the lists of an outcome, of which a crash may have kept them from knowing."""
        await self._records.relist(key)

    async def begin(  # noqa: PLR0913 - an action and its state
        self,
        key: VirtualKey,
        etag: str,
        action: KeyAction,
        request: str,
        actor: Actor,
        *,
        details: Mapping[str, str] | None = None,
        asked: AskedVersion | None = None,
        if_match: str | None = None,
    ) -> VirtualKey:
        """Write an action down on the record that was read with `etag`, or find it there, begun before.

        Raises StaleWriteError, ConflictError `key_action_pending` and those of `lifecycle.require`.
        """
        if joins(key, action, request):
            return key
        require_match(etag, if_match, "The key")
        now = self._clock.now()
        require(key, action, now)
        pending = PendingAction(request, action, actor, now, details or {}, asked)
        begun = replace(key, pending=pending)
        await self._open.plan(now, request, {"account": key.account, "group": key.group, "key": key.id})
        if await self._records.rewrite(Stored(key, etag), begun):
            return begun
        # A write whose answer was lost looks like somebody else's when it is repeated.
        found = (await self._records.get(key.account, key.group, key.id)).value
        if found.pending == pending:
            return found
        await self._open.done(position(now, request))
        raise StaleWriteError("The key")

    async def conclude(
        self, key: VirtualKey, change: Change, *, event: str | None = None, detail: str = "", done: bool = True
    ) -> VirtualKey:
        """Record the outcome of the key's pending action, and that nothing is pending any more.

        What is not `done` is done when its request comes again.
        """
        pending = key.pending
        if pending is None:
            return key
        said = event or (DONE[pending.action] if done else f"key.{pending.action.value}_not_done")
        entry = HistoryEntry(self._clock.now(), said, pending.actor, detail, pending.id if done else "")

        def concluded(present: VirtualKey | None) -> VirtualKey:
            recorded = present or key
            # The same request may have begun it anew, after it was found not done.
            if recorded.pending != pending:
                return recorded
            changed = change(recorded)
            return replace(changed, pending=None, history=extended(changed.history, entry))

        recorded = await self._records.amend(key.account, key.group, key.id, concluded)
        if self._is_late(pending):
            await self._findings.settle(key.account, {}, {_unfinished(key.group, key.id)})
        await self._open.done(position(pending.started_on, pending.id))
        return recorded

    async def withdraw(self, key: VirtualKey, detail: str) -> VirtualKey:
        """Record that the key's pending action did not happen; what came of something else meanwhile is drift."""
        pending = key.pending
        if pending is None:
            return key

        def undone(present: VirtualKey) -> VirtualKey:
            return with_strangers(present, pending, None, self._clock.now())

        return await self.conclude(key, undone, detail=detail, done=False)

    async def note_unfinished(self, key: VirtualKey) -> None:
        """Raise a finding about a pending action of which nobody could say for an hour what became of it."""
        if key.pending is not None and self._is_late(key.pending):
            detail = _UNFINISHED.format(key.pending.action.value, key.name)
            await self._findings.settle(key.account, {_unfinished(key.group, key.id): detail})

    async def left_over(self) -> AsyncIterator[VirtualKey]:
        """Yield the keys with an action whose request must have ended."""
        async for place, entry in self._open.due(self._clock.now() - LEFT_OVER_AFTER):
            stored = await self._records.keys.get(str(entry["group"]), str(entry["key"]))
            pending = stored.value.pending if stored else None
            if stored is None or pending is None or position(pending.started_on, pending.id) != place:
                if stored is not None:
                    # The outcome was recorded; what was cut off then may have kept it from the lists.
                    await self._records.relist(stored.value)
                # Whoever concluded it may have been cut off before.
                about = _unfinished(str(entry["group"]), str(entry["key"]))
                await self._findings.settle(str(entry["account"]), {}, {about})
                await self._open.done(place)
            else:
                yield stored.value

    def _is_late(self, pending: PendingAction) -> bool:
        return self._clock.now() - pending.started_on > UNFINISHED_AFTER


def _unfinished(group: str, key: str) -> tuple[FindingCode, Subject]:
    return FindingCode.ACTION_UNFINISHED, Subject(group, key)


def under_way(pending: PendingAction) -> ConflictError:
    """Return the refusal of an action while another one is pending."""
    return ConflictError(f"Another action on the key is under way: {pending.action.value}.", code="key_action_pending")


def joins(key: VirtualKey, action: KeyAction, request: str) -> bool:
    """Whether what is asked for is under way on the key; ConflictError `key_action_pending` if something else is."""
    pending = key.pending
    if pending is None:
        return False
    if pending.id == request or (pending.action is action and action in _SAME_FOR_ALL):
        return True
    raise under_way(pending)
