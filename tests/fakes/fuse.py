"""Cuts into work at one of its calls out of the process: before the call or after it, to crash or to do something else.

Whoever counts `at` up from 1 until nothing blows any more has cut at every call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

_ITERATED = frozenset({"leaves", "scan", "names", "list_keys", "list_deleted"})


class CrashError(BaseException):
    """The process is gone; no handler of the product may catch this."""


async def crash() -> None:
    """End the process."""
    raise CrashError


async def cancel() -> None:
    """Cancel the work, as a client that goes away or a host that stops does."""
    raise asyncio.CancelledError


class Fuse:
    """Counts calls out of the process and blows at one of them; a process that crashed makes no call any more."""

    def __init__(self, at: int, *, after: bool, act: Callable[[], Awaitable[None]] = crash) -> None:
        self.at = at
        self.after = after
        self.calls = 0
        self.blew = False
        self._act = act
        self._gone = False

    def wrap(self, target: object) -> Any:
        return _Fused(self, target)

    async def before_call(self) -> int:
        if self._gone:
            raise CrashError
        self.calls += 1
        number = self.calls
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
            return lambda *args, **kwargs: self._iterate(method(*args, **kwargs))

        async def call(*args: Any, **kwargs: Any) -> Any:
            number = await self._fuse.before_call()
            try:
                return await method(*args, **kwargs)
            finally:
                await self._fuse.after_call(number)

        return call

    async def _iterate(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        number = await self._fuse.before_call()
        async for item in items:
            yield item
        await self._fuse.after_call(number)


def put_fuse(stage: Any, fuse: Fuse, names: Iterable[str]) -> dict[str, object]:
    """Put the fuse into what the stage's services call; return what stood there, for `restart`."""
    kept: dict[str, object] = {name: getattr(stage, name) for name in names}
    for name, whole in kept.items():
        setattr(stage, name, fuse.wrap(whole))
    kept["vault"] = stage.vaults.vault
    stage.vaults.vault = fuse.wrap(stage.vaults.vault)
    stage.wire()
    return kept


def restart(stage: Any, kept: dict[str, object]) -> None:
    """A new process over the same storage and vault."""
    stage.vaults.vault = kept.pop("vault")
    for name, whole in kept.items():
        setattr(stage, name, whole)
    stage.wire()
