"""Many calls at once, but not too many."""

import asyncio

import pytest

from core.concurrency import each


async def test_returns_the_answers_in_order_and_bounds_the_calls() -> None:
    running = most = 0

    async def act(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (number % 3))
        running -= 1
        return -number

    assert await each(act, range(20), at_most=4) == [-number for number in range(20)]
    assert most == 4
    assert await each(act, [7], at_most=4) == [-7]
    assert await each(act, [], at_most=4) == []


async def test_the_first_error_ends_the_others() -> None:
    finished = []

    async def act(number: int) -> None:
        await asyncio.sleep(0.001 if number == 1 else 5)
        if number == 1:
            raise KeyError(number)
        finished.append(number)

    with pytest.raises(KeyError):
        await each(act, range(3), at_most=3)
    assert finished == []
