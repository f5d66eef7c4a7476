"""Changing trees, level by level from the leaves up.

Invariants:
- Every write is conditional on the node that was read; a node that changed is read and edited again.
- New right siblings are written before the node that leads to them, and the new children of a root before the root: a
  crash between any two writes leaves a correct tree and at worst rows that nothing leads to. These stay: a write that
  seemed to fail may have succeeded, so deleting them could lose entries.
- What the upper levels lack is only found more slowly; so a failure above the leaves is not an error of the change.
"""

import asyncio
import bisect
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from core.adapters.tree_nodes import NodeStore, new_node_id, root_id
from core.adapters.tree_walk import Found, TreeWalk
from core.concurrency import each
from core.domain.trees import EMPTY_ROOT, At, Edit, Entries, Node, absorbed, edited, link, raised, relink, split
from core.errors import AlreadyExistsError, StaleWriteError, VaultUnavailableError
from core.ports import Stored

_CONCURRENT_NODES = 8
_ATTEMPTS = 30
_LONGEST_PAUSE = 0.25
_BUSY = timedelta(seconds=1)


class TreeWriter:
    """Applies edits to trees whose nodes hold at most `capacity` entries."""

    def __init__(self, store: NodeStore, walk: TreeWalk, capacity: int) -> None:
        self._store = store
        self._walk = walk
        self._capacity = capacity

    async def apply(self, tree: str, edits: Mapping[str, Edit[Any]]) -> None:
        """Edit the leaves, then tell the levels above of the nodes that came and went."""
        links = await self._level(tree, 0, edits).write()
        level = 1
        with suppress(VaultUnavailableError):
            while links:
                links = await self._level(tree, level, links).write()
                level += 1

    def _level(self, tree: str, level: int, edits: Mapping[str, Edit[Any]]) -> "_Level":
        """Return the pass that applies `edits` to one level."""
        return _Level(self._store, self._walk, self._capacity, (tree, level), edits)


class _Level:
    """One pass over one level of one tree."""

    def __init__(
        self, store: NodeStore, walk: TreeWalk, capacity: int, place: tuple[str, int], edits: Mapping[str, Edit[Any]]
    ) -> None:
        self._store = store
        self._walk = walk
        self._capacity = capacity
        self._tree, self._number = place
        self._edits = edits
        self._links: dict[str, Edit[str]] = {}

    async def write(self) -> Mapping[str, Edit[str]]:
        """Write all edits and return those that the level above needs."""
        keys = sorted(self._edits)
        if keys:
            # On its way to the first node the walk learns the nodes by which the other keys are told apart.
            rest, _ = await self._write_next(keys, None)
            runs = [list(run) for _, run in groupby(rest, self._route)]
            await each(self._write_run, runs, at_most=_CONCURRENT_NODES)
        return self._links

    def _route(self, key: str) -> str:
        return self._walk.route(self._tree, key, self._number)

    async def _write_run(self, keys: list[str]) -> None:
        near: str | None = None
        while keys:
            # The nodes that a split has just made are not known above yet, but a few steps from where it was.
            keys, near = await self._write_next(keys, near)

    async def _write_next(self, keys: list[str], near: str | None) -> tuple[list[str], str]:
        """Edit the node of the first key; return the keys that remain and the id of the node, close to theirs."""
        for attempt in range(_ATTEMPTS):
            found = await self._walk.seek(self._tree, At(keys[0]), level=self._number, start=near)
            found = found or Found(root_id(self._tree), EMPTY_ROOT, "", {})
            mine = self._share(keys, found.node)
            try:
                await self._edit(found, {key: self._edits[key] for key in mine})
            except (StaleWriteError, AlreadyExistsError):
                self._walk.forget(self._tree, found.id)
                await asyncio.sleep(_pause(attempt))
            else:
                return keys[len(mine) :], found.id
        raise VaultUnavailableError(
            "Too many writers change the same index at once.", code="storage_unavailable", retry_after=_BUSY
        )

    def _share(self, keys: list[str], node: Node[Any]) -> list[str]:
        """Return the keys that lie in the node, as far as one write should carry."""
        end = len(keys) if node.high is None else bisect.bisect_left(keys, node.high)
        return keys[: min(end, 2 * self._capacity)]

    async def _edit(self, found: Found, edits: Mapping[str, Edit[Any]]) -> None:
        entries = edited(found.node, edits)
        if entries != found.node.entries:
            await self._store_entries(found, entries)
        self._links.update(found.repairs)

    async def _store_entries(self, found: Found, entries: Entries[Any]) -> None:
        node = found.node
        if not entries and node.next is not None:
            await self._absorb(found, node.next)
        elif len(entries) <= self._capacity:
            await self._put(found, replace(node, entries=entries))
        elif found.id == root_id(self._tree):
            await self._raise_root(found, entries)
        else:
            left, siblings = split(node, entries, self._capacity, new_node_id)
            await self._insert(siblings)
            await self._put(found, left)
            self._links.update({sibling.low: link(id_) for id_, sibling in siblings.items()})

    async def _raise_root(self, found: Found, entries: Entries[Any]) -> None:
        left, siblings = split(found.node, entries, self._capacity, new_node_id)
        children = {new_node_id(): left, **siblings}
        await self._insert(children)
        await self._put(found, raised(children))

    async def _absorb(self, found: Found, right_id: str) -> None:
        right = await self._walk.read(self._tree, right_id)
        if right is None:
            raise StaleWriteError("The index")
        node = absorbed(found.node, right.value)
        await self._store.absorb(self._tree, (found.id, found.etag), node, (right_id, right.etag))
        self._links[right.value.low] = relink(right_id, found.id)

    async def _insert(self, nodes: Mapping[str, Node[Any]]) -> None:
        async def insert(item: tuple[str, Node[Any]]) -> None:
            self._remember(item[0], item[1], await self._store.insert(self._tree, *item))

        await each(insert, list(nodes.items()), at_most=_CONCURRENT_NODES)

    async def _put(self, found: Found, node: Node[Any]) -> None:
        if found.etag:
            etag = await self._store.replace(self._tree, found.id, node, found.etag)
        else:
            etag = await self._store.insert(self._tree, found.id, node)
        self._remember(found.id, node, etag)

    def _remember(self, id_: str, node: Node[Any], etag: str) -> None:
        if node.level:
            self._walk.remember(self._tree, id_, Stored(node, etag))


def _pause(attempt: int) -> float:
    """Return how many seconds to leave to the writer that was faster; random, so that two do not meet again."""
    return random.uniform(0, min(_LONGEST_PAUSE, 0.005 * 2**attempt))  # noqa: S311 - not for a secret
