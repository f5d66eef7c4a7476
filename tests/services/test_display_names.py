"""Who has which name: one of two who want it, for as long as it is used, and nobody for longer than that."""

import asyncio
from datetime import timedelta

import pytest

from core.domain.keys import Presence, VirtualKey
from core.domain.reservations import GRACE, Reservation
from core.domain.summaries import account_positions, summary_of, to_entry
from core.errors import ConflictError
from core.services.display_names import DisplayNames
from core.services.reservations import Reservations
from tests.builders.keys import ACCOUNT, GROUP, NOW, a_key
from tests.fakes.clock import SteppedClock
from tests.fakes.interleaved import InterleavedCollection
from tests.fakes.storage import MemoryCollection, MemoryIndex

OTHER_ACCOUNT = "acc_bbbbbbbbbbbbbbbbbbbbbbbb"
SECOND = timedelta(seconds=1)


class Desk:
    """Names over memory."""

    def __init__(self, rows: MemoryCollection[Reservation] | None = None) -> None:
        self.clock = SteppedClock(NOW)
        self.rows = rows or MemoryCollection()
        self.index = MemoryIndex()
        self.names = DisplayNames(Reservations(self.rows, self.clock), self.index)

    async def list_key(self, name: str, **changes: object) -> VirtualKey:
        """Put a key into the account's trees."""
        key = a_key(name=name, **changes)
        summary = summary_of(key)
        for tree, place in account_positions(ACCOUNT, summary).items():
            await self.index.apply(tree, {place: to_entry(summary)})
        return key

    async def can_have(self, name: str, holder: str, account: str = ACCOUNT) -> bool:
        try:
            await self.names.reserve(account, name, holder)
        except ConflictError:
            return False
        return True


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("name", ["Card key", "CARD KEY", "card key"])
async def test_the_first_has_a_name_however_the_second_writes_it(desk: Desk, name: str) -> None:
    assert await desk.can_have("Card key", "first")
    with pytest.raises(ConflictError) as refusal:
        await desk.names.reserve(ACCOUNT, name, "second", "names.1")
    assert (refusal.value.code, refusal.value.field) == ("key_display_name_taken", "names.1")
    assert await desk.can_have(name, "first")
    assert await desk.can_have("Card key 2", "second")
    assert await desk.can_have(name, "second", OTHER_ACCOUNT)


async def test_of_many_at_once_one_has_the_name() -> None:
    desk = Desk(InterleavedCollection())
    got = await asyncio.gather(*(desk.can_have("Card key", f"holder {n}") for n in range(8)))
    assert got.count(True) == 1


async def test_of_many_at_once_one_takes_over_what_was_left_over() -> None:
    desk = Desk(InterleavedCollection())
    assert await desk.can_have("Card key", "gone")
    desk.clock.move(GRACE + SECOND)
    got = await asyncio.gather(*(desk.can_have("Card key", f"holder {n}") for n in range(8)))
    assert got.count(True) == 1


async def test_a_name_that_nobody_uses_is_free_after_a_while(desk: Desk) -> None:
    assert await desk.can_have("Card key", "first")
    desk.clock.move(GRACE)
    assert not await desk.can_have("Card key", "second")
    desk.clock.move(SECOND)
    assert await desk.can_have("Card key", "second")
    assert not await desk.can_have("Card key", "first")


async def test_whoever_comes_back_in_time_holds_the_name_anew(desk: Desk) -> None:
    assert await desk.can_have("Card key", "first")
    desk.clock.move(GRACE)
    assert await desk.can_have("Card key", "first")
    desk.clock.move(GRACE)
    assert not await desk.can_have("Card key", "second")


async def test_a_name_in_use_is_held_for_ever(desk: Desk) -> None:
    assert await desk.can_have("Card key", "first")
    await desk.list_key("Card key")
    desk.clock.move(timedelta(days=1000))
    assert not await desk.can_have("card KEY", "second")
    assert await desk.can_have("Card key", "first")


async def test_a_name_in_use_is_taken_also_where_nobody_reserved_it(desk: Desk) -> None:
    await desk.list_key("Card key")
    assert not await desk.can_have("card key", "first")
    # Nothing is left of the try.
    assert [row async for row in desk.rows.scan(ACCOUNT)] == []


