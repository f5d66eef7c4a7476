"""Reading keys: pages over all groups that the caller sees, and one key with everything that is recorded of it.

Invariant: a page reads a bounded number of index leaves. A filter that few keys pass gives short pages with a `next`
rather than a long wait.
"""

from collections.abc import Callable
from collections.abc import Collection as Container
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.keys import KeyClass, KeyOrigin, KeyState, VirtualKey
from core.domain.summaries import KeySummary, expiry_tree, from_entry, group_tree, moment, name_tree, update_tree
from core.errors import NotFoundError
from core.ports import Clock, Collection, OrderedIndex, Stored

#: Entries that one page may look at before it returns what it has.
_SCANNED = 2_000
_CHUNK = 100


class KeySort(StrEnum):
    """The orders that have an index. Within one group, `name` is the order of Azure's names."""

    NAME = "name"
    EXPIRES_ON = "expires_on"
    UPDATED_ON = "updated_on"


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """What a key must be to be listed; None or empty asks nothing. `tag` is a name, or a name and its value."""

    group: str | None = None
    key_class: KeyClass | None = None
    states: frozenset[KeyState] = frozenset()
    origins: frozenset[KeyOrigin] = frozenset()
    types: frozenset[str] = frozenset()
    tag: tuple[str, str | None] | None = None
    expires_before: datetime | None = None
    expires_after: datetime | None = None
    text: str | None = None
    drifted: bool | None = None

    def admits(self, key: KeySummary, now: datetime) -> bool:
        """Whether `key` passes at `now`."""
        return all(
            (
                self.group in {None, key.group},
                self.key_class in {None, key.key_class},
                not self.states or key.state(now) in self.states,
                not self.origins or key.origin in self.origins,
                not self.types or key.type in self.types,
                self._has_tag(key),
                self._expires(key),
                self._mentions(key),
                self.drifted in {None, key.drifted},
            )
        )

    def _has_tag(self, key: KeySummary) -> bool:
        if self.tag is None:
            return True
        name, value = self.tag
        return any(name == its_name and value in {None, its_value} for its_name, its_value in key.tags)

    def _expires(self, key: KeySummary) -> bool:
        if self.expires_before is None and self.expires_after is None:
            return True
        if key.expires_on is None:
            return False
        early = self.expires_after is not None and key.expires_on < self.expires_after
        late = self.expires_before is not None and key.expires_on >= self.expires_before
        return not early and not late

    def _mentions(self, key: KeySummary) -> bool:
        if self.text is None:
            return True
        wanted = self.text.casefold()
        return wanted in key.name.casefold() or wanted in key.azure_name.casefold()


@dataclass(frozen=True, slots=True)
class Order:
    """How to sort, where to go on (the cursor of the page before), and how many keys to return."""

    sort: KeySort = KeySort.NAME
    descending: bool = False
    after: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Keys, and the cursor of the next page or None at the end."""

    keys: tuple[KeySummary, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """The part of a tree that can hold wanted keys: positions in [low, high)."""

    tree: str
    descending: bool
    low: str = ""
    high: str = ""

    def start(self, cursor: str | None) -> str:
        """Where to read on behind `cursor`; a descending read ends below its start."""
        if self.descending:
            return cursor or self.high
        return f"{cursor}\x00" if cursor else self.low

    def is_past(self, position: str) -> bool:
        """Whether the walk has left the part."""
        return position < self.low if self.descending else bool(self.high) and position >= self.high


def _walk(account: str, wanted: KeyFilter, order: Order) -> _Walk:
    if order.sort is KeySort.EXPIRES_ON:
        low = moment(wanted.expires_after) if wanted.expires_after else ""
        high = moment(wanted.expires_before) if wanted.expires_before else ""
        return _Walk(expiry_tree(account), order.descending, low, high)
    if order.sort is KeySort.UPDATED_ON:
        return _Walk(update_tree(account), order.descending)
    tree = group_tree(wanted.group) if wanted.group else name_tree(account)
    return _Walk(tree, order.descending)


class Keys:
    """Lists and reads keys."""

    def __init__(self, keys: Collection[VirtualKey], index: OrderedIndex, clock: Clock) -> None:
        self._keys = keys
        self._index = index
        self._clock = clock

    async def page(
        self, account: str, wanted: KeyFilter, order: Order, *, visible_groups: Container[str] | None
    ) -> KeyPage:
        """Return a page of the keys that pass `wanted` and lie in `visible_groups` (None: all)."""
        now = self._clock.now()

        def admits(key: KeySummary) -> bool:
            return (visible_groups is None or key.group in visible_groups) and wanted.admits(key, now)

        return await self._collect(_walk(account, wanted, order), admits, order)

    async def get(self, account: str, group: str, key: str) -> Stored[VirtualKey]:
        """Return one key, or NotFoundError `key_not_found`."""
        stored = await self._keys.get(group, key)
        if stored is None or stored.value.account != account:
            raise NotFoundError("There is no such key.", code="key_not_found")
        return stored

    async def _collect(self, walk: _Walk, admits: Callable[[KeySummary], bool], order: Order) -> KeyPage:
        found: list[KeySummary] = []
        cursor, scanned = order.after, 0
        while len(found) < order.limit and scanned < _SCANNED:
            # Without a filter the first chunk is the page; with one, larger chunks save reads.
            chunk = order.limit if scanned == 0 else _CHUNK
            start = walk.start(cursor)
            page = await self._index.page(walk.tree, start=start, limit=chunk, descending=walk.descending)
            scanned += len(page.entries)
            for position, entry in page.entries:
                if walk.is_past(position):
                    return KeyPage(tuple(found), None)
                cursor = position
                if admits(key := from_entry(entry)):
                    found.append(key)
                if len(found) == order.limit:
                    break
            if page.next is None and len(found) < order.limit:
                return KeyPage(tuple(found), None)
        return KeyPage(tuple(found), cursor)
