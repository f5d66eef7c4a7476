"""Many calls at once, but not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


async def each[A, B](act: Callable[[A], Awaitable[B]], items: Sequence[A], *, at_most: int) -> list[B]:
    """Return `act` of every item, in order, at most `at_most` at a time; the first error ends the others."""
    if len(items) == 1:
        return [await act(items[0])]
    gate = asyncio.Semaphore(at_most)

    async def one(item: A) -> B:
        async with gate:
            return await act(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
