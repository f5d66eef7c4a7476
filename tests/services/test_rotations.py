"""Rotation of keys in vaults and of source keys: what comes of it, what is refused, what becomes of the old version."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.domain.drift import DriftKind
from core.domain.groups import EscrowSettings
from core.domain.jobs import JobStatus, ResultStatus
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import KeyOrigin, KeyState, Validity, state_at
from core.domain.new_keys import NewVersion, ReleasePolicy, RotationPolicy
from core.domain.rotation_schedules import Previous
from core.domain.source_keys import MaterialOrigin
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    PolicyViolationError,
    StaleWriteError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.material.material import KeyMaterial
from core.services.action_settling import ActionJobs
from core.services.opened_keys import KeyRef
from core.services.rotations import Rotating
from core.services.waiting import StillWorkingError
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.new_keys import AES, EC, MORE_SOURCES, PREMIUM, RSA, SOURCES, hardware, use_of
from tests.builders.rotations import NOW_RETIRED, RotationStage, asked, held, ref_of
from tests.builders.syncs import a_group
from tests.material.keys import a_key as material_of_kind

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
async def stage() -> RotationStage:
    stage = RotationStage()
    await stage.set_up()
    return stage


async def refused(code: str, rotation: Any) -> KeystewardError:
    with pytest.raises(KeystewardError) as error:
        await rotation
    assert error.value.code == code
    return error.value


def change_outside(stage: RotationStage, **changes: Any) -> None:
    versions = stage.vault.live["db-key"]
    versions[-1] = replace(versions[-1], updated_on=stage.clock.now(), **changes)


# --- in a vault ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EC, RSA, KeyKind(KeyFamily.EC, curve="P-521")], ids=str)
@pytest.mark.parametrize("group", [GROUP, PREMIUM])
async def test_a_native_key_gets_a_new_version_like_the_one_before(
    stage: RotationStage, kind: KeyKind, group: str
) -> None:
    tags = (("team", "cards"),)
    ref = await stage.a_native_key(kind, group, operations=("sign", "verify"), tags=tags)
    before = await stage.read(ref)
    key = await stage.rotate(ref)
    old, new = held(stage.vault_of(group), "db-key")
    assert key.versions == (old, new)
    assert (new.type, new.size, new.public_key.curve) == (old.type, old.size, old.public_key.curve)
    assert (new.operations, new.tags, new.validity) == (old.operations, tags, Validity())
    assert new.public_key.thumbprint != old.public_key.thumbprint
    assert (key.id, key.name, key.origin, key.pending, key.drift) == (
        before.id,
        before.name,
        KeyOrigin.NATIVE,
        None,
        (),
    )
    assert [entry.event for entry in key.history[-2:]] == ["key.escrowed", "key.rotated"]
    assert (key.history[-1].detail, key.history[-1].actor) == (new.id, ALICE)
    manifest, _ = await stage.escrows.open(key.escrow[-1])
    assert set(manifest.versions) == {old.id, new.id}, "it is escrowed at once"
    assert not key.retirements
    calls = stage.vault_of(group).calls.copy()
    await stage.sync_all()
    assert (await stage.read(ref)).drift == (), "a sync finds nothing"
    assert stage.vault_of(group).calls["back_up"] == calls["back_up"]
    await stage.check_lists()


@pytest.mark.parametrize("lifetime", [None, 90 * DAY])
async def test_a_version_lives_as_long_as_the_one_before_it(stage: RotationStage, lifetime: timedelta | None) -> None:
    expires_on = stage.clock.now() + lifetime if lifetime else None
    ref = await stage.a_native_key(validity=Validity(True, None, expires_on))
    stage.clock.move(200 * DAY)
    key = await stage.rotate(ref)
    assert key.current is not None
    assert key.current.validity.expires_on == (stage.clock.now() + lifetime if lifetime else None)
    given = Validity(True, stage.clock.now() + DAY, stage.clock.now() + 10 * DAY)
    key = await stage.rotate(ref, "int_2", validity=given)
    assert key.current is not None
    assert key.current.validity == given


async def test_dates_that_leave_no_time_are_refused_before_anything_is_sent(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    for validity in (
        Validity(True, None, stage.clock.now() - DAY),
        Validity(True, stage.clock.now() + 2 * DAY, stage.clock.now() + DAY),
    ):
        await refused("dates_invalid", stage.rotate(ref, validity=validity))
    assert len(stage.vault.live["db-key"]) == 1
    assert (await stage.read(ref)).pending is None


async def test_an_exportable_key_is_rotated_by_its_vault(stage: RotationStage) -> None:
    """Its release policy is not recorded, and a rotation by the vault takes it over; the dates are ours."""
    policy = ReleasePolicy('{"version": "1.0.0"}')
    expires_on = stage.clock.now() + 90 * DAY
    ref = await stage.a_native_key(
        group=PREMIUM, **hardware(exportable=True, release_policy=policy, validity=Validity(True, None, expires_on))
    )
    stage.premium.policies["db-key"] = RotationPolicy(expires_after="P30D")
    key = await stage.rotate(ref)
    assert (stage.premium.calls["rotate"], stage.premium.calls["create"]) == (1, 1)
    assert key.current is not None
    assert (key.current.exportable, key.current.validity.expires_on) == (True, stage.clock.now() + 90 * DAY)
    assert key.current == held(stage.premium, "db-key")[-1]
    source = await stage.a_source()
    await refused("release_policy_unknown", stage.rotate(ref, "int_2", source=use_of(source)))


async def test_the_size_of_a_symmetric_key_has_to_be_named(stage: RotationStage) -> None:
    ref = await a_symmetric_key(stage)
    await refused("key_size_unknown", stage.rotate(ref))
    key = await stage.rotate(ref, size=256)
    assert [version.type for version in key.versions] == ["oct-HSM", "oct-HSM"]


async def a_symmetric_key(stage: RotationStage) -> KeyRef:
    """A symmetric key that a sync found, in a vault that takes such keys though the tier does not."""
    await stage.premium.create("octets", NewVersion("oct-HSM", AES, ("wrapKey", "unwrapKey")))
    await stage.sync_all()
    stage.clock.move(DAY)
    (key,) = await stage.virtual_keys(PREMIUM)
    return ref_of(key)


async def test_a_key_that_a_certificate_owns_is_left_to_it(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    change_outside(stage, managed=True)
    await refused("key_managed", stage.rotate(ref))


@pytest.mark.parametrize(
    ("state", "code"), [("deleted", "key_soft_deleted"), ("purged", "key_purged"), ("disabled", None)]
)
async def test_the_state_of_a_key_decides(stage: RotationStage, state: str, code: str | None) -> None:
    ref = await stage.a_native_key()
    if state == "disabled":
        change_outside(stage, validity=Validity(False))
        key = await stage.rotate(ref)
        assert state_at(key.presence, key.versions[-1].validity, stage.clock.now()) is KeyState.ACTIVE
        return
    await stage.vault.delete("db-key")
    if state == "purged":
        await stage.vault.purge("db-key")
    assert code is not None
    await refused(code, stage.rotate(ref))


async def test_a_key_without_escrow_is_rotated_without(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    group = replace(a_group(), escrow=EscrowSettings(enabled=False))
    stored = await stage.groups.get(ACCOUNT, GROUP)
    assert stored is not None
    await stage.groups.replace(ACCOUNT, GROUP, group, stored.etag)
    key = await stage.rotate(ref)
    assert (len(key.versions), len(key.escrow), stage.vault.calls["back_up"]) == (2, 1, 1)


async def test_a_backup_that_fails_does_not_undo_a_rotation(stage: RotationStage) -> None:
    ref = await stage.a_native_key()

    def away(operation: str, _: str) -> None:
        if operation == "back_up":
            raise VaultUnavailableError("away")

    stage.vault.before = away
    key = await stage.rotate(ref)
    assert (len(key.versions), len(key.escrow), key.escrow_problem) == (2, 1, None)
    stage.vault.before = lambda *_: None
    await stage.sync_all()
    assert not (await stage.read(ref)).unescrowed


async def test_superseded_escrow_is_dropped(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    first = (await stage.read(ref)).escrow[0]
    for number in range(3):
        stage.clock.move(DAY)
        key = await stage.rotate(ref, f"int_{number}")
    assert len(key.escrow) == 2, "as many generations as the group keeps"
    assert first.archive not in [name async for name in stage.blobs.names("")]


async def test_a_request_that_is_repeated_rotates_once(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    first = await stage.rotate(ref)
    again = await stage.rotate(ref)
    assert (again.versions, len(stage.vault.live["db-key"])) == (first.versions, 2)
    await stage.rotate(ref, "int_another")
    assert (await stage.rotate(ref)).versions == (await stage.read(ref)).versions
    assert len(stage.vault.live["db-key"]) == 3


async def test_who_names_a_state_is_told_of_another_one(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    etag = (await stage.made.records.get(ACCOUNT, GROUP, ref.key)).etag
    change_outside(stage, tags=(("a", "b"),))
    with pytest.raises(StaleWriteError):
        await stage.rotating.rotations.rotate(ref, Rotating(asked("int_1", etag)))
    etag = (await stage.made.records.get(ACCOUNT, GROUP, ref.key)).etag
    key = await stage.rotating.rotations.rotate(ref, Rotating(asked("int_2", etag)))
    assert key.current is not None
    assert key.current.tags == (("a", "b"),)


async def test_two_who_rotate_a_key_at_once_rotate_it_twice_or_one_waits(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    outcomes = await asyncio.gather(
        stage.rotate(ref, "int_1"), stage.twin().rotate(ref, "int_2"), return_exceptions=True
    )
    done = [one for one in outcomes if not isinstance(one, BaseException)]
    assert {one.code for one in outcomes if isinstance(one, KeystewardError)} <= {"key_action_pending", "stale_write"}
    key = await stage.read(ref)
    assert len(stage.vault.live["db-key"]) == len(key.versions) == 1 + len(done)
    assert (key.pending, key.drift) == (None, ())


async def test_what_the_vault_refuses_leaves_nothing_pending(stage: RotationStage) -> None:
    ref = await stage.a_native_key()

    def denied(operation: str, _: str) -> None:
        if operation == "create":
            raise VaultDeniedError("no")

    stage.vault.before = denied
    await refused("vault_denied", stage.rotate(ref))
    key = await stage.read(ref)
    assert (key.pending, len(key.versions)) == (None, 1)
    assert (key.history[-1].event, key.history[-1].detail) == ("key.rotate_not_done", "vault_denied")
    stage.vault.before = lambda *_: None
    assert len((await stage.rotate(ref)).versions) == 2, "the same request can be made again"


# --- lost answers -------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.services.version_making._SECONDS_BETWEEN_LOOKS", 0)


def lost(operation: str, _: str) -> None:
    if operation in {"create", "rotate", "import_key", "import_transfer_blob"}:
        raise VaultOutcomeUnknownError("lost")


async def test_a_lost_answer_is_looked_for(stage: RotationStage, impatient: None) -> None:
    ref = await stage.a_native_key()
    stage.vault.after = lost
    key = await stage.rotate(ref)
    assert (key.versions, stage.vault.calls["create"]) == (tuple(held(stage.vault, "db-key")), 2)
    assert (key.pending, key.drift, key.history[-1].event) == (None, (), "key.rotated")


async def test_a_request_that_never_arrived_is_sent_again_when_that_is_certain(
    stage: RotationStage, impatient: None
) -> None:
    ref = await stage.a_native_key()
    stage.vault.before = lost
    await refused("vault_outcome_unknown", stage.rotate(ref))
    stage.vault.before = lambda *_: None
    await refused("vault_outcome_unknown", stage.rotate(ref))
    assert stage.vault.calls["create"] == 2, "while it may yet be carried out, nothing is sent"
    await refused("key_action_pending", stage.rotate(ref, "int_other"))
    stage.clock.move(timedelta(minutes=6))
    key = await stage.rotate(ref)
    assert (stage.vault.calls["create"], len(key.versions), key.pending) == (3, 2, None)


async def test_a_version_that_appears_late_is_adopted(stage: RotationStage, impatient: None) -> None:
    """The request was still under way when its connection broke."""
    ref = await stage.a_native_key()
    stage.vault.before = lost
    await refused("vault_outcome_unknown", stage.rotate(ref))
    stage.vault.before = lambda *_: None
    new = stage.vault.live["db-key"][-1]
    await stage.vault.create("db-key", NewVersion(new.type, EC, new.operations))
    await stage.sync_all()
    assert (await stage.read(ref)).drift == (), "it is explained by what is pending"
    key = await stage.rotate(ref)
    assert (len(key.versions), key.pending, key.history[-1].event) == (2, None, "key.rotated")


async def test_reconciliation_settles_what_nobody_repeats(stage: RotationStage, impatient: None) -> None:
    ref = await stage.a_native_key()
    stage.vault.after = lambda operation, name: away_after(operation)
    with pytest.raises(VaultUnavailableError):
        await stage.rotate(ref, previous=Previous(2 * DAY))
    stage.vault.after = lambda *_: None
    assert (await stage.read(ref)).pending is not None
    stage.clock.move(timedelta(minutes=6))
    assert await stage.acting.settling.reconcile(stage.jobs) == 1
    key = await stage.read(ref)
    assert (len(key.versions), key.pending, key.drift) == (2, None, ())
    assert (key.unescrowed, len(key.retirements)) == (frozenset(), 1)
    assert [entry.event for entry in key.history].count("key.rotated") == 1


def away_after(operation: str) -> None:
    """The answer is lost, and the vault cannot be asked any more."""
    if operation == "create":
        raise VaultOutcomeUnknownError("lost")
    if operation == "get_version" and away_after.calls > 0:  # type: ignore[attr-defined]
        raise VaultUnavailableError("away")
    away_after.calls = getattr(away_after, "calls", 0) + (operation == "get_version")  # type: ignore[attr-defined]


away_after.calls = 0  # type: ignore[attr-defined]


async def test_of_two_that_fit_none_is_adopted_and_no_third_is_made(stage: RotationStage, impatient: None) -> None:
    ref = await stage.a_native_key()

    def raced(operation: str, _: str) -> None:
        if operation == "create":
            versions = stage.vault.live["db-key"]
            versions.append(replace(versions[-1], id="f" * 32))
            raise VaultOutcomeUnknownError("lost")

    stage.vault.after = raced
    error = await refused("rotation_unclear", stage.rotate(ref))
    assert isinstance(error, ConflictError)
    stage.vault.after = lambda *_: None
    key = await stage.read(ref)
    assert (key.pending, stage.vault.calls["create"]) == (None, 2)
    await stage.sync_all()
    kinds = [one.kind for one in (await stage.read(ref)).drift]
    assert kinds == [DriftKind.NEW_VERSION, DriftKind.NEW_VERSION]


async def test_a_strangers_version_beside_ours_is_drift(stage: RotationStage, impatient: None) -> None:
    ref = await stage.a_native_key()
    stage.vault.before = lost
    await refused("vault_outcome_unknown", stage.rotate(ref))
    stage.vault.before = lambda *_: None
    await stage.vault.create("db-key", NewVersion("EC", EC, ("verify",)))
    await stage.sync_all()
    assert (await stage.read(ref)).drift == (), "while the action is pending, nobody can tell"
    stage.clock.move(timedelta(minutes=6))
    key = await stage.rotate(ref)
    strange, ours = key.versions[1:]
    assert (strange.operations, ours.operations) == (("verify",), ("verify",)), "the vault's newest is the model"
    assert [(one.kind, one.version) for one in key.drift] == [(DriftKind.NEW_VERSION, strange.id)]


# --- with material of a source key --------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [GROUP, PREMIUM])
async def test_a_native_key_gets_the_material_of_a_source_key(stage: RotationStage, group: str) -> None:
    settings = hardware() if group == PREMIUM else {}
    ref = await stage.a_native_key(group=group, **settings)
    source = await stage.a_source()
    key = await stage.rotate(ref, source=use_of(source))
    old, new = held(stage.vault_of(group), "db-key")
    assert (key.versions, new.type) == ((old, new), old.type)
    assert new.public_key.thumbprint == source.current.public_key.thumbprint
    sent = "import_transfer_blob" if group == PREMIUM else "import_key"
    assert stage.vault_of(group).calls[sent] == 1
    assert (key.origin, key.material_differs) == (KeyOrigin.KEYSTEWARD, False)
    assert key.copied_from is not None
    assert (key.copied_from.key, key.copied_from.name) == (source.id, "master")
    assert [(one.version, one.source_version) for one in key.copied_from.versions] == [(new.id, 1)]
    (link,) = (await stage.source()).copies
    assert (link.key, link.group, link.source_version, link.azure_name) == (key.id, group, 1, "db-key")
    assert (await stage.source()).history[-1].event == "key.copy_rotated"
    assert not key.unescrowed
    await stage.sync_all()
    assert (await stage.read(ref)).drift == ()


async def test_a_copy_is_brought_to_the_version_of_its_source(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    await refused("key_at_source_version", stage.rotate(ref_of(copy)))
    source = await stage.rotate_source("int_source")
    key = await stage.rotate(ref_of(copy), "int_2")
    assert key.current is not None
    assert key.current.public_key.thumbprint == source.current.public_key.thumbprint
    assert (await stage.source()).copies[0].source_version == 2
    back = await stage.rotate(ref_of(copy), "int_3", source=use_of(source, 1))
    assert back.current is not None
    assert back.current.public_key.thumbprint == source.versions[0].public_key.thumbprint
    assert (await stage.source()).copies[0].source_version == 1


async def test_a_copy_that_drifted_is_brought_back(stage: RotationStage) -> None:
    source = await stage.a_source(copies=(GROUP,))
    await stage.vault.rotate("master")
    await stage.sync_all()
    copy = await stage.copy_in(GROUP)
    assert copy.material_differs
    assert list(await stage.findings_of("material_drift")) == [copy.id]
    key = await stage.rotate(ref_of(copy))
    assert await stage.findings_of("material_drift") == {}
    assert (key.material_differs, len(key.versions)) == (False, 3)
    assert key.current is not None
    assert key.current.public_key.thumbprint == source.current.public_key.thumbprint


async def test_a_copy_can_change_its_source(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    other = await stage.a_source_key("other")
    key = await stage.rotate(ref_of(copy), source=use_of(other))
    assert key.copied_from is not None
    assert (key.copied_from.key, len(key.copied_from.versions)) == (other.id, 1)
    links = {source.name: [link.key for link in source.copies] for source in await stage.source_keys()}
    assert links == {"master": [], "other": [copy.id]}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (RSA, "rotation_type_mismatch"),
        (KeyKind(KeyFamily.EC, curve="P-384"), "rotation_type_mismatch"),
        (AES, "rotation_type_mismatch"),
    ],
)
async def test_another_type_or_curve_is_refused(stage: RotationStage, kind: KeyKind, code: str) -> None:
    ref = await stage.a_native_key()
    source = await stage.a_source(kind)
    error = await refused(code, stage.rotate(ref, source=use_of(source)))
    assert isinstance(error, PolicyViolationError)
    assert (await stage.read(ref)).pending is None


async def test_an_rsa_key_may_change_its_size(stage: RotationStage) -> None:
    ref = await stage.a_native_key(RSA)
    source = await stage.a_source(KeyKind(KeyFamily.RSA, 3072))
    key = await stage.rotate(ref, source=use_of(source))
    assert [version.size for version in key.versions] == [2048, 3072]


@pytest.mark.parametrize(("permissions", "code"), [(("sign",), "key_permission_missing")])
async def test_a_source_key_says_whether_it_leaves(
    stage: RotationStage, permissions: tuple[str, ...], code: str
) -> None:
    ref = await stage.a_native_key()
    source = await stage.a_source(permissions=permissions)
    await refused(code, stage.rotate(ref, source=use_of(source)))


async def test_an_imported_key_needs_material(stage: RotationStage) -> None:
    with material_of_kind(EC) as material:
        made = await stage.made.new_keys.bring(stage.key(azure_name="mine"), material)
    stage.clock.move(DAY)
    ref = KeyRef(ACCOUNT, GROUP, made.id)
    await refused("own_material_needed", stage.rotate(ref))
    with KeyMaterial.generate(EC) as material:
        key = await stage.rotate(ref, material=material)
        thumbprint = material.public_key.thumbprint
    assert (key.origin, key.copied_from) == (KeyOrigin.IMPORTED, None)
    assert key.current is not None
    assert key.current.public_key.thumbprint == thumbprint


# --- the previous version -----------------------------------------------------------------------------------------


def enabled(stage: RotationStage, name: str = "db-key") -> list[bool]:
    return [version.validity.enabled for version in held(stage.vault, name)]


async def test_the_previous_version_stays_unless_somebody_says_so(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await stage.rotate(ref)
    stage.clock.move(400 * DAY)
    await stage.tick()
    assert enabled(stage) == [True, True]


async def test_the_previous_version_is_deactivated_at_once(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await stage.rotate(ref, previous=NOW_RETIRED)
    key = await stage.read(ref)
    assert enabled(stage) == [False, True]
    assert ([version.validity.enabled for version in key.versions], key.retirements) == ([False, True], ())
    assert (key.history[-1].event, key.history[-1].detail) == ("key.version_retired", key.versions[0].id)
    assert key.deactivation is None, "the key itself is not deactivated"
    await stage.sync_all()
    assert (await stage.read(ref)).drift == ()


async def test_the_previous_version_is_deactivated_after_its_grace(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await stage.rotate(ref, previous=Previous(DAY + HOUR))
    assert [one.version for one in (await stage.read(ref)).retirements] == [held(stage.vault, "db-key")[0].id]
    stage.clock.move(DAY)
    await stage.tick()
    assert enabled(stage) == [True, True]
    stage.clock.move(HOUR)
    calls = stage.vault.calls["update"]
    await asyncio.gather(stage.acting.retirements.retire_due(), stage.twin().acting.retirements.retire_due())
    assert enabled(stage) == [False, True]
    await stage.tick()
    key = await stage.read(ref)
    assert (key.retirements, key.pending, key.drift) == ((), None, ())
    assert stage.vault.calls["update"] <= calls + 2
    assert [entry.event for entry in key.history].count("key.version_retired") == 1
    before = stage.vault.calls.copy()
    await stage.acting.retirements.retire_due()
    assert stage.vault.calls == before, "a tick costs nothing where nothing is due"


async def test_a_vault_that_is_away_is_waited_for(stage: RotationStage) -> None:
    ref = await stage.a_native_key()

    def away(operation: str, _: str) -> None:
        if operation == "update":
            raise VaultUnavailableError("away")

    stage.vault.before = away
    await stage.rotate(ref, previous=NOW_RETIRED)
    for _ in range(8):
        stage.clock.move(timedelta(minutes=1))
        await stage.tick()
    assert enabled(stage) == [True, True]
    assert stage.vault.calls["update"] <= 4, "not at every tick"
    stage.vault.before = lambda *_: None
    for _ in range(2):
        stage.clock.move(timedelta(minutes=6))
        await stage.tick()
    assert enabled(stage) == [False, True]
    key = await stage.read(ref)
    assert (key.retirements, key.pending) == ((), None)


async def test_each_rotation_retires_its_own_predecessor(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    for number in range(3):
        await stage.rotate(ref, f"int_{number}", previous=Previous(3 * DAY))
        stage.clock.move(DAY)
    await stage.tick()
    assert enabled(stage) == [False, True, True, True]
    stage.clock.move(5 * DAY)
    await stage.tick()
    assert enabled(stage) == [False, False, False, True]


async def test_a_version_that_is_current_again_is_not_deactivated(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await stage.rotate(ref, previous=Previous(DAY))
    # Somebody purged the key outside and brought an older backup back.
    del stage.vault.live["db-key"][1]
    stage.clock.move(2 * DAY)
    await stage.tick()
    key = await stage.read(ref)
    assert (enabled(stage), key.retirements, key.history[-1].event) == ([True], (), "key.retirement_dropped")


async def test_a_key_that_is_soft_deleted_is_waited_for_and_a_purged_one_is_not(stage: RotationStage) -> None:
    ref = await stage.a_native_key()
    await stage.rotate(ref, previous=Previous(DAY))
    await stage.vault.delete("db-key")
    await stage.sync_all()
    stage.clock.move(2 * DAY)
    await stage.tick()
    assert (await stage.read(ref)).retirements
    await stage.vault.recover("db-key")
    stage.clock.move(HOUR)
    await stage.tick()
    assert enabled(stage) == [False, True]
    await stage.rotate(ref, "int_2", previous=Previous(DAY))
    await stage.purge(ref)
    stage.clock.move(2 * DAY)
    await stage.tick()
    assert not (await stage.read(ref)).retirements


# --- source keys --------------------------------------------------------------------------------------------------


async def test_a_source_key_gets_new_material(stage: RotationStage) -> None:
    await stage.a_source(kind=AES)
    rotated = await stage.rotate_source()
    assert [version.origin for version in rotated.versions] == [MaterialOrigin.GENERATED, MaterialOrigin.GENERATED]
    assert rotated.history[-1].event == "key.rotated"
    assert len((await stage.rotate_source()).versions) == 2, "the same request"
    with (
        await stage.material_of(rotated) as new,
        (await stage.made.source_keys.opened(ACCOUNT, use_of(rotated, 1), "export"))[2] as old,
    ):
        assert new != old


async def test_a_source_key_takes_given_material_and_lives_as_long(stage: RotationStage) -> None:
    await stage.a_source(validity=Validity(True, None, stage.clock.now() + 90 * DAY))
    with material_of_kind(EC) as material:
        rotated = await stage.rotate_source(material=material)
        assert rotated.current.public_key == material.public_key
    assert (rotated.current.origin, rotated.current.validity.expires_on) == (
        MaterialOrigin.IMPORTED,
        stage.clock.now() + 90 * DAY,
    )
    with material_of_kind(RSA) as material:
        error = await refused("material_type_mismatch", stage.rotate_source("int_2", material=material))
    assert isinstance(error, InvalidRequestError)


@pytest.mark.parametrize("grace", [timedelta(), DAY])
async def test_the_previous_version_of_a_source_key_is_deactivated(stage: RotationStage, grace: timedelta) -> None:
    await stage.a_source()
    rotated = await stage.rotate_source(previous=Previous(grace))
    assert [version.validity.enabled for version in rotated.versions] == [bool(grace), True]
    assert len(rotated.retirements) == (1 if grace else 0)
    stage.clock.move(2 * DAY)
    await stage.tick()
    source = await stage.source()
    assert ([version.validity.enabled for version in source.versions], source.retirements) == ([False, True], ())
    assert [entry.event for entry in source.history].count("key.version_retired") == 1
    await stage.check_lists()


EVERYWHERE = (GROUP, PREMIUM, MORE_SOURCES)


async def test_a_source_key_is_rotated_with_its_copies(stage: RotationStage) -> None:
    await stage.a_source(copies=EVERYWHERE)
    job = await stage.order(previous=Previous(DAY))
    assert (await stage.order(previous=Previous(DAY))).id == job.id
    (job, *_) = await stage.work()
    assert (job.status, job.options["version"], job.progress.phase) == (JobStatus.SUCCEEDED, "2", "rotating")
    source = await stage.source()
    assert [link.source_version for link in source.copies] == [2, 2, 2]
    assert {result.group: result.status for result in job.results} == dict.fromkeys(EVERYWHERE, ResultStatus.DONE)
    for group in (GROUP, PREMIUM):
        copy = await stage.copy_in(group)
        assert copy.current is not None
        assert copy.current.public_key.thumbprint == source.current.public_key.thumbprint
        result = next(one for one in job.results if one.group == group)
        assert (result.key, result.version) == (copy.id, copy.current.id)
        assert (len(copy.versions), len(copy.retirements), copy.unescrowed) == (2, 1, frozenset())
    (copied,) = await stage.source_keys(MORE_SOURCES)
    with await stage.material_of(copied) as one, await stage.material_of(source) as other:
        assert one == other
    assert copied.copied_from is not None
    assert [one.source_version for one in copied.copied_from.versions] == [1, 2]
    assert copied.versions[-1].origin is MaterialOrigin.COPIED
    await stage.sync_all()
    assert (await stage.copy_in(GROUP)).drift == ()
    stage.clock.move(2 * DAY)
    await stage.tick()
    assert enabled(stage, "master") == [False, True]
    assert [version.validity.enabled for version in (await stage.source()).versions] == [False, True]
    await stage.check_lists()


async def test_chosen_copies_are_rotated_and_the_others_stay(stage: RotationStage) -> None:
    await stage.a_source(copies=EVERYWHERE)
    chosen = await stage.copy_in(GROUP)
    await stage.order(copies=(chosen.id,))
    (job,) = await stage.work()
    assert [(result.key, result.status) for result in job.results] == [(chosen.id, ResultStatus.DONE)]
    assert [link.source_version for link in (await stage.source()).copies] == [2, 1, 1]
    error = await refused("not_a_copy", stage.order("int_2", copies=(chosen.id, "key_other")))
    assert error.field == "copies.1"
    assert len((await stage.source()).versions) == 2


async def test_given_material_goes_to_the_copies(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    with material_of_kind(EC) as material:
        await stage.order(material=material)
        thumbprint = material.public_key.thumbprint
    (job,) = await stage.work()
    assert job.status is JobStatus.SUCCEEDED
    assert (await stage.source()).current.origin is MaterialOrigin.IMPORTED
    assert held(stage.vault, "master")[-1].public_key.thumbprint == thumbprint
    assert "material" not in repr(job.rotation)


async def test_what_can_be_refused_is_refused_before_the_job(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    later = Validity(True, stage.clock.now() + DAY)
    error = await refused("dates_invalid", stage.order(validity=later))
    assert error.field == "not_before"
    with material_of_kind(RSA) as material:
        await refused("material_type_mismatch", stage.order(material=material))
    source = await stage.source()
    await stage.made.source_records.amend(ACCOUNT, SOURCES, source.id, lambda key: replace(key, permissions=("sign",)))
    await refused("key_permission_missing", stage.order())
    assert not [job async for _, job in stage.job_rows.scan(ACCOUNT) if job.value.rotation]


async def test_a_copy_that_fails_is_said_and_does_not_stop_the_others(stage: RotationStage) -> None:
    await stage.a_source(copies=EVERYWHERE)
    gone = await stage.copy_in(PREMIUM)
    await stage.premium.delete("master")
    await stage.order()
    (job,) = await stage.work()
    assert (job.status, job.progress.errors[-1].code) == (JobStatus.FAILED, "targets_failed")
    assert {one.group: (one.status, one.code) for one in job.results} == {
        GROUP: (ResultStatus.DONE, None),
        PREMIUM: (ResultStatus.FAILED, "key_soft_deleted"),
        MORE_SOURCES: (ResultStatus.DONE, None),
    }
    assert {link.group: link.source_version for link in (await stage.source()).copies} == {
        GROUP: 2, PREMIUM: 1, MORE_SOURCES: 2,
    }  # fmt: skip
    assert list(await stage.findings_of("rotation_failed")) == [gone.id]
    await stage.premium.recover("master")
    await stage.rotate(ref_of(gone), "int_by_hand")
    assert await stage.findings_of("rotation_failed") == {}
    assert {link.source_version for link in (await stage.source()).copies} == {2}


async def test_a_vault_that_is_down_for_an_hour_gets_its_version_in_the_end(stage: RotationStage) -> None:
    await stage.a_source(copies=EVERYWHERE)

    def down(_: str, __: str) -> None:
        raise VaultUnavailableError("down")

    stage.premium.before = down
    await stage.order()
    ordered = stage.clock.now()
    (job,) = await stage.work()
    while stage.clock.now() < ordered + HOUR:
        assert job.status is JobStatus.QUEUED
        assert {one.group: (one.status, one.code) for one in job.results} == {
            GROUP: (ResultStatus.DONE, None),
            PREMIUM: (ResultStatus.PENDING, "vault_unavailable"),
            MORE_SOURCES: (ResultStatus.DONE, None),
        }
        assert job.not_before is not None
        stage.clock.move(job.not_before - stage.clock.now())
        if stage.clock.now() >= ordered + HOUR:
            stage.premium.before = lambda *_: None
        (job,) = await stage.work()
    assert job.status is JobStatus.SUCCEEDED, job
    assert len(held(stage.premium, "master")) == 2
    assert {link.source_version for link in (await stage.source()).copies} == {2}
    assert await stage.findings_of("rotation_failed") == {}


async def test_a_job_that_gives_up_says_so_of_every_copy(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP, PREMIUM))

    def down(_: str, __: str) -> None:
        raise VaultUnavailableError("down")

    stage.premium.before = down
    await stage.order()
    jobs = await stage.work()
    while jobs:
        (job,) = jobs
        stage.clock.move(2 * HOUR)
        jobs = await stage.work()
    assert job.status is JobStatus.FAILED
    assert {one.group: (one.status, one.code) for one in job.results} == {
        GROUP: (ResultStatus.DONE, None),
        PREMIUM: (ResultStatus.FAILED, "vault_unavailable"),
    }
    assert list(await stage.findings_of("rotation_failed")) == [(await stage.copy_in(PREMIUM)).id]


async def test_another_action_on_a_copy_is_waited_for(stage: RotationStage, impatient: None) -> None:
    await stage.a_source(copies=(GROUP,))
    await stage.rotate_source("int_first")
    copy = await stage.copy_in(GROUP)
    stage.vault.before = lost
    await refused("vault_outcome_unknown", stage.rotate(ref_of(copy), "int_by_hand"))
    stage.vault.before = lambda *_: None
    await stage.order("int_linked")
    (job,) = await stage.work()
    assert (job.status, job.results[0].code) == (JobStatus.QUEUED, "key_action_pending")
    for _ in range(4):
        stage.clock.move(timedelta(minutes=6))
        await stage.tick()
    assert (await stage.jobs.get(ACCOUNT, job.id)).value.status is JobStatus.SUCCEEDED
    assert (await stage.source()).copies[0].source_version == 3


async def test_a_copy_that_is_further_on_is_left_there(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    first = await stage.order("int_1")
    second = await stage.order("int_2")
    # The first job makes its version, and is cut off before the copy; the second one overtakes it.
    await stage.rotate_source("int_1")
    await stage.jobs.run(ACCOUNT, second.id)
    assert (await stage.source()).copies[0].source_version == 3
    await stage.jobs.run(ACCOUNT, first.id)
    job = (await stage.jobs.get(ACCOUNT, first.id)).value
    assert (job.status, job.results[0].status) == (JobStatus.SUCCEEDED, ResultStatus.DONE)
    assert len(held(stage.vault, "master")) == 2
    assert (await stage.source()).copies[0].source_version == 3


async def test_a_copy_in_a_source_group_that_is_further_on_is_left_there(stage: RotationStage) -> None:
    await stage.a_source(copies=(MORE_SOURCES,))
    first = await stage.order("int_1")
    second = await stage.order("int_2")
    await stage.rotate_source("int_1")
    await stage.jobs.run(ACCOUNT, second.id)
    (copy,) = await stage.source_keys(MORE_SOURCES)
    await stage.jobs.run(ACCOUNT, first.id)
    job = (await stage.jobs.get(ACCOUNT, first.id)).value
    assert (job.status, job.results[0].status) == (JobStatus.SUCCEEDED, ResultStatus.DONE)
    assert await stage.source_keys(MORE_SOURCES) == [copy]
    source = await stage.source()
    assert source.copies[0].source_version == 3
    assert copy.current.public_key.thumbprint == source.current.public_key.thumbprint


async def test_a_copy_that_gets_ahead_while_its_version_is_made_is_left_there(stage: RotationStage) -> None:
    await stage.a_source(copies=(MORE_SOURCES,))
    first = await stage.order("int_1")
    second = await stage.order("int_2")
    await stage.rotate_source("int_1")
    insert, overtaken = stage.material_rows.insert, []

    async def overtaking(partition: str, row: str, value: Any) -> Any:
        stored = await insert(partition, row, value)
        if not overtaken:
            overtaken.append(row)
            await stage.jobs.run(ACCOUNT, second.id)
        return stored

    stage.material_rows.insert = overtaking
    await stage.jobs.run(ACCOUNT, first.id)
    assert overtaken
    job = (await stage.jobs.get(ACCOUNT, first.id)).value
    assert (job.status, job.results[0].status) == (JobStatus.SUCCEEDED, ResultStatus.DONE)
    source, (copy,) = await stage.source(), await stage.source_keys(MORE_SOURCES)
    assert (source.copies[0].source_version, copy.current.number) == (3, 2)
    assert copy.current.public_key.thumbprint == source.current.public_key.thumbprint


async def test_a_key_that_is_no_copy_any_more_is_not_rotated(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    await stage.order()
    other = await stage.a_source_key("other")
    copy = await stage.copy_in(GROUP)
    await stage.rotate(ref_of(copy), "int_elsewhere", source=use_of(other))
    job = next(job for job in await stage.work() if job.rotation)
    assert [(one.status, one.code) for one in job.results] == [(ResultStatus.FAILED, "not_a_copy")]


async def test_a_cancelled_job_leaves_the_rest_and_says_so(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    job = await stage.order()
    cancelled = await stage.jobs.cancel(ACCOUNT, job.id)
    assert [(one.status, one.code) for one in cancelled.results] == [(ResultStatus.FAILED, "target_not_tried")]
    assert await stage.findings_of("rotation_failed") == {}
    assert (await stage.source()).copies[0].source_version == 1


# --- re-import ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [GROUP, PREMIUM])
async def test_a_purged_copy_comes_back_from_its_source(stage: RotationStage, group: str) -> None:
    source = await stage.a_source(copies=(group,), tags=(("team", "cards"),))
    copy = await stage.copy_in(group)
    await stage.purge(ref_of(copy))
    key = await stage.reimport(ref_of(copy))
    (version,) = stage.vault_of(group).live["master"]
    assert (key.id, key.name, key.versions, key.presence) == (copy.id, copy.name, (version,), "live")
    assert (version.operations, version.tags) == (copy.versions[-1].operations, (("team", "cards"),))
    assert version.public_key.thumbprint == source.current.public_key.thumbprint
    assert key.copied_from is not None
    assert [(one.version, one.source_version) for one in key.copied_from.versions] == [(version.id, 1)]
    assert [entry.event for entry in key.history[-2:]] == ["key.escrowed", "key.reimported"]
    assert (len(key.escrow), key.unescrowed) == (2, frozenset()), "the escrow of what was purged stays, too"
    assert (await stage.reimport(ref_of(copy))).versions == (version,), "the same request"
    before = (await stage.read(ref_of(copy))).drift
    await stage.sync_all()
    assert (await stage.read(ref_of(copy))).drift == before
    assert len(await stage.virtual_keys(group)) == (1 if group == GROUP else 2)
    await stage.check_lists()


async def test_a_version_of_the_source_can_be_named(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    source = await stage.rotate_source()
    copy = await stage.copy_in(GROUP)
    await stage.purge(ref_of(copy))
    key = await stage.reimport(ref_of(copy))
    assert key.current is not None
    assert key.current.public_key.thumbprint == source.versions[1].public_key.thumbprint
    assert (await stage.source()).copies[0].source_version == 2
    await stage.purge(ref_of(copy))
    key = await stage.reimport(ref_of(copy), "int_2", version=1)
    assert key.current is not None
    assert key.current.public_key.thumbprint == source.versions[0].public_key.thumbprint
    assert (await stage.source()).copies[0].source_version == 1


async def test_only_a_purged_copy_is_imported_again(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    await refused("key_live", stage.reimport(ref_of(copy)))
    await stage.vault.delete("master")
    await refused("key_soft_deleted", stage.reimport(ref_of(copy)))
    native = await stage.a_native_key()
    await stage.purge(native)
    await refused("no_source_key", stage.reimport(native))


async def test_a_name_that_another_key_has_is_not_touched(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    await stage.purge(ref_of(copy))
    stage.clock.move(DAY)
    other = stage.key("int_other", azure_name="master", reuse_purged=True)
    await stage.made.new_keys.generate(other, EC)
    await refused("key_replaced", stage.reimport(ref_of(copy)))
    await stage.vault.delete("master")
    await stage.vault.purge("master")
    await stage.sync_all()
    await refused("key_replaced", stage.reimport(ref_of(copy)))
    assert "master" not in stage.vault.live


async def test_a_name_that_is_not_free_yet_is_waited_for(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    await stage.purge(ref_of(copy))
    stage.vault.being_deleted.add("master")
    waiting = asyncio.create_task(stage.reimport(ref_of(copy), seconds=5))
    await asyncio.sleep(0.3)
    stage.vault.settle()
    assert len((await waiting).versions) == 1
    assert [entry.event for entry in (await stage.read(ref_of(copy))).history].count("key.reimported") == 1


async def test_a_job_goes_on_where_a_request_cannot_wait(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,))
    copy = await stage.copy_in(GROUP)
    await stage.purge(ref_of(copy))
    stage.vault.being_deleted.add("master")
    with pytest.raises(StillWorkingError):
        await stage.reimport(ref_of(copy))
    job = await ActionJobs(stage.made.records, stage.jobs).go_on(ref_of(copy), ALICE)
    assert job is not None
    await stage.work()
    stage.vault.settle()
    for _ in range(6):
        stage.clock.move(timedelta(minutes=5))
        await stage.tick()
    assert (await stage.jobs.get(ACCOUNT, job.id)).value.status is JobStatus.SUCCEEDED
    key = await stage.read(ref_of(copy))
    assert (len(key.versions), key.presence, key.pending) == (1, "live", None)
    assert len(stage.vault.live["master"]) == 1


async def test_expired_dates_have_to_be_given_anew(stage: RotationStage) -> None:
    await stage.a_source(copies=(GROUP,), validity=Validity(True, None, stage.clock.now() + 10 * DAY))
    copy = await stage.copy_in(GROUP)
    await stage.purge(ref_of(copy))
    key = await stage.reimport(ref_of(copy), "int_early")
    assert key.current is not None
    assert key.current.validity == copy.versions[-1].validity
    await stage.purge(ref_of(copy))
    stage.clock.move(20 * DAY)
    given = Validity(True, None, stage.clock.now() + DAY)
    # The source key has expired, too.
    await refused("key_not_active", stage.reimport(ref_of(copy), validity=given))
    await stage.rotate_source()
    await refused("dates_invalid", stage.reimport(ref_of(copy)))
    key = await stage.reimport(ref_of(copy), validity=given)
    assert key.current is not None
    assert key.current.validity == given
