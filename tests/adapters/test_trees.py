"""Trees against a sorted dictionary, under concurrency and crashes, and what they cost in requests."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.adapters import tree_writer
from core.adapters.tree_nodes import root_id
from core.adapters.trees import TreeIndex
from core.domain.trees import Node
from core.errors import IntegrityError, VaultUnavailableError
from core.ports import Stored
from tests.fakes.nodes import CrashError, CrashingNodeStore, MemoryNodeStore

type Changes = dict[str, Mapping[str, object] | None]

TREE = "tree"
KEYS = st.text(st.sampled_from("abc\0é"), max_size=4)
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.integers(0, 9).map(lambda n: {"n": n})), max_size=12)


def ascending(*numbers: int) -> Changes:
    return {f"k{number:06}": {"n": number} for number in numbers}


def merged(content: Mapping[str, object], changes: Changes) -> dict[str, object]:
    return {key: value for key, value in sorted({**content, **changes}.items()) if value is not None}


async def content_of(index: TreeIndex) -> dict[str, object]:
    return {key: value async for leaf in index.leaves(TREE) for key, value in leaf}


async def chain(store: MemoryNodeStore) -> AsyncIterator[Node[Mapping[str, object]]]:
    """Yield the leaves as a walk along the left edge and then to the right finds them."""
    stored = await store.read(TREE, root_id(TREE))
    while stored is not None and stored.value.level:
        stored = await store.read(TREE, stored.value.entries[0][1])
    while stored is not None:
        yield stored.value
        stored = await store.read(TREE, stored.value.next) if stored.value.next else None


async def check_structure(store: MemoryNodeStore) -> None:
    leaves = [leaf async for leaf in chain(store)]
    if not leaves:
        return
    assert (leaves[0].low, leaves[-1].high) == ("", None)
    assert all(left.high == right.low for left, right in itertools.pairwise(leaves))
    assert all(leaf.entries for leaf in leaves[:-1])
    for leaf in leaves:
        keys = [key for key, _ in leaf.entries]
        assert keys == sorted(set(keys))
        assert all(key >= leaf.low and (leaf.high is None or key < leaf.high) for key in keys)


class TreeAgainstDictionary(RuleBasedStateMachine):
    """Two processes use one tree; each has a cache of its own that goes stale."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryNodeStore()
        self.indexes = [TreeIndex(self.store, capacity=3), TreeIndex(self.store, capacity=3)]
        self.content: dict[str, object] = {}
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        self.loop.close()

    @rule(process=st.integers(0, 1), changes=CHANGES)
    def apply(self, process: int, changes: Changes) -> None:
        self.loop.run_until_complete(self.indexes[process].apply(TREE, changes))
        self.content = merged(self.content, changes)

    @rule(process=st.integers(0, 1), changes=CHANGES, at=st.integers(0, 12), after=st.booleans())
    def crash_and_repeat(self, process: int, changes: Changes, at: int, after: bool) -> None:
        crashing = TreeIndex(CrashingNodeStore(self.store, at, after=after), capacity=3)
        try:
            self.loop.run_until_complete(crashing.apply(TREE, changes))
        except CrashError:
            self.loop.run_until_complete(self.indexes[process].apply(TREE, changes))
        self.content = merged(self.content, changes)

    @precondition(lambda self: self.content)
    @rule(process=st.integers(0, 1), data=st.data())
    def delete_a_run(self, process: int, data: st.DataObject) -> None:
        keys = list(self.content)
        start = data.draw(st.integers(0, len(keys) - 1))
        self.apply(process, dict.fromkeys(keys[start : start + 8]))

    @rule(process=st.integers(0, 1), start=KEYS, limit=st.integers(1, 9), descending=st.booleans())
    def read_pages(self, process: int, start: str, limit: int, descending: bool) -> None:
        found: list[tuple[str, object]] = []
        after = None
        while True:
            page = self.loop.run_until_complete(
                self.indexes[process].page(TREE, after=after, start=start, limit=limit, descending=descending)
            )
            found += page.entries
            after = page.next
            if after is None:
                break
        entries = list(self.content.items())
        if descending:
            assert found == [entry for entry in entries if not start or entry[0] < start][::-1]
        else:
            assert found == [entry for entry in entries if entry[0] >= start]

    @rule(process=st.integers(0, 1), key=KEYS)
    def read_one(self, process: int, key: str) -> None:
        assert self.loop.run_until_complete(self.indexes[process].get(TREE, key)) == self.content.get(key)

    @invariant()
    def is_sound(self) -> None:
        self.loop.run_until_complete(check_structure(self.store))
        assert self.loop.run_until_complete(content_of(TreeIndex(self.store, capacity=3))) == self.content


