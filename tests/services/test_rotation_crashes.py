"""Rotations and re-imports cut at every call out of the process, before it or after it: never a second version.

What follows a cut is what follows it in life: the request again, or the timers alone, or a sync that sees the vault
first. Whatever it was, vault, record, escrow and source key agree in the end, and nothing is drift.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count

import pytest

from core.domain.jobs import JobStatus
from core.domain.keys import KeyOrigin, VirtualKey
from core.domain.rotation_schedules import Previous, RotationSchedule, Trigger
from core.errors import (
    AlreadyExistsError,
    KeystewardError,
    StaleWriteError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.services.opened_keys import KeyRef
from tests.builders.keys import ACCOUNT, GROUP
from tests.builders.new_keys import MORE_SOURCES, PREMIUM, SOURCES, STORES, hardware, use_of
from tests.builders.rotations import NOW_RETIRED, RotationStage, asked, held, ref_of
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart
from tests.fakes.vault import FakeVault

type Act = Callable[[RotationStage], Awaitable[object]]
type Check = Callable[[RotationStage, bool], Awaitable[None]]

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Scenario:
    """`act` is one request, or one tick; `check` is what must hold; `certain`: the timers alone get it done."""

    prepare: Act
    act: Act
    check: Check
    certain: bool = False


# --- what is done -------------------------------------------------------------------------------------------------


async def prepare_native(group: str, stage: RotationStage) -> None:
    settings = hardware() if group == PREMIUM else {}
    await stage.a_native_key(group=group, **settings)


async def prepare_native_and_source(group: str, stage: RotationStage) -> None:
    await prepare_native(group, stage)
    await stage.a_source()
    if group == PREMIUM:
        await stage.made.exchange_keys.current(stage.premium, await group_of(stage), asked().actor)
        stage.clock.move(DAY)


async def group_of(stage: RotationStage) -> object:
    stored = await stage.groups.get(ACCOUNT, PREMIUM)
    assert stored is not None
    return stored.value


async def prepare_copies(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP, PREMIUM, MORE_SOURCES))


async def prepare_purged(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    await stage.purge(ref_of(await stage.copy_in(GROUP)))


async def native(stage: RotationStage, group: str = GROUP) -> KeyRef:
    (key,) = [key for key in await stage.virtual_keys(group) if key.azure_name == "db-key"]
    return ref_of(key)


async def rotate_native(stage: RotationStage) -> None:
    await stage.rotate(await native(stage), previous=NOW_RETIRED)


async def rotate_to_source(group: str, stage: RotationStage) -> None:
    source = await stage.source()
    await stage.rotate(await native(stage, group), source=use_of(source), previous=NOW_RETIRED)


async def rotate_with_copies(stage: RotationStage) -> None:
    await stage.order(previous=NOW_RETIRED)
    await stage.work()


async def reimport(stage: RotationStage) -> None:
    await stage.reimport(ref_of(await stage.copy_in(GROUP)))


SCHEDULE = RotationSchedule(
    Trigger.EVERY_DAYS, 30, RotationStage().clock.now().replace(tzinfo=None) + 2 * DAY, previous=NOW_RETIRED
)


async def prepare_scheduled(stage: RotationStage) -> None:
    await prepare_native(GROUP, stage)
    await stage.rotation_schedules.put(await native(stage), SCHEDULE, asked("int_put"))
    stage.clock.move(2 * DAY)


async def prepare_scheduled_source(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    ref = KeyRef(ACCOUNT, SOURCES, (await stage.source()).id)
    schedule = RotationSchedule(Trigger.EVERY_DAYS, 30, SCHEDULE.start, previous=NOW_RETIRED, rotate_copies=True)
    await stage.rotation_schedules.put(ref, schedule, asked("int_put"))
    stage.clock.move(2 * DAY)


async def tick(stage: RotationStage) -> None:
    await stage.rotation_schedules.start_due()
    await stage.work()


async def retire(stage: RotationStage) -> None:
    await stage.acting.retirements.retire_due()


async def prepare_retirement(stage: RotationStage) -> None:
    await prepare_native(GROUP, stage)
    await stage.rotate(await native(stage), previous=Previous(DAY))
    stage.clock.move(2 * DAY)


# --- what must be found -------------------------------------------------------------------------------------------


async def check_native(stage: RotationStage, made: bool) -> None:
    await check_rotated(stage, GROUP, await stage.read(await native(stage)), made, KeyOrigin.NATIVE)


async def check_to_source(group: str, stage: RotationStage, made: bool) -> None:
    key, source = await stage.read(await native(stage, group)), await stage.source()
    done = len(key.versions) == 2
    await check_rotated(stage, group, key, made, KeyOrigin.KEYSTEWARD if done else KeyOrigin.NATIVE)
    assert [link.source_version for link in source.copies] == [1] * done
    if done:
        assert key.current is not None
        assert key.current.public_key.thumbprint == source.current.public_key.thumbprint
        assert key.copied_from is not None
        assert [(one.version, one.source_version) for one in key.copied_from.versions] == [(key.current.id, 1)]


async def check_rotated(
    stage: RotationStage, group: str, key: VirtualKey, made: bool, origin: KeyOrigin, event: str = "key.rotated"
) -> None:
    """Vault and record agree on two versions, or on one if nothing came of it; the older one is retired."""
    versions = held(stage.vault_of(group), key.azure_name)
    assert len(versions) in ({2} if made else {1, 2})
    assert key.versions == tuple(versions)
    assert [version.validity.enabled for version in versions] == [True] if len(versions) == 1 else [False, True]
    await check_settled(stage, key)
    assert key.origin is origin
    assert [entry.event for entry in key.history].count(event) == len(versions) - 1


async def check_settled(stage: RotationStage, key: VirtualKey) -> None:
    assert (key.pending, key.drift, key.retirements, key.escrow_problem) == (None, (), (), None)
    manifest, _ = await stage.escrows.open(key.escrow[-1])
    assert set(manifest.versions) == {version.id for version in key.versions}


async def check_copies(stage: RotationStage, made: bool) -> None:
    source = await stage.source()
    assert len(source.versions) in ({2} if made else {1, 2})
    assert [version.validity.enabled for version in source.versions] == (
        [True] if len(source.versions) == 1 else [False, True]
    )
    number = len(source.versions)
    assert {link.source_version for link in source.copies} == {number}
    for link in source.copies:
        if link.group == MORE_SOURCES:
            (copy,) = await stage.source_keys(MORE_SOURCES)
            assert copy.copied_from is not None
            assert [one.source_version for one in copy.copied_from.versions] == list(range(1, number + 1))
            with await stage.material_of(copy) as one, await stage.material_of(source) as other:
                assert one == other
            continue
        key = await stage.copy_in(link.group)
        await check_rotated(stage, link.group, key, made, KeyOrigin.KEYSTEWARD)
        assert key.current is not None
        assert key.current.public_key.thumbprint == source.current.public_key.thumbprint
    jobs = [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT) if stored.value.rotation]
    assert [job.status for job in jobs] == [JobStatus.SUCCEEDED] * (number - 1)
    assert await stage.findings_of("rotation_failed") == {}


async def check_reimported(stage: RotationStage, made: bool) -> None:
    key, source = await stage.copy_in(GROUP), await stage.source()
    versions = stage.vault.live.get("master", [])
    assert len(versions) in ({1} if made else {0, 1})
    assert len(await stage.virtual_keys()) == 1
    assert (key.pending, [one.kind for one in key.drift]) == (None, ["vanished"])
    assert [link.source_version for link in source.copies] == [1]
    assert [entry.event for entry in key.history].count("key.reimported") == len(versions)
    if versions:
        assert (key.presence, key.versions) == ("live", tuple(versions))
        assert key.copied_from is not None
        assert [one.version for one in key.copied_from.versions] == [versions[0].id]
        manifest, _ = await stage.escrows.open(key.escrow[-1])
        assert manifest.versions == (versions[0].id,)
    else:
        assert key.presence == "purged"


async def check_scheduled(stage: RotationStage, made: bool) -> None:
    await check_native(stage, made)
    await check_one_job(stage, (await stage.read(await native(stage))).schedule)


async def check_scheduled_source(stage: RotationStage, made: bool) -> None:
    await check_copies(stage, made)
    await check_one_job(stage, (await stage.source()).schedule)


async def check_one_job(stage: RotationStage, schedule: object) -> None:
    jobs = [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT) if stored.value.rotation]
    assert [job.status for job in jobs] == [JobStatus.SUCCEEDED]
    listed, _ = await stage.jobs.page(ACCOUNT, after=None, limit=100)
    assert [job.id for job in listed if job.rotation] == [jobs[0].id]
    assert schedule is not None
    assert getattr(schedule, "next_on") == SCHEDULE.start.replace(tzinfo=stage.clock.now().tzinfo) + 30 * DAY  # noqa: B009


SCENARIOS = {
    "native": Scenario(partial(prepare_native, GROUP), rotate_native, check_native),
    "to a source key": Scenario(
        partial(prepare_native_and_source, GROUP), partial(rotate_to_source, GROUP), partial(check_to_source, GROUP)
    ),
    "to a source key, in an HSM": Scenario(
        partial(prepare_native_and_source, PREMIUM),
        partial(rotate_to_source, PREMIUM),
        partial(check_to_source, PREMIUM),
    ),
    "a source key with its copies": Scenario(prepare_copies, rotate_with_copies, check_copies),
    "re-import": Scenario(prepare_purged, reimport, check_reimported),
    "a schedule": Scenario(prepare_scheduled, tick, check_scheduled, certain=True),
    "a schedule with copies": Scenario(prepare_scheduled_source, tick, check_scheduled_source, certain=True),
    "a retirement": Scenario(prepare_retirement, retire, check_native, certain=True),
}


# --- what comes after the cut -------------------------------------------------------------------------------------


async def again(stage: RotationStage, scenario: Scenario) -> bool:
    """The request is repeated until it is answered, and once more after that; the timers tick beside it."""
    for _ in range(4):
        stage.clock.move(timedelta(minutes=6))
        try:
            await scenario.act(stage)
        except KeystewardError:
            await settle(stage)
        else:
            break
    await settle(stage)
    await scenario.act(stage)
    await settle(stage)
    return True


async def later(stage: RotationStage, scenario: Scenario) -> bool:
    """Nobody repeats it."""
    await settle(stage)
    return scenario.certain


async def sync_first(
    then: Callable[[RotationStage, Scenario], Awaitable[bool]], stage: RotationStage, scenario: Scenario
) -> bool:
    """A sync sees what there is before anything else happens."""
    await stage.sync_all()
    return await then(stage, scenario)


async def settle(stage: RotationStage) -> None:
    """Time passes, and the timers tick."""
    for _ in range(4):
        stage.clock.move(timedelta(minutes=6))
        await stage.tick()


RECOVERIES = {
    "again": again,
    "later": later,
    "sync, again": partial(sync_first, again),
    "sync, later": partial(sync_first, later),
}


async def cut(scenario: Scenario, fuse: Fuse) -> RotationStage:
    stage = RotationStage()
    await stage.set_up()
    await scenario.prepare(stage)
    kept = put_fuse(stage, fuse, STORES)
    try:
        await scenario.act(stage)
    except (CrashError, BaseExceptionGroup):
        assert fuse.blew
    restart(stage, kept)
    return stage


async def check(stage: RotationStage, scenario: Scenario, *, made: bool) -> None:
    await stage.sync_all()
    await scenario.check(stage, made)
    await settle(stage)
    await stage.sync_all()
    await scenario.check(stage, made)
    await stage.check_lists()
    assert await entries(stage, "actions-open") == []


async def entries(stage: RotationStage, tree: str) -> list[str]:
    return [place async for leaf in stage.index.leaves(tree) for place, _ in leaf]


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


async def fail(fuse: Fuse) -> None:
    """Fail as what was called fails; after the work, it is the answer that is lost."""
    name = fuse.names[fuse.at - 1]
    if name in {"create", "rotate", "import_key", "import_transfer_blob"}:
        raise VaultOutcomeUnknownError("no answer")
    if fuse.after and name == "insert":
        # The storage SDK repeats what it got no answer to.
        raise AlreadyExistsError("The record exists already.")
    if fuse.after and name == "replace":
        raise StaleWriteError("The record")
    raise VaultUnavailableError("no answer")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_an_error_at_any_call_makes_nothing_twice(
    name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.version_making._SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)
    scenario = SCENARIOS[name]
    for at in count(1):
        stage = RotationStage()
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


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_of_two_who_rotate_at_once_each_makes_one_version_or_none(after: bool) -> None:
    """At every call of one process, another one rotates the same key, from its beginning to its end."""
    for at in count(1):
        stage = RotationStage()
        await stage.set_up()
        await prepare_native(GROUP, stage)
        ref, twin = await native(stage), stage.twin()

        async def overtake(other: RotationStage = twin, ref: KeyRef = ref) -> None:
            with suppress(KeystewardError):
                await other.rotate(ref, "int_other")

        fuse = Fuse(at, after=after, act=overtake)
        put_fuse(stage, fuse, STORES)
        with suppress(KeystewardError):
            await stage.rotate(ref, "int_one")
        fuse.at = 0
        await settle(stage)
        await stage.sync_all()
        key = await stage.read(ref)
        done = [entry.event for entry in key.history].count("key.rotated")
        assert key.versions == tuple(held(stage.vault, "db-key"))
        assert (len(key.versions), key.pending, key.drift) == (1 + done, None, ()), f"at call {at}"
        assert done >= 1
        if not fuse.blew:
            break


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_version_that_comes_from_outside_at_any_call_is_drift(after: bool) -> None:
    for at in count(1):
        stage = RotationStage()
        await stage.set_up()
        await prepare_native(GROUP, stage)
        ref, vault = await native(stage), stage.vault

        async def meddle(vault: FakeVault = vault) -> None:
            await vault.rotate("db-key")

        fuse = Fuse(at, after=after, act=meddle)
        put_fuse(stage, fuse, STORES)
        await stage.rotate(ref)
        fuse.at = 0
        await settle(stage)
        await stage.sync_all()
        key = await stage.read(ref)
        assert key.versions == tuple(held(vault, "db-key")), f"at call {at}"
        assert [one.kind for one in key.drift] == ["new_version"] * fuse.blew, f"at call {at}"
        if not fuse.blew:
            break
