"""A new key while something else happens, at every single call: a sync, another request, somebody outside.

What happens in between is whole: it begins and ends between two calls of the work that it meets.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count

import pytest

from core.domain.keys import KeyOrigin
from core.domain.new_keys import NewVersion
from core.errors import KeystewardError, VaultOutcomeUnknownError
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.new_keys import EC, PREMIUM, RSA, SOURCES, STORES, KeyStage, hardware, only_version
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart
from tests.material.keys import a_key as material_of_kind

type Act = Callable[[KeyStage], Awaitable[object]]
AZURE_NAME = "card-key"
REFUSED_TO_ITS_TWIN = {
    "request_in_progress", "stale_write", "vault_outcome_unknown", "key_name_taken", "key_display_name_taken",
}  # fmt: skip
BEFORE_AND_AFTER = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


@dataclass
class Outcome:
    """What two that met came to: what they returned, or the codes of their refusals."""

    stage: KeyStage
    first: object = None
    second: object = None
    met: bool = False
    calls: list[str] = field(default_factory=list)


async def tried(act: Awaitable[object]) -> object:
    try:
        return await act
    except KeystewardError as error:
        return error.code


async def meet(first: Act, second: Act, at: int, *, after: bool, prepare: Act | None = None) -> Outcome:
    """Do `first`, and all of `second` in another process at the call `at` of it."""
    stage = KeyStage()
    await stage.set_up()
    if prepare is not None:
        await prepare(stage)
    outcome, twin = Outcome(stage), stage.twin()

    async def other() -> None:
        outcome.second = await tried(second(twin))

    fuse = Fuse(at, after=after, act=other)
    kept = put_fuse(stage, fuse, STORES)
    outcome.first = await tried(first(stage))
    restart(stage, kept)
    outcome.met, outcome.calls = fuse.blew, fuse.names
    return outcome


async def sync(stage: KeyStage) -> None:
    job = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
    await stage.jobs.run(ACCOUNT, job.id)


async def generate(request: str, name: str, azure_name: str, stage: KeyStage) -> object:
    return await stage.made.new_keys.generate(stage.key(request, name=name, azure_name=azure_name), RSA)


async def generate_unnamed(stage: KeyStage) -> object:
    return await stage.made.new_keys.generate(stage.key(azure_name=AZURE_NAME), RSA)


wanted = partial(generate, "int_1", "Card key", AZURE_NAME)


async def check_made(stage: KeyStage, name: str = "Card key") -> None:
    (key,) = await stage.virtual_keys()
    assert (key.name, key.origin, key.created_by) == (name, KeyOrigin.NATIVE, ALICE)
    assert key.versions == (only_version(stage.vault, AZURE_NAME),)
    assert not key.drift
    assert [entry.event for entry in key.history].count("key.created") == 1
    await stage.check_lists()
    stage.vault.calls.clear()
    await stage.sync_all()
    assert set(stage.vault.calls) == {"list_keys", "list_deleted"}
    await stage.check_lists()
    assert await stage.open_intents() == 0


@BEFORE_AND_AFTER
async def test_a_sync_at_any_moment_of_a_request_changes_nothing_of_what_comes_of_it(after: bool) -> None:
    for at in count(1):
        outcome = await meet(wanted, sync, at, after=after)
        await check_made(outcome.stage)
        if not outcome.met:
            break
    assert at > 20


@BEFORE_AND_AFTER
async def test_a_request_at_any_moment_of_a_sync_comes_to_the_same(after: bool) -> None:
    for at in count(1):
        outcome = await meet(sync, wanted, at, after=after)
        if not outcome.met:
            break
        await check_made(outcome.stage)
    assert at > 10


@BEFORE_AND_AFTER
async def test_a_request_that_goes_on_at_any_moment_of_a_sync_that_saw_its_key_comes_to_the_same(after: bool) -> None:
    for at in count(1):
        outcome = await meet(sync, wanted, at, after=after, prepare=cut_off_after_the_vault)
        if not outcome.met:
            break
        await check_made(outcome.stage)
    assert at > 20


async def cut_off_after_the_vault(stage: KeyStage) -> None:
    """The request is cut off when the vault has made the key, and repeated when it counts as crashed."""
    fuse = Fuse((await meet(wanted, sync, 0, after=False)).calls.index("create") + 1, after=True)
    kept = put_fuse(stage, fuse, STORES)
    with pytest.raises(CrashError):
        await wanted(stage)
    restart(stage, kept)
    stage.clock.move(timedelta(minutes=5))


@BEFORE_AND_AFTER
async def test_a_sync_that_was_first_and_a_crash_after_it_come_to_the_same(after: bool) -> None:
    seen = (await meet(wanted, sync, 0, after=False)).calls.index("create") + 2
    for at in count(seen + 1):
        stage = KeyStage()
        await stage.set_up()
        fuse = Fuse(at, after=after, also={seen: partial(sync, stage.twin())})
        kept = put_fuse(stage, fuse, STORES)
        with suppress(CrashError):
            await wanted(stage)
        restart(stage, kept)
        await stage.sync_all()
        stage.clock.move(timedelta(minutes=6))
        await stage.made.placements.reconcile()
        await check_made(stage)
        if not fuse.blew:
            break
    assert at > seen + 5


@BEFORE_AND_AFTER
async def test_two_requests_for_one_azure_name_make_one_version(after: bool) -> None:
    other = partial(generate, "int_2", "Other key", AZURE_NAME.upper())
    for at in count(1):
        outcome = await meet(wanted, other, at, after=after)
        if not outcome.met:
            break
        refused = [one for one in (outcome.first, outcome.second) if isinstance(one, str)]
        assert refused == ["key_name_taken"], f"at call {at}"
        name = "Other key" if isinstance(outcome.first, str) else "Card key"
        azure_name = next(iter(outcome.stage.vault.live))
        (key,) = await outcome.stage.virtual_keys()
        assert (key.name, key.versions) == (name, (only_version(outcome.stage.vault, azure_name),))
        await outcome.stage.check_lists()
        # The name that came to nothing is free again.
        free = {"Other key", "Card key"} - {name}
        await generate("int_3", free.pop(), "another-key", outcome.stage)


async def lose(stage: KeyStage) -> None:
    """The request did not arrive, and cannot any more."""

    def lost(operation: str, name: str) -> None:
        if operation == "create":
            raise VaultOutcomeUnknownError("no answer")

    stage.vault.before = lost
    assert await tried(wanted(stage)) == "vault_outcome_unknown"
    stage.vault.before = lambda operation, name: None
    stage.clock.move(timedelta(minutes=1))


@BEFORE_AND_AFTER
@pytest.mark.parametrize("prepare", [None, lose], ids=["anew", "repeated"])
async def test_one_request_in_two_processes_at_once_makes_one_version(
    prepare: Act | None, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)
    for at in count(1):
        outcome = await meet(wanted, wanted, at, after=after, prepare=prepare)
        refused = {one for one in (outcome.first, outcome.second) if isinstance(one, str)}
        assert refused <= REFUSED_TO_ITS_TWIN
        assert not outcome.met or len(refused) < 2, f"at call {at}: {refused}"
        await check_made(outcome.stage)
        if not outcome.met:
            break
        holders = {id_: row.value.holder async for id_, row in outcome.stage.name_rows.scan(ACCOUNT)}
        assert [holder for id_, holder in holders.items() if id_.startswith("key-")] == ["int_1"]
        # Whoever was refused finds the key when it comes back.
        assert await wanted(outcome.stage) == (await outcome.stage.virtual_keys())[0]


@BEFORE_AND_AFTER
async def test_two_requests_for_one_display_name_make_one_key_with_it(after: bool) -> None:
    async def source(stage: KeyStage) -> object:
        return await stage.made.new_keys.generate(stage.key("int_2", SOURCES, name="CARD key"), EC)

    for at in count(1):
        outcome = await meet(wanted, source, at, after=after)
        if not outcome.met:
            break
        refused = [one for one in (outcome.first, outcome.second) if isinstance(one, str)]
        assert refused == ["key_display_name_taken"], f"at call {at}"
        assert len(await outcome.stage.virtual_keys()) + len(await outcome.stage.source_keys()) == 1
        assert len(outcome.stage.vault.live) == len(await outcome.stage.virtual_keys())
        await outcome.stage.check_lists()


@BEFORE_AND_AFTER
async def test_somebody_outside_who_takes_the_name_at_any_moment_loses_nothing(after: bool) -> None:
    async def outside(stage: KeyStage) -> None:
        await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, ("sign",)))

    for at in count(1):
        outcome = await meet(wanted, outside, at, after=after)
        if not outcome.met:
            break
        stage = outcome.stage
        versions = stage.vault.live[AZURE_NAME]
        # Ours has all operations.
        ours = [len(version.operations) > 1 for version in versions]
        if ours[0]:
            assert not isinstance(outcome.first, str)
        else:
            assert outcome.first == ("key_name_raced" if len(versions) > 1 else "key_name_taken")
        stage.clock.move(timedelta(minutes=6))
        await stage.made.placements.reconcile()
        await stage.sync_all()
        (key,) = await stage.virtual_keys()
        assert [version.id for version in key.versions] == [version.id for version in versions]
        assert key.name == ("Card key" if ours[0] else "payments/card-key")
        assert [change.kind.value for change in key.drift] == (["new_version"] if ours == [True, False] else [])
        assert await stage.open_intents() == 0
        await stage.check_lists()
        # Nobody is left in the way of the next who wants the display name.
        if not ours[0]:
            await generate("int_3", "Card key", "another-key", stage)


@BEFORE_AND_AFTER
async def test_two_processes_that_need_a_key_exchange_key_at_once_both_get_one_that_is_remembered(after: bool) -> None:
    async def bring(request: str, azure_name: str, stage: KeyStage) -> object:
        with material_of_kind(EC) as material:
            new = stage.key(request, PREMIUM, azure_name=azure_name, **hardware())
            return await stage.made.new_keys.bring(new, material)

    for at in count(1):
        outcome = await meet(partial(bring, "int_1", "one"), partial(bring, "int_2", "two"), at, after=after)
        if not outcome.met:
            break
        stage = outcome.stage
        assert not isinstance(outcome.first, str)
        assert not isinstance(outcome.second, str)
        known = {one.azure_name for one in await stage.made.exchange_keys.list(ACCOUNT, PREMIUM)}
        assert known == {name for name in stage.premium.live if name.startswith("keysteward-kek-")}
        assert 1 <= len(known) <= 2
        assert {"one", "two"} == set(stage.premium.live) - known
        await stage.check_lists()
