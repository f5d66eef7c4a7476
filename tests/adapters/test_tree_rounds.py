"""Concurrent changes of a tree go out together, and each of their callers learns what became of its own."""

import asyncio

import pytest

from core.adapters.tree_rounds import Edits, Rounds
from core.adapters.trees import TreeIndex
from core.domain.trees import put
from core.errors import VaultUnavailableError
from tests.fakes.nodes import MemoryNodeStore


class HeldWriter:
    """Writes rounds when it is let to; `rounds` are those begun, as tree and sorted keys."""

    def __init__(self) -> None:
        self.rounds: list[tuple[str, list[str]]] = []
        self.ended: list[str] = []
        self.free = asyncio.Event()
        self.error: Exception | None = None

    async def write(self, tree: str, edits: Edits) -> None:
        self.rounds.append((tree, sorted(edits)))
        await self.free.wait()
        if self.error is not None:
            raise self.error
        self.ended.append(tree)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_during_a_round_goes_out_together() -> None:
    writer = HeldWriter()
    rounds = Rounds(writer.write)
    first = asyncio.create_task(rounds.apply("t", {"a": put(1)}))
    await settle()
    others = [asyncio.create_task(rounds.apply("t", {key: put(1)})) for key in "bcd"]
    await settle()
    assert writer.rounds == [("t", ["a"])]
    writer.free.set()
    await asyncio.gather(first, *others)
    assert writer.rounds == [("t", ["a"]), ("t", ["b", "c", "d"])]


async def test_trees_do_not_wait_for_each_other() -> None:
    writer = HeldWriter()
    rounds = Rounds(writer.write)
    tasks = [asyncio.create_task(rounds.apply(tree, {"a": put(1)})) for tree in ("one", "two")]
    await settle()
    assert writer.rounds == [("one", ["a"]), ("two", ["a"])]
    writer.free.set()
    await asyncio.gather(*tasks)


async def test_all_callers_of_a_round_learn_that_it_failed_and_the_next_round_is_written() -> None:
    writer = HeldWriter()
    rounds = Rounds(writer.write)
    writer.error = VaultUnavailableError("Storage cannot be reached.", code="storage_unavailable")
    tasks = [asyncio.create_task(rounds.apply("t", {key: put(1)})) for key in "ab"]
    writer.free.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [VaultUnavailableError, VaultUnavailableError]
    writer.error = None
    await rounds.apply("t", {"c": put(1)})
    assert writer.rounds == [("t", ["a", "b"]), ("t", ["c"])]


async def test_a_caller_that_is_cancelled_does_not_stop_the_others() -> None:
    writer = HeldWriter()
    rounds = Rounds(writer.write)
    leaving = asyncio.create_task(rounds.apply("t", {"a": put(1)}))
    staying = asyncio.create_task(rounds.apply("t", {"b": put(1)}))
    await settle()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    writer.free.set()
    await staying
    assert writer.ended == ["t"]


async def test_of_two_changes_of_one_key_the_later_stays() -> None:
    index = TreeIndex(MemoryNodeStore())
    await asyncio.gather(*(index.apply("t", {"a": {"n": number}}) for number in range(5)))
    assert await index.get("t", "a") == {"n": 4}


async def test_concurrent_changes_of_a_leaf_cost_one_write() -> None:
    store = MemoryNodeStore()
    index = TreeIndex(store)
    await asyncio.gather(*(index.apply("t", {f"k{number}": {"n": number}}) for number in range(20)))
    assert store.writes == 1
    assert len((await index.page("t")).entries) == 20


async def test_a_large_change_of_an_empty_tree_reads_no_more_than_it_writes() -> None:
    store = MemoryNodeStore()
    await TreeIndex(store).apply("t", {f"k{number:06}": {"n": number} for number in range(20_000)})
    assert store.reads < 2 * store.writes
