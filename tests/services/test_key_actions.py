"""Actions on keys in a vault: every cell of the table, requests that come again, and what others do meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.domain.drift import DriftKind
from core.domain.keys import Condition, KeyState, Presence, Validity, VirtualKey
from core.domain.lifecycle import TABLE, condition_of
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import KeyAction
from core.errors import (
    ConflictError,
    KeystewardError,
    StaleWriteError,
    VaultAnswerError,
    VaultUnavailableError,
)
from core.ports import Stored
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW
from tests.builders.life import (
    ACTS,
    AFTER,
    FROM,
    NAME,
    REASON,
    LifeStage,
    asked,
    deactivate,
    deleting,
    destroy,
    events,
    fails,
    purge,
    ref_of,
    refused,
    restoring,
    soft_delete,
    update,
    versions,
)
from tests.builders.lists import check_lists
from tests.fakes.storage import MemoryCollection

FIRST, SECOND, THIRD = (version.id for version in versions(3))
SOON = NOW + timedelta(days=30)


@pytest.mark.parametrize("action", ACTS)
@pytest.mark.parametrize("condition", Condition)
async def test_a_cell_of_the_table(condition: Condition, action: KeyAction) -> None:
    stage = await LifeStage.of(condition)
    stage.vault.calls.clear()
    before = await stage.stored()
    code = TABLE[condition][action].code
    if code is not None:
        error = await refused(ACTS[action](stage, "int_1"), code)
        assert isinstance(error, ConflictError)
        assert await stage.stored() == before, "a refusal leaves the record alone"
        assert stage.changes_sent() == 0, "and asks the vault for nothing"
        return
    key = await ACTS[action](stage, "int_1")
    unmoved = condition if action is KeyAction.UPDATE and condition is not Condition.EXPIRED else Condition.ACTIVE
    assert condition_of(key, stage.clock.now()) is AFTER.get(action, unmoved)
    assert key == await stage.key()
    assert key.history[-1].actor == ALICE
    assert key.history[-1].request == "int_1"
    assert not key.drift
    await stage.check()
    await stage.sync("full")
    assert (await stage.key()).drift == (), "the next sync finds nothing that it did not know"
    await stage.check()


@pytest.mark.parametrize("action", ACTS)
async def test_a_request_that_comes_again_is_done_once(action: KeyAction) -> None:
    stage = await LifeStage.of(FROM[action])
    once = await ACTS[action](stage, "int_1")
    sent = stage.changes_sent()
    again = await ACTS[action](stage, "int_1")
    assert (again, stage.changes_sent()) == (once, sent)
    if action is not KeyAction.UPDATE:
        with pytest.raises(ConflictError):
            await ACTS[action](stage, "int_2")


@pytest.mark.parametrize("action", [action for action in ACTS if action is not KeyAction.DELETE])
@pytest.mark.parametrize("error", [VaultUnavailableError("cut"), VaultAnswerError("garbled")])
@pytest.mark.parametrize("after", [False, True])
async def test_a_lost_answer_leaves_the_action_pending_and_the_same_request_goes_on(
    action: KeyAction, error: KeystewardError, after: bool
) -> None:
    stage = await LifeStage.of(FROM[action])
    operation = action.value if action not in {KeyAction.DEACTIVATE, KeyAction.ACTIVATE} else "update"
    fails(stage, "delete" if action is KeyAction.SOFT_DELETE else operation, error, after=after, times=1)
    try:
        await ACTS[action](stage, "int_1")
    except (VaultUnavailableError, VaultAnswerError):
        key = await stage.key()
        if key.pending is None:
            # Of a restore a look tells at once that nothing was done.
            assert action is KeyAction.RESTORE
            assert events(key)[-1] == "key.restore_not_done"
        else:
            assert (key.pending.action, key.pending.id, key.pending.actor) == (action, "int_1", ALICE)
            await refused(update(stage, "int_2"), "key_action_pending")
    await ACTS[action](stage, "int_1")
    assert events(await stage.key()).count(events(await stage.key())[-1]) == 1
    assert not (await stage.key()).drift
    await stage.check()


@pytest.mark.parametrize("action", ACTS)
async def test_a_stale_etag_is_refused_before_anything_is_sent(action: KeyAction) -> None:
    stage = await LifeStage.of(FROM[action])
    acting, ref, stale = stage.acting, await stage.ref(), "stale"
    calls: dict[KeyAction, Any] = {
        KeyAction.UPDATE: lambda: acting.attributes.update(ref, None, VersionChanges(tags=()), asked(if_match=stale)),
        KeyAction.DEACTIVATE: lambda: acting.attributes.deactivate(ref, None, REASON, asked(if_match=stale)),
        KeyAction.ACTIVATE: lambda: acting.attributes.activate(ref, None, REASON, asked(if_match=stale)),
        KeyAction.SOFT_DELETE: lambda: acting.deletions.soft_delete(ref, deleting(if_match=stale), acknowledged=True),
        KeyAction.RECOVER: lambda: acting.deletions.recover(ref, deleting(if_match=stale)),
        KeyAction.PURGE: lambda: acting.deletions.purge(ref, deleting(if_match=stale)),
        KeyAction.RESTORE: lambda: acting.restores.restore(ref, replace(restoring(), asked=asked(if_match=stale))),
        KeyAction.DELETE: lambda: acting.deletions.destroy(ref, asked(if_match=stale)),
    }
    with pytest.raises(StaleWriteError):
        await calls[action]()
    assert (stage.changes_sent(), (await stage.key()).pending) == (0, None)
    await stage.check()


@pytest.mark.parametrize("action", [action for action in ACTS if FROM[action] is not Condition.PURGED])
async def test_what_somebody_did_meanwhile_is_drift_before_anything_is_written_over_it(action: KeyAction) -> None:
    stage = await LifeStage.of(FROM[action])
    etag = (await stage.stored()).etag
    deleted = action in {KeyAction.RECOVER, KeyAction.PURGE}
    held = stage.vault.deleted[NAME][0] if deleted else stage.vault.live[NAME]
    held[-1] = replace(held[-1], tags=(("by", "mallory"),), updated_on=stage.clock.now())
    acting, ref = stage.acting, await stage.ref()
    stale = (
        acting.deletions.purge(ref, deleting("int_0", if_match=etag))
        if deleted
        else acting.attributes.update(ref, None, VersionChanges(tags=()), asked("int_0", if_match=etag))
    )
    with pytest.raises(StaleWriteError):
        await stale
    assert stage.changes_sent() == 0
    assert [drift.kind for drift in (await stage.key()).drift] == [DriftKind.TAGS]
    await ACTS[action](stage, "int_1")
    assert [drift.kind for drift in (await stage.key()).drift] == [DriftKind.TAGS]
    await stage.check()


@pytest.mark.parametrize("action", ACTS)
async def test_another_key_under_the_name_is_left_alone(action: KeyAction) -> None:
    stage = await LifeStage.of(FROM[action])
    stage.vault.deleted.clear()
    stage.vault.live[NAME] = versions(1, first=9)
    stage.vault.calls.clear()
    if action is KeyAction.DELETE:
        # The key is out of the vault all the same.
        assert (await destroy(stage, "int_1")).presence is Presence.DESTROYED
    else:
        await refused(ACTS[action](stage, "int_1"), "key_replaced")
    assert stage.changes_sent() == 0


async def test_what_is_begun_although_its_answer_was_lost_goes_on() -> None:
    class LosingAnswers(MemoryCollection[VirtualKey]):
        """Says once that a write was refused, after it was done: a repeated write looks like that."""

        lose = False

        async def replace(self, partition: str, id_: str, value: VirtualKey, etag: str) -> Stored[VirtualKey]:
            stored = await super().replace(partition, id_, value, etag)
            if self.lose:
                self.lose = False
                raise StaleWriteError("The record")
            return stored

    stage = LifeStage()
    rows = stage.key_rows = LosingAnswers()
    stage.wire()
    await stage.set_up()
    await stage.sync()
    rows.lose = True
    assert events(await deactivate(stage, "int_1")) == ["key.deactivated"]
    await stage.check()


# --- keys whose name another one has ----------------------------------------------------------------------------------


async def replaced() -> tuple[LifeStage, VirtualKey, VirtualKey]:
    """A purged key, and the one that has its name in the vault now."""
    stage = await LifeStage.of(Condition.PURGED)
    old = await stage.key()
    stage.vault.live[NAME] = versions(1, first=9)
    await stage.sync()
    (new,) = [key for key in (await stage.by_name()).values() if key.id != old.id]
    await check_lists(stage)
    return stage, (await stage.made.records.get(ACCOUNT, GROUP, old.id)).value, new


async def test_the_end_of_a_replaced_key_does_not_touch_the_one_that_has_its_name() -> None:
    stage, old, new = await replaced()
    key = await stage.acting.deletions.destroy(ref_of(old), asked())
    assert (key.presence, key.escrow) == (Presence.DESTROYED, ())
    await check_lists(stage)
    assert (await stage.sync()).progress.counts["unchanged"] == 1
    await check_lists(stage)
    await stage.acting.attributes.deactivate(ref_of(new), None, REASON, asked("int_2"))
    await check_lists(stage)


async def test_a_replaced_key_comes_back_when_the_name_is_free_again() -> None:
    stage, old, new = await replaced()
    await refused(stage.acting.restores.restore(ref_of(old), restoring()), "key_replaced")
    await stage.acting.deletions.soft_delete(ref_of(new), deleting("int_1"), acknowledged=True)
    await stage.acting.deletions.purge(ref_of(new), deleting("int_2"))
    key = await stage.acting.restores.restore(ref_of(old), restoring("int_3"))
    assert (key.id, key.presence, key.versions) == (old.id, Presence.LIVE, tuple(stage.vault.live[NAME]))
    await check_lists(stage)
    assert (await stage.sync()).progress.counts["unchanged"] == 1
    await check_lists(stage)
    other = (await stage.made.records.get(ACCOUNT, GROUP, new.id)).value
    assert (other.presence, len(other.escrow)) == (Presence.PURGED, 1)
    await stage.acting.deletions.destroy(ref_of(other), asked("int_4"))
    await check_lists(stage)


async def test_a_replaced_key_that_somebody_else_brings_back_is_found() -> None:
    stage, old, new = await replaced()
    del stage.vault.live[NAME]
    await stage.sync()
    stage.vault.live[NAME] = versions(3)
    await stage.sync()
    await check_lists(stage)
    keys = {stored.value.id: stored.value async for _, stored in stage.key_rows.scan(GROUP)}
    assert (keys[old.id].presence, keys[new.id].presence) == (Presence.LIVE, Presence.PURGED)
    assert keys[old.id].drift[-1].kind is DriftKind.RESTORED
    assert (await stage.sync()).progress.counts["unchanged"] == 1


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_an_action_on_a_key_whose_lists_were_cut_off_leaves_no_second_entry() -> None:
    stage = await LifeStage.of()
    stored = await stage.stored()
    current = stored.value.versions[-1]
    # A record was written, and the process ended before its lists were.
    moved = replace(
        stored.value, versions=(*stored.value.versions[:-1], replace(current, validity=Validity(expires_on=SOON)))
    )
    await stage.key_rows.replace(GROUP, moved.id, moved, stored.etag)
    stage.vault.live[NAME][-1] = moved.versions[-1]
    await deactivate(stage, "int_1")
    await check_lists(stage)


@pytest.mark.parametrize("state", [KeyState.SOFT_DELETED, KeyState.PURGED])
async def test_group_counts_follow_with_the_next_sync(state: KeyState) -> None:
    stage = await LifeStage.of()
    await soft_delete(stage, "int_1")
    if state is KeyState.PURGED:
        await purge(stage, "int_2")
    await stage.sync()
    counts = (await stage.group()).counts
    assert (counts.active, counts.soft_deleted, counts.purged) == (
        (0, 1, 0) if state is KeyState.SOFT_DELETED else (0, 0, 1)
    )
