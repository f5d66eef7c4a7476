"""Finding the node of a tree that covers a position.

Invariants: nodes above the leaves are cached in the process and may be stale, which costs steps to the right but never
gives a wrong answer; leaves are never cached. A walk notes what the level above the target does not know yet, so that
a writer can mend it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.adapters.tree_nodes import NodeStore, root_id
from core.domain.trees import At, Below, Edit, Node, Position, child, lies_left, lies_right, link, relink
from core.errors import IntegrityError
from core.ports import Stored

_CACHED_NODES = 2_000


@dataclass(frozen=True, slots=True)
class Found:
    """The node that covers a position; `repairs` are edits that the level above it lacks."""

    id: str
    node: Node[Any]
    etag: str
    repairs: Mapping[str, Edit[str]]


class TreeWalk:
    """Reads nodes, through the cache of inner ones."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._inner: OrderedDict[tuple[str, str], Stored[Node[Any]]] = OrderedDict()

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        """Return a node: as cached, if it is an inner one."""
        cached = self._inner.get((tree, id_))
        if cached is not None:
            self._inner.move_to_end((tree, id_))
            return cached
        stored = await self._store.read(tree, id_)
        if stored is not None and stored.value.level:
            self.remember(tree, id_, stored)
        return stored

    def remember(self, tree: str, id_: str, stored: Stored[Node[Any]]) -> None:
        """Keep an inner node."""
        self._inner[tree, id_] = stored
        if len(self._inner) > _CACHED_NODES:
            self._inner.popitem(last=False)

    def forget(self, tree: str, id_: str) -> None:
        """Read the node anew next time."""
        self._inner.pop((tree, id_), None)

    def route(self, tree: str, key: str, level: int) -> str:
        """Return the id to which cached nodes lead a key of `level`; keys that part here are in different nodes."""
        id_ = root_id(tree)
        while (cached := self._inner.get((tree, id_))) is not None and cached.value.level > level:
            node, at = cached.value, At(key)
            id_ = node.next or "" if lies_right(at, node) else child(node, at)[1]
        return id_

    async def seek(self, tree: str, position: Position, *, level: int = 0, start: str | None = None) -> Found | None:
        """Return the node of `level` that covers `position`, or None if there is no tree.

        `start` is the id of a node from which to search; the root serves where that one is gone or does not lead there.
        """
        if start is not None:
            stored = await self.read(tree, start)
            if stored is not None and not lies_left(position, stored.value):
                return await _Search(self, tree, position, level).run(start, stored)
        root = root_id(tree)
        stored = await self.read(tree, root)
        return None if stored is None else await _Search(self, tree, position, level).run(root, stored)


class _Search:
    """One search, node by node."""

    def __init__(self, walk: TreeWalk, tree: str, position: Position, level: int) -> None:
        self._walk = walk
        self._tree = tree
        self._position = position
        self._level = level
        self._parent: str | None = None
        self._repairs: dict[str, Edit[str]] = {}

    async def run(self, id_: str, stored: Stored[Node[Any]]) -> Found:
        """Go on from a node that is at the position or to the left of it."""
        while True:
            if lies_right(self._position, stored.value):
                id_, stored = await self._step_right(id_, stored)
            elif stored.value.level > self._level:
                id_, stored = await self._step_down(id_, stored.value)
            else:
                return Found(id_, stored.value, stored.etag, self._repairs)

    async def _step_right(self, id_: str, stored: Stored[Node[Any]]) -> tuple[str, Stored[Node[Any]]]:
        next_ = stored.value.next or ""
        right = await self._walk.read(self._tree, next_)
        if right is None:
            return await self._again(id_, stored.etag)
        if self._parent is not None:
            self._walk.forget(self._tree, self._parent)
            if right.value.level == self._level:
                self._repairs[right.value.low] = link(next_)
        return next_, right

    async def _again(self, id_: str, etag: str) -> tuple[str, Stored[Node[Any]]]:
        """Go on from a leaf that has taken its right neighbour over since it was read."""
        again = await self._walk.read(self._tree, id_)
        if again is not None and again.etag != etag:
            return id_, again
        if again is not None:
            raise _damaged()
        return await self._from_root(self._position)

    async def _step_down(self, id_: str, node: Node[str]) -> tuple[str, Stored[Node[Any]]]:
        self._parent = id_
        separator, below = child(node, self._position)
        stored = await self._walk.read(self._tree, below)
        if stored is not None:
            return below, stored
        # The child was taken over by the node on its left, which only the keys below it lead to.
        self._walk.forget(self._tree, id_)
        heir_id, heir = await self._from_root(Below(separator))
        self._repairs[separator] = relink(below, heir_id)
        return heir_id, heir

    async def _from_root(self, position: Position) -> tuple[str, Stored[Node[Any]]]:
        found = await self._walk.seek(self._tree, position, level=self._level)
        if found is None:
            raise _damaged()
        self._repairs.update(found.repairs)
        return found.id, Stored(found.node, found.etag)


def _damaged() -> IntegrityError:
    return IntegrityError("An index refers to a node that does not exist.", code="index_damaged")
