"""Cuts into work at one of its calls out of the process, before or after it: to crash, or to do something else.

Whoever counts `at` up from 1 until nothing blows any more has cut at every call.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

type Act = Callable[[], Awaitable[object]]

_ITERATED = frozenset({"leaves", "scan", "names", "list_keys", "list_deleted"})


class CrashError(BaseException):
    """The process is gone; no handler of the product may catch this."""


async def crash() -> None:
    """End the process."""
    raise CrashError


async def cancel() -> None:
    """Cancel the work, as a host that stops does."""
    raise asyncio.CancelledError


class Fuse:
    """Counts calls out of the process and blows at one of them; a process that crashed makes no call any more.

    `also` are acts at further calls, before them. `names` are the calls so far.
    """

    def __init__(self, at: int, *, after: bool, act: Act = crash, also: Mapping[int, Act] | None = None) -> None:
        self.at = at
        self.after = after
        self.names: list[str] = []
        self.blew = False
        self._act = act
        self._also = also or {}
        self._gone = False

    def wrap(self, target: object) -> Any:
        return _Fused(self, target)

    async def before_call(self, name: str) -> int:
        if self._gone:
            raise CrashError
        self.names.append(name)
        number = len(self.names)
        if number in self._also:
            await self._also[number]()
        if number == self.at and not self.after:
            await self._blow()
        return number

    async def after_call(self, number: int) -> None:
        if number == self.at and self.after:
            await self._blow()

    async def _blow(self) -> None:
        self.blew = True
        self._gone = self._act is crash
        await self._act()


class _Fused:
    def __init__(self, fuse: Fuse, target: object) -> None:
        self._fuse = fuse
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name in _ITERATED:
            return lambda *args, **kwargs: self._iterate(name, method(*args, **kwargs))

        async def call(*args: Any, **kwargs: Any) -> Any:
            number = await self._fuse.before_call(name)
            try:
                return await method(*args, **kwargs)
            finally:
                await self._fuse.after_call(number)

        return call

    async def _iterate(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        number = await self._fuse.before_call(name)
        async for item in items:
            yield item
        await self._fuse.after_call(number)


def put_fuse(stage: Any, fuse: Fuse, names: Iterable[str]) -> dict[str, Any]:
    """Put the fuse between the stage's services and what they call; return what stood there, for `restart`."""
    kept: dict[str, Any] = {name: getattr(stage, name) for name in names}
    for name, whole in kept.items():
        setattr(stage, name, fuse.wrap(whole))
    kept["vaults"] = stage.vaults
    stage.vaults = copy.copy(stage.vaults)
    stage.vaults.vault = fuse.wrap(stage.vaults.vault)
    # A stage with several vaults has them here, by group.
    if hasattr(stage.vaults, "others"):
        stage.vaults.others = {group: fuse.wrap(vault) for group, vault in stage.vaults.others.items()}
    stage.wire()
    return kept


def restart(stage: Any, kept: Mapping[str, Any]) -> None:
    """A new process over the same storage and vaults."""
    for name, whole in kept.items():
        setattr(stage, name, whole)
    stage.wire()
