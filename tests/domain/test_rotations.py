"""How a version is known again that a vault was asked for, and what the record becomes with it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.connections import VaultType
from core.domain.drift import DriftKind
from core.domain.key_kinds import KeyFamily, KeyKind, check_room
from core.domain.keys import CopiedFrom, CopiedVersion, KeyOrigin, KeyVersion, Presence, PublicKey, Validity
from core.domain.new_keys import NewVersion
from core.domain.observed import fingerprint
from core.domain.pending_actions import AskedSource, AskedVersion, KeyAction, PendingAction, Retirement
from core.domain.rotation_schedules import Previous, RotationSchedule, Trigger, VersionLife, planned
from core.domain.rotations import (
    asked_anew,
    asked_for,
    brought,
    check_same_type,
    kind_of_version,
    made_among,
    rotated_validity,
    source_version_of,
    superseding,
    with_made,
    with_strangers,
)
from core.domain.sync import assemble
from core.errors import ConflictError, PolicyViolationError
from tests.builders.keys import ALICE, CREATED, NOW, a_generation, a_key, a_listed, a_version, listed_version

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
RSA = KeyKind(KeyFamily.RSA, 2048)
OLD, NEW, OTHER = "1" * 32, "2" * 32, "3" * 32
SOURCE = AskedSource("grp_s", "key_s", "master", 3)


def wanted(current: KeyVersion | None = None, kind: KeyKind = RSA) -> NewVersion:
    current = current or a_version(OLD)
    return NewVersion(current.type, kind, current.operations)


def asked(**changes: object) -> AskedVersion:
    key = a_key(a_version(OLD))
    return replace(asked_for(key, key.versions[-1], wanted()), **changes)


def new_version(id_: str = NEW, created: timedelta = DAY, **changes: object) -> KeyVersion:
    return a_version(id_, created=CREATED + created, **changes)


@pytest.mark.parametrize(
    ("version", "is_ours"),
    [
        (new_version(), True),
        (new_version(created=timedelta()), True),  # in the same second as the version before it
        (new_version(created=-30 * SECOND), True),  # another node of the vault, another clock
        (new_version(created=-DAY), False),
        (a_version(OLD), False),
        (new_version(type="RSA-HSM"), False),
        (new_version(size=3072), False),
        (new_version(size=None), True),
        (new_version(operations=("verify", "sign")), True),
        (new_version(operations=("sign",)), False),
        (new_version(public_key=PublicKey(curve="P-256")), False),
        (new_version(tags=(("changed", "since"),), validity=Validity(False)), True),
    ],
)
def test_a_version_is_known_again(version: KeyVersion, is_ours: bool) -> None:
    found = made_among(asked(), (a_version(OLD), version))
    assert found == (version if is_ours else None)


def test_a_version_of_our_material_is_known_by_its_thumbprint() -> None:
    ours = brought(asked(), "thumbprint-ours", SOURCE)
    strange, made = new_version(OTHER), new_version(public_key=PublicKey(thumbprint="thumbprint-ours"), operations=())
    assert made_among(ours, (a_version(OLD), strange)) is None
    assert made_among(ours, (a_version(OLD), strange, made)) == made


def test_of_two_that_fit_none_is_taken_for_ours() -> None:
    with pytest.raises(ConflictError) as unclear:
        made_among(asked(), (a_version(OLD), new_version(NEW), new_version(OTHER)))
    assert unclear.value.code == "rotation_unclear"
    assert unclear.value.facts == {"versions": [NEW, OTHER]}
    assert made_among(asked(), (a_version(OLD), new_version(NEW), new_version(OTHER, operations=("sign",)))) is not None


def test_only_the_latest_versions_are_noted() -> None:
    key = a_key(
        a_version(OTHER, created=CREATED - DAY), a_version(OLD), a_version("4" * 32, created=CREATED + 20 * SECOND)
    )
    assert asked_for(key, key.versions[-1], wanted()).known == (OLD, "4" * 32)


def pending(wanted_: AskedVersion, action: KeyAction = KeyAction.ROTATE) -> PendingAction:
    return PendingAction("int_1", action, ALICE, NOW, asked=wanted_)


def test_a_rotation_is_recorded() -> None:
    key = a_key(a_version(OLD), escrow=(a_generation(OLD),))
    made, later = new_version(), NOW + SECOND
    ordered = pending(superseding(asked(), key, Previous(2 * DAY)))
    recorded = with_made(replace(key, pending=ordered), ordered, a_listed("db-key", made), made, later)
    assert recorded.versions == (a_version(OLD), made)
    assert recorded.fingerprint == fingerprint(a_listed("db-key", made))
    assert recorded.retirements == (Retirement(OLD, later + 2 * DAY, ALICE),)
    assert (recorded.origin, recorded.copied_from, recorded.drift) == (KeyOrigin.NATIVE, None, ())
    # A sync that was faster changes nothing.
    seen = replace(key, versions=recorded.versions, fingerprint=recorded.fingerprint, pending=ordered)
    again = with_made(seen, ordered, a_listed("db-key", made), made, later)
    assert (again.versions, again.fingerprint, again.drift) == (recorded.versions, recorded.fingerprint, ())


def test_what_else_came_meanwhile_is_drift() -> None:
    ordered, made, strange = pending(asked()), new_version(), new_version(OTHER, 2 * DAY, operations=("sign",))
    key = a_key(a_version(OLD), strange, pending=ordered)
    recorded = with_made(key, ordered, a_listed("db-key", made), made, NOW)
    assert [(one.kind, one.version) for one in recorded.drift] == [(DriftKind.NEW_VERSION, OTHER)]
    assert [entry.event for entry in recorded.history] == ["drift.new_version"]
    assert {version.id for version in recorded.versions} == {OLD, NEW, OTHER}
    # The vault's list shows the newest one, which is not ours.
    assert (recorded.current, recorded.fingerprint) == (strange, key.fingerprint)
    assert with_strangers(a_key(a_version(OLD)), ordered, None, NOW).drift == ()


def test_what_was_just_made_is_the_newest_of_its_second() -> None:
    """Times are in seconds, and ids have no order."""
    key = a_key(a_version(OTHER))
    made = new_version(NEW, timedelta())
    recorded = with_made(key, pending(asked()), a_listed("db-key", made), made, NOW)
    assert [version.id for version in recorded.versions] == [OTHER, NEW]
    assert recorded.fingerprint == fingerprint(a_listed("db-key", made))
    listed = [listed_version(version) for version in (made, key.versions[0])]
    assert assemble(recorded, listed, {}) == recorded.versions, "a sync leaves it so"


def test_a_native_key_becomes_a_copy() -> None:
    schedule = planned(RotationSchedule(Trigger.EVERY_DAYS, 1, NOW.replace(tzinfo=None)), LIFE, ALICE, NOW)
    key = a_key(a_version(OLD), schedule=schedule)
    made = new_version(public_key=PublicKey(thumbprint="t"))
    ordered = pending(brought(asked(), "t", SOURCE))
    recorded = with_made(key, ordered, a_listed("db-key", made), made, NOW)
    copied = CopiedVersion(NEW, 3, "t")
    assert recorded.origin is KeyOrigin.KEYSTEWARD
    assert recorded.copied_from == CopiedFrom("grp_s", "key_s", "master", ALICE, NOW, (copied,))
    assert source_version_of(recorded) == 3
    assert recorded.schedule is None, "it is rotated with its source key from now on"


LIFE = VersionLife(CREATED, None)


def test_the_link_of_a_copy_grows() -> None:
    link = CopiedFrom("grp_s", "key_s", "master", ALICE, NOW - DAY, (CopiedVersion(OLD, 1, "a"),))
    key = a_key(a_version(OLD), copied_from=link, origin=KeyOrigin.KEYSTEWARD)
    made = new_version(public_key=PublicKey(thumbprint="t"))
    recorded = with_made(key, pending(brought(asked(), "t", SOURCE)), a_listed("db-key", made), made, NOW)
    assert recorded.copied_from == replace(link, versions=(*link.versions, CopiedVersion(NEW, 3, "t")))
    assert not recorded.material_differs
    elsewhere = pending(brought(asked(), "t", replace(SOURCE, key="key_other")))
    moved = with_made(key, elsewhere, a_listed("db-key", made), made, NOW)
    assert moved.copied_from is not None
    assert (moved.copied_from.key, moved.copied_from.copied_on) == ("key_other", NOW)


def test_material_of_somebodys_own_ends_a_link() -> None:
    link = CopiedFrom("grp_s", "key_s", "master", ALICE, NOW, (CopiedVersion(OLD, 1),))
    key = a_key(a_version(OLD), copied_from=link, origin=KeyOrigin.KEYSTEWARD)
    recorded = with_made(
        key, pending(brought(asked(), "t", None)), a_listed("db-key", new_version()), new_version(), NOW
    )
    assert (recorded.origin, recorded.copied_from) == (KeyOrigin.IMPORTED, None)


def test_a_reimported_key_has_one_version_and_keeps_the_rest() -> None:
    link = CopiedFrom("grp_s", "key_s", "master", ALICE, NOW, (CopiedVersion(OLD, 1),))
    old = (a_version(OTHER, created=CREATED - DAY), a_version(OLD))
    key = a_key(
        *old,
        presence=Presence.PURGED,
        copied_from=link,
        escrow=(a_generation(OTHER, OLD),),
        retirements=(Retirement(OTHER, NOW, ALICE),),
    )
    made = a_version(NEW, created=NOW)
    ordered = pending(brought(asked_anew(key, wanted()), made.public_key.thumbprint, SOURCE), KeyAction.REIMPORT)
    assert made_among(ordered.asked, (made,)) == made  # type: ignore[arg-type]
    assert made_among(ordered.asked, old) is None  # type: ignore[arg-type]
    recorded = with_made(key, ordered, a_listed("db-key", made), made, NOW)
    assert (recorded.presence, recorded.versions, recorded.retirements) == (Presence.LIVE, (made,), ())
    assert (recorded.id, recorded.name, recorded.escrow) == (key.id, key.name, key.escrow)
    assert recorded.copied_from == replace(link, versions=(CopiedVersion(NEW, 3, made.public_key.thumbprint),))
    # A sync that was faster has taken the new version over, and perhaps a stranger's, too.
    strange = a_version("9" * 32, created=NOW + SECOND, operations=("sign",))
    seen = replace(key, versions=(made, strange), presence=Presence.LIVE)
    again = with_made(seen, ordered, a_listed("db-key", made), made, NOW)
    assert (again.versions, [one.version for one in again.drift]) == ((made, strange), ["9" * 32])


@pytest.mark.parametrize(
    ("lives", "given", "expected"),
    [
        (None, None, (None, None)),
        (90 * DAY, None, (None, NOW + 90 * DAY)),
        (90 * DAY, Validity(True, None, NOW + DAY), (None, NOW + DAY)),
        (90 * DAY, Validity(True, NOW + DAY, None), (NOW + DAY, NOW + 91 * DAY)),
        (None, Validity(True, NOW + DAY, None), (NOW + DAY, None)),
    ],
)
def test_a_version_lives_as_long_as_the_one_before_it(
    lives: timedelta | None, given: Validity | None, expected: tuple[object, object]
) -> None:
    life = VersionLife(CREATED, CREATED + lives if lives else None)
    validity = rotated_validity(life, given, NOW)
    assert validity.enabled
    assert (validity.not_before, validity.expires_on) == expected


@pytest.mark.parametrize(
    ("version", "kind", "fits"),
    [
        (a_version(size=2048), KeyKind(KeyFamily.RSA, 4096), True),
        (a_version(type="RSA-HSM"), KeyKind(KeyFamily.RSA, 2048), True),
        (a_version(), KeyKind(KeyFamily.EC, curve="P-256"), False),
        (a_version(type="EC", public_key=PublicKey(curve="P-256")), KeyKind(KeyFamily.EC, curve="P-256"), True),
        (a_version(type="EC", public_key=PublicKey(curve="P-256")), KeyKind(KeyFamily.EC, curve="P-384"), False),
        (a_version(type="oct-HSM", size=None, public_key=PublicKey()), KeyKind(KeyFamily.AES, 256), True),
        (a_version(type="new", public_key=PublicKey()), KeyKind(KeyFamily.AES, 256), False),
    ],
)
def test_a_version_stays_of_its_type(version: KeyVersion, kind: KeyKind, fits: bool) -> None:
    if fits:
        check_same_type(version, kind)
        return
    with pytest.raises(PolicyViolationError) as refused:
        check_same_type(version, kind)
    assert refused.value.code == "rotation_type_mismatch"


def test_the_size_of_a_symmetric_key_has_to_be_named() -> None:
    symmetric = a_version(type="oct-HSM", size=None, public_key=PublicKey())
    with pytest.raises(ConflictError) as refused:
        kind_of_version(symmetric)
    assert (refused.value.code, refused.value.field) == ("key_size_unknown", "size")
    assert kind_of_version(symmetric, 256) == KeyKind(KeyFamily.AES, 256)
    assert kind_of_version(a_version(), 256) == RSA, "of other keys the vault tells"
    with pytest.raises(PolicyViolationError, match="not known"):
        kind_of_version(a_version(type="new"))


def test_a_managed_hsm_takes_a_hundred_versions() -> None:
    check_room(VaultType.MANAGED_HSM, 99)
    check_room(VaultType.PREMIUM, 7_000)
    with pytest.raises(ConflictError) as refused:
        check_room(VaultType.MANAGED_HSM, 100)
    assert (refused.value.code, refused.value.facts) == ("version_limit", {"limit": 100})
