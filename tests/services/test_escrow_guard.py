"""Nothing irreversible without an escrow that opens and covers every version: made now, or refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.domain.drift import DriftKind
from core.domain.keys import Condition, EscrowGeneration, Presence, VirtualKey
from core.domain.secrets import SecretBytes
from core.errors import (
    ConflictError,
    KeystewardError,
    VaultAnswerError,
    VaultDeniedError,
    VaultUnavailableError,
)
from core.services.escrows import Backup
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.life import NAME, LifeStage, fails, purge, soft_delete, versions
from tests.fakes.vault import FACTS

type Harm = Callable[[LifeStage], Any]

NEWEST = f"{4:032x}"


async def guarded(stage: LifeStage) -> VirtualKey:
    """Ask for the escrow of the key as it is recorded."""
    return await stage.acting.guard.require(stage.vault, await stage.group(), await stage.key(), ALICE)


async def rewrite(stage: LifeStage, **changes: object) -> None:
    stored = await stage.stored()
    await stage.key_rows.replace(GROUP, stored.value.id, replace(stored.value, **changes), stored.etag)


async def alter_archive(stage: LifeStage) -> None:
    archive = (await stage.key()).escrow[-1].archive
    content, etag = await stage.blobs.read(archive)
    await stage.blobs.replace(archive, content.swapcase(), etag)


async def lose_archive(stage: LifeStage) -> None:
    await stage.blobs.delete((await stage.key()).escrow[-1].archive)


async def cut_archive(stage: LifeStage) -> None:
    archive = (await stage.key()).escrow[-1].archive
    content, etag = await stage.blobs.read(archive)
    await stage.blobs.replace(archive, content[:20], etag)


async def blank_entry(stage: LifeStage) -> None:
    await stage.escrows.prune((await stage.key()).escrow)


async def swap_keys(stage: LifeStage) -> None:
    """Let the record point at the escrow of another key."""
    key = await stage.key()
    other = replace(key, id="key_bbbbbbbbbbbbbbbbbbbbbbbb")
    made = await stage.escrows.store(FACTS, "job_1", [Backup(other, SecretBytes(b"another key's"))])
    generation: EscrowGeneration = replace(made[other.id], versions=key.escrow[-1].versions)
    await rewrite(stage, escrow=(generation,))


async def claim_versions(stage: LifeStage) -> None:
    """Let the record say that an escrow covers more than its manifest does."""
    key = await stage.key()
    await rewrite(stage, escrow=(replace(key.escrow[-1], versions=(*key.escrow[-1].versions, NEWEST)),))


async def found_broken(stage: LifeStage) -> None:
    key = await stage.key()
    await rewrite(stage, escrow=(replace(key.escrow[-1], broken="escrow_altered"),))


async def no_escrow(stage: LifeStage) -> None:
    await rewrite(stage, escrow=())


async def another_version(stage: LifeStage) -> None:
    held = stage.vault.deleted[NAME][0] if NAME in stage.vault.deleted else stage.vault.live[NAME]
    held += versions(1, first=4)
    await rewrite(stage, versions=tuple(held))


HARM: dict[Harm, str] = {
    alter_archive: "escrow_altered",
    lose_archive: "escrow_missing",
    cut_archive: "blob_too_short",
    blank_entry: "escrow_missing",
    swap_keys: "escrow_misplaced",
    claim_versions: "escrow_incomplete",
    found_broken: "versions_not_escrowed",
    no_escrow: "versions_not_escrowed",
    another_version: "versions_not_escrowed",
}


async def test_an_escrow_that_opens_is_enough() -> None:
    stage = await LifeStage.of()
    before = await stage.stored()
    assert await guarded(stage) is before.value
    assert (await stage.stored(), stage.vault.calls["back_up"]) == (before, 0)


@pytest.mark.parametrize("harm", HARM)
async def test_of_a_live_key_another_escrow_is_made(harm: Harm) -> None:
    stage = await LifeStage.of()
    await harm(stage)
    earlier = (await stage.key()).escrow
    key = await guarded(stage)
    assert (key, stage.vault.calls["back_up"]) == (await stage.key(), 1)
    assert not key.unescrowed
    assert key.escrow[-1] not in earlier
    manifest, _ = await stage.escrows.open(key.escrow[-1])
    assert (manifest.key, set(manifest.versions)) == (key.id, {version.id for version in key.versions})
    assert (key.history[-1].event, key.history[-1].detail) == ("key.escrowed", key.escrow[-1].id)


@pytest.mark.parametrize("harm", HARM)
async def test_a_soft_deleted_key_is_not_purged(harm: Harm) -> None:
    stage = await LifeStage.of(Condition.SOFT_DELETED)
    await harm(stage)
    stage.vault.calls.clear()
    with pytest.raises(ConflictError) as caught:
        await purge(stage, "int_1")
    assert (caught.value.code, caught.value.facts["problem"]) == ("escrow_needed", HARM[harm])
    assert (stage.changes_sent(), stage.vault.calls["back_up"]) == (0, 0)
    assert ((await stage.key()).pending, NAME in stage.vault.deleted) == (None, True)


@pytest.mark.parametrize(
    "error",
    [VaultAnswerError("more than 500 versions", code="backup_refused"), VaultDeniedError("no permission")],
)
async def test_a_key_that_cannot_be_backed_up_is_not_deleted(error: KeystewardError) -> None:
    stage = await LifeStage.of()
    await no_escrow(stage)
    fails(stage, "back_up", error, times=9)
    with pytest.raises(ConflictError) as caught:
        await soft_delete(stage, "int_1")
    assert (caught.value.code, caught.value.facts["problem"]) == ("escrow_needed", error.code)
    assert (await stage.key()).presence is Presence.LIVE
    assert NAME in stage.vault.live


async def test_a_vault_that_is_away_is_no_reason_to_go_without() -> None:
    """The way out that is offered must not be the dangerous one where waiting is enough."""
    stage = await LifeStage.of()
    await no_escrow(stage)
    fails(
        stage, "back_up", VaultUnavailableError("throttled", code="vault_throttled", retry_after=timedelta(seconds=7))
    )
    with pytest.raises(VaultUnavailableError) as caught:
        await soft_delete(stage, "int_1")
    assert (caught.value.code, caught.value.retry_after) == ("vault_throttled", timedelta(seconds=7))
    assert (await stage.key()).pending is None
    assert (await soft_delete(stage, "int_1")).presence is Presence.SOFT_DELETED


async def test_what_is_superseded_by_it_is_blanked() -> None:
    stage = await LifeStage.of()
    first = (await stage.key()).escrow[-1]
    for number in (4, 5):
        stage.vault.live[NAME] += versions(1, first=number)
        await rewrite(stage, versions=tuple(stage.vault.live[NAME]))
        await guarded(stage)
    key = await stage.key()
    assert [len(generation.versions) for generation in key.escrow] == [4, 5]
    with pytest.raises(KeystewardError):
        await stage.escrows.open(first)


async def test_a_version_that_a_sync_records_meanwhile_is_not_overlooked() -> None:
    stage = await LifeStage.of()
    await no_escrow(stage)

    def rotate(operation: str, name: str) -> None:
        if operation == "back_up" and stage.vault.calls["back_up"] == 1:
            stage.vault.live[NAME] += versions(1, first=4)
            row = stage.key_rows._rows
            place = next(iter(row))
            stored = row[place]
            recorded = replace(stored.value, versions=tuple(stage.vault.live[NAME]))
            row[place] = replace(stored, value=recorded, etag="another")

    stage.vault.after = rotate
    with pytest.raises(KeystewardError) as caught:
        await soft_delete(stage, "int_1")
    assert caught.value.code in {"stale_write", "escrow_needed"}
    assert NAME in stage.vault.live
    stage.vault.after = lambda operation, name: None
    key = await soft_delete(stage, "int_1")
    assert (key.unescrowed, DriftKind.NEW_VERSION in {drift.kind for drift in key.drift}) == (frozenset(), False)


async def test_a_group_that_escrows_nothing_escrows_what_is_to_be_deleted() -> None:
    stage = LifeStage()
    await stage.set_up()
    stored = await stage.groups.get(ACCOUNT, GROUP)
    assert stored is not None
    off = replace(stored.value.escrow, enabled=False)
    await stage.groups.replace(ACCOUNT, GROUP, replace(stored.value, escrow=off), stored.etag)
    await stage.sync()
    assert not (await stage.key()).escrow
    key = await soft_delete(stage, "int_1")
    assert (len(key.escrow), key.unescrowed) == (1, frozenset())
    await stage.check()
