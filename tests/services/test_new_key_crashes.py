"""New keys cut at every call out of the process, before it or after it: nothing is lost, nothing is made twice.

What follows a cut is what follows it in life: the request again, or reconciliation, or a sync that sees the key first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.domain.jobs import JobStatus, ResultStatus
from core.domain.key_kinds import KeyKind
from core.domain.keys import KeyOrigin, KeyVersion, VirtualKey
from core.domain.new_keys import KeyNames
from core.domain.source_keys import MaterialOrigin, SourceKey
from core.errors import (
    AlreadyExistsError,
    KeystewardError,
    StaleWriteError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.material.exporting import ExportFormat
from core.services.copies import WantedCopy
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.new_keys import (
    AES,
    EC,
    GROUPS,
    MORE_SOURCES,
    NO_SETTINGS,
    PREMIUM,
    RSA,
    SOURCES,
    STORES,
    KeyStage,
    hardware,
    only_version,
    use_of,
)
from tests.fakes.fuse import CrashError, Fuse, cancel, put_fuse, restart
from tests.fakes.vault import FakeVault
from tests.material.keys import a_key as material_of_kind

type Act = Callable[[KeyStage], Awaitable[object]]
type Check = Callable[[KeyStage, bool], Awaitable[None]]

REQUEST = "int_wanted"
NAME = "Card key"
AZURE_NAME = "card-key"


async def nothing(stage: KeyStage) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Scenario:
    """`act` is one request (done again, it is the same one); `check` is what must hold, `made` what it must find."""

    act: Act
    check: Check
    prepare: Act = nothing


# --- what is done, and what must be found -------------------------------------------------------------------------


async def generate_in_vault(stage: KeyStage) -> None:
    new = stage.key(REQUEST, name=NAME, azure_name=AZURE_NAME, tags=(("team", "cards"),))
    await stage.made.new_keys.generate(new, RSA)


async def import_into(group: str, kind: KeyKind, stage: KeyStage) -> None:
    settings = hardware() if group == PREMIUM else {}
    new = stage.key(REQUEST, group, name=NAME, azure_name=AZURE_NAME, **settings)
    with material_of_kind(kind) as material:
        await stage.made.new_keys.bring(new, material)


async def generate_source(kind: KeyKind, stage: KeyStage) -> None:
    await stage.made.new_keys.generate(stage.key(REQUEST, SOURCES, name=NAME), kind)


async def import_source(stage: KeyStage) -> None:
    with material_of_kind(EC) as material:
        await stage.made.new_keys.bring(stage.key(REQUEST, SOURCES, name=NAME), material)


async def prepare_source(stage: KeyStage) -> None:
    await stage.a_source_key()


async def copy(stage: KeyStage) -> None:
    (source,) = await stage.source_keys()
    wanted = [WantedCopy(GROUPS[group], KeyNames(), NO_SETTINGS) for group in (GROUP, MORE_SOURCES)]
    await stage.copies.start(REQUEST, ACCOUNT, use_of(source), wanted, ALICE)
    await stage.work()


async def export(stage: KeyStage) -> None:
    (source,) = await stage.source_keys()
    await stage.made.exports.plain(ACCOUNT, use_of(source), ExportFormat.PEM, None, ALICE)


async def check_in_vault(group: str, origin: KeyOrigin, event: str, stage: KeyStage, made: bool) -> None:
    vault = vault_of(stage, group)
    if not made and AZURE_NAME not in vault.live:
        assert not [key for key in await stage.virtual_keys(group) if key.azure_name == AZURE_NAME]
        return
    (key,) = [key for key in await stage.virtual_keys(group) if key.azure_name == AZURE_NAME]
    check_record(key, only_version(vault, AZURE_NAME), NAME, origin)
    assert [entry.event for entry in key.history].count(event) == 1
    assert key.copied_from is None
    await check_escrow(stage, key)


def check_record(key: VirtualKey, version: KeyVersion, name: str, origin: KeyOrigin) -> None:
    assert (key.name, key.origin, key.created_by) == (name, origin, ALICE)
    assert key.versions == (version,)
    assert not key.drift
    assert key.escrow_problem is None


async def check_escrow(stage: KeyStage, key: VirtualKey) -> None:
    manifest, _ = await stage.escrows.open(key.escrow[-1])
    assert manifest.versions == tuple(version.id for version in key.versions)
    assert manifest.key == key.id


async def check_source(origin: MaterialOrigin, stage: KeyStage, made: bool) -> None:
    keys = [key for key in await stage.source_keys() if key.name == NAME]
    if not made and not keys:
        return
    (key,) = keys
    assert (key.created_by, [version.origin for version in key.versions]) == (ALICE, [origin])
    assert len(key.history) == 1
    with (await stage.made.source_keys.opened(ACCOUNT, use_of(key), key.permissions[0]))[2] as material:
        assert material.public_key == key.current.public_key
    assert len([row async for row in stage.material_rows.scan(key.id)]) == 1


async def check_copies(stage: KeyStage, made: bool) -> None:
    (source,) = await stage.source_keys()
    in_vault = [key for key in await stage.virtual_keys() if key.azure_name == "master-copy1"]
    in_group = await stage.source_keys(MORE_SOURCES)
    copies: list[VirtualKey | SourceKey] = [*in_vault, *in_group]
    if made:
        assert [copy.name for copy in copies] == ["master_copy1", "master_copy2"]
    assert {link.key for link in source.copies} == {copy.id for copy in copies}
    assert [entry.event for entry in source.history].count("key.copied_to") == len(copies)
    assert len(stage.vault.live) == len(in_vault)
    for one in copies:
        assert one.copied_from is not None
        assert one.copied_from.key == source.id
        assert [entry.event for entry in one.history].count("key.copied") == 1
    for key in in_vault:
        version = only_version(stage.vault, "master-copy1")
        check_record(key, version, "master_copy1", KeyOrigin.KEYSTEWARD)
        assert key.copied_from is not None
        assert [copied.version for copied in key.copied_from.versions] == [version.id]
        await check_escrow(stage, key)
    for copied in in_group:
        with await stage.material_of(copied) as material, await stage.material_of(source) as original:
            assert material == original


async def check_copied(stage: KeyStage, made: bool) -> None:
    await check_copies(stage, made)
    if made:
        jobs = [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT) if stored.value.order]
        assert [job.status for job in jobs] == [JobStatus.SUCCEEDED]
        assert {result.status for result in jobs[0].results} == {ResultStatus.DONE}
        listed, _ = await stage.jobs.page(ACCOUNT, after=None, limit=100)
        assert [job.id for job in listed if job.order] == [jobs[0].id]


async def check_export(stage: KeyStage, made: bool) -> None:
    (source,) = await stage.source_keys()
    noted = [entry.event for entry in source.history].count("key.exported")
    assert noted >= 1 if made else noted <= 1


def vault_of(stage: KeyStage, group: str) -> FakeVault:
    return stage.vault if group == GROUP else stage.premium


SCENARIOS = {
    "generate": Scenario(generate_in_vault, partial(check_in_vault, GROUP, KeyOrigin.NATIVE, "key.created")),
    "import": Scenario(
        partial(import_into, GROUP, EC), partial(check_in_vault, GROUP, KeyOrigin.IMPORTED, "key.imported")
    ),
    "import into an HSM": Scenario(
        partial(import_into, PREMIUM, EC), partial(check_in_vault, PREMIUM, KeyOrigin.IMPORTED, "key.imported")
    ),
    "generate a source key": Scenario(partial(generate_source, AES), partial(check_source, MaterialOrigin.GENERATED)),
    "import a source key": Scenario(import_source, partial(check_source, MaterialOrigin.IMPORTED)),
    "copy": Scenario(copy, check_copied, prepare_source),
    "export": Scenario(export, check_export, prepare_source),
}


# --- what comes after the cut -------------------------------------------------------------------------------------


async def again(stage: KeyStage, scenario: Scenario) -> bool:
    """The request is repeated once the first counts as crashed, and once more after it was answered."""
    stage.clock.move(timedelta(minutes=5))
    await scenario.act(stage)
    await settle(stage)
    await scenario.act(stage)
    return True


async def later(stage: KeyStage, scenario: Scenario) -> bool:
    """Nobody repeats it."""
    stage.clock.move(timedelta(minutes=6))
    await settle(stage)
    return False


async def sync_first(then: Callable[[KeyStage, Scenario], Awaitable[bool]], stage: KeyStage, scn: Scenario) -> bool:
    """A sync sees what there is before anything else happens."""
    await stage.sync_all()
    return await then(stage, scn)


async def settle(stage: KeyStage) -> None:
    """The timers tick."""
    await stage.made.placements.reconcile()
    await stage.made.source_records.reconcile()
    await stage.jobs.reconcile()
    await stage.work()


RECOVERIES = {
    "again": again,
    "later": later,
    "sync, again": partial(sync_first, again),
    "sync, later": partial(sync_first, later),
}


async def cut(scenario: Scenario, fuse: Fuse) -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    await scenario.prepare(stage)
    kept = put_fuse(stage, fuse, STORES)
    try:
        await scenario.act(stage)
    except (CrashError, BaseExceptionGroup):
        assert fuse.blew
    restart(stage, kept)
    return stage


async def check(stage: KeyStage, scenario: Scenario, *, made: bool) -> None:
    """What must hold once reconciliation, its patience, and the next sync are through."""
    await stage.sync_all()
    await scenario.check(stage, made)
    stage.clock.move(timedelta(hours=2))
    await settle(stage)
    await stage.sync_all()
    await scenario.check(stage, made)
    await stage.check_lists()
    assert await stage.open_intents() == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_crash_at_any_call_loses_nothing_and_makes_nothing_twice(name: str, recovery: str, after: bool) -> None:
    scenario = SCENARIOS[name]
    for at in count(1):
        fuse = Fuse(at, after=after)
        stage = await cut(scenario, fuse)
        made = not fuse.blew
        try:
            made |= await RECOVERIES[recovery](stage, scenario)
            await check(stage, scenario, made=made)
        except Exception as error:
            error.add_note(f"cut at call {at}")
            raise
        if not fuse.blew:
            break
    assert at > 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_cancellation_at_any_call_leaves_the_process_able_to_go_on(name: str, after: bool) -> None:
    scenario = SCENARIOS[name]
    for at in count(1):
        stage = KeyStage()
        await stage.set_up()
        await scenario.prepare(stage)
        fuse = Fuse(at, after=after, act=cancel)
        put_fuse(stage, fuse, STORES)
        with suppress(asyncio.CancelledError):
            await scenario.act(stage)
        blew, fuse.at = fuse.blew, 0
        await again(stage, scenario)
        await check(stage, scenario, made=True)
        if not blew:
            break


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_an_error_at_any_call_leaves_a_request_that_can_be_repeated(
    name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)
    scenario = SCENARIOS[name]
    for at in count(1):
        stage = KeyStage()
        await stage.set_up()
        await scenario.prepare(stage)
        fuse = Fuse(at, after=after, act=lambda: fail(fuse))  # noqa: B023 - it blows within this round
        put_fuse(stage, fuse, STORES)
        with suppress(KeystewardError):
            await scenario.act(stage)
        blew, fuse.at = fuse.blew, 0
        try:
            await again(stage, scenario)
            await check(stage, scenario, made=True)
        except Exception as error:
            error.add_note(f"at call {at}, {fuse.names[at - 1]}")
            raise
        if not blew:
            break


async def fail(fuse: Fuse) -> None:
    """Fail as what was called fails; after the work, it is the answer that is lost."""
    name = fuse.names[fuse.at - 1]
    if name in {"create", "import_key", "import_transfer_blob"}:
        raise VaultOutcomeUnknownError("no answer")
    if fuse.after and name == "insert":
        # The storage SDK repeats what it got no answer to.
        raise AlreadyExistsError("The record exists already.")
    if fuse.after and name == "replace":
        raise StaleWriteError("The record")
    raise VaultUnavailableError("no answer")


STEPS: dict[str, Callable[[KeyStage, Scenario], Awaitable[object]]] = {
    "request": lambda stage, scenario: scenario.act(stage),
    "timers": lambda stage, _: settle(stage),
    "sync": lambda stage, _: stage.sync_all(),
}


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(list(SCENARIOS)),
    cuts=st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(1, 60), st.booleans()), min_size=2, max_size=5),
)
@example(name="import into an HSM", cuts=[("request", 45, False), ("sync", 50, False), ("request", 20, False)]).via(
    "a place in the lists that two cuts kept from being taken back"
)
def test_crashes_one_after_the_other_lose_nothing_and_make_nothing_twice(
    name: str, cuts: list[tuple[str, int, bool]]
) -> None:
    asyncio.run(crash_again_and_again(SCENARIOS[name], cuts))


async def crash_again_and_again(scenario: Scenario, cuts: list[tuple[str, int, bool]]) -> None:
    stage = KeyStage()
    await stage.set_up()
    await scenario.prepare(stage)
    for step, at, after in [("request", cuts[0][1], cuts[0][2]), *cuts[1:]]:
        kept = put_fuse(stage, Fuse(at, after=after), STORES)
        with suppress(CrashError):
            await STEPS[step](stage, scenario)
        restart(stage, kept)
        stage.clock.move(timedelta(minutes=6))
    await again(stage, scenario)
    await check(stage, scenario, made=True)
