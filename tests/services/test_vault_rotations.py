"""Azure's own rotation policy on keys whose material is ours: read by syncs that look at a key, and switched off."""

from dataclasses import replace

import pytest

from core.domain.jobs import JobStatus
from core.domain.keys import KeyOrigin
from core.domain.new_keys import RotationPolicy
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultDeniedError,
    VaultUnavailableError,
)
from core.services.attribute_actions import ActionRequest
from core.services.findings import FindingCode, FindingFilter
from core.services.opened_keys import KeyRef
from tests.builders.keys import ACCOUNT, ALICE, GROUP, a_deletion, a_version
from tests.builders.syncs import SyncStage
from tests.fakes.vault import FakeVault

ROTATING = RotationPolicy(rotate_after_creation="P90D", expires_after="P100D")


async def a_stage(**policies: RotationPolicy) -> SyncStage:
    """Three keys: `ours` was copied, `given` imported, `native` is the vault's."""
    names = ("ours", "given", "native")
    stage = SyncStage(FakeVault(live={name: [a_version(f"{n:032x}")] for n, name in enumerate(names)}))
    await stage.set_up()
    await stage.sync()
    origins = {"ours": KeyOrigin.KEYSTEWARD, "given": KeyOrigin.IMPORTED}
    for name, origin in origins.items():
        key = (await stage.by_name())[name]
        await stage.made.records.amend(
            ACCOUNT, GROUP, key.id, lambda present, origin=origin: replace(present, origin=origin)
        )
    stage.vault.policies = dict(policies)
    stage.vault.calls.clear()
    return stage


async def ref_of(stage: SyncStage, name: str) -> KeyRef:
    return KeyRef(ACCOUNT, GROUP, (await stage.by_name())[name].id)


async def found(stage: SyncStage) -> set[str | None]:
    page, _ = await stage.findings.page(ACCOUNT, FindingFilter(code=FindingCode.NATIVE_ROTATION))
    return {finding.key for finding in page}


async def disable(stage: SyncStage, name: str, if_match: str | None = None) -> None:
    asked = ActionRequest("int_1", ALICE, if_match)
    await stage.care.vault_rotations.disable(await ref_of(stage, name), asked)


async def test_a_full_sync_reads_the_policies_of_brought_keys_alone() -> None:
    stage = await a_stage(ours=ROTATING)
    await stage.sync()
    assert stage.vault.calls["rotation_policy"] == 0, "an unchanged sync asks for no key"
    await stage.sync("full")
    assert stage.vault.calls["rotation_policy"] == 2
    keys = await stage.by_name()
    assert keys["native"].vault_rotation is None
    ours, given = keys["ours"].vault_rotation, keys["given"].vault_rotation
    assert ours is not None
    assert given is not None
    assert (ours.known, ours.rotates, ours.rotate_after_creation, ours.expires_after) == (True, True, "P90D", "P100D")
    assert (given.known, given.rotates) == (True, False)
    assert await found(stage) == {keys["ours"].id}


async def test_a_sync_of_changes_reads_the_policy_of_what_changed() -> None:
    stage = await a_stage(ours=ROTATING, given=ROTATING)
    stage.vault.live["given"][0] = replace(stage.vault.live["given"][0], tags=(("a", "b"),))
    await stage.sync()
    assert stage.vault.calls["rotation_policy"] == 1
    assert await found(stage) == {(await ref_of(stage, "given")).key}


@pytest.mark.parametrize(
    "error",
    [VaultDeniedError("denied"), NotFoundError("none"), VaultAnswerError("strange"), VaultUnavailableError("away")],
)
async def test_a_vault_that_does_not_tell_is_no_error(error: KeystewardError) -> None:
    stage = await a_stage(ours=ROTATING)
    await stage.sync("full")

    def refuse(operation: str, name: str) -> None:
        if operation == "rotation_policy":
            raise error

    stage.vault.before = refuse
    job = await stage.sync("full")
    assert (job.status, job.progress.errors) == (JobStatus.SUCCEEDED, ())
    read = (await stage.by_name())["ours"].vault_rotation
    assert read is not None
    assert read.known is isinstance(error, VaultUnavailableError), "what is away may tell later"


async def test_it_is_switched_off_and_stays_so() -> None:
    stage = await a_stage(ours=ROTATING)
    await stage.sync("full")
    await disable(stage, "ours")
    assert stage.vault.policies["ours"] == RotationPolicy(expires_after="P100D")
    key = (await stage.by_name())["ours"]
    assert key.vault_rotation is not None
    assert not key.vault_rotation.rotates
    assert (key.history[-1].event, key.history[-1].actor) == ("key.vault_rotation_disabled", ALICE)
    assert await found(stage) == set()
    await disable(stage, "ours")
    assert stage.vault.calls["set_rotation_policy"] == 1
    assert len((await stage.by_name())["ours"].history) == len(key.history), "twice is once"
    await stage.sync("full")
    assert await found(stage) == set()


async def test_one_that_was_cut_off_before_it_was_recorded_is_recorded_by_the_next() -> None:
    stage = await a_stage(ours=ROTATING)
    await stage.sync("full")
    stage.vault.policies["ours"] = RotationPolicy()
    await disable(stage, "ours")
    assert stage.vault.calls["set_rotation_policy"] == 0
    assert (await stage.by_name())["ours"].history[-1].event == "key.vault_rotation_disabled"
    assert await found(stage) == set()


async def test_a_policy_that_no_sync_has_read_is_switched_off_too() -> None:
    stage = await a_stage(native=ROTATING)
    await disable(stage, "native")
    assert not stage.vault.policies["native"].rotates


async def test_what_is_refused() -> None:
    stage = await a_stage(ours=ROTATING)
    with pytest.raises(StaleWriteError):
        await disable(stage, "ours", if_match="another")
    stage.vault.delete("given", a_deletion())
    with pytest.raises(ConflictError) as deleted:
        await disable(stage, "given")
    assert deleted.value.code == "key_soft_deleted"

    async def keep(name: str, policy: RotationPolicy) -> RotationPolicy:
        return policy

    stage.vault.set_rotation_policy = keep  # type: ignore[method-assign]
    with pytest.raises(VaultAnswerError) as stays:
        await disable(stage, "ours")
    assert stays.value.code == "vault_rotation_stays"
    assert "key.vault_rotation_disabled" not in {entry.event for entry in (await stage.by_name())["ours"].history}


async def test_a_key_that_is_gone_is_no_finding_any_more() -> None:
    stage = await a_stage(ours=ROTATING)
    await stage.sync("full")
    del stage.vault.live["ours"]
    await stage.sync()
    assert await found(stage) == set()
