"""Drills over fakes: what they prove, what they find broken, and that the scratch vault is as it was before."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.connections import VaultType
from core.domain.drills import DrillOrder, DrillSettings
from core.domain.groups import EscrowSettings
from core.domain.jobs import JobStatus, ResultStatus
from core.domain.keys import Presence
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    VaultDeniedError,
    VaultUnavailableError,
)
from core.services import scratch_restores, waiting
from core.services.attribute_actions import ActionRequest
from core.services.findings import FindingCode
from core.services.opened_keys import KeyRef
from tests.builders.drills import SCRATCH, DrillStage, a_drill_vault, a_scratch_group, as_hsm, drill_version
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW, a_deletion
from tests.builders.syncs import a_group

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(scratch_restores, "IN_JOB", 0.6)
    monkeypatch.setattr(scratch_restores, "IN_REQUEST", 0.6)


async def synced(count: int = 3, **scratch: object) -> DrillStage:
    stage = DrillStage(a_drill_vault(count))
    await stage.set_up(scratch=a_scratch_group(**scratch))
    await stage.sync()
    stage.vault.calls.clear()
    return stage


def corrupt(stage: DrillStage, archive: str, *, offset: int = 0) -> None:
    content, etag = stage.blobs._blobs[archive]
    stage.blobs._blobs[archive] = (content[:offset] + b"#" + content[offset + 1 :], etag)


async def archive_of(stage: DrillStage, name: str) -> tuple[str, int]:
    generation = (await stage.by_name())[name].escrow[-1]
    return generation.archive, generation.offset


# --- without a restore ---------------------------------------------------------------------------------------------


async def test_a_drill_opens_every_keys_escrow_and_asks_the_vault_nothing() -> None:
    stage = await synced(300)
    job = await stage.drill()
    assert (job.status, job.progress.errors) == (JobStatus.SUCCEEDED, ())
    assert job.progress.counts == {"opened": 300, "verified": 300}
    assert (job.progress.done, job.progress.total, job.progress.phase) == (300, 300, "done")
    assert not stage.vault.calls
    last = (await stage.group()).last_drill
    assert last is not None
    assert (last.job, last.status, last.opened, last.verified, last.failed) == (job.id, "succeeded", 300, 300, 0)
    assert await stage.found() == []


async def test_keys_that_are_deleted_or_purged_are_drilled_and_tombstones_are_not() -> None:
    stage = await synced(4)
    stage.vault.delete("key-001", a_deletion())
    del stage.vault.live["key-002"], stage.vault.live["key-003"]
    await stage.sync()
    key = (await stage.by_name())["key-003"]
    await stage.made.records.amend(
        ACCOUNT, GROUP, key.id, lambda present: replace(present, presence=Presence.DESTROYED, escrow=())
    )
    assert (await stage.drill()).progress.counts == {"opened": 3, "verified": 3}


async def test_an_altered_escrow_is_found_and_the_next_sync_makes_another() -> None:
    stage = await synced()
    archive, offset = await archive_of(stage, "key-001")
    corrupt(stage, archive, offset=offset + 40)
    job = await stage.drill()
    assert job.status is JobStatus.SUCCEEDED
    assert job.progress.counts == {"opened": 2, "verified": 2, "failed": 1}
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-001", "escrow_altered")]
    key = (await stage.by_name())["key-001"]
    assert key.escrow[-1].broken == "escrow_altered"
    (broken,) = await stage.found(code=FindingCode.ESCROW_BROKEN)
    assert (broken.key, broken.severity) == (key.id, "1-critical")
    assert await stage.codes() == {FindingCode.ESCROW_BROKEN, FindingCode.DRILL_FAILED}

    assert (await stage.sync()).progress.counts["escrowed"] == 1
    assert await stage.codes() == {FindingCode.DRILL_FAILED}
    assert (await stage.drill()).progress.counts == {"opened": 3, "verified": 3}
    assert await stage.codes() == set()


async def test_a_missing_archive_breaks_its_keys_and_mends_when_it_is_back() -> None:
    stage = await synced()
    archive, _ = await archive_of(stage, "key-001")
    kept = stage.blobs._blobs.pop(archive)
    job = await stage.drill()
    assert job.progress.counts == {"failed": 3}
    assert {error.code for error in job.progress.errors} == {"escrow_missing"}
    stage.blobs._blobs[archive] = kept
    assert (await stage.drill()).progress.counts == {"opened": 3, "verified": 3}
    assert await stage.found() == []
    assert all(key.escrow[-1].broken is None for key in (await stage.by_name()).values())


async def test_an_escrow_that_a_sync_replaces_meanwhile_is_not_broken() -> None:
    stage = await synced(1)
    opened = stage.escrows.open

    async def blank_first(generation: object) -> object:
        stage.escrows.open = opened  # type: ignore[method-assign]
        stage.vault.live["key-000"].append(drill_version(0, 3))
        await stage.sync()
        stage.vault.live["key-000"].append(drill_version(0, 4))
        await stage.sync()
        return await opened(generation)  # type: ignore[arg-type]

    stage.escrows.open = blank_first  # type: ignore[method-assign, assignment]
    job = await stage.drill()
    assert job.progress.counts == {"opened": 1, "verified": 1}
    assert (await stage.by_name())["key-000"].escrow[-1].broken is None


async def test_a_manifest_of_another_key_or_format_is_no_escrow() -> None:
    stage = await synced(2)
    one, other = (await stage.by_name()).values()
    await stage.made.records.amend(ACCOUNT, GROUP, one.id, lambda present: replace(present, escrow=other.escrow))
    job = await stage.drill()
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-000", "escrow_misplaced")]


async def test_escrow_that_is_missing_or_stale_for_more_than_a_day_is_found() -> None:
    stage = await synced()
    keys = await stage.by_name()
    records = stage.made.records
    await records.amend(ACCOUNT, GROUP, keys["key-000"].id, lambda present: replace(present, escrow=()))
    late = drill_version(1, 9)
    await records.amend(
        ACCOUNT, GROUP, keys["key-001"].id, lambda present: replace(present, versions=(*present.versions, late))
    )
    job = await stage.drill()
    assert job.progress.counts == {"opened": 2, "verified": 1}, "nothing is overdue on the first day"
    assert await stage.found() == []
    stage.clock.move(2 * DAY)
    job = await stage.drill()
    assert job.progress.counts == {"opened": 2, "verified": 1, "missing": 1, "failed": 1}
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-001", "escrow_stale")]
    found = {finding.code: finding.key for finding in await stage.found() if finding.key}
    assert found == {FindingCode.NOT_ESCROWED: keys["key-000"].id, FindingCode.ESCROW_STALE: keys["key-001"].id}
    stage.vault.live["key-001"].append(late)
    await stage.sync()
    await stage.drill()
    assert await stage.found() == []


async def test_a_group_that_does_not_escrow_misses_nothing() -> None:
    stage = DrillStage(a_drill_vault())
    await stage.set_up(replace(a_group(), escrow=EscrowSettings(enabled=False)))
    await stage.sync()
    stage.clock.move(2 * DAY)
    assert (await stage.drill()).progress.counts == {}
    assert await stage.found() == []


async def test_with_a_sample_every_key_has_its_turn() -> None:
    stage = await synced(7)
    looked_at: list[str] = []
    checks = stage.care.drill_work._checks
    look_at = checks.look_at

    async def noting(group: object, ids: list[str]) -> object:
        looked_at.extend(ids)
        return await look_at(group, ids)  # type: ignore[arg-type]

    checks.look_at = noting  # type: ignore[method-assign, assignment]
    for _ in range(3):
        assert (await stage.drill(sample=3)).progress.done == 3
    assert len(set(looked_at)) == 7
    assert looked_at[7:] == looked_at[:2]
    looked_at.clear()
    assert (await stage.drill(sample=100)).progress.done == 7
    assert len(looked_at) == len(set(looked_at)) == 7


async def test_storage_that_is_away_has_the_drill_tried_again() -> None:
    stage = await synced()
    read, away = stage.blobs.read, [VaultUnavailableError("away", code="storage_unavailable")] * 2

    async def failing(*args: object, **kwargs: object) -> object:
        if away:
            raise away.pop()
        return await read(*args, **kwargs)  # type: ignore[arg-type]

    stage.blobs.read = failing  # type: ignore[method-assign, assignment]
    job = await stage.drill()
    assert (job.status, job.progress.counts) == (JobStatus.QUEUED, {})
    stage.clock.move(timedelta(hours=1))
    job = await stage.run(job)
    assert (job.status, job.progress.counts) == (JobStatus.SUCCEEDED, {"opened": 3, "verified": 3})


async def test_a_group_has_one_drill_at_a_time() -> None:
    stage = await synced()
    first = await stage.drills.start(ACCOUNT, GROUP, DrillOrder(), ALICE)
    assert (await stage.drills.start(ACCOUNT, GROUP, DrillOrder(), ALICE)).id == first.id
    await stage.run(first)
    assert (await stage.drills.start(ACCOUNT, GROUP, DrillOrder(), ALICE)).id != first.id


async def test_the_schedule_runs_a_missed_drill_once_and_plans_the_next() -> None:
    stage = DrillStage(a_drill_vault())
    group = stage.drills.planned(replace(a_group(), drill=DrillSettings(every_days=3, sample=2)))
    assert group.next_drill_on == NOW + 3 * DAY
    await stage.set_up(group)
    await stage.drills.plan(group)
    assert await stage.drills.schedule_due() == 0
    stage.clock.move(10 * DAY)
    assert await stage.drills.schedule_due() == 1
    assert await stage.drills.schedule_due() == 0
    (job,), _ = await stage.jobs.page(ACCOUNT, after=None, limit=10)
    assert (job.kind, dict(job.options), job.requested_by.id) == ("drill", {"sample": "2"}, "drill_escrow")
    assert (await stage.group()).next_drill_on == NOW + 13 * DAY
    assert stage.drills.planned(replace(group, drill=DrillSettings(paused=True))).next_drill_on is None


# --- with a restore ------------------------------------------------------------------------------------------------


async def test_keys_are_restored_compared_and_purged() -> None:
    stage = await synced(5)
    job = await stage.drill(restore_into=SCRATCH, restores=2)
    assert (job.status, job.progress.errors) == (JobStatus.SUCCEEDED, ())
    assert job.progress.counts == {"opened": 5, "verified": 5, "restored": 2}
    assert [(result.group, result.status) for result in job.results] == [(SCRATCH, ResultStatus.DONE)] * 2
    assert {result.key for result in job.results} <= {key.id for key in (await stage.by_name()).values()}
    assert (stage.scratch.calls["restore"], stage.scratch.calls["purge"]) == (2, 2)
    await assert_clean(stage)
    last = (await stage.group()).last_drill
    assert last is not None
    assert last.restored == 2
    assert await stage.found() == []


async def test_a_purged_key_can_be_the_one() -> None:
    stage = await synced(1)
    del stage.vault.live["key-000"]
    await stage.sync()
    assert (await stage.drill(restore_into=SCRATCH)).progress.counts == {"opened": 1, "verified": 1, "restored": 1}
    await assert_clean(stage)


async def test_a_vault_that_takes_its_time_is_waited_for() -> None:
    stage = await synced(1)
    stage.scratch.slow = True
    looks = 0

    def show_after_a_while(operation: str, name: str) -> None:
        nonlocal looks
        looks += operation == "get_deleted"
        if looks % 4 == 0:
            stage.scratch.settle()

    stage.scratch.before = show_after_a_while
    assert (await stage.drill(restore_into=SCRATCH)).progress.counts["restored"] == 1
    stage.scratch.settle()
    await assert_clean(stage)


async def test_a_vault_that_takes_too_long_is_cleared_by_the_next_try_without_a_second_restore() -> None:
    stage = await synced(1)
    stage.scratch.slow = True
    job = await stage.drill(restore_into=SCRATCH)
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.QUEUED, "vault_still_working")
    assert await stage.copies() == 1
    stage.scratch.settle()
    stage.scratch.slow = False
    job = await stage.run(job)
    assert job.status is JobStatus.SUCCEEDED
    assert (job.progress.counts["restored"], stage.scratch.calls["restore"]) == (1, 1)
    await assert_clean(stage)


@pytest.mark.parametrize("state", ["live", "deleted"])
async def test_a_name_that_the_scratch_vault_holds_is_left_alone(state: str) -> None:
    stage = await synced(1)
    theirs = drill_version(77, 1)
    stage.scratch.live["key-000"] = [theirs]
    if state == "deleted":
        stage.scratch.delete("key-000", a_deletion())
    job = await stage.drill(restore_into=SCRATCH)
    assert job.status is JobStatus.SUCCEEDED
    assert job.progress.counts == {"opened": 1, "verified": 1, "failed": 1}
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-000", "key_name_taken")]
    assert (job.results[0].status, job.results[0].code) == (ResultStatus.FAILED, "key_name_taken")
    assert stage.scratch.calls["restore"] == stage.scratch.calls["purge"] == 0
    held = stage.scratch.live if state == "live" else {n: v for n, (v, _) in stage.scratch.deleted.items()}
    assert held == {"key-000": [theirs]}
    assert await stage.codes() == {FindingCode.DRILL_FAILED}, "that is not the escrow's fault"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda versions: versions[:1], "restore_incomplete"),
        (lambda versions: [replace(v, public_key=drill_version(9, 9).public_key) for v in versions], "restore_differs"),
        (None, "restore_refused"),
    ],
)
async def test_what_does_not_come_back_as_it_was_is_a_broken_escrow(change: object, code: str) -> None:
    stage = await synced(1)
    for blob, (name, versions) in list(stage.scratch.backups.items()):
        if callable(change):
            stage.scratch.backups[blob] = (name, change(versions))
        else:
            del stage.scratch.backups[blob]
    if code == "restore_incomplete":
        # What the vault lost is the newest version: the copy is known by the oldest.
        assert len(versions) == 2
    job = await stage.drill(restore_into=SCRATCH)
    assert [(error.key, error.code) for error in job.progress.errors] == [("key-000", code)]
    assert await stage.codes() == {FindingCode.ESCROW_BROKEN, FindingCode.DRILL_FAILED}
    assert (await stage.by_name())["key-000"].escrow[-1].broken == code
    await assert_clean(stage)


async def test_an_hsm_that_refuses_a_backup_may_have_another_security_domain() -> None:
    stage = DrillStage(a_drill_vault(1))
    await stage.set_up(as_hsm(a_group()), as_hsm(a_scratch_group()))
    await stage.sync()
    stage.scratch.backups = {}
    job = await stage.drill(restore_into=SCRATCH)
    assert [error.code for error in job.progress.errors] == ["restore_refused"]
    assert await stage.codes() == {FindingCode.DRILL_FAILED}


async def test_a_denied_restore_is_told_and_no_other_stops() -> None:
    stage = await synced(4)

    def deny_one(operation: str, name: str) -> None:
        if operation == "restore" and stage.scratch.calls["restore"] == 1:
            raise VaultDeniedError("denied")

    stage.scratch.before = deny_one
    job = await stage.drill(restore_into=SCRATCH, restores=3)
    assert (job.progress.counts["restored"], job.progress.counts["failed"]) == (2, 1)
    assert [error.code for error in job.progress.errors] == ["vault_denied"]
    stage.clock.move(timedelta(minutes=10))
    await stage.care.scratch_restores.clear_left_over(stage.jobs)
    await assert_clean(stage)


async def test_hsm_protected_keys_are_not_chosen_for_a_standard_vault() -> None:
    stage = DrillStage(a_drill_vault(2))
    stage.vault.live["key-001"] = [drill_version(1, 1, type="RSA-HSM")]
    await stage.set_up()
    await stage.sync()
    job = await stage.drill(restore_into=SCRATCH, restores=5)
    assert [result.name for result in job.results] == ["key-000"]


# --- what is refused beforehand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"purge_protection": True}, "scratch_purge_protected"),
        ({"location": "eastus"}, "restore_elsewhere"),
        ({"type": VaultType.MANAGED_HSM}, "restore_elsewhere"),
    ],
)
async def test_a_scratch_vault_that_will_not_do_is_refused(facts: dict[str, object], code: str) -> None:
    stage = await synced(1, **facts)
    with pytest.raises(ConflictError) as refused:
        await stage.drill(restore_into=SCRATCH)
    assert refused.value.code == code
    assert (await stage.jobs.page(ACCOUNT, after=None, limit=10))[0][0].kind == "sync"


async def test_the_keys_own_vault_and_unknown_groups_are_refused() -> None:
    stage = await synced(1)
    with pytest.raises(ConflictError) as own:
        await stage.drill(restore_into=GROUP)
    assert own.value.code == "scratch_own_vault"
    with pytest.raises(InvalidRequestError) as unknown:
        await stage.drill(restore_into="grp_nnnnnnnnnnnnnnnnnnnnnnnn")
    assert (unknown.value.code, unknown.value.field) == ("group_unknown", "restore_into")
    for order in ({"sample": 0}, {"restores": 0}, {"restores": 11}):
        with pytest.raises(InvalidRequestError) as bounds:
            await stage.drill(**order)
        assert bounds.value.code == "group_invalid"


async def test_protection_that_is_turned_on_meanwhile_fails_the_drill_before_it_restores() -> None:
    stage = await synced(2)
    stage.vaults.protected = True
    job = await stage.drill(restore_into=SCRATCH)
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "scratch_purge_protected")
    assert job.progress.counts == {"opened": 2, "verified": 2}, "the rest was done"
    assert stage.scratch.calls["restore"] == 0
    last = (await stage.group()).last_drill
    assert last is not None
    assert (last.status, last.verified) == ("failed", 2)


# --- what is left in the scratch vault -------------------------------------------------------------------------------


async def test_a_copy_that_cannot_be_purged_is_a_finding_until_it_can() -> None:
    stage = await synced(1)
    refusal: list[KeystewardError] = [VaultDeniedError("denied")]

    def deny(operation: str, name: str) -> None:
        if operation == "purge" and refusal:
            raise refusal[0]

    stage.scratch.before = deny
    job = await stage.drill(restore_into=SCRATCH)
    key = (await stage.by_name())["key-000"]
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.SUCCEEDED, "vault_denied")
    (left,) = await stage.found(code=FindingCode.SCRATCH_COPY_LEFT)
    assert (left.group, left.key) == (GROUP, key.id)
    stage.clock.move(timedelta(minutes=10))
    assert await stage.care.scratch_restores.clear_left_over(stage.jobs) == 0
    assert FindingCode.SCRATCH_COPY_LEFT in await stage.codes()
    refusal.clear()
    assert await stage.care.scratch_restores.clear_left_over(stage.jobs) == 1
    await assert_clean(stage)
    assert await stage.codes() == {FindingCode.DRILL_FAILED}


async def test_what_is_somebody_elses_by_now_is_not_purged() -> None:
    stage = await synced(1)
    stage.scratch.before = lambda operation, name: _deny(operation, "purge")
    await stage.drill(restore_into=SCRATCH)
    stage.scratch.before = lambda operation, name: None
    # Somebody purged the copy by hand, and made a key of that name.
    stage.scratch.deleted.clear()
    theirs = drill_version(77, 1)
    stage.scratch.live["key-000"] = [theirs]
    stage.clock.move(timedelta(minutes=10))
    assert await stage.care.scratch_restores.clear_left_over(stage.jobs) == 1
    assert stage.scratch.live == {"key-000": [theirs]}
    assert await stage.copies() == 0


async def test_a_drill_that_is_cancelled_ends_what_it_has_begun() -> None:
    stage = await synced(3)

    job = await stage.drills.start(ACCOUNT, GROUP, DrillOrder(restore_into=SCRATCH, restores=3), ALICE)
    restored = stage.scratch.restore

    async def and_cancel(backup: object) -> object:
        answer = await restored(backup)  # type: ignore[arg-type]
        await stage.jobs.cancel(ACCOUNT, job.id)
        return answer

    stage.scratch.restore = and_cancel  # type: ignore[method-assign, assignment]
    job = await stage.run(job)
    assert job.status is JobStatus.CANCELLED
    await assert_clean(stage)


async def test_a_sync_of_the_scratch_group_passes_copies_by() -> None:
    stage = await synced(1)
    stage.scratch.live["their-own"] = [drill_version(5, 1)]
    stage.scratch.before = lambda operation, name: _deny(operation, "delete")
    await stage.drill(restore_into=SCRATCH)
    assert set(stage.scratch.live) == {"their-own", "key-000"}
    job = await stage.syncs.start(ACCOUNT, SCRATCH, mode="full", actor=ALICE)
    job = await stage.run(job)
    assert job.progress.counts["discovered"] == 1
    assert [stored.value.azure_name async for _, stored in stage.key_rows.scan(SCRATCH)] == ["their-own"]


async def test_nothing_is_restored_while_the_scratch_group_syncs() -> None:
    stage = await synced(1)
    sync = await stage.syncs.start(ACCOUNT, SCRATCH, mode="changes", actor=ALICE)
    job = await stage.drill(restore_into=SCRATCH)
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.QUEUED, "vault_still_working")
    assert stage.scratch.calls["restore"] == 0
    await stage.run(sync)
    stage.clock.move(timedelta(minutes=2))
    job = await stage.run(job)
    assert (job.status, job.progress.counts["restored"]) == (JobStatus.SUCCEEDED, 1)
    await assert_clean(stage)


async def test_a_scratch_group_that_is_gone_leaves_a_finding_and_stops_no_other() -> None:
    stage = await synced(1)
    stage.scratch.before = lambda operation, name: _deny(operation, "purge")
    await stage.drill(restore_into=SCRATCH)
    await stage.groups.delete(ACCOUNT, SCRATCH)
    stage.clock.move(timedelta(minutes=10))
    assert await stage.care.scratch_restores.clear_left_over(stage.jobs) == 0
    assert FindingCode.SCRATCH_COPY_LEFT in await stage.codes()


async def assert_clean(stage: DrillStage) -> None:
    """The scratch vault is as it was, and nothing is written down of it."""
    assert (stage.scratch.live, stage.scratch.deleted) == ({}, {})
    assert await stage.copies() == 0
    assert FindingCode.SCRATCH_COPY_LEFT not in await stage.codes()


def _deny(operation: str, denied: str) -> None:
    if operation == denied:
        raise VaultDeniedError("denied")


async def test_a_scratch_group_that_is_gone_by_then_fails_the_drill_after_the_rest_was_done() -> None:
    stage = await synced(2)
    job = await stage.drills.start(ACCOUNT, GROUP, DrillOrder(restore_into=SCRATCH), ALICE)
    await stage.groups.delete(ACCOUNT, SCRATCH)
    job = await stage.run(job)
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "group_not_found")
    assert job.progress.counts == {"opened": 2, "verified": 2}


async def test_a_drill_that_can_restore_none_of_its_keys_says_so() -> None:
    stage = DrillStage(a_drill_vault(1))
    stage.vault.live["key-000"] = [drill_version(0, 1, type="RSA-HSM")]
    await stage.set_up()
    await stage.sync()
    job = await stage.drill(restore_into=SCRATCH)
    assert [(error.key, error.code) for error in job.progress.errors] == [(None, "restore_elsewhere")]
    assert await stage.codes() == {FindingCode.DRILL_FAILED}


async def test_an_escrow_that_an_action_makes_ends_the_finding_as_well() -> None:
    stage = await synced(1)
    archive, offset = await archive_of(stage, "key-000")
    corrupt(stage, archive, offset=offset + 40)
    await stage.drill()
    assert FindingCode.ESCROW_BROKEN in await stage.codes()
    key = (await stage.by_name())["key-000"]
    guarded = await stage.acting.guard.require(stage.vault, await stage.group(), key, ALICE)
    assert (guarded.unescrowed, guarded.escrow[-1].broken) == (frozenset(), None)
    assert FindingCode.ESCROW_BROKEN not in await stage.codes()


async def test_of_a_key_whose_escrow_is_destroyed_nothing_is_to_be_found() -> None:
    stage = await synced(1)
    archive, _ = await archive_of(stage, "key-000")
    del stage.blobs._blobs[archive]
    del stage.vault.live["key-000"]
    await stage.sync()
    await stage.drill()
    assert await stage.codes() == {FindingCode.ESCROW_BROKEN, FindingCode.DRILL_FAILED, FindingCode.DRIFT}
    key = (await stage.by_name())["key-000"]
    await stage.acting.deletions.destroy(KeyRef(ACCOUNT, GROUP, key.id), ActionRequest("int_1", ALICE))
    assert await stage.codes() == {FindingCode.DRILL_FAILED, FindingCode.DRIFT}
    assert (await stage.drill()).progress.counts == {}
    assert await stage.codes() == {FindingCode.DRIFT}
