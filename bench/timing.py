"""Measuring calls side by side."""

import statistics
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

type Call = Callable[[], Awaitable[object]]


async def medians(calls: Mapping[str, Call], *, rounds: int, a_round: int) -> dict[str, float]:
    """Return the median seconds of each call, awaited `rounds` times `a_round` times.

    The calls take turns, so that what else the machine does falls on all of them alike. A first round is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(a_round):
                started = perf_counter()
                await call()
                if number:
                    taken[name].append(perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def milliseconds(seconds: float) -> str:
    """Return seconds as people read short times."""
    return f"{seconds * 1_000:.2f} ms"
