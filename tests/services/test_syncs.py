"""Syncs end to end over fakes: what is recorded, what it costs, and that nothing is lost on the way."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from core.domain.connections import ConnectionCause, ConnectionReport
from core.domain.drift import DriftKind
from core.domain.groups import EscrowSettings, SyncSchedule
from core.domain.jobs import JobStatus
from core.domain.keys import KeyState, KeyVersion, Presence, Validity, VirtualKey
from core.errors import ConflictError, PolicyViolationError, VaultAnswerError, VaultDeniedError, VaultUnavailableError
from core.services.findings import FindingFilter
from core.services.keys import KeyFilter, KeySort, Order
from core.services.syncs import next_run
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, NOW, a_deletion, a_version
from tests.builders.lists import check_lists
from tests.builders.syncs import SyncStage, a_group
from tests.fakes.storage import MemoryCollection
from tests.fakes.vault import FakeVault

EVERYTHING = KeyFilter()


def version_of(name: str, number: int = 1, **changes: object) -> KeyVersion:
    created = CREATED + timedelta(days=number)
    return a_version(f"{abs(hash((name, number))):032x}"[:32], created=created, **changes)


def a_vault(count: int, **options: object) -> FakeVault:
    names = [f"key-{n:04d}" for n in range(count)]
    return FakeVault(live={name: [version_of(name)] for name in names}, **options)


async def listed(stage: SyncStage, wanted: KeyFilter = EVERYTHING, **order: object) -> list[str]:
    page = await stage.keys.page(ACCOUNT, wanted, Order(limit=200, **order), visible_groups=None)
    return [key.azure_name for key in page.keys]


async def test_a_first_sync_records_and_escrows_every_key() -> None:
    vault = a_vault(60)
    vault.live["key-0007"].append(version_of("key-0007", 2))
    vault.delete("key-0009", a_deletion())
    stage = SyncStage(vault)
    await stage.set_up()
    job = await stage.sync()
    assert job.status is JobStatus.SUCCEEDED
    assert job.progress.counts == {"discovered": 60, "added": 60, "escrowed": 59}
    keys = await stage.by_name()
    assert [v.id for v in keys["key-0007"].versions] == [v.id for v in vault.live["key-0007"]]
    assert keys["key-0009"].presence is Presence.SOFT_DELETED
    counts = (await stage.group()).counts
    assert (counts.active, counts.soft_deleted) == (59, 1)
    manifest, content = await stage.escrows.open(keys["key-0007"].escrow[-1])
    assert manifest.versions == tuple(v.id for v in vault.live["key-0007"])
    assert content == await vault.back_up("key-0007")


async def test_nothing_changed_costs_the_pages_of_the_two_lists() -> None:
    stage = SyncStage(a_vault(60))
    await stage.set_up()
    await stage.sync()
    stage.vault.calls.clear()
    job = await stage.sync()
    assert stage.vault.calls == Counter({"list_keys": 3, "list_deleted": 1})
    assert job.progress.counts == {"discovered": 60, "unchanged": 60}


async def test_one_changed_key_is_the_only_one_that_is_asked_for() -> None:
    stage = SyncStage(a_vault(60))
    await stage.set_up()
    await stage.sync()
    stage.vault.calls.clear()
    stage.vault.live["key-0030"].append(version_of("key-0030", 2))
    job = await stage.sync()
    assert stage.vault.calls["back_up"] == stage.vault.calls["list_versions"] == stage.vault.calls["get_version"] == 1
    assert job.progress.counts == {"discovered": 60, "unchanged": 59, "updated": 1, "escrowed": 1}
    key = (await stage.by_name())["key-0030"]
    assert [drift.kind for drift in key.drift] == [DriftKind.NEW_VERSION]
    assert len(key.escrow) == 2


async def test_superseded_escrow_is_kept_by_setting_and_blanked_behind_it() -> None:
    stage = SyncStage(a_vault(2))
    await stage.set_up()
    await stage.sync()
    first = (await stage.by_name())["key-0000"].escrow[0]
    for number in (2, 3):
        stage.vault.live["key-0000"].append(version_of("key-0000", number))
        await stage.sync()
    key = (await stage.by_name())["key-0000"]
    assert [len(generation.versions) for generation in key.escrow] == [2, 3]
    content, _ = await stage.blobs.read(first.archive, offset=first.offset, length=first.length)
    assert not content.strip()
    other = (await stage.by_name())["key-0001"]
    assert (await stage.escrows.open(other.escrow[-1]))[0].azure_name == "key-0001"


async def test_a_full_sync_sees_a_change_that_the_list_does_not_show() -> None:
    first, second = version_of("key-0000"), version_of("key-0000", 2)
    stage = SyncStage(FakeVault(live={"key-0000": [first, second]}))
    await stage.set_up()
    await stage.sync()
    stage.vault.live["key-0000"][0] = replace(first, validity=Validity(enabled=False), updated_on=NOW)
    assert (await stage.sync()).progress.counts["unchanged"] == 1
    await stage.sync("full")
    key = (await stage.by_name())["key-0000"]
    assert [(drift.kind, drift.version) for drift in key.drift] == [(DriftKind.ENABLED, first.id)]
    assert (await stage.group()).last_full_sync_on is not None


async def test_a_key_that_vanished_is_purged_and_keeps_its_escrow() -> None:
    stage = SyncStage(a_vault(30))
    await stage.set_up()
    await stage.sync()
    del stage.vault.live["key-0011"]
    job = await stage.sync()
    assert job.progress.counts["purged"] == 1
    key = (await stage.by_name())["key-0011"]
    assert key.presence is Presence.PURGED
    assert key.escrow
    stage.vault.calls.clear()
    await stage.sync()
    assert set(stage.vault.calls) == {"list_keys", "list_deleted"}


async def test_a_key_made_anew_under_a_purged_name_is_another_key() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    await stage.sync()
    before = (await stage.by_name())["key-0001"]
    stage.vault.live["key-0001"] = [version_of("other", 5)]
    await stage.sync()
    keys = [key for key in (await stage.by_name()).values() if key.azure_name == "key-0001"]
    old = next(key for key in keys if key.id == before.id)
    new = next(key for key in keys if key.id != before.id)
    assert (old.presence, old.drift[-1].kind, old.escrow) == (Presence.PURGED, DriftKind.RECREATED, before.escrow)
    assert (new.presence, len(new.escrow)) == (Presence.LIVE, 1)
    stage.vault.calls.clear()
    await stage.sync()
    assert set(stage.vault.calls) == {"list_keys", "list_deleted"}


async def test_a_restored_key_is_the_key_that_was_purged() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    await stage.sync()
    versions = stage.vault.live.pop("key-0001")
    await stage.sync()
    stage.vault.live["key-0001"] = versions
    await stage.sync()
    keys = [key for key in (await stage.by_name()).values() if key.azure_name == "key-0001"]
    assert [(key.presence, key.drift[-1].kind) for key in keys] == [(Presence.LIVE, DriftKind.RESTORED)]


@pytest.mark.parametrize(
    "order", [lambda names: sorted(names, reverse=True), lambda names: sorted(names)[::2] + sorted(names)[1::2]]
)
async def test_a_list_in_another_order_costs_more_but_loses_nothing(order: object) -> None:
    stage = SyncStage(a_vault(60, order=order))
    await stage.set_up()
    assert (await stage.sync()).progress.counts["added"] == 60
    second = await stage.sync()
    assert (await stage.group()).counts.active == 60
    assert second.progress.errors_total == 0
    assert all(key.presence is Presence.LIVE and not key.drift for key in (await stage.by_name()).values())


async def test_an_empty_page_with_a_next_link_is_not_the_end() -> None:
    stage = SyncStage(a_vault(30, empty_first_page=True))
    await stage.set_up()
    assert (await stage.sync()).progress.counts["added"] == 30


async def test_a_refused_backup_is_a_finding_and_stops_nothing() -> None:
    def refuse(operation: str, name: str) -> None:
        if (operation, name) == ("back_up", "key-0003"):
            raise VaultAnswerError("refused", code="backup_refused")

    stage = SyncStage(a_vault(30, before=refuse))
    await stage.set_up()
    job = await stage.sync()
    assert job.status is JobStatus.SUCCEEDED
    assert (job.progress.counts["escrowed"], job.progress.counts["failed"]) == (29, 1)
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-0003", "backup_refused")]
    key = (await stage.by_name())["key-0003"]
    assert key.escrow_problem == "backup_refused"
    findings, _ = await stage.findings.page(ACCOUNT, FindingFilter(), limit=10)
    assert [(finding.code, finding.key) for finding in findings if finding.key] == [("escrow_failed", key.id)]
    stage.vault.before = lambda operation, name: None
    await stage.sync("full")
    findings, _ = await stage.findings.page(ACCOUNT, FindingFilter(), limit=10)
    assert findings == []


async def test_without_permission_for_backups_keys_are_recorded_and_escrowed_once_it_is_there() -> None:
    def deny(operation: str, name: str) -> None:
        if operation == "back_up":
            raise VaultDeniedError("denied")

    stage = SyncStage(a_vault(30, before=deny))
    await stage.set_up()
    job = await stage.sync()
    assert (job.progress.counts["added"], job.progress.counts["failed"]) == (30, 30)
    keys = await stage.by_name()
    assert {key.escrow_problem for key in keys.values()} == {"vault_denied"}
    stage.vault.before = lambda operation, name: None
    assert (await stage.sync()).progress.counts["escrowed"] == 30
    keys = await stage.by_name()
    assert {(len(key.escrow), key.escrow_problem) for key in keys.values()} == {(1, None)}


async def test_a_key_that_fails_is_reported_and_taken_up_by_the_next_sync() -> None:
    def deny(operation: str, name: str) -> None:
        if (operation, name) == ("list_versions", "key-0003"):
            raise VaultDeniedError("denied")

    stage = SyncStage(a_vault(30, before=deny))
    await stage.set_up()
    job = await stage.sync()
    assert (job.status, job.progress.counts["failed"], job.progress.counts["added"]) == (JobStatus.SUCCEEDED, 1, 29)
    stage.vault.before = lambda operation, name: None
    assert (await stage.sync()).progress.counts["added"] == 1


class SmallRows(MemoryCollection[VirtualKey]):
    """Rows that hold three versions at most."""

    async def write_many(self, partition: str, values: Mapping[str, tuple[VirtualKey, str | None]]) -> set[str]:
        if any(len(key.versions) > 3 for key, _ in values.values()):
            raise PolicyViolationError("too large", code="record_too_large")
        return await super().write_many(partition, values)


async def test_a_record_that_no_row_can_hold_stops_no_other() -> None:
    stage = SyncStage(a_vault(30))
    stage.vault.live["key-0003"] = [version_of("key-0003", number) for number in range(1, 6)]
    stage.key_rows = SmallRows()
    stage.wire()
    await stage.set_up()
    job = await stage.sync()
    assert (job.status, job.progress.counts["added"], job.progress.counts["failed"]) == (JobStatus.SUCCEEDED, 29, 1)
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-0003", "record_too_large")]


class MovingRows(MemoryCollection[VirtualKey]):
    """Rows of which one, `moves`, is changed by somebody else just before it is written."""

    moves = ""

    async def write_many(self, partition: str, values: Mapping[str, tuple[VirtualKey, str | None]]) -> set[str]:
        moving, self.moves = self.moves, ""
        if moving in values:
            stored = await self.get(partition, moving)
            assert stored is not None
            await self.replace(partition, moving, replace(stored.value, name="moved"), stored.etag)
        return await super().write_many(partition, values)


async def test_a_record_that_moves_while_another_key_takes_its_name_is_purged_all_the_same() -> None:
    stage = SyncStage(a_vault(3))
    rows = stage.key_rows = MovingRows()
    stage.wire()
    await stage.set_up()
    await stage.sync()
    old = (await stage.by_name())["key-0001"]
    stage.vault.live["key-0001"] = [version_of("key-0001", 7)]
    rows.moves = old.id
    job = await stage.sync()
    assert (job.status, job.progress.errors) == (JobStatus.SUCCEEDED, ())
    stored = await rows.get(GROUP, old.id)
    assert stored is not None
    assert (stored.value.name, stored.value.presence) == ("moved", Presence.PURGED)
    assert [entry.kind for entry in stored.value.drift] == [DriftKind.RECREATED]
    keys = [key for key in (await stage.by_name()).values() if key.azure_name == "key-0001" and key.id != old.id]
    assert [key.presence for key in keys] == [Presence.LIVE]
    await check_lists(stage)


async def test_escrow_that_is_off_backs_nothing_up() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up(replace(a_group(), escrow=EscrowSettings(enabled=False)))
    await stage.sync()
    assert stage.vault.calls["back_up"] == 0


async def test_a_denied_list_fails_the_job_and_shows_on_the_group() -> None:
    def deny(operation: str, name: str) -> None:
        if operation == "list_keys":
            raise VaultDeniedError("denied")

    stage = SyncStage(a_vault(3, before=deny))
    stage.vaults.report = ConnectionReport(NOW, cause=ConnectionCause.ACCESS_DENIED)
    await stage.set_up()
    job = await stage.sync()
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "vault_denied")
    group = await stage.group()
    assert group.report is not None
    assert group.report.cause is ConnectionCause.ACCESS_DENIED
    assert stage.connections.noted[-1].report == group.report
    assert group.last_sync is not None
    assert group.last_sync.status == "failed"
    findings, _ = await stage.findings.page(ACCOUNT, FindingFilter(), limit=10)
    assert [finding.code for finding in findings] == ["sync_failed"]


async def test_an_unavailable_vault_is_tried_again_later_and_not_for_ever() -> None:
    def fail(operation: str, name: str) -> None:
        raise VaultUnavailableError("throttled", code="vault_throttled", retry_after=timedelta(seconds=20))

    stage = SyncStage(a_vault(3, before=fail))
    await stage.set_up()
    job = await stage.sync()
    assert job.status is JobStatus.QUEUED
    assert stage.queue.sent[-1] == ({"account": ACCOUNT, "job": job.id}, timedelta(seconds=20))
    for _ in range(10):
        await stage.jobs.run(ACCOUNT, job.id)
    job = (await stage.jobs.get(ACCOUNT, job.id)).value
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "vault_throttled")


async def test_two_syncs_asked_at_once_are_one() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    first = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
    second = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
    assert first.id == second.id
    assert len(stage.queue.sent) == 1
    await stage.jobs.run(ACCOUNT, first.id)
    third = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
    assert third.id != first.id


async def test_a_message_delivered_twice_runs_the_job_once() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    job = await stage.sync()
    calls = Counter(stage.vault.calls)
    await stage.jobs.run(ACCOUNT, job.id)
    assert stage.vault.calls == calls


async def test_a_cancelled_job_stops_and_frees_its_group() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    job = await stage.syncs.start(ACCOUNT, GROUP, mode="changes", actor=ALICE)
    cancelled = await stage.jobs.cancel(ACCOUNT, job.id)
    assert cancelled.status is JobStatus.CANCELLED
    await stage.jobs.run(ACCOUNT, job.id)
    assert stage.vault.calls == Counter()
    with pytest.raises(ConflictError):
        await stage.jobs.cancel(ACCOUNT, job.id)
    assert (await stage.sync()).status is JobStatus.SUCCEEDED


async def test_a_schedule_runs_what_was_missed_once_and_plans_the_next() -> None:
    stage = SyncStage(a_vault(3))
    group = replace(a_group(), next_sync_on=NOW + timedelta(hours=1))
    await stage.set_up(group)
    await stage.syncs.plan(group)
    assert await stage.syncs.schedule_due() == 0
    stage.clock.move(timedelta(days=3))
    assert await stage.syncs.schedule_due() == 1
    assert await stage.syncs.schedule_due() == 0
    planned = (await stage.group()).next_sync_on
    assert planned == next_run(SyncSchedule(), stage.clock.now())
    assert len(stage.queue.sent) == 1


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 2 * * *", "UTC", "2026-11-23T12:00:00+00:00", "2026-11-24T02:00:00+00:00"),
        ("0 2 * * *", "Europe/Berlin", "2026-11-23T12:00:00+00:00", "2026-11-24T01:00:00+00:00"),
        # 02:30 does not exist on 2026-03-29 in Berlin: it runs when the clocks have moved.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
    ],
)
def test_schedules_are_read_in_their_time_zone(cron: str, zone: str, after: str, expected: str) -> None:
    schedule = SyncSchedule(cron=cron, time_zone=zone)
    assert next_run(schedule, datetime.fromisoformat(after)) == datetime.fromisoformat(expected)


async def test_keys_are_listed_filtered_and_paged() -> None:
    vault = a_vault(120)
    vault.live["key-0005"] = [version_of("key-0005", validity=Validity(expires_on=NOW + timedelta(days=5)))]
    vault.live["key-0006"] = [version_of("key-0006", validity=Validity(expires_on=NOW - timedelta(days=5)))]
    vault.live["key-0008"] = [version_of("key-0008", tags=(("env", "prod"),), type="EC")]
    stage = SyncStage(vault)
    await stage.set_up()
    await stage.sync()
    assert await listed(stage, KeyFilter(states=frozenset({KeyState.DEACTIVATED}))) == ["key-0006"]
    assert await listed(stage, KeyFilter(types=frozenset({"EC"}))) == ["key-0008"]
    assert await listed(stage, KeyFilter(tag=("env", None))) == ["key-0008"]
    assert await listed(stage, KeyFilter(tag=("env", "test"))) == []
    assert await listed(stage, KeyFilter(text="KEY-0011")) == ["key-0011"]
    assert (await listed(stage, sort=KeySort.EXPIRES_ON))[:2] == ["key-0006", "key-0005"]
    soon = KeyFilter(expires_after=NOW, expires_before=NOW + timedelta(days=30))
    assert await listed(stage, soon, sort=KeySort.EXPIRES_ON) == ["key-0005"]
    assert await listed(stage, soon, sort=KeySort.EXPIRES_ON, descending=True) == ["key-0005"]
    assert (await listed(stage, descending=True))[0] == "key-0119"


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_follow_each_other_without_gap_or_repetition(descending: bool) -> None:
    stage = SyncStage(a_vault(57))
    await stage.set_up()
    await stage.sync()
    seen: list[str] = []
    after: str | None = None
    while True:
        order = Order(descending=descending, after=after, limit=10)
        page = await stage.keys.page(ACCOUNT, KeyFilter(group=GROUP), order, visible_groups={GROUP})
        seen += [key.azure_name for key in page.keys]
        after = page.next
        if after is None:
            break
    assert seen == sorted(stage.vault.live, reverse=descending)


async def test_groups_that_the_caller_does_not_see_are_not_listed() -> None:
    stage = SyncStage(a_vault(3))
    await stage.set_up()
    await stage.sync()
    page = await stage.keys.page(ACCOUNT, EVERYTHING, Order(), visible_groups=frozenset())
    assert page.keys == ()
