"""Dates, tags, operations and release policies of new keys: completed, and refused by field before anything is sent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.domain.key_kinds import OPERATIONS, KeyFamily, KeyKind, KeyPolicy, Protection, Target, permissions_of
from core.domain.key_settings import (
    RELEASE_POLICY_LIMIT,
    TAG_LENGTH_LIMIT,
    TAGS_LIMIT,
    checked_change,
    checked_tags,
    checked_validity,
    in_source_group,
    in_vault,
)
from core.domain.keys import Validity
from core.domain.new_keys import KeySettings, ReleasePolicy, VersionChanges
from core.errors import InvalidRequestError, KeystewardError, PolicyViolationError
from tests.builders.keys import NOW

RSA, EC, AES = KeyKind(KeyFamily.RSA, 2048), KeyKind(KeyFamily.EC, curve="P-256"), KeyKind(KeyFamily.AES, 256)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
POLICY = ReleasePolicy('{"version": "1.0.0"}')
RELEASED = KeySettings(exportable=True, release_policy=POLICY)


def refused(code: str, field: str) -> pytest.RaisesExc[KeystewardError]:
    return pytest.RaisesExc(
        (InvalidRequestError, PolicyViolationError),
        check=lambda error: (error.code, error.field) == (code, field),
    )


@pytest.mark.parametrize(
    ("target", "kind", "type_"),
    [
        (Target.STANDARD, RSA, "RSA"),
        (Target.STANDARD, EC, "EC"),
        (Target.PREMIUM_SOFTWARE, EC, "EC"),
        (Target.PREMIUM_HSM, RSA, "RSA-HSM"),
        (Target.MANAGED_HSM, EC, "EC-HSM"),
        (Target.MANAGED_HSM, AES, "oct-HSM"),
    ],
)
def test_nothing_said_asks_for_an_enabled_key_that_can_do_all_that_its_type_can(
    target: Target, kind: KeyKind, type_: str
) -> None:
    new = in_vault(target, kind, KeySettings(), KeyPolicy(), NOW)
    assert (new.type, new.kind, new.operations) == (type_, kind, OPERATIONS[kind.family])
    assert (new.validity, new.tags, new.exportable, new.release_policy) == (Validity(), (), False, None)


def test_all_that_is_said_is_asked_for() -> None:
    validity = Validity(enabled=False, not_before=NOW, expires_on=NOW + SECOND)
    settings = replace(
        RELEASED, operations=("verify", "sign", "verify"), validity=validity, tags=(("b", "2"), ("a", "1"))
    )
    new = in_vault(Target.PREMIUM_HSM, RSA, settings, KeyPolicy(), NOW)
    assert (new.operations, new.validity) == (("verify", "sign"), validity)
    assert new.tags == (("a", "1"), ("b", "2"))
    assert (new.exportable, new.release_policy) == (True, POLICY)


@pytest.mark.parametrize(
    ("settings", "code", "field"),
    [
        (KeySettings(permissions=("sign",)), "field_for_other_kind", "permissions"),
        (KeySettings(permissions=()), "field_for_other_kind", "permissions"),
        (KeySettings(operations=()), "key_not_allowed", "operations"),
        (KeySettings(operations=("export",)), "key_not_allowed", "operations"),
        (KeySettings(operations=("wrap",)), "key_not_allowed", "operations"),
        (KeySettings(exportable=True), "release_policy_invalid", "release_policy"),
        (KeySettings(release_policy=POLICY), "release_policy_invalid", "release_policy"),
        (KeySettings(validity=Validity(expires_on=NOW)), "dates_invalid", "expires_on"),
        (KeySettings(tags=(("", "x"),)), "tags_invalid", "tags"),
    ],
)
def test_what_a_vault_does_not_take_is_refused_by_field(settings: KeySettings, code: str, field: str) -> None:
    with refused(code, field):
        in_vault(Target.PREMIUM_HSM, RSA, settings, KeyPolicy(), NOW)


def test_a_key_that_only_software_protects_cannot_be_exportable() -> None:
    with refused("key_not_allowed", "exportable"):
        in_vault(Target.PREMIUM_SOFTWARE, RSA, RELEASED, KeyPolicy(), NOW)


def test_the_policy_of_the_group_counts() -> None:
    kind = KeyKind(KeyFamily.EC, curve="P-256K")
    with refused("key_not_allowed", "curve"):
        in_vault(Target.PREMIUM_HSM, kind, KeySettings(), KeyPolicy(), NOW)
    assert in_vault(Target.PREMIUM_HSM, kind, KeySettings(), KeyPolicy(("P-256K",)), NOW).kind == kind


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        ("{}", True),
        (' {"anyOf": []} ', True),
        ('{"x": "' + "y" * (RELEASE_POLICY_LIMIT - 9) + '"}', True),
        ('{"x": "' + "y" * (RELEASE_POLICY_LIMIT - 8) + '"}', False),
        ("", False),
        ("[]", False),
        ("null", False),
        ('"text"', False),
        ("{", False),
        ("{'a': 1}", False),
        ("[" * 8_000 + "]" * 8_000, False),
        ("9" * 10_000, False),
    ],
)
def test_a_release_policy_is_a_json_object_within_a_limit(data: str, taken: bool) -> None:
    settings = replace(RELEASED, release_policy=ReleasePolicy(data))
    if taken:
        assert in_vault(Target.PREMIUM_HSM, RSA, settings, KeyPolicy(), NOW).release_policy == ReleasePolicy(data)
        return
    with refused("release_policy_invalid", "release_policy"):
        in_vault(Target.PREMIUM_HSM, RSA, settings, KeyPolicy(), NOW)


@pytest.mark.parametrize(
    ("begin", "end", "taken"),
    [
        (None, None, True),
        (NOW - timedelta(days=900), None, True),
        (NOW + timedelta(days=900), None, True),
        (None, NOW + SECOND, True),
        (None, NOW, False),
        (None, NOW - SECOND, False),
        # Less than a second from now is now, in whole seconds.
        (None, NOW + SECOND - TICK, False),
        (NOW + SECOND, NOW + 2 * SECOND, True),
        (NOW + SECOND, NOW + SECOND, False),
        (NOW + SECOND, NOW + 2 * SECOND - TICK, False),
        (NOW + 2 * SECOND, NOW + SECOND, False),
    ],
)
def test_dates_leave_time_to_use_a_key(begin: datetime | None, end: datetime | None, taken: bool) -> None:
    validity = Validity(not_before=begin, expires_on=end)
    if taken:
        assert checked_validity(validity, NOW) == validity
        return
    with refused("dates_invalid", "expires_on"):
        checked_validity(validity, NOW)


def test_dates_are_whole_seconds_whatever_their_time_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    begin = datetime(2027, 1, 1, 9, 0, 0, 999_999, tzinfo=tokyo)
    found = checked_validity(Validity(enabled=False, not_before=begin), NOW)
    assert found == Validity(enabled=False, not_before=datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("tags", "taken"),
    [
        ((), True),
        (tuple((f"t{n:02d}", "") for n in range(TAGS_LIMIT)), True),
        (tuple((f"t{n:02d}", "") for n in range(TAGS_LIMIT + 1)), False),
        ((("n" * TAG_LENGTH_LIMIT, "v" * TAG_LENGTH_LIMIT),), True),
        ((("n" * (TAG_LENGTH_LIMIT + 1), "v"),), False),
        ((("n", "v" * (TAG_LENGTH_LIMIT + 1)),), False),
        ((("", "v"),), False),
    ],
)
def test_tags_are_within_azures_limits(tags: tuple[tuple[str, str], ...], taken: bool) -> None:
    if taken:
        assert checked_tags(tags[::-1]) == tags
        return
    with refused("tags_invalid", "tags"):
        checked_tags(tags)


@pytest.mark.parametrize("kind", [RSA, EC, AES])
def test_a_source_key_that_nothing_is_said_of_may_do_all_but_be_exported(kind: KeyKind) -> None:
    assert in_source_group(kind, KeySettings()) == permissions_of(kind.family)


def test_the_permissions_of_a_source_key_are_those_that_are_said() -> None:
    assert in_source_group(RSA, KeySettings(permissions=("export", "sign", "export"))) == ("export", "sign")
    assert in_source_group(RSA, KeySettings(permissions=())) == ()


@pytest.mark.parametrize(
    ("settings", "code", "field"),
    [
        (KeySettings(operations=("sign",)), "field_for_other_kind", "operations"),
        (KeySettings(operations=()), "field_for_other_kind", "operations"),
        (KeySettings(protection=Protection.SOFTWARE), "field_for_other_kind", "protection"),
        (KeySettings(exportable=True), "field_for_other_kind", "exportable"),
        (RELEASED, "field_for_other_kind", "release_policy"),
        (KeySettings(permissions=("wrap",)), "key_not_allowed", "permissions"),
        (KeySettings(permissions=("wrapKey",)), "key_not_allowed", "permissions"),
    ],
)
def test_what_a_source_group_does_not_take_is_refused_by_field(settings: KeySettings, code: str, field: str) -> None:
    with refused(code, field):
        in_source_group(EC, settings)


@pytest.mark.parametrize(
    ("present", "changes", "field"),
    [
        (Validity(), VersionChanges(not_before=NOW, expires_on=NOW + SECOND), None),
        (Validity(), VersionChanges(expires_on=NOW - timedelta(days=1)), None),
        (Validity(not_before=NOW), VersionChanges(expires_on=NOW), "expires_on"),
        (Validity(expires_on=NOW), VersionChanges(not_before=NOW), "not_before"),
        (Validity(expires_on=NOW), VersionChanges(not_before=NOW - SECOND), None),
        (Validity(not_before=NOW, expires_on=NOW + SECOND), VersionChanges(expires_on=NOW - SECOND), "expires_on"),
        (Validity(not_before=NOW), VersionChanges(not_before=NOW - SECOND, expires_on=NOW), None),
    ],
)
def test_a_change_of_dates_is_held_against_the_dates_that_stay(
    present: Validity, changes: VersionChanges, field: str | None
) -> None:
    if field is None:
        assert checked_change(RSA, changes, present) == changes
        return
    with refused("dates_invalid", field):
        checked_change(RSA, changes, present)


def test_a_change_is_in_the_form_that_azure_takes() -> None:
    changes = VersionChanges(
        enabled=False, expires_on=NOW + TICK, operations=("sign", "verify", "sign"), tags=(("b", ""), ("a", ""))
    )
    assert checked_change(EC, changes, Validity()) == VersionChanges(
        enabled=False, expires_on=NOW, operations=("sign", "verify"), tags=(("a", ""), ("b", ""))
    )
    assert checked_change(EC, VersionChanges(), Validity()) == VersionChanges()


def test_a_change_to_operations_of_another_type_is_refused() -> None:
    with refused("key_not_allowed", "operations"):
        checked_change(EC, VersionChanges(operations=("encrypt",)), Validity())
    # Of a type that is not known the vault decides.
    assert checked_change(None, VersionChanges(operations=("fly",)), Validity()).operations == ("fly",)
    with refused("tags_invalid", "tags"):
        checked_change(None, VersionChanges(tags=(("", ""),)), Validity())