TreeAgainstDictionary.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTreeAgainstDictionary = TreeAgainstDictionary.TestCase


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(ascending(*range(100, 140)), id="insert"),
        pytest.param(dict.fromkeys(ascending(*range(5, 35))), id="delete"),
        pytest.param(ascending(*range(40, 60)) | dict.fromkeys(ascending(*range(30))), id="both"),
    ],
)
async def test_a_crash_at_any_call_loses_nothing(changes: Changes, *, after: bool) -> None:
    old = ascending(*range(40))
    for at in range(200):
        store = MemoryNodeStore()
        bystander = TreeIndex(store, capacity=3)
        await bystander.apply(TREE, old)
        crashing = CrashingNodeStore(store, at, after=after)
        try:
            await TreeIndex(crashing, capacity=3).apply(TREE, changes)
        except CrashError:
            kept = await content_of(bystander)
            assert kept == await content_of(TreeIndex(store, capacity=3))
            assert {**old, **kept}.keys() <= {**old, **changes}.keys()
            assert all(kept.get(key) == value for key, value in old.items() if key not in changes)
            await TreeIndex(store, capacity=3).apply(TREE, changes)
        assert await content_of(bystander) == merged(old, changes)
        await check_structure(store)
        if not crashing.crashed:
            return
    pytest.fail("the changes took more calls than were tried")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_concurrent_writers_lose_nothing(seed: int) -> None:
    asyncio.run(_race(seed))


async def _race(seed: int) -> None:
    store, dice = MemoryNodeStore(seed), random.Random(seed)  # noqa: S311 - a test's dice
    writers = [TreeIndex(store, capacity=4) for _ in range(3)]
    expected: dict[str, object] = {}
    for _ in range(3):
        # Each writer has keys of its own, so that the outcome is known; they meet in the same nodes.
        work = [_writers_changes(dice, number) for number in range(3)]
        await asyncio.gather(*[index.apply(TREE, changes) for index, changes in zip(writers, work, strict=True)])
        for changes in work:
            expected = merged(expected, changes)
        for index in (*writers, TreeIndex(store, capacity=4)):
            assert await content_of(index) == expected
        await check_structure(store)


def _writers_changes(dice: random.Random, writer: int) -> Changes:
    keys = [f"k{dice.randrange(40):02}-{writer}" for _ in range(25)]
    return {key: None if dice.random() < 0.5 else {"n": dice.random()} for key in keys}


async def test_a_reader_beside_writers_sees_what_stays() -> None:
    store = MemoryNodeStore(seed=7)
    index, reader = TreeIndex(store, capacity=4), TreeIndex(store, capacity=4)
    staying = ascending(*range(0, 200, 4))
    await index.apply(TREE, staying)
    passing = ascending(*(number for number in range(200) if number % 4))

    async def write() -> None:
        for changes in (passing, dict.fromkeys(passing), passing, dict.fromkeys(passing)):
            for start in range(0, len(changes), 10):
                await index.apply(TREE, dict(list(changes.items())[start : start + 10]))

    writing = asyncio.create_task(write())
    while not writing.done():
        assert staying.items() <= (await content_of(reader)).items()
        downwards = await reader.page(TREE, limit=1000, descending=True)
        keys = [key for key, _ in downwards.entries]
        assert keys == sorted(set(keys), reverse=True)
        assert staying.keys() <= set(keys)
    await writing
    assert await content_of(reader) == staying


async def test_what_it_costs() -> None:
    store = MemoryNodeStore()
    index = TreeIndex(store)
    assert await requests(store, index.page(TREE)) == (1, 0)
    assert await requests(store, index.apply(TREE, ascending(*range(100)))) == (1, 1)
    assert await requests(store, index.apply(TREE, ascending(50))) == (1, 0)
    for start in range(100, 20_000, 100):
        await index.apply(TREE, ascending(*range(start, start + 100)))
    assert await requests(store, index.apply(TREE, ascending(*range(20_000, 20_100)))) <= (1, 4)
    leaves = [len(leaf.entries) async for leaf in chain(store)]
    assert sum(leaves) / len(leaves) > 0.95 * 128
    assert await requests(store, index.page(TREE)) == (1, 0)
    cold = TreeIndex(store)
    assert await requests(store, cold.page(TREE, start="k010000")) <= (4, 0)
    page = await cold.page(TREE, start="k012345")
    assert page.next is not None
    assert await requests(store, TreeIndex(store).page(TREE, after=page.next)) <= (2, 0)
    assert await requests(store, cold.page(TREE, after=page.next)) <= (2, 0)


