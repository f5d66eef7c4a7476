"""Ordered indexes: B-link trees of packed leaves, so that a page of entries costs a point read or two at any size.

Invariants: reading never writes; a page and its successor neither repeat nor skip an entry that was there all the
time; a cursor is opaque, names its position by key, and is not trusted.
"""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from core.adapters.tree_nodes import NodeStore
from core.adapters.tree_rounds import Rounds
from core.adapters.tree_walk import TreeWalk
from core.adapters.tree_writer import TreeWriter
from core.domain.trees import At, Below, Position, delete, entries_from, onward, put, value_at
from core.errors import InvalidRequestError
from core.ports import IndexPage

type Leaf = tuple[tuple[str, Mapping[str, object]], ...]

_CAPACITY = 128
_NODE_ID = re.compile(r"(root-)?[0-9a-f]{24}")
# The least text that is greater than a key is the key and this.
_NEXT = "\0"


class TreeIndex:
    """Trees whose leaves hold up to `capacity` entries; entries should stay below about 1 KiB of JSON."""

    def __init__(self, store: NodeStore, capacity: int = _CAPACITY) -> None:
        self._walk = TreeWalk(store)
        self._rounds = Rounds(TreeWriter(store, self._walk, capacity).apply)

    async def apply(self, tree: str, changes: Mapping[str, Mapping[str, object] | None]) -> None:
        """Put or (None) delete entries; concurrent calls share the read and write of a leaf that changes."""
        edits = {key: delete if value is None else put(value) for key, value in changes.items()}
        await self._rounds.apply(tree, edits)

    async def get(self, tree: str, key: str) -> Mapping[str, object] | None:
        """Return one entry."""
        found = await self._walk.seek(tree, At(key))
        return None if found is None else value_at(found.node, key)

    async def page(
        self, tree: str, *, after: str | None = None, start: str = "", limit: int = 100, descending: bool = False
    ) -> IndexPage:
        """Return a page; InvalidRequestError `invalid_cursor` for an `after` that no page returned."""
        cursor = None if after is None else _Cursor.parsed(after)
        reading = _Reading(
            self._walk, tree, _first(cursor, start, descending=descending), cursor.leaf if cursor else None
        )
        taken: list[tuple[str, tuple[str, Any]]] = []
        # One more than asked for tells whether there is a next page.
        while reading.position is not None and len(taken) <= limit:
            id_, entries = await reading.next_leaf()
            taken += [(id_, entry) for entry in entries]
        page = tuple(entry for _, entry in taken[:limit])
        more = len(taken) > limit
        return IndexPage(page, _Cursor(taken[limit - 1][0], page[-1][0]).text() if more else None)

    async def leaves(self, tree: str, start: str = "") -> AsyncIterator[Leaf]:
        """Yield all entries from `start`, a leaf at a time."""
        reading = _Reading(self._walk, tree, At(start), None)
        while reading.position is not None:
            _, entries = await reading.next_leaf()
            if entries:
                yield entries


class _Reading:
    """A way through a tree's leaves, upwards or downwards; `position` is None at the end."""

    def __init__(self, walk: TreeWalk, tree: str, position: Position, hint: str | None) -> None:
        self._walk = walk
        self._tree = tree
        self._hint = hint
        self.position: Position | None = position

    async def next_leaf(self) -> tuple[str, Leaf]:
        """Return the id and entries of the leaf at the position, and go on to the next one."""
        position = self.position or Below("")
        found = await self._walk.seek(self._tree, position, start=self._hint)
        if found is None:
            self.position = None
            return "", ()
        self.position = onward(found.node, position)
        self._hint = found.node.next if isinstance(position, At) else None
        return found.id, entries_from(found.node, position)


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The last key of a page, and the leaf in which it was: a hint that may be out of date."""

    leaf: str
    key: str

    def text(self) -> str:
        return base64.urlsafe_b64encode(to_json([self.leaf, self.key])).rstrip(b"=").decode()

    @classmethod
    def parsed(cls, text: str) -> "_Cursor":
        try:
            leaf, key = from_json(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (ValueError, TypeError):
            raise _invalid_cursor() from None
        if not (isinstance(leaf, str) and isinstance(key, str) and _NODE_ID.fullmatch(leaf)):
            raise _invalid_cursor()
        return cls(leaf, key)


def _first(cursor: _Cursor | None, start: str, *, descending: bool) -> Position:
    if descending:
        return Below(cursor.key if cursor else start or None)
    return At(cursor.key + _NEXT if cursor else start)


def _invalid_cursor() -> InvalidRequestError:
    return InvalidRequestError("This is not a cursor that a page returned.", code="invalid_cursor", field="after")