@pytest.mark.parametrize("presence", Presence)
async def test_what_is_left_of_a_destroyed_key_does_not_keep_its_name(desk: Desk, presence: Presence) -> None:
    assert await desk.can_have("Card key", "first")
    await desk.list_key("Card key", presence=presence)
    desk.clock.move(GRACE + SECOND)
    assert await desk.can_have("Card key", "second") is (presence is Presence.DESTROYED)


async def test_names_that_begin_alike_are_other_names(desk: Desk) -> None:
    await desk.list_key("Card key 2")
    await desk.list_key("Card", id="key_other")
    assert not await desk.names.in_use(ACCOUNT, "Card key")
    assert await desk.can_have("Card key", "first")


async def test_a_clock_that_is_turned_back_frees_what_lies_in_the_future(desk: Desk) -> None:
    desk.clock.move(timedelta(days=300))
    assert await desk.can_have("Card key", "first")
    desk.clock.move(-GRACE)
    assert not await desk.can_have("Card key", "second")
    desk.clock.move(timedelta(days=-299))
    assert await desk.can_have("Card key", "second")


async def test_only_the_holder_gives_a_name_back(desk: Desk) -> None:
    assert await desk.can_have("Card key", "first")
    await desk.names.release(ACCOUNT, "Card key", "second")
    assert not await desk.can_have("Card key", "second")
    await desk.names.release(ACCOUNT, "CARD key", "first")
    await desk.names.release(ACCOUNT, "Card key", "first")
    assert await desk.can_have("Card key", "second")


async def test_whoever_lost_a_name_does_not_give_it_back(desk: Desk) -> None:
    assert await desk.can_have("Card key", "first")
    desk.clock.move(GRACE + SECOND)
    assert await desk.can_have("Card key", "second")
    await desk.names.release(ACCOUNT, "Card key", "first")
    assert not await desk.can_have("Card key", "third")


async def test_azure_names_are_held_by_group_and_without_case(desk: Desk) -> None:
    names = desk.names
    assert await names.reserve_in_vault(ACCOUNT, GROUP, "card-key", "first")
    assert not await names.reserve_in_vault(ACCOUNT, GROUP, "CARD-key", "second")
    assert await names.reserve_in_vault(ACCOUNT, "grp_other", "card-key", "second")
    # It is no display name.
    assert await desk.can_have("card-key", "second")
    await names.release_in_vault(ACCOUNT, GROUP, "card-KEY", "first")
    assert await names.reserve_in_vault(ACCOUNT, GROUP, "card-key", "second")


async def test_the_first_free_number_is_suggested(desk: Desk) -> None:
    assert await desk.names.suggest(ACCOUNT, "master") == "master_copy1"
    await desk.list_key("Master_Copy1")
    assert await desk.can_have("master_copy2", "somebody")
    assert await desk.names.suggest(ACCOUNT, "master") == "master_copy3"
    assert await desk.names.suggest(ACCOUNT, "master", taken={"master_copy3"}) == "master_copy4"
    assert await desk.names.suggest(ACCOUNT, "master", first=7) == "master_copy7"
    # Whoever reserved a name is offered it again.
    assert await desk.names.suggest(ACCOUNT, "master", holder="somebody") == "master_copy2"
    desk.clock.move(GRACE + SECOND)
    assert await desk.names.suggest(ACCOUNT, "master") == "master_copy2"


async def test_what_is_suggested_can_be_had_for_the_longest_names(desk: Desk) -> None:
    for number in range(3):
        name = await desk.names.suggest(ACCOUNT, "x" * 128)
        assert name.endswith(f"_copy{number + 1}")
        assert await desk.can_have(name, f"holder {number}")


async def test_the_search_for_a_free_name_ends(desk: Desk) -> None:
    class Everything:
        def __contains__(self, name: object) -> bool:
            return True

    with pytest.raises(ConflictError) as refusal:
        await desk.names.suggest(ACCOUNT, "master", taken=Everything())
    assert refusal.value.code == "key_display_name_taken"
