"""Schedules as the timer carries them out: late rather than never, once, at the cost of what is due."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.domain.jobs import Job, JobStatus, ResultStatus
from core.domain.keys import KeyOrigin, Validity
from core.domain.rotation_schedules import KeySchedule, Previous, RotationSchedule, Trigger
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultDeniedError,
)
from core.services.findings import FindingCode, Subject
from core.services.opened_keys import KeyRef
from tests.builders.keys import ACCOUNT, GROUP
from tests.builders.new_keys import EC, SOURCES, use_of
from tests.builders.rotations import NOW_RETIRED, RotationStage, asked, held, ref_of
from tests.fakes.vault import FakeVault
from tests.material.keys import a_key as material_of_kind

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
async def stage() -> RotationStage:
    stage = RotationStage()
    await stage.set_up()
    return stage


def every_days(stage: RotationStage, count: int = 30, **more: Any) -> RotationSchedule:
    """A schedule whose first run is in a day."""
    return RotationSchedule(Trigger.EVERY_DAYS, count, (stage.clock.now() + DAY).replace(tzinfo=None), **more)


def before_expiry(stage: RotationStage, count: int = 30, **more: Any) -> RotationSchedule:
    return RotationSchedule(Trigger.DAYS_BEFORE_EXPIRY, count, stage.clock.now().replace(tzinfo=None), **more)


async def put(
    stage: RotationStage, ref: KeyRef, schedule: RotationSchedule, if_match: str | None = None
) -> KeySchedule:
    key = await stage.rotation_schedules.put(ref, schedule, asked("int_put", if_match))
    assert key.schedule is not None
    return key.schedule


async def source_ref(stage: RotationStage) -> KeyRef:
    return KeyRef(ACCOUNT, SOURCES, (await stage.source()).id)


async def next_of(stage: RotationStage, ref: KeyRef) -> datetime | None:
    key = await stage.source() if ref.group == SOURCES else await stage.read(ref)
    assert key.schedule is not None
    return key.schedule.next_on


async def jobs_of(stage: RotationStage) -> list[Job]:
    return [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT) if stored.value.rotation]


async def due(stage: RotationStage) -> list[str]:
    return [place async for leaf in stage.index.leaves("due/rotations") for place, _ in leaf]


async def test_a_native_key_is_rotated_when_it_is_due(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    scheduled = await put(stage, ref, every_days(stage, previous=NOW_RETIRED))
    first = stage.clock.now() + DAY
    assert (scheduled.next_on, (await stage.read(ref)).history[-1].event) == (first, "key.schedule_set")
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 1
    stage.clock.move(DAY)
    await stage.tick()
    assert [version.validity.enabled for version in held(stage.vault, "db-key")] == [False, True]
    key = await stage.read(ref)
    assert (await next_of(stage, ref), len(await due(stage))) == (first + 30 * DAY, 1)
    assert key.history[-2].actor.name == "schedule"
    (job,) = await jobs_of(stage)
    assert (job.status, job.options["due"]) == (JobStatus.SUCCEEDED, first.isoformat())
    assert (job.results[0].key, job.results[0].version) == (key.id, key.versions[-1].id)
    for _ in range(5):
        stage.clock.move(MINUTE)
        await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2, "once"
    stage.clock.move(30 * DAY)
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 3


async def test_what_was_missed_runs_once_and_late(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage, 1))
    stage.clock.move(10 * DAY + HOUR)
    await stage.tick()
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2
    assert await next_of(stage, ref) == stage.clock.now() + 23 * HOUR


async def test_two_timers_at_once_run_it_once(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage))
    stage.clock.move(DAY)
    processes = [stage, *(stage.twin() for _ in range(5))]
    await asyncio.gather(*(one.rotation_schedules.start_due() for one in processes))
    await asyncio.gather(*(one.work() for one in processes))
    await stage.tick()
    assert (len(held(stage.vault, "db-key")), len(await jobs_of(stage))) == (2, 1)
    assert len(await due(stage)) == 1


async def test_a_source_key_is_rotated_with_all_of_its_copies(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    ref = await source_ref(stage)
    await put(stage, ref, every_days(stage, rotate_copies=True, previous=Previous(2 * DAY)))
    stage.clock.move(DAY)
    await stage.tick()
    source, (job,) = await stage.source(), await jobs_of(stage)
    assert ([link.source_version for link in source.copies], job.status) == ([2], JobStatus.SUCCEEDED)
    assert [result.status for result in job.results] == [ResultStatus.DONE]
    assert (len(source.retirements), len((await stage.copy_in(GROUP)).retirements)) == (1, 1)
    await put(stage, ref, every_days(stage))
    stage.clock.move(DAY)
    await stage.tick()
    source = await stage.source()
    assert (len(source.versions), [link.source_version for link in source.copies]) == (3, [2]), "alone, unless asked"


async def test_a_paused_schedule_does_nothing_until_it_goes_on(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    schedule = every_days(stage)
    await put(stage, ref, schedule)
    assert (await put(stage, ref, replace(schedule, paused=True))).next_on is None
    stage.clock.move(3 * DAY)
    await stage.tick()
    assert (await jobs_of(stage), await due(stage)) == ([], [])
    assert (await put(stage, ref, schedule)).next_on == stage.clock.now() + 28 * DAY


async def test_a_schedule_that_was_replaced_or_deleted_starts_nothing(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage))
    later = replace(every_days(stage), start=(stage.clock.now() + 3 * DAY).replace(tzinfo=None))
    await put(stage, ref, later)
    stage.clock.move(DAY)
    await stage.tick()
    assert (await jobs_of(stage), len(await due(stage))) == ([], 1)
    await stage.rotation_schedules.delete(ref, asked("int_delete"))
    assert (await stage.read(ref)).schedule is None
    with pytest.raises(NotFoundError) as gone:
        await stage.rotation_schedules.delete(ref, asked("int_delete"))
    assert gone.value.code == "rotation_schedule_not_found"
    stage.clock.move(5 * DAY)
    await stage.tick()
    assert (await jobs_of(stage), await due(stage)) == ([], [])


async def test_if_match_guards_a_schedule(stage: RotationStage) -> None:
    await stage.a_source()
    for ref in (await stage.a_native_key(), await source_ref(stage)):
        with pytest.raises(StaleWriteError):
            await put(stage, ref, every_days(stage), "stale")
        stored = (
            await stage.made.source_records.get(ACCOUNT, SOURCES, ref.key)
            if ref.group == SOURCES
            else await stage.made.records.get(ACCOUNT, GROUP, ref.key)
        )
        await put(stage, ref, every_days(stage), stored.etag)
        with pytest.raises(StaleWriteError):
            await stage.rotation_schedules.delete(ref, asked("int_delete", stored.etag))


# --- before expiry ------------------------------------------------------------------------------------------------


async def test_a_key_is_rotated_before_it_expires_again_and_again(stage: RotationStage) -> None:
    ref = await stage.a_native_key(validity=Validity(True, None, stage.clock.now() + 90 * DAY))
    made = stage.clock.now() - DAY
    await put(stage, ref, before_expiry(stage))
    assert await next_of(stage, ref) == made + 60 * DAY
    for number in range(1, 4):
        upcoming = await next_of(stage, ref)
        assert upcoming is not None
        stage.clock.move(upcoming - stage.clock.now() + MINUTE)
        for _ in range(3):
            await stage.tick()
            stage.clock.move(MINUTE)
        assert len(held(stage.vault, "db-key")) == 1 + number
    assert len(await due(stage)) <= 2
    assert len(await jobs_of(stage)) == 3


async def test_a_schedule_follows_an_expiry_that_is_moved(stage: RotationStage) -> None:
    now = stage.clock.now()
    ref = await stage.a_native_key(validity=Validity(True, None, now + 90 * DAY))
    await put(stage, ref, before_expiry(stage))
    versions = stage.vault.live["db-key"]
    versions[-1] = replace(versions[-1], updated_on=stage.clock.now(), validity=Validity(True, None, now + 40 * DAY))
    await stage.sync_all()
    soon = await next_of(stage, ref)
    assert soon is not None
    assert now + 9 * DAY < soon <= now + 10 * DAY
    stage.clock.move(soon - stage.clock.now())
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2
    # Rotated by hand, it is not due for as long as the new version lives.
    await stage.rotate(ref, "int_hand", validity=Validity(True, None, stage.clock.now() + 365 * DAY))
    late = await next_of(stage, ref)
    assert late is not None
    assert late > stage.clock.now() + 330 * DAY


async def test_a_source_key_follows_its_expiry(stage: RotationStage) -> None:
    now = stage.clock.now()
    await stage.a_source(validity=Validity(True, None, now + 90 * DAY))
    ref = await source_ref(stage)
    await put(stage, ref, before_expiry(stage, 10))
    assert await next_of(stage, ref) == now + 80 * DAY
    stage.clock.move(80 * DAY)
    await stage.tick()
    assert len((await stage.source()).versions) == 2
    upcoming = await next_of(stage, ref)
    assert upcoming is not None
    assert stage.clock.now() + 78 * DAY < upcoming <= stage.clock.now() + 80 * DAY


async def test_an_expiry_that_is_near_already_is_due_at_once(stage: RotationStage) -> None:
    ref = await stage.a_native_key(validity=Validity(True, None, stage.clock.now() + 90 * DAY))
    stage.clock.move(80 * DAY)
    await put(stage, ref, before_expiry(stage))
    stage.clock.move(MINUTE)
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2


async def test_a_version_that_lives_too_short_is_not_rotated_at_every_tick(stage: RotationStage) -> None:
    ref = await stage.a_native_key(validity=Validity(True, None, stage.clock.now() + 90 * DAY))
    await put(stage, ref, before_expiry(stage))
    await stage.rotate(ref, validity=Validity(True, None, stage.clock.now() + 5 * DAY))
    for _ in range(3 * 24):
        stage.clock.move(HOUR)
        await stage.tick()
    assert len(held(stage.vault, "db-key")) <= 2 + 3


# --- what cannot be, or goes wrong --------------------------------------------------------------------------------


async def test_keys_that_cannot_rotate_by_themselves_get_no_schedule(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    with material_of_kind(EC) as material:
        imported = await stage.made.new_keys.bring(stage.key("int_i", azure_name="mine"), material)
    deleted, purged = await stage.a_native_key(name="deleted"), await stage.a_native_key(name="purged")
    await stage.vault.delete("deleted")
    await stage.purge(purged)
    kept_in = await stage.a_source_key("kept", permissions=("sign",))
    native = await stage.a_native_key(name="native")
    cases: list[tuple[KeyRef, RotationSchedule, str, str | None]] = [
        (ref_of(await stage.copy_in(GROUP)), every_days(stage), "schedule_on_copy", None),
        (KeyRef(ACCOUNT, GROUP, imported.id), every_days(stage), "schedule_on_imported", None),
        (deleted, every_days(stage), "key_soft_deleted", None),
        (purged, every_days(stage), "key_purged", None),
        (KeyRef(ACCOUNT, SOURCES, kept_in.id), every_days(stage, rotate_copies=True), "key_permission_missing", None),
        (native, every_days(stage, rotate_copies=True), "rotation_schedule_invalid", "rotate_copies"),
        (native, before_expiry(stage), "rotation_schedule_invalid", "days_before_expiry"),
        (native, every_days(stage, time_zone="Nowhere"), "rotation_schedule_invalid", "time_zone"),
        (KeyRef(ACCOUNT, SOURCES, kept_in.id), every_days(stage, size=256), "rotation_schedule_invalid", "size"),
        (KeyRef(ACCOUNT, GROUP, "key_none"), every_days(stage), "key_not_found", None),
    ]
    for ref, schedule, code, field in cases:
        with pytest.raises((ConflictError, InvalidRequestError, NotFoundError)) as refused:
            await put(stage, ref, schedule)
        assert (refused.value.code, refused.value.field) == (code, field)
    assert await due(stage) == []


async def test_a_key_that_lives_shorter_than_its_notice_gets_no_schedule(stage: RotationStage) -> None:
    ref = await stage.a_native_key(validity=Validity(True, None, stage.clock.now() + 30 * DAY))
    with pytest.raises(InvalidRequestError):
        await put(stage, ref, before_expiry(stage, 30))
    await put(stage, ref, before_expiry(stage, 29))


async def test_a_key_that_is_deleted_is_left_alone_until_it_is_back(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage, 2))
    await stage.vault.delete("db-key")
    await stage.sync_all()
    stage.clock.move(DAY)
    await stage.tick()
    assert (await jobs_of(stage), await stage.findings_of("rotation_failed")) == ([], {})
    await stage.vault.recover("db-key")
    await stage.sync_all()
    stage.clock.move(2 * DAY)
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2


async def test_a_key_that_became_a_copy_loses_its_schedule(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage))
    source = await stage.a_source()
    key = await stage.rotate(ref, source=use_of(source))
    assert (key.origin, key.schedule) == (KeyOrigin.KEYSTEWARD, None)
    stage.clock.move(5 * DAY)
    await stage.tick()
    assert len(held(stage.vault, "db-key")) == 2


async def test_a_rotation_that_fails_is_a_finding_until_the_next_that_succeeds(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await put(stage, ref, every_days(stage))

    def denied(operation: str, _: str) -> None:
        if operation == "create":
            raise VaultDeniedError("no")

    stage.vault.before = denied
    stage.clock.move(DAY)
    await stage.tick()
    (job,) = await jobs_of(stage)
    assert (job.status, job.results[0].code) == (JobStatus.FAILED, "vault_denied")
    found = await stage.findings_of("rotation_failed")
    assert found == {ref.key: "The key 'payments/db-key' was not rotated: vault_denied."}
    stage.vault.before = lambda *_: None
    stage.clock.move(30 * DAY)
    await stage.tick()
    assert await stage.findings_of("rotation_failed") == {}
    assert len(held(stage.vault, "db-key")) == 2


async def test_a_source_key_that_fails_is_a_finding_too(stage: RotationStage) -> None:
    await stage.a_source()
    ref = await source_ref(stage)
    await put(stage, ref, every_days(stage))
    stage.clock.move(DAY)
    await stage.rotation_schedules.start_due()
    stored = await stage.source_rows.get(SOURCES, ref.key)
    assert stored is not None
    await stage.source_rows.delete(SOURCES, ref.key)
    await stage.work()
    (job,) = await jobs_of(stage)
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "key_not_found")
    assert await stage.findings_of("rotation_failed") == {ref.key: "The source key was not rotated: key_not_found."}
    await stage.source_rows.insert(SOURCES, ref.key, stored.value)
    failed = await stage.findings_of("rotation_failed")
    await stage.rotate_source("int_by_hand")
    assert await stage.findings_of("rotation_failed") == {}, "a rotation by hand settles it, too"
    await stage.findings.settle(ACCOUNT, {(FindingCode.ROTATION_FAILED, Subject(SOURCES, ref.key)): failed[ref.key]})
    stage.clock.move(30 * DAY)
    await stage.tick()
    assert await stage.findings_of("rotation_failed") == {}


async def test_a_key_that_is_gone_is_forgotten(stage: RotationStage) -> None:
    await stage.a_source()
    ref = await source_ref(stage)
    await put(stage, ref, every_days(stage))
    await stage.source_rows.delete(SOURCES, ref.key)
    stage.clock.move(DAY)
    assert await stage.rotation_schedules.start_due() == 0
    assert await due(stage) == []


async def test_one_key_that_cannot_be_started_does_not_keep_the_others(stage: RotationStage) -> None:
    refs = [await stage.a_native_key(name=f"key-{number}") for number in range(3)]
    for ref in refs:
        await put(stage, ref, every_days(stage))
    stage.clock.move(DAY)
    jobs, failing = stage.rotation_jobs.scheduled, refs[1].key

    async def scheduled(key: Any, *rest: Any) -> Job:
        if key.id == failing:
            raise KeystewardError("storage")
        return await jobs(key, *rest)

    stage.rotation_jobs.scheduled = scheduled  # type: ignore[method-assign]
    assert await stage.rotation_schedules.start_due() == 2
    stage.rotation_jobs.scheduled = jobs  # type: ignore[method-assign]
    assert await stage.rotation_schedules.start_due() == 1


# --- cost ---------------------------------------------------------------------------------------------------------


class Counting:
    """Counts the calls of a store."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._whole, name)


