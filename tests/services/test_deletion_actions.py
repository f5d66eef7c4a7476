"""Soft-deletion, recovery, purge, and the end of the escrow."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.drift import DriftKind
from core.domain.keys import Condition, Presence
from core.domain.lifecycle import condition_of
from core.domain.pending_actions import KeyAction
from core.errors import (
    ConflictError,
    VaultAnswerError,
    VaultUnavailableError,
)
from core.services.waiting import StillWorkingError
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW, a_version
from tests.builders.life import (
    ACTS,
    AFTER,
    BOB,
    FROM,
    NAME,
    LifeStage,
    asked,
    deleting,
    destroy,
    events,
    fails,
    purge,
    raised,
    recover,
    ref_of,
    refused,
    soft_delete,
    two_generations,
    versions,
    without_any_escrow,
)
from tests.fakes.vault import FACTS

FIRST, SECOND, THIRD = (version.id for version in versions(3))
SOON = NOW + timedelta(days=30)


async def test_a_soft_deleted_key_keeps_its_versions_and_its_date() -> None:
    stage = await LifeStage.of()
    key = await soft_delete(stage, "int_1")
    assert (key.presence, [version.id for version in key.versions]) == (Presence.SOFT_DELETED, [FIRST, SECOND, THIRD])
    assert key.deletion is not None
    assert key.deletion.scheduled_purge_on == stage.clock.now() + timedelta(days=90)
    assert (events(key), key.history[-1].detail) == (["key.soft_deleted"], "")
    key = await recover(stage, "int_2")
    assert key.versions == tuple(versions(3))
    assert (key.deletion, events(key)) == (None, ["key.soft_deleted", "key.recovered"])
    await stage.check()


async def test_a_soft_deletion_needs_the_acknowledgement() -> None:
    stage = await LifeStage.of()
    deletion = stage.acting.deletions.soft_delete(await stage.ref(), deleting(), acknowledged=False)
    assert (await refused(deletion, "acknowledgement_needed")).field == "acknowledge"
    assert not stage.vault.deleted


async def without_escrow_of_the_newest() -> LifeStage:
    """A group that escrows nothing any more, with a key that has got a version since."""
    stage = await LifeStage.of()
    stored = await stage.groups.get(ACCOUNT, GROUP)
    assert stored is not None
    group = replace(stored.value, escrow=replace(stored.value.escrow, enabled=False))
    await stage.groups.replace(ACCOUNT, GROUP, group, stored.etag)
    stage.vault.live[NAME] += versions(1, first=4)
    await stage.sync()
    assert (await stage.key()).unescrowed == {f"{4:032x}"}
    return stage


async def test_what_is_not_escrowed_is_escrowed_before_it_is_soft_deleted() -> None:
    stage = await without_escrow_of_the_newest()
    # That is no change of which the caller has to know.
    how = deleting(if_match=(await stage.stored()).etag)
    key = await stage.acting.deletions.soft_delete(await stage.ref(), how, acknowledged=True)
    assert (key.presence, key.unescrowed) == (Presence.SOFT_DELETED, frozenset())
    manifest, _ = await stage.escrows.open(key.escrow[-1])
    assert len(manifest.versions) == 4
    assert [entry.event for entry in key.history][-2:] == ["key.escrowed", "key.soft_deleted"]
    await stage.check()


async def test_a_key_of_a_certificate_is_not_deleted() -> None:
    stage = await LifeStage.of()
    newest = stage.vault.live[NAME][-1]
    stage.vault.live[NAME][-1] = replace(newest, managed=True, updated_on=stage.clock.now())
    await refused(soft_delete(stage, "int_1"), "key_managed")
    key = await stage.key()
    assert (key.presence, events(key)) == (Presence.LIVE, ["key.soft_delete_not_done"])
    assert key.history[-1].detail == "key_managed"
    await stage.check()


@pytest.mark.parametrize("action", [KeyAction.SOFT_DELETE, KeyAction.RECOVER, KeyAction.PURGE])
async def test_two_who_ask_for_the_same_have_the_same_outcome(action: KeyAction) -> None:
    stage = await LifeStage.of(FROM[action])
    stage.vault.slow = action is not KeyAction.PURGE
    if action is KeyAction.PURGE:
        fails(stage, "purge", VaultUnavailableError("cut"), after=True)
    with pytest.raises(VaultUnavailableError):
        await ACTS[action](stage, "int_1")
    stage.vault.settle()
    key = await ACTS[action](stage, "int_2")
    assert condition_of(key, NOW) is AFTER[action]
    assert (key.history[-1].request, len(events(key))) == ("int_1", 1)
    await stage.check()


async def test_what_the_vault_takes_longer_for_goes_on_as_a_job_and_a_sync_does_not_disturb_it() -> None:
    for action in (KeyAction.SOFT_DELETE, KeyAction.RECOVER):
        stage = await LifeStage.of(FROM[action])
        stage.vault.slow = True
        with pytest.raises(StillWorkingError):
            await ACTS[action](stage, "int_1")
        job = await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
        assert job is not None
        assert job.options == {"key": (await stage.key()).id, "action": action, "request": "int_1"}
        assert await stage.jobs_of_actions.go_on(await stage.ref(), BOB) == job
        await stage.sync()
        await stage.sync("full")
        assert (await stage.key()).pending is not None
        stage.vault.settle()
        assert [one.status for one in await stage.work()] == ["succeeded"]
        key = await stage.key()
        assert condition_of(key, NOW) is AFTER[action]
        assert (events(key), key.drift) == (
            [f"key.{'soft_deleted' if action is KeyAction.SOFT_DELETE else 'recovered'}"],
            (),
        )
        assert await stage.jobs_of_actions.go_on(await stage.ref(), ALICE) is None
        await stage.check()


async def test_a_deletion_waits_for_somebody_elses_recovery() -> None:
    stage = await LifeStage.of()
    stage.vault.before = lambda operation, _: (
        raised(ConflictError("busy", code="key_being_recovered")) if operation == "delete" else None
    )
    with pytest.raises(StillWorkingError):
        await soft_delete(stage, "int_1")
    assert (await stage.key()).pending is not None
    stage.vault.before = lambda operation, _: None
    assert (await soft_delete(stage, "int_1")).presence is Presence.SOFT_DELETED


async def test_a_version_that_came_at_the_last_moment_is_drift() -> None:
    stage = await LifeStage.of()

    def rotate(operation: str, name: str) -> None:
        if operation == "delete":
            stage.vault.live[NAME] += versions(1, first=4)

    stage.vault.before = rotate
    key = await soft_delete(stage, "int_1")
    assert [(drift.kind, drift.job) for drift in key.drift] == [(DriftKind.NEW_VERSION, "int_1")]
    await refused(purge(stage, "int_2"), "escrow_needed")
    assert stage.vault.deleted, "what no escrow has is not purged"


# --- purge ------------------------------------------------------------------------------------------------------------


async def test_a_purged_key_keeps_its_escrow() -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    before = (await stage.key()).escrow
    key = await purge(stage, "int_1")
    assert (key.presence, key.escrow, events(key)[-1]) == (Presence.PURGED, before, "key.purged")
    assert not stage.vault.deleted
    await stage.check()


async def test_nothing_is_purged_without_escrow_unless_somebody_says_so() -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    await without_any_escrow(stage)
    error = await refused(purge(stage, "int_1"), "escrow_needed")
    assert error.facts["versions"] == [FIRST, SECOND, THIRD]
    assert (stage.changes_sent(), (await stage.key()).pending) == (0, None)
    key = await stage.acting.deletions.purge(await stage.ref(), deleting("int_2", without_escrow=True))
    assert (key.presence, key.history[-1].detail) == (Presence.PURGED, "without escrow")


async def test_a_soft_deletion_without_escrow_says_so() -> None:
    stage = await LifeStage.of()
    await without_any_escrow(stage)
    fails(stage, "back_up", VaultAnswerError("refused", code="backup_refused"), times=9)
    error = await refused(soft_delete(stage, "int_1"), "escrow_needed")
    assert error.facts["problem"] == "backup_refused"
    how = deleting("int_2", without_escrow=True)
    key = await stage.acting.deletions.soft_delete(await stage.ref(), how, acknowledged=True)
    assert (key.presence, key.history[-1].detail) == (Presence.SOFT_DELETED, "without escrow")
    assert (await recover(stage, "int_3")).history[-1].detail == ""


@pytest.mark.parametrize("known", [True, False])
async def test_with_purge_protection_it_is_said_when_azure_will_do_it(known: bool) -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    stage.vault.purge_protection = True
    if known:
        stored = await stage.groups.get(ACCOUNT, GROUP)
        assert stored is not None
        group = replace(stored.value, vault=replace(FACTS, purge_protection=True))
        await stage.groups.replace(ACCOUNT, GROUP, group, stored.etag)
    date = stage.vault.deleted[NAME][1].scheduled_purge_on
    assert date is not None
    error = await refused(purge(stage, "int_1"), "purge_protected")
    assert f"{date:%Y-%m-%d}" in error.detail
    assert error.facts == {"scheduled_purge_on": date.isoformat()}
    assert stage.vault.calls["purge"] == (0 if known else 1)
    key = await stage.key()
    assert events(key) == ([] if known else ["key.purge_not_done"])
    await stage.check()


async def test_purge_protection_says_nothing_of_a_key_that_is_live_or_gone() -> None:
    for condition, code in ((Condition.ACTIVE, "key_live"), (Condition.PURGED, "key_purged")):
        stage = await LifeStage.of(condition)
        stored = await stage.groups.get(ACCOUNT, GROUP)
        assert stored is not None
        group = replace(stored.value, vault=replace(FACTS, purge_protection=True))
        await stage.groups.replace(ACCOUNT, GROUP, group, stored.etag)
        await refused(purge(stage, "int_1"), code)


async def test_a_purge_that_meets_a_deletion_is_not_taken_for_done() -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    busy = [True]

    def deleting_again(operation: str, name: str) -> None:
        if operation == "purge" and busy[0]:
            stage.vault.being_deleted.add(NAME)

    stage.vault.before = deleting_again
    with pytest.raises(StillWorkingError):
        await purge(stage, "int_1")
    assert (await stage.key()).presence is Presence.SOFT_DELETED
    assert NAME in stage.vault.deleted
    busy[0] = False
    stage.vault.settle()
    assert (await purge(stage, "int_1")).presence is Presence.PURGED
    assert not stage.vault.deleted


async def test_a_purge_that_comes_again_looks_at_the_escrow_again() -> None:
    """Between the two somebody recovered the key, rotated it and deleted it again."""
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    fails(stage, "purge", VaultUnavailableError("cut"))
    with pytest.raises(VaultUnavailableError):
        await purge(stage, "int_1")
    versions_then, deletion = stage.vault.deleted[NAME]
    stage.vault.deleted[NAME] = ([*versions_then, *versions(1, first=4)], deletion)
    for request in ("int_1", "int_2"):
        error = await refused(purge(stage, request), "escrow_needed")
        assert error.facts["versions"] == [f"{4:032x}"]
    assert NAME in stage.vault.deleted
    await stage.later()
    assert events(await stage.key())[-1] == "key.purge_not_done"


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_the_end_of_a_key_leaves_a_tombstone_and_no_escrow() -> None:
    stage = await two_generations()
    archives = {generation.archive for generation in (await stage.key()).escrow}
    key = await destroy(stage, "int_1")
    assert (key.presence, key.escrow, key.escrow_problem) == (Presence.DESTROYED, (), None)
    assert (key.history[-1].event, key.history[-1].detail) == ("key.destroyed", "2 escrow generations")
    assert len(key.versions) == 4, "what the key was stays"
    assert [name async for name in stage.blobs.names("") if name in archives] == []
    assert not await stage.made.names.in_use(ACCOUNT, key.name)
    await stage.check()
    assert (await stage.sync()).progress.counts == {}
    assert (await stage.key()).presence is Presence.DESTROYED


async def test_other_keys_of_an_archive_stay() -> None:
    stage = LifeStage()
    stage.vault.live["other"] = [a_version("e" * 32)]
    await stage.set_up()
    await stage.sync()
    del stage.vault.live[NAME]
    await stage.sync()
    keys = await stage.by_name()
    await stage.acting.deletions.destroy(ref_of(keys[NAME]), asked())
    manifest, _ = await stage.escrows.open(keys["other"].escrow[-1])
    assert manifest.azure_name == "other"
    generation = keys[NAME].escrow[-1]
    content, _ = await stage.blobs.read(generation.archive, offset=generation.offset, length=generation.length)
    assert not content.strip()


async def test_a_key_that_somebody_restored_is_not_destroyed() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stage.vault.live[NAME] = versions(3)
    await refused(destroy(stage, "int_1"), "key_live")
    key = await stage.key()
    assert (key.presence, [drift.kind for drift in key.drift]) == (
        Presence.LIVE, [DriftKind.RESTORED],
    )  # fmt: skip
    assert key.escrow
    await stage.check()


async def test_without_the_vault_nothing_is_destroyed() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stage.vault.before = lambda operation, _: raised(VaultUnavailableError("away"))
    with pytest.raises(VaultUnavailableError):
        await destroy(stage, "int_1")
    assert (await stage.key()).escrow


async def test_a_key_that_comes_back_while_it_is_destroyed_is_escrowed_anew() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stored = await stage.stored()
    await stage.acting.actions.begin(stored.value, stored.etag, KeyAction.DELETE, "int_1", ALICE)
    await stage.escrows.prune(stored.value.escrow)  # and there it was cut off
    stage.vault.live[NAME] = versions(3)
    await stage.sync()
    await stage.later()
    key = await stage.key()
    assert (key.presence, events(key)[-1], key.history[-1].detail) == (
        Presence.LIVE, "key.delete_not_done", "found in its vault again",
    )  # fmt: skip
    await stage.sync()
    await stage.check()
    assert not (await stage.key()).unescrowed
