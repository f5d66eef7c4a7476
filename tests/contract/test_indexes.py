"""What every OrderedIndex does, in memory and as trees in Table Storage."""

import asyncio
import random
import uuid
from collections.abc import Mapping

import pytest

from core.adapters.storage import Storage
from core.adapters.tree_nodes import TableNodeStore
from core.adapters.trees import TreeIndex
from core.errors import InvalidRequestError
from core.ports import OrderedIndex
from tests.fakes.storage import MemoryIndex

DICE = random.Random(1)  # noqa: S311 - a test's dice

type Entries = list[tuple[str, Mapping[str, object]]]


def entries(*numbers: int) -> dict[str, Mapping[str, object]]:
    return {f"key-{number:06}": {"number": number, "tags": ["a", {"b": None}], "name": "Käse"} for number in numbers}


async def all_pages(
    index: OrderedIndex, tree: str, *, limit: int, start: str = "", descending: bool = False
) -> Entries:
    found: Entries = []
    after = None
    while True:
        page = await index.page(tree, after=after, start=start, limit=limit, descending=descending)
        assert len(page.entries) == limit or page.next is None
        found += page.entries
        if page.next is None:
            return found
        after = page.next


async def all_leaves(index: OrderedIndex, tree: str, start: str = "") -> Entries:
    return [entry async for leaf in index.leaves(tree, start) for entry in leaf]


@pytest.fixture
def tree() -> str:
    return f"acc/{uuid.uuid4().hex}#names"


class IndexContract:
    async def test_empty(self, index: OrderedIndex, tree: str) -> None:
        page = await index.page(tree)
        assert (page.entries, page.next) == ((), None)
        page = await index.page(tree, descending=True)
        assert (page.entries, page.next) == ((), None)
        assert await all_leaves(index, tree) == []
        assert await index.get(tree, "a") is None
        await index.apply(tree, {"a": None})
        await index.apply(tree, {})

    async def test_puts_and_deletes(self, index: OrderedIndex, tree: str) -> None:
        await index.apply(tree, {"a": {"n": 1}, "b": {"n": 2}, "": {"n": 0}})
        await index.apply(tree, {"a": {"n": 3}, "b": None, "c": None})
        assert await all_leaves(index, tree) == [("", {"n": 0}), ("a", {"n": 3})]
        assert await index.get(tree, "a") == {"n": 3}
        assert await index.get(tree, "b") is None
        assert await index.get(f"{tree}x", "a") is None

    async def test_orders_by_code_point(self, index: OrderedIndex, tree: str) -> None:
        keys = ["Z", "a", "a\x00", "a b", "a/b", "aa", "é", "\uffff", "\U0001f511", "B", "~"]
        await index.apply(tree, {key: {"key": key} for key in keys})
        assert [key for key, _ in await all_leaves(index, tree)] == sorted(keys)

    @pytest.mark.parametrize("limit", [1, 7, 100, 1000])
    async def test_pages_in_both_directions(self, index: OrderedIndex, tree: str, limit: int) -> None:
        numbers = list(range(0, 600, 2)) if limit > 1 else list(range(0, 40, 2))
        expected = list(entries(*numbers).items())
        await index.apply(tree, dict(DICE.sample(expected, len(expected))))
        assert await all_pages(index, tree, limit=limit) == expected
        assert await all_pages(index, tree, limit=limit, descending=True) == expected[::-1]
        for start in ("key-000020", "key-000021"):
            assert await all_pages(index, tree, limit=limit, start=start) == [e for e in expected if e[0] >= start]
            below = await all_pages(index, tree, limit=limit, start=start, descending=True)
            assert below == [e for e in expected if e[0] < start][::-1]
            assert await all_leaves(index, tree, start) == [e for e in expected if e[0] >= start]

    async def test_a_page_that_ends_with_the_tree_has_no_next(self, index: OrderedIndex, tree: str) -> None:
        await index.apply(tree, entries(*range(200)))
        first = await index.page(tree)
        second = await index.page(tree, after=first.next)
        assert (len(second.entries), second.next) == (100, None)

    async def test_a_cursor_outlives_changes(self, index: OrderedIndex, tree: str) -> None:
        await index.apply(tree, entries(*range(0, 1000, 2)))
        page = await index.page(tree, limit=100)
        await index.apply(tree, {**dict.fromkeys(key for key, _ in page.entries[50:]), **entries(*range(1, 1000, 2))})
        rest = await index.page(tree, after=page.next, limit=100)
        assert [key for key, _ in rest.entries] == list(entries(*range(199, 299)))
        back = await index.page(tree, after=page.next, limit=1000, descending=True)
        kept = [*range(0, 100, 2), *range(1, 198, 2)]
        assert [key for key, _ in back.entries] == sorted(entries(*kept), reverse=True)

    @pytest.mark.parametrize("cursor", ["", "x", "%%%", "bnVsbA", "WyJhIiwiYiJd", "WzEsMl0", "e30="])
    async def test_refuses_a_made_up_cursor(self, index: OrderedIndex, tree: str, cursor: str) -> None:
        with pytest.raises(InvalidRequestError) as refusal:
            await index.page(tree, after=cursor)
        assert (refusal.value.code, refusal.value.field) == ("invalid_cursor", "after")

    async def test_concurrent_writers_lose_nothing(self, index: OrderedIndex, tree: str) -> None:
        batches = [entries(*range(start, 900, 9)) for start in range(9)]
        await asyncio.gather(*[index.apply(tree, batch) for batch in batches])
        assert await all_leaves(index, tree) == list(entries(*range(900)).items())
        gone: list[dict[str, Mapping[str, object] | None]] = [dict.fromkeys(batch) for batch in batches[:7]]
        await asyncio.gather(
            *[index.apply(tree, batch) for batch in gone], index.apply(tree, entries(*range(900, 950)))
        )
        kept = [number for number in range(900) if number % 9 > 6]
        assert await all_leaves(index, tree) == list(entries(*kept, *range(900, 950)).items())

    async def test_serves_as_a_queue(self, index: OrderedIndex, tree: str) -> None:
        for start in range(0, 600, 60):
            await index.apply(tree, entries(*range(start, start + 60)))
            due = await index.page(tree, limit=50)
            await index.apply(tree, {key: None for key, _ in due.entries})
        assert await all_leaves(index, tree) == list(entries(*range(500, 600)).items())


class TestMemoryIndex(IndexContract):
    @pytest.fixture
    def index(self) -> OrderedIndex:
        return MemoryIndex()


class TestTreeIndex(IndexContract):
    @pytest.fixture
    def index(self, storage: Storage) -> OrderedIndex:
        return TreeIndex(TableNodeStore(storage.table("trees")))


class TestTreeIndexOfSmallNodes(IndexContract):
    @pytest.fixture
    def index(self, storage: Storage) -> OrderedIndex:
        return TreeIndex(TableNodeStore(storage.table("trees")), capacity=16)
