"""What becomes of an action whose request ended early: a job goes on with it, or reconciliation looks at the vault.

Each action is cut off before or after the vault did it; then the vault shows this or that.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.drift import DriftKind
from core.domain.jobs import JobStatus
from core.domain.keys import Condition, Presence, Validity, VirtualKey
from core.domain.lifecycle import condition_of
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import LEFT_OVER_AFTER, KeyAction
from core.errors import VaultUnavailableError
from core.services.jobs import MAX_ATTEMPTS
from core.services.waiting import StillWorkingError
from tests.builders.keys import ALICE, CREATED, GROUP, a_deletion, a_version
from tests.builders.life import (
    ACTS,
    AFTER,
    BOB,
    FROM,
    NAME,
    REASON,
    LifeStage,
    activate,
    asked,
    deactivate,
    deleting,
    events,
    fails,
    purge,
    raised,
    ref_of,
    refused,
    restore,
    soft_delete,
    update,
    versions,
)
from tests.fakes.interleaved import InterleavedCollection

ASKING = [action for action in ACTS if action is not KeyAction.DELETE]
CALLS = {
    KeyAction.UPDATE: "update",
    KeyAction.DEACTIVATE: "update",
    KeyAction.ACTIVATE: "update",
    KeyAction.SOFT_DELETE: "delete",
    KeyAction.RECOVER: "recover",
    KeyAction.PURGE: "purge",
    KeyAction.RESTORE: "restore",
}
DONE = {
    KeyAction.UPDATE: "key.updated",
    KeyAction.DEACTIVATE: "key.deactivated",
    KeyAction.ACTIVATE: "key.activated",
    KeyAction.SOFT_DELETE: "key.soft_deleted",
    KeyAction.RECOVER: "key.recovered",
    KeyAction.PURGE: "key.purged",
    KeyAction.RESTORE: "key.restored",
}


async def cut(action: KeyAction, *, done: bool, count: int = 1, drifted: bool = False) -> LifeStage:
    """Return a stage with an action that was cut off before or after the vault did it."""
    stage = await LifeStage.of(FROM[action], count)
    fails(stage, CALLS[action], VaultUnavailableError("cut"), after=done, times=99)
    with pytest.raises(VaultUnavailableError):
        await ACTS[action](stage, "int_1")
    stage.vault.before = stage.vault.after = lambda operation, name: None
    pending = (await stage.key()).pending
    assert pending is not None
    assert pending.action is action
    return stage


def last(key: VirtualKey) -> tuple[str, str]:
    return key.history[-1].event, key.history[-1].detail


@pytest.mark.parametrize("synced", [False, True], ids=["", "synced"])
@pytest.mark.parametrize("action", ASKING)
async def test_what_was_not_done_is_withdrawn(action: KeyAction, synced: bool) -> None:
    stage = await cut(action, done=False)
    if synced:
        await stage.sync("full")
    before = await stage.key()
    assert await stage.later() == 1
    key = await stage.key()
    assert last(key) == (f"key.{action.value}_not_done", "found not done")
    assert replace(key, pending=before.pending, history=before.history) == before
    assert condition_of(key, stage.clock.now()) is FROM[action]
    await stage.check()
    # The same request is a new one by now.
    assert events(await ACTS[action](stage, "int_1"))[-1] == DONE[action]
    await stage.check()


@pytest.mark.parametrize("synced", [False, True], ids=["", "synced"])
@pytest.mark.parametrize("action", ASKING)
async def test_what_was_done_is_recorded(action: KeyAction, synced: bool) -> None:
    stage = await cut(action, done=True)
    if synced:
        await stage.sync("full")
    assert await stage.later() == 1
    key = await stage.key()
    assert condition_of(key, stage.clock.now()) is AFTER.get(action, Condition.ACTIVE)
    assert (events(key), key.history[-1].actor, key.drift) == ([DONE[action]], ALICE, ())
    if action in {KeyAction.DEACTIVATE, KeyAction.ACTIVATE}:
        assert key.history[-1].detail == f"found done: {REASON}"
    if action is KeyAction.DEACTIVATE:
        assert key.deactivation is not None
        assert (key.deactivation.reason, key.deactivation.by) == (REASON, ALICE)
    await stage.check()
    sent = stage.changes_sent()
    assert await ACTS[action](stage, "int_1") == key, "the request that comes again was done"
    assert stage.changes_sent() == sent
    await stage.sync("full")
    assert (await stage.key()).drift == ()


@pytest.mark.parametrize("done", [False, True])
async def test_a_destruction_that_was_cut_off_is_ended(done: bool) -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stored = await stage.stored()
    await stage.acting.actions.begin(stored.value, stored.etag, KeyAction.DELETE, "int_1", BOB)
    if done:
        await stage.escrows.prune(stored.value.escrow)
    await refused(restore(stage, "int_2"), "key_action_pending")
    # It needs no vault any more.
    stage.vault.before = lambda operation, name: raised(VaultUnavailableError("away"))
    assert await stage.later() == 1
    key = await stage.key()
    assert (key.presence, key.escrow, last(key)) == (
        Presence.DESTROYED, (), ("key.destroyed", "1 escrow generations"),
    )  # fmt: skip
    assert key.history[-1].actor == BOB


@pytest.mark.parametrize("action", [a for a in ASKING if a not in {KeyAction.PURGE, KeyAction.RESTORE}])
async def test_a_key_that_the_vault_does_not_show_is_given_an_hour(action: KeyAction) -> None:
    stage = await cut(action, done=False)
    stage.vault.live.clear()
    stage.vault.deleted.clear()
    assert await stage.later() == 0
    assert (await stage.key()).pending is not None
    assert await stage.later(timedelta(hours=1)) == 1
    assert last(await stage.key()) == (f"key.{action.value}_not_done", "found gone")
    await stage.sync()
    key = await stage.key()
    assert (key.presence, [drift.kind for drift in key.drift]) == (Presence.PURGED, [DriftKind.VANISHED])
    await stage.check()


@pytest.mark.parametrize("action", [a for a in ASKING if a is not KeyAction.RESTORE])
async def test_another_key_under_the_name_is_not_taken_for_this_one(action: KeyAction) -> None:
    stage = await cut(action, done=False)
    stage.vault.deleted.clear()
    stage.vault.live[NAME] = [a_version("9" * 32, created=CREATED + timedelta(days=9))]
    assert await stage.later() == 1
    key = await stage.key()
    if action is KeyAction.PURGE:
        assert (key.presence, events(key)) == (Presence.PURGED, ["key.purged"])
    else:
        assert last(key) == (f"key.{action.value}_not_done", "another key has its name")
    assert key.versions == tuple(versions(1, validity=key.versions[0].validity))
    await stage.sync()
    assert len([row async for row in stage.key_rows.scan(GROUP)]) == 2


@pytest.mark.parametrize("action", ASKING)
async def test_what_somebody_else_did_beside_it_is_drift(action: KeyAction) -> None:
    stage = await cut(action, done=True)
    if action is KeyAction.PURGE:
        return
    held = stage.vault.deleted[NAME][0] if NAME in stage.vault.deleted else stage.vault.live[NAME]
    held.append(a_version("7" * 32, created=CREATED + timedelta(days=7)))
    await stage.later()
    key = await stage.key()
    assert [(drift.kind, drift.job) for drift in key.drift] == [(DriftKind.NEW_VERSION, "int_1")]
    assert DONE[action] in events(key)
    await stage.check()


@pytest.mark.parametrize("synced", [False, True], ids=["", "synced"])
async def test_a_change_of_somebody_else_is_not_taken_for_the_one_that_was_not_made(synced: bool) -> None:
    stage = await cut(KeyAction.UPDATE, done=False)
    newest = stage.vault.live[NAME][-1]
    stage.vault.live[NAME][-1] = replace(newest, tags=(("by", "mallory"),), updated_on=stage.clock.now())
    if synced:
        await stage.sync()
    await stage.later()
    assert "key.update_not_done" in events(await stage.key())
    await stage.sync()
    key = await stage.key()
    assert [drift.kind for drift in key.drift] == [DriftKind.TAGS]
    await stage.check()


@pytest.mark.parametrize("synced", [False, True], ids=["", "synced"])
async def test_half_a_deactivation_is_said_to_be_one(synced: bool) -> None:
    stage = await LifeStage.of()

    def away(operation: str, name: str) -> None:
        if operation == "update" and stage.vault.calls["update"] > 2:
            raise VaultUnavailableError("away")

    stage.vault.before = away
    with pytest.raises(VaultUnavailableError):
        await deactivate(stage, "int_1")
    stage.vault.before = lambda operation, name: None
    if synced:
        await stage.sync("full")
    await stage.later()
    key = await stage.key()
    assert last(key) == ("key.deactivate_not_done", f"found done for 2 of 3 versions: {REASON}")
    assert key.deactivation is not None
    disabled = {version.id for version in key.versions if not version.validity.enabled}
    assert set(key.deactivation.versions) == disabled
    assert len(disabled) == 2
    assert key.drift == ()
    await stage.check()
    assert not any(version.validity.enabled for version in (await deactivate(stage, "int_1")).versions)
    assert all(version.validity.enabled for version in (await activate(stage, "int_2")).versions)
    await stage.check()


async def test_a_version_that_is_not_the_current_one_is_recorded_too() -> None:
    stage = await LifeStage.of()
    fails(stage, "update", VaultUnavailableError("cut"), after=True)
    with pytest.raises(VaultUnavailableError):
        await stage.acting.attributes.deactivate(await stage.ref(), 1, REASON, asked("int_1"))
    await stage.sync("full")
    await stage.later()
    key = await stage.key()
    assert (last(key), key.drift) == (("key.deactivated", f"found done: {REASON}"), ())
    assert [version.validity.enabled for version in key.versions] == [False, True, True]


async def test_a_soft_deleted_key_does_not_tell_of_its_attributes() -> None:
    stage = await cut(KeyAction.DEACTIVATE, done=True)
    stage.vault.delete(NAME, a_deletion(stage.clock.now()))
    await stage.later()
    assert last(await stage.key()) == ("key.deactivate_not_done", "found not done")
    await stage.sync()
    assert [drift.kind for drift in (await stage.key()).drift] == [DriftKind.SOFT_DELETED, DriftKind.ENABLED]


@pytest.mark.parametrize("action", [KeyAction.SOFT_DELETE, KeyAction.RECOVER, KeyAction.PURGE])
async def test_a_key_that_somebody_moved_elsewhere(action: KeyAction) -> None:
    """Deleted and recovered, recovered and deleted, or recovered instead of purged."""
    stage = await cut(action, done=action is not KeyAction.PURGE)
    if action is KeyAction.RECOVER:
        stage.vault.delete(NAME, a_deletion(stage.clock.now()))
    else:
        stage.vault.live[NAME] = stage.vault.deleted.pop(NAME)[0]
    await stage.later()
    assert last(await stage.key()) == (f"key.{action.value}_not_done", "found not done")
    await stage.sync()
    await stage.check()


async def test_a_purge_without_escrow_says_so_whoever_ends_it() -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    fails(stage, "purge", VaultUnavailableError("cut"), after=True)
    with pytest.raises(VaultUnavailableError):
        await stage.acting.deletions.purge(await stage.ref(), deleting(without_escrow=True))
    await stage.later()
    assert last(await stage.key()) == ("key.purged", "without escrow")


# --- when it looks, and at what -----------------------------------------------------------------------------------


async def test_a_request_that_may_still_run_is_left_alone() -> None:
    stage = await cut(KeyAction.DEACTIVATE, done=True)
    assert await stage.later(LEFT_OVER_AFTER - timedelta(seconds=1)) == 0
    assert await stage.later(timedelta(seconds=2)) == 1


async def test_a_job_that_has_not_ended_is_left_alone() -> None:
    stage = await cut(KeyAction.SOFT_DELETE, done=False)
    job = await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
    assert job is not None
    assert await stage.later(timedelta(hours=2)) == 0
    await stage.jobs.cancel(job.account, job.id)
    assert await stage.later() == 1
    assert last(await stage.key()) == ("key.soft_delete_not_done", "found not done")


async def test_two_timers_at_once_record_it_once() -> None:
    stage = await cut(KeyAction.DEACTIVATE, done=True)
    stage.clock.move(timedelta(minutes=6))
    settling = stage.acting.settling
    await asyncio.gather(settling.reconcile(stage.jobs), settling.reconcile(stage.jobs))
    assert events(await stage.key()) == ["key.deactivated"]
    await stage.check()


async def test_a_vault_that_is_away_is_asked_once_and_another_time_again() -> None:
    stage = LifeStage()
    stage.vault.live |= {f"other-{n}": [a_version(f"{n}" * 32)] for n in range(3, 9)}
    await stage.set_up()
    await stage.sync()
    fails(stage, "update", VaultUnavailableError("cut"), times=99)
    for key in (await stage.by_name()).values():
        with pytest.raises(VaultUnavailableError):
            await stage.acting.attributes.deactivate(ref_of(key), None, REASON, asked(f"int_{key.azure_name}"))
    stage.vault.calls.clear()
    stage.vault.before = lambda operation, name: raised(VaultUnavailableError("away"))
    assert await stage.later() == 0
    assert stage.vault.calls.total() == 1
    stage.vault.before = lambda operation, name: None
    assert await stage.later(timedelta(minutes=1)) == 7
    await stage.check()


async def test_an_outcome_that_did_not_reach_the_lists_reaches_them() -> None:
    stage = await LifeStage.of()
    stored = await stage.stored()
    await stage.acting.actions.begin(stored.value, stored.etag, KeyAction.UPDATE, "int_1", ALICE)
    begun = await stage.stored()
    current = replace(begun.value.versions[-1], validity=Validity(expires_on=stage.clock.now() + timedelta(days=9)))
    outcome = replace(begun.value, pending=None, versions=(*begun.value.versions[:-1], current))
    # The record was written, its lists and the hint were not.
    await stage.key_rows.replace(GROUP, outcome.id, outcome, begun.etag)
    stage.vault.live[NAME][-1] = current
    assert await stage.later() == 0
    await stage.check()


async def test_a_hint_without_an_action_is_forgotten() -> None:
    stage = await cut(KeyAction.DEACTIVATE, done=False)
    key = await stage.key()
    await stage.key_rows.delete(GROUP, key.id)
    assert await stage.later() == 0
    assert not (await stage.index.page("actions-open")).entries


# --- jobs ---------------------------------------------------------------------------------------------------------


async def test_a_job_that_comes_too_late_has_nothing_to_do() -> None:
    stage = await cut(KeyAction.SOFT_DELETE, done=True)
    job = await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
    assert job is not None
    await soft_delete(stage, "int_1")
    assert [one.status for one in await stage.work()] == [JobStatus.SUCCEEDED]
    assert events(await stage.key()) == ["key.soft_deleted"]
    await stage.jobs.run(job.account, job.id)


async def test_two_who_have_waited_as_long_share_a_job() -> None:
    stage = await cut(KeyAction.SOFT_DELETE, done=True)
    stage.job_rows = InterleavedCollection()
    stage.wire()
    going_on, ref = stage.jobs_of_actions, await stage.ref()
    first, second = await asyncio.gather(going_on.go_on(ref, ALICE), going_on.go_on(ref, BOB))
    assert first is not None
    assert second is not None
    assert first.id == second.id
    stored = await stage.jobs.get(first.account, first.id)
    assert stored.value.requested_by in {ALICE, BOB}


async def test_a_vault_that_never_ends_fails_the_job_and_reconciliation_looks() -> None:
    stage = await LifeStage.of()
    stage.vault.slow = True
    with pytest.raises(StillWorkingError):
        await soft_delete(stage, "int_1")
    job = await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
    assert job is not None
    # Its messages come when it is time, and each finds the vault at it still.
    waiting = stage.acting.settling
    for _ in range(MAX_ATTEMPTS):
        stage.clock.move(timedelta(hours=1))
        stage.vault.before = lambda operation, name: raised(VaultUnavailableError("busy"))
        await stage.work()
    stage.vault.before = lambda operation, name: None
    assert (await stage.jobs.get(job.account, job.id)).value.status is JobStatus.FAILED
    stage.vault.settle()
    assert await waiting.reconcile(stage.jobs) == 1
    assert last(await stage.key()) == ("key.soft_deleted", "found done")
    await stage.check()


@pytest.mark.parametrize(
    ("action", "make"), [(KeyAction.PURGE, purge), (KeyAction.RESTORE, restore), (KeyAction.SOFT_DELETE, soft_delete)]
)
async def test_a_job_goes_on_with_what_was_written_down(action: KeyAction, make: Callable[..., object]) -> None:
    stage = await cut(action, done=action is not KeyAction.RESTORE)
    await stage.jobs_of_actions.go_on(await stage.ref(), BOB)
    assert [job.status for job in await stage.work()] == [JobStatus.SUCCEEDED]
    key = await stage.key()
    assert (events(key), key.history[-1].actor) == ([DONE[action]], ALICE)
    await stage.check()


async def test_an_update_that_changes_nothing_is_done_at_once() -> None:
    stage = await LifeStage.of()
    await update(stage, "int_1")
    fails(stage, "update", VaultUnavailableError("cut"))
    with pytest.raises(VaultUnavailableError):
        await stage.acting.attributes.update(await stage.ref(), None, VersionChanges(), asked("int_2"))
    await stage.later()
    assert events(await stage.key()) == ["key.updated", "key.updated"]
