"""Tree nodes in memory, with what tests need of a store: request counts, interleaving, and crashes."""

import asyncio
import itertools
import random
from typing import Any

from core.adapters.tree_nodes import NodeStore, decoded, encoded
from core.domain.trees import Node
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Stored


class MemoryNodeStore:
    """Nodes as their stored bytes; every call lets others run before and after it. `reads` and `writes` count calls."""

    def __init__(self, seed: int | None = None) -> None:
        self.rows: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.reads = 0
        self.writes = 0
        self._etags = itertools.count(1)
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - a test's dice

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        self.reads += 1
        await self._let_others_run()
        row = self.rows.get((tree, id_))
        await self._let_others_run()
        return None if row is None else Stored(decoded(row[0]), row[1])

    async def insert(self, tree: str, id_: str, node: Node[Any]) -> str:
        await self._let_others_run()
        if (tree, id_) in self.rows:
            raise AlreadyExistsError("The record exists already.")
        return await self._store(tree, id_, node)

    async def replace(self, tree: str, id_: str, node: Node[Any], etag: str) -> str:
        await self._let_others_run()
        self._expect(tree, id_, etag)
        return await self._store(tree, id_, node)

    async def absorb(self, tree: str, left: tuple[str, str], node: Node[Any], right: tuple[str, str]) -> None:
        await self._let_others_run()
        self._expect(tree, *left)
        self._expect(tree, *right)
        del self.rows[tree, right[0]]
        await self._store(tree, left[0], node)

    async def _store(self, tree: str, id_: str, node: Node[Any]) -> str:
        self.writes += 1
        etag = f"etag-{next(self._etags)}"
        self.rows[tree, id_] = (encoded(node), etag)
        await self._let_others_run()
        return etag

    def _expect(self, tree: str, id_: str, etag: str) -> None:
        if self.rows.get((tree, id_), (b"", ""))[1] != etag:
            raise StaleWriteError("The record")

    async def _let_others_run(self) -> None:
        for _ in range(self._random.randrange(4) if self._random else 0):
            await asyncio.sleep(0)


class CrashError(Exception):
    """The process ended here."""


class CrashingNodeStore:
    """A store whose process ends at its call number `at` (from 0): before that call takes effect, or right after."""

    def __init__(self, store: NodeStore, at: int, *, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after
        self.crashed = False

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        self._before()
        return self._behind(await self._store.read(tree, id_))

    async def insert(self, tree: str, id_: str, node: Node[Any]) -> str:
        self._before()
        return self._behind(await self._store.insert(tree, id_, node))

    async def replace(self, tree: str, id_: str, node: Node[Any], etag: str) -> str:
        self._before()
        return self._behind(await self._store.replace(tree, id_, node, etag))

    async def absorb(self, tree: str, left: tuple[str, str], node: Node[Any], right: tuple[str, str]) -> None:
        self._before()
        await self._store.absorb(tree, left, node, right)
        self._behind(None)

    def _before(self) -> None:
        if self.crashed or (self._left == 0 and not self._after):
            self._crash()

    def _behind[T](self, answer: T) -> T:
        if self.crashed or self._left == 0:
            self._crash()
        self._left -= 1
        return answer

    def _crash(self) -> None:
        self.crashed = True
        raise CrashError
