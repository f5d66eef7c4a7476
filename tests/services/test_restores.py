"""A purged key comes back from its escrow: with all versions, where Azure takes it, and over nobody else's key."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.domain.connections import VaultType
from core.domain.drift import DriftKind
from core.domain.escrow import Manifest
from core.domain.keys import Condition, Presence
from core.errors import (
    ConflictError,
    IntegrityError,
)
from core.services.restoring import check_place
from core.services.waiting import StillWorkingError
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW, a_deletion
from tests.builders.life import (
    NAME,
    LifeStage,
    deactivate,
    events,
    purge,
    refused,
    restore,
    restoring,
    soft_delete,
    two_generations,
    versions,
    without_any_escrow,
)
from tests.fakes.vault import FACTS

FIRST, SECOND, THIRD = (version.id for version in versions(3))
SOON = NOW + timedelta(days=30)


async def test_a_restored_key_has_all_versions_as_they_were_backed_up() -> None:
    stage = await LifeStage.of()
    before = (await stage.key()).versions
    await deactivate(stage, "int_1")
    await soft_delete(stage, "int_2")
    await purge(stage, "int_3")
    key = await restore(stage, "int_4")
    assert key.versions == tuple(stage.vault.live[NAME]) == before
    assert (key.presence, key.deletion, key.deactivation) == (Presence.LIVE, None, None)
    assert (key.history[-1].event, key.history[-1].detail) == ("key.restored", key.escrow[-1].id)
    assert not key.drift
    await stage.check()
    assert (await stage.sync("full")).progress.counts["updated"] == 1
    assert not (await stage.key()).drift


async def test_an_older_generation_can_be_chosen() -> None:
    stage = await two_generations()
    older, newer = (await stage.key()).escrow
    key = await stage.acting.restores.restore(await stage.ref(), restoring(generation=older.id))
    assert [version.id for version in key.versions] == [FIRST, SECOND, THIRD]
    assert (key.history[-1].detail, key.escrow) == (older.id, (older, newer))
    assert [drift.kind for drift in key.drift] == [DriftKind.NEW_VERSION, DriftKind.VANISHED]
    await stage.check()


async def test_a_generation_that_is_not_the_keys_is_not_found() -> None:
    stage = await two_generations()
    restoration = stage.acting.restores.restore(await stage.ref(), restoring(generation="esc_other"))
    assert (await refused(restoration, "escrow_not_found")).field == "generation"


async def test_a_key_that_was_never_escrowed_cannot_be_restored() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    await without_any_escrow(stage)
    await refused(restore(stage, "int_1"), "escrow_not_found")
    assert (await stage.key()).pending is None


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"location": "northeurope"}, True),
        ({"location": "eastus"}, False),
        ({"resource_id": FACTS.resource_id.replace("/s1/", "/S1/")}, True),
        ({"resource_id": FACTS.resource_id.replace("/s1/", "/s2/")}, False),
        ({"resource_id": FACTS.resource_id.replace("payments", "another")}, True),
        ({"type": VaultType.PREMIUM}, True),
        ({"type": VaultType.MANAGED_HSM}, False),
    ],
)
async def test_a_backup_goes_where_azure_takes_it(changes: dict[str, Any], allowed: bool) -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stored = await stage.groups.get(ACCOUNT, GROUP)
    assert stored is not None
    # The vault was moved, or the group's record altered: the manifest says where the backup was made.
    await stage.groups.replace(ACCOUNT, GROUP, replace(stored.value, vault=replace(FACTS, **changes)), stored.etag)
    if changes.get("type") is VaultType.MANAGED_HSM:
        changes = {**changes, "resource_id": "/subscriptions/s1/resourceGroups/rg/providers/x/managedHSMs/hsm"}
        stored = await stage.groups.get(ACCOUNT, GROUP)
        assert stored is not None
        await stage.groups.replace(ACCOUNT, GROUP, replace(stored.value, vault=replace(FACTS, **changes)), stored.etag)
    if allowed:
        assert (await restore(stage, "int_1")).presence is Presence.LIVE
    else:
        await refused(restore(stage, "int_1"), "restore_elsewhere")
        assert (stage.changes_sent(), (await stage.key()).pending) == (0, None)


async def test_a_managed_hsms_backup_goes_into_managed_hsms() -> None:
    stage = await LifeStage.of()
    manifest, _ = await stage.escrows.open((await stage.key()).escrow[-1])
    of_hsm: Manifest = replace(manifest, vault_type="managed_hsm", vault_id="/subscriptions/s1/x/managedHSMs/one")
    check_place(of_hsm, replace(FACTS, type=VaultType.MANAGED_HSM, location="eastus"))
    with pytest.raises(ConflictError):
        check_place(of_hsm, FACTS)


async def test_a_name_that_is_busy_for_a_while_is_waited_for() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stage.vault.being_deleted.add(NAME)
    with pytest.raises(StillWorkingError):
        await restore(stage, "int_1")
    assert (await stage.key()).pending is not None
    await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
    stage.vault.settle()
    assert [job.status for job in await stage.work()] == ["succeeded"]
    assert (await stage.key()).versions == tuple(versions(3))
    await stage.check()


@pytest.mark.parametrize(("deleted", "code"), [(False, "key_name_taken"), (True, "key_name_soft_deleted")])
async def test_a_key_that_takes_the_name_meanwhile_is_left_alone(deleted: bool, code: str) -> None:
    stage = await LifeStage.of(Condition.PURGED)

    def take(operation: str, name: str) -> None:
        if operation == "restore":
            stage.vault.live[NAME] = versions(1, first=9)
            if deleted:
                stage.vault.delete(NAME, a_deletion())

    stage.vault.before = take
    how = replace(restoring(), seconds=0.5)
    await refused(stage.acting.restores.restore(await stage.ref(), how), code)
    key = await stage.key()
    assert (key.presence, events(key)[-1], key.history[-1].detail) == (
        Presence.PURGED, "key.restore_not_done", code,
    )  # fmt: skip
    assert len(stage.vault.deleted[NAME][0] if deleted else stage.vault.live[NAME]) == 1


async def test_a_backup_that_the_vault_does_not_take() -> None:
    stage = await LifeStage.of(Condition.PURGED)
    stage.vault.backups.clear()
    await refused(restore(stage, "int_1"), "restore_refused")
    assert events(await stage.key())[-1] == "key.restore_not_done"
    await stage.check()


@pytest.mark.parametrize(("altered", "code"), [(False, "escrow_missing"), (True, "escrow_altered")])
async def test_an_escrow_that_is_not_what_was_stored(altered: bool, code: str) -> None:
    stage = await LifeStage.of(Condition.PURGED)
    archive = (await stage.key()).escrow[-1].archive
    content, etag = await stage.blobs.read(archive)
    if altered:
        await stage.blobs.replace(archive, content.swapcase(), etag)
    else:
        await stage.blobs.delete(archive)
    with pytest.raises(IntegrityError) as caught:
        await restore(stage, "int_1")
    assert caught.value.code == code
    assert (stage.changes_sent(), (await stage.key()).pending) == (0, None)
