"""Changes of trees in rounds: what comes in while a round is written goes out together in the next one.

Invariants: in one process a tree has one writer at a time, so that concurrent changes of the same leaves cost one write
instead of making each other read and write again; of two edits of one key the later one stays; all callers of a round
learn how it ended, and a caller that is cancelled does not stop it for the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from core.domain.trees import Edit

type Edits = Mapping[str, Edit[Any]]


class Rounds:
    """Gathers edits by tree, and has `write` write them."""

    def __init__(self, write: Callable[[str, Edits], Awaitable[None]]) -> None:
        self._write = write
        self._gathering: dict[str, tuple[dict[str, Edit[Any]], asyncio.Task[None]]] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}

    async def apply(self, tree: str, edits: Edits) -> None:
        """Return when `edits` are written; raises what the writing of their round raised."""
        if tree in self._gathering:
            gathered, task = self._gathering[tree]
            gathered.update(edits)
        else:
            gathered = dict(edits)
            task = asyncio.create_task(self._round(tree, gathered, self._writing.get(tree)))
            self._gathering[tree] = gathered, task
        await asyncio.shield(task)

    async def _round(self, tree: str, gathered: Edits, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._writing[tree] = self._gathering.pop(tree)[1]
        try:
            await self._write(tree, gathered)
        finally:
            # The next round, if there is one, is still gathering: it waits for the end of this one.
            del self._writing[tree]
