"""What a sync walks along: the vault's two lists merged with the recorded keys, by name, holding a few pages at most.

The vault lists keys by name without regard to case (as recordings of real vaults show), and the group's tree is
ordered alike, so one pass pairs them. Correctness does not rest on that order: a name that comes late is looked up,
and a recorded key that the lists did not show at its place is only a suspect until the vault is asked for it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from core.domain.keys import GONE
from core.domain.observed import KeyPage, ListedKey
from core.domain.summaries import KeySummary, from_entry, group_tree
from core.ports import OrderedIndex

_PREFETCHED_PAGES = 16


@dataclass(frozen=True, slots=True)
class Position:
    """How far a sync has come: all up to `name` (lower case) is done; the tokens fetch the pages to go on with."""

    name: str = ""
    live_token: str | None = None
    deleted_token: str | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """One name with what is recorded and what the lists show; `in_order` is False where the list broke its order.

    `listed` is None where the lists do not show it, or show it as live and deleted at once.
    """

    name: str
    recorded: KeySummary | None
    listed: ListedKey | None
    position: Position
    in_order: bool = True

    @property
    def gone(self) -> bool:
        """Whether the record says that the key is gone, and the lists do not contradict."""
        return self.listed is None and self.recorded is not None and self.recorded.presence in GONE


@dataclass(slots=True)
class _Head:
    """The next listed key of one list, with the token of its page."""

    pages: AsyncIterator[KeyPage]
    skip_up_to: str
    token: str | None
    keys: list[ListedKey] = field(default_factory=list)
    at: int = 0
    ended: bool = False

    async def fill(self) -> None:
        while self.at >= len(self.keys) and not self.ended:
            page = await anext(self.pages, None)
            if page is None:
                self.ended = True
                return
            self.token, self.at = page.token, 0
            # Only the page on which the work stopped holds names that are done.
            self.keys = [key for key in page.keys if key.name.lower() > self.skip_up_to]
            self.skip_up_to = ""

    @property
    def key(self) -> ListedKey | None:
        return self.keys[self.at] if self.at < len(self.keys) else None

    @property
    def name(self) -> str | None:
        return self.key.name.lower() if self.key else None


@asynccontextmanager
async def prefetched(pages: AsyncIterator[KeyPage]) -> AsyncIterator[AsyncIterator[KeyPage]]:
    """Fetch pages ahead of their reader, a bounded number: the chain of pages is what a first sync waits for."""
    queue: asyncio.Queue[KeyPage | BaseException | None] = asyncio.Queue(_PREFETCHED_PAGES)

    async def fetch() -> None:
        try:
            async for page in pages:
                await queue.put(page)
            await queue.put(None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - handed to the reader, which raises it
            await queue.put(error)

    async def read() -> AsyncGenerator[KeyPage]:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    task = asyncio.create_task(fetch())
    try:
        async with aclosing(read()) as reader:
            yield reader
    finally:
        task.cancel()


class SyncStream:
    """Yields a `Met` for each name of a group, from a position on."""

    def __init__(self, index: OrderedIndex, group: str, start: Position) -> None:
        self._index = index
        self._group = group
        self._start = start
        self._passed = start.name
        # Names that the lists did not show at their place: the vault is asked for them, wherever they turn up later.
        self._asked_for: set[str] = set()

    async def walk(self, live: AsyncIterator[KeyPage], deleted: AsyncIterator[KeyPage]) -> AsyncIterator[Met]:
        """Walk along the pages of live and of deleted keys, fetched from the start's tokens on."""
        heads = (
            _Head(live, self._start.name, self._start.live_token),
            _Head(deleted, self._start.name, self._start.deleted_token),
        )
        recorded = self._recorded()
        summary = await anext(recorded, None)
        while True:
            await heads[0].fill()
            await heads[1].fill()
            names = [head.name for head in heads if head.name is not None]
            listed_name = min(names, default=None)
            recorded_name = summary.azure_name.lower() if summary else None
            if listed_name is None and recorded_name is None:
                return
            if listed_name is not None and listed_name <= self._passed:
                late = await self._late(listed_name, heads)
                if listed_name not in self._asked_for:
                    yield late
            elif recorded_name is not None and (listed_name is None or recorded_name < listed_name):
                self._passed = recorded_name
                if summary is not None:
                    if summary.presence not in GONE:
                        self._asked_for.add(recorded_name)
                    yield Met(recorded_name, summary, None, self._position(recorded_name, heads))
                summary = await anext(recorded, None)
            else:
                name = cast("str", listed_name)
                known = summary if recorded_name == name else None
                self._passed = name
                yield Met(name, known, _take(name, heads), self._position(name, heads))
                if known is not None:
                    summary = await anext(recorded, None)

    async def _late(self, name: str, heads: tuple[_Head, _Head]) -> Met:
        entry = await self._index.get(group_tree(self._group), name)
        known = from_entry(entry) if entry else None
        return Met(name, known, _take(name, heads), self._position(self._passed, heads), in_order=False)

    async def _recorded(self) -> AsyncIterator[KeySummary]:
        start = f"{self._start.name}\x00" if self._start.name else ""
        async for leaf in self._index.leaves(group_tree(self._group), start):
            for key, entry in leaf:
                # A '!' marks a purged key whose name another key has taken.
                if "!" not in key:
                    yield from_entry(entry)

    @staticmethod
    def _position(name: str, heads: tuple[_Head, _Head]) -> Position:
        return Position(name, heads[0].token, heads[1].token)


def _take(name: str, heads: tuple[_Head, _Head]) -> ListedKey | None:
    """Take `name` from the lists that show it; None if both do, since a key cannot be live and deleted at once."""
    taken: list[ListedKey] = []
    for head in heads:
        if head.name == name and head.key is not None:
            taken.append(head.key)
            head.at += 1
    return taken[0] if len(taken) == 1 else None
