"""Measuring calls side by side."""

import statistics
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

type Call = Callable[[], Awaitable[object]]


async def medians(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call, awaited `rounds` times.

    The calls take turns, one at a time: what else the machine does falls on all of them alike, and none finds the
    processor's caches full of its own. The first tenth of the rounds is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-(rounds // 10), rounds):
        for name, call in calls.items():
            started = perf_counter()
            await call()
            if number >= 0:
                taken[name].append(perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def milliseconds(seconds: float) -> str:
    """Return seconds as people read short times."""
    return f"{seconds * 1_000:.2f} ms"