async def test_a_large_change_writes_each_leaf_once() -> None:
    store = MemoryNodeStore()
    index = TreeIndex(store)
    await index.apply(TREE, ascending(*range(10_000)))
    leaves = len([leaf async for leaf in chain(store)])
    updated: Changes = {key: {"n": -1} for key in ascending(*range(0, 10_000, 10))}
    reads, writes = await requests(store, index.apply(TREE, updated))
    assert (reads, writes) == (leaves, leaves)
    assert len([value for value in (await content_of(index)).values() if value == {"n": -1}]) == 1000


async def test_a_queue_stays_cheap_to_read() -> None:
    store = MemoryNodeStore()
    index = TreeIndex(store, capacity=8)
    for start in range(0, 2_000, 20):
        await index.apply(TREE, ascending(*range(start, start + 20)))
        await index.apply(TREE, dict.fromkeys(ascending(*range(start, start + 19))))
        assert (await requests(store, index.page(TREE, limit=1)))[0] <= 2
    await index.apply(TREE, dict.fromkeys(ascending(*range(2_000))))
    assert len([leaf async for leaf in chain(store)]) == 1
    assert await requests(store, TreeIndex(store, capacity=8).page(TREE)) <= (5, 0)


class ForgetfulStore(MemoryNodeStore):
    """A store that, while `failing`, loses what the levels above the leaves are told."""

    failing = False

    async def replace(self, tree: str, id_: str, node: Node[Any], etag: str) -> str:
        if self.failing and node.level:
            raise VaultUnavailableError("Storage cannot be reached.", code="storage_unavailable")
        return await super().replace(tree, id_, node, etag)


async def test_leaves_unknown_above_are_found_and_made_known_by_the_next_writer() -> None:
    store = ForgetfulStore()
    await TreeIndex(store, capacity=4).apply(TREE, ascending(*range(8)))
    store.failing = True
    await TreeIndex(store, capacity=4).apply(TREE, ascending(*range(8, 60)))
    assert list(await content_of(TreeIndex(store, capacity=4))) == list(ascending(*range(60)))
    assert (await requests(store, TreeIndex(store, capacity=4).get(TREE, "k000059")))[0] > 10
    store.failing = False
    await TreeIndex(store, capacity=4).apply(TREE, ascending(60))
    assert (await requests(store, TreeIndex(store, capacity=4).get(TREE, "k000059")))[0] <= 4


async def test_leaves_that_were_taken_over_are_forgotten_above_by_the_next_writer() -> None:
    store = ForgetfulStore()
    await TreeIndex(store, capacity=4).apply(TREE, ascending(*range(60)))
    store.failing = True
    await TreeIndex(store, capacity=4).apply(TREE, dict.fromkeys(ascending(*range(40))))
    assert list(await content_of(TreeIndex(store, capacity=4))) == list(ascending(*range(40, 60)))
    assert await dearest_get(store, 60) > 20
    store.failing = False
    # The leaf of the last keys that went has taken over the one of 40 to 43.
    for number in range(44):
        await TreeIndex(store, capacity=4).apply(TREE, ascending(number))
    assert await dearest_get(store, 60) <= 6


async def dearest_get(store: MemoryNodeStore, count: int) -> int:
    """Return the most reads that a process without a cache needs for one entry."""
    return max(
        [(await requests(store, TreeIndex(store, capacity=4).get(TREE, key)))[0] for key in ascending(*range(count))]
    )


async def requests(store: MemoryNodeStore, call: Awaitable[object]) -> tuple[int, int]:
    """Return the reads and writes that awaiting `call` makes."""
    before = store.reads, store.writes
    await call
    return store.reads - before[0], store.writes - before[1]


class ContendedStore(MemoryNodeStore):
    """A store where somebody else writes every node right after it was read."""

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        stored = await super().read(tree, id_)
        if stored is not None:
            await self.replace(tree, id_, stored.value, stored.etag)
        return stored


async def test_a_writer_that_always_loses_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_writer, "_LONGEST_PAUSE", 0.0)
    store = ContendedStore()
    await TreeIndex(store).apply(TREE, {"a": {"n": 1}})
    with pytest.raises(VaultUnavailableError) as failure:
        await TreeIndex(store).apply(TREE, {"a": {"n": 2}})
    assert failure.value.code == "storage_unavailable"


async def test_a_lost_row_is_told_apart_from_an_absent_key() -> None:
    store = MemoryNodeStore()
    index = TreeIndex(store, capacity=4)
    await index.apply(TREE, ascending(*range(8)))
    leaves = [(id_, row) for id_, row in store.rows.items() if id_[1] != root_id(TREE)]
    del store.rows[leaves[-1][0]]
    with pytest.raises(IntegrityError) as failure:
        await content_of(index)
    assert failure.value.code == "index_damaged"
