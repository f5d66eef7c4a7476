"""Keeps intents: open ones where reconciliation finds them, done ones for a day for requests that are repeated."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from core.domain.intents import GIVEN_UP_AFTER, KEPT_FOR, LEFT_OVER_AFTER, Intent
from core.errors import AlreadyExistsError, ConflictError, StaleWriteError
from core.ports import Clock, Collection, OrderedIndex
from core.services.due_times import DueTimes, position
from core.services.findings import FindingCode, Findings, Subject


class Intents:
    """The intents of all accounts."""

    def __init__(self, intents: Collection[Intent], index: OrderedIndex, clock: Clock) -> None:
        self._intents = intents
        self._open = DueTimes(index, "intents-open")
        self._done = DueTimes(index, "intents-done")
        self._findings = Findings(index, clock)
        self._clock = clock

    async def find(self, account: str, id_: str) -> Intent | None:
        """Return an intent, or None."""
        stored = await self._intents.get(account, id_)
        return stored.value if stored else None

    async def open(self, intent: Intent) -> None:
        """Write an intent down; ConflictError `request_in_progress` if the same request is at work elsewhere."""
        await self._open.plan(intent.started_on, intent.id, _entry(intent))
        try:
            await self._intents.insert(intent.account, intent.id, intent)
        except AlreadyExistsError:
            # Or it was this very write, repeated because its answer was lost.
            if await self.find(intent.account, intent.id) != intent:
                raise ConflictError("The same request is being worked on.", code="request_in_progress") from None

    async def note_sent(self, intent: Intent) -> Intent:
        """Note that the request is sent again; StaleWriteError where the intent is not what it was when it was found.

        So of two that found it at once, one sends.
        """
        stored = await self._intents.get(intent.account, intent.id)
        if stored is None or stored.value != intent:
            raise StaleWriteError("The request")
        sent = replace(intent, sent_on=self._clock.now())
        return (await self._intents.replace(intent.account, intent.id, sent, stored.etag)).value

    async def note_end(self, intent: Intent, unanswered_on: datetime | None) -> None:
        """Note when a request was given up on, or (None) that the vault answered it without doing it."""
        stored = await self._intents.get(intent.account, intent.id)
        # Where somebody else goes on with the intent, theirs counts.
        if stored is not None and stored.value == intent:
            with suppress(StaleWriteError):
                ended = replace(intent, sent_on=unanswered_on)
                await self._intents.replace(intent.account, intent.id, ended, stored.etag)

    async def close(self, intent: Intent, key: str) -> None:
        """Note the outcome."""
        await self._clear_unfinished(intent)
        now = self._clock.now()
        done = intent.done(key, now)
        await self._done.plan(now, intent.id, _entry(intent))
        stored = await self._intents.get(intent.account, intent.id)
        if stored is not None and stored.value.key is None:
            with suppress(StaleWriteError):
                await self._intents.replace(intent.account, intent.id, done, stored.etag)
        await self._forget_open(intent)

    async def abandon(self, intent: Intent) -> None:
        """Forget an intent of which nothing was done."""
        await self._clear_unfinished(intent)
        await self._intents.delete(intent.account, intent.id)
        await self._forget_open(intent)

    async def note_unfinished(self, intent: Intent) -> None:
        """Raise a finding about an intent of which nobody could say for an hour what became of it.

        It is about the group, since there is no key yet, and stands for all such intents of the group.
        """
        if self._is_late(intent):
            detail = f"What became of the new key '{intent.name}' has not been known for more than an hour."
            await self._findings.settle(intent.account, {_unfinished(intent): detail})

    async def _clear_unfinished(self, intent: Intent) -> None:
        if self._is_late(intent):
            await self._findings.settle(intent.account, {}, {_unfinished(intent)})

    def _is_late(self, intent: Intent) -> bool:
        return self._clock.now() - intent.started_on > GIVEN_UP_AFTER

    async def left_over(self) -> AsyncIterator[Intent]:
        """Yield the open intents whose request must have ended.

        One from the future was written before the clock was turned back, so all open ones are looked at.
        """
        now = self._clock.now()
        async for place, entry in self._open.due(datetime.max.replace(tzinfo=UTC)):
            intent = await self.find(str(entry["account"]), str(entry["id"]))
            if intent is not None and intent.key is None:
                if abs(now - intent.started_on) > LEFT_OVER_AFTER:
                    yield intent
            elif position(now - LEFT_OVER_AFTER, "") > place or position(now + LEFT_OVER_AFTER, "") < place:
                # The intent of a young entry may be about to be written.
                await self._open.done(place)

    async def expire(self) -> int:
        """Delete what was done more than a day ago; return how many."""
        expired = 0
        async for place, entry in self._done.due(self._clock.now() - KEPT_FOR):
            await self._intents.delete(str(entry["account"]), str(entry["id"]))
            await self._done.done(place)
            expired += 1
        return expired

    async def _forget_open(self, intent: Intent) -> None:
        await self._open.done(position(intent.started_on, intent.id))


def _unfinished(intent: Intent) -> tuple[FindingCode, Subject]:
    return FindingCode.NEW_KEY_UNFINISHED, Subject(intent.group)


def _entry(intent: Intent) -> dict[str, object]:
    return {"account": intent.account, "id": intent.id}