async def calls_of_a_tick(count: int) -> tuple[int, int]:
    """The calls of storage that a tick makes with `count` schedules of which none, and then one, is due."""
    stage = RotationStage()
    await stage.set_up()
    vault = FakeVault()
    vault.now, stage.vaults.vault, stage.vault = stage.clock.now, vault, vault
    for number in range(count):
        ref = await stage.a_native_key(name=f"key-{number:04d}")
        first = (stage.clock.now() + timedelta(days=365 if number else 3)).replace(tzinfo=None)
        await put(stage, ref, RotationSchedule(Trigger.EVERY_DAYS, 30, first))
        stage.clock.move(-DAY)
    stores = ("index", "key_rows", "job_rows", "source_rows")
    for name in stores:
        setattr(stage, name, Counting(getattr(stage, name)))
    stage.wire()

    async def tick() -> int:
        before = sum(getattr(stage, name).calls.total() for name in stores)
        await stage.rotation_schedules.start_due()
        return sum(getattr(stage, name).calls.total() for name in stores) - before

    idle = await tick()
    stage.clock.move(5 * DAY)
    return idle, await tick()


async def test_the_cost_of_a_tick_is_that_of_what_is_due() -> None:
    few, many = await calls_of_a_tick(3), await calls_of_a_tick(60)
    assert few == many
    assert few[0] <= 2
