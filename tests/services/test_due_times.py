"""What is due when: in order, once, at the cost of what is due."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.ports import IndexPage
from core.services.due_times import DueTimes, position
from tests.builders.keys import NOW
from tests.fakes.storage import MemoryIndex

SECOND = timedelta(seconds=1)


class CountingIndex(MemoryIndex):
    """Counts the entries that pages hold."""

    read = 0

    async def page(
        self, tree: str, *, after: str | None = None, start: str = "", limit: int = 100, descending: bool = False
    ) -> IndexPage:
        page = await super().page(tree, after=after, start=start, limit=limit, descending=descending)
        self.read += len(page.entries)
        return page


async def due(times: DueTimes, now: datetime = NOW) -> list[str]:
    return [str(entry["id"]) async for _, entry in times.due(now)]


async def plan(times: DueTimes, when: datetime, *ids: str) -> None:
    for id_ in ids:
        await times.plan(when, id_, {"id": id_})


async def test_what_is_due_comes_oldest_first() -> None:
    times = DueTimes(MemoryIndex(), "due")
    await plan(times, NOW + SECOND, "later")
    await plan(times, NOW, "b", "a")
    await plan(times, NOW - timedelta(days=400), "oldest")
    assert await due(times) == ["oldest", "a", "b"]
    assert await due(times, NOW - SECOND) == ["oldest"]
    assert await due(times, NOW + SECOND) == ["oldest", "a", "b", "later"]


@pytest.mark.parametrize("id_", ["a", "zzz", "~", "key_a/ff", "sync|x"])
async def test_an_entry_of_this_second_is_due_whatever_its_id(id_: str) -> None:
    times = DueTimes(MemoryIndex(), "due")
    await plan(times, NOW.replace(microsecond=999_999), id_)
    assert await due(times, NOW - SECOND) == []
    assert await due(times) == [id_]


async def test_times_are_those_of_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert position(NOW.astimezone(tokyo), "x") == position(NOW, "x")
    assert position(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "x") == "2026-01-02T03:04:05Z|x"


async def test_a_later_plan_of_the_same_stands_beside_the_first() -> None:
    times = DueTimes(MemoryIndex(), "due")
    await plan(times, NOW, "a")
    await plan(times, NOW, "a")
    await plan(times, NOW - SECOND, "a")
    assert await due(times) == ["a", "a"]


async def test_what_is_done_while_it_is_read_comes_once() -> None:
    times = DueTimes(MemoryIndex(), "due")
    ids = [f"id-{number:04d}" for number in range(350)]
    await plan(times, NOW, *ids)
    seen = []
    async for place, entry in times.due(NOW):
        seen.append(entry["id"])
        await times.done(place)
    assert seen == ids
    assert await due(times) == []
    await times.done(position(NOW, "id-0000"))


async def test_what_is_added_while_it_is_read_stops_nothing() -> None:
    times = DueTimes(MemoryIndex(), "due")
    await plan(times, NOW, *(f"id-{number:04d}" for number in range(150)))
    seen: list[Mapping[str, object]] = []
    async for _, entry in times.due(NOW):
        seen.append(entry)
        if len(seen) < 10:
            await plan(times, NOW + SECOND, f"later-{len(seen)}")
    assert len(seen) == 150


async def test_the_cost_is_that_of_what_is_due() -> None:
    index = CountingIndex()
    times = DueTimes(index, "due")
    await plan(times, NOW, "a")
    await plan(times, NOW + timedelta(days=1), *(f"later-{number:04d}" for number in range(1_000)))
    assert await due(times) == ["a"]
    assert index.read <= 100
