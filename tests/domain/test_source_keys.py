"""What source keys may be used for, and what their records keep."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.key_kinds import PERMISSIONS, KeyFamily
from core.domain.keys import KEPT_ENTRIES, HistoryEntry, KeyState, Presence, Validity
from core.domain.source_keys import require_permission, require_use, with_copy, with_version, without_copy
from core.errors import ConflictError, NotFoundError
from tests.builders.keys import ALICE, NOW
from tests.builders.source_keys import a_link, a_source_key, a_source_version

SECOND = timedelta(seconds=1)
EVERY = PERMISSIONS[KeyFamily.RSA]
RECOVERING = {"decrypt", "unwrap", "verify"}
PRE_ACTIVE = Validity(not_before=NOW + SECOND)
EXPIRED = Validity(expires_on=NOW)
ACTIVE = Validity(not_before=NOW, expires_on=NOW + SECOND)


@pytest.mark.parametrize(
    ("presence", "validity", "state", "allowed"),
    [
        (Presence.LIVE, Validity(), KeyState.ACTIVE, set(EVERY)),
        (Presence.LIVE, ACTIVE, KeyState.ACTIVE, set(EVERY)),
        (Presence.LIVE, PRE_ACTIVE, KeyState.PRE_ACTIVE, set()),
        # Data must stay recoverable.
        (Presence.LIVE, EXPIRED, KeyState.DEACTIVATED, RECOVERING),
        (Presence.LIVE, replace(ACTIVE, enabled=False), KeyState.DEACTIVATED, set()),
        (Presence.LIVE, replace(EXPIRED, enabled=False), KeyState.DEACTIVATED, set()),
        (Presence.SOFT_DELETED, Validity(), KeyState.SOFT_DELETED, set()),
        (Presence.SOFT_DELETED, EXPIRED, KeyState.SOFT_DELETED, set()),
        (Presence.DESTROYED, EXPIRED, KeyState.DESTROYED, set()),
    ],
)
@pytest.mark.parametrize("permission", EVERY)
def test_the_state_of_a_version_decides_what_it_may_be_used_for(
    presence: Presence, validity: Validity, state: KeyState, allowed: set[str], permission: str
) -> None:
    version = a_source_version(validity=validity)
    key = a_source_key(version, presence=presence)
    assert key.state(NOW) is state
    if permission in allowed:
        require_use(key, version, permission, NOW)
        return
    with pytest.raises(ConflictError) as refusal:
        require_use(key, version, permission, NOW)
    assert (refusal.value.code, refusal.value.facts["state"]) == ("key_not_active", state)


@pytest.mark.parametrize("permission", EVERY)
def test_a_key_without_a_permission_is_not_used_so_in_any_state(permission: str) -> None:
    key = a_source_key(permissions=tuple(name for name in EVERY if name != permission))
    for check in (
        lambda: require_permission(key, permission),
        lambda: require_use(key, key.current, permission, NOW),
        lambda: require_use(key, a_source_version(validity=EXPIRED), permission, NOW),
    ):
        with pytest.raises(ConflictError) as refusal:
            check()
        assert (refusal.value.code, refusal.value.facts["permission"]) == ("key_permission_missing", permission)


def test_the_version_that_is_used_counts_and_not_the_current_one() -> None:
    old, new = a_source_version(1, validity=EXPIRED), a_source_version(2)
    key = a_source_key(old, new)
    require_use(key, new, "export", NOW)
    with pytest.raises(ConflictError):
        require_use(key, old, "export", NOW)


@pytest.mark.parametrize(("number", "found"), [(None, 3), (1, 1), (2, 2), (3, 3), (0, None), (4, None), (-1, None)])
def test_versions_are_numbered_from_one(number: int | None, found: int | None) -> None:
    key = a_source_key(*(a_source_version(n) for n in (1, 2, 3)))
    if found is not None:
        assert key.version(number).number == found
        return
    with pytest.raises(NotFoundError) as missing:
        key.version(number)
    assert missing.value.code == "key_version_not_found"


def test_a_new_version_is_current_and_the_others_stay() -> None:
    second = a_source_version(2, created_on=NOW + SECOND)
    key = with_version(a_source_key(), second)
    assert key.versions == (a_source_version(1), second)
    assert (key.current, key.updated_on) == (second, NOW + SECOND)


@pytest.mark.parametrize(
    ("links", "new", "expected"),
    [
        ((), a_link(), (a_link(),)),
        ((a_link("a"),), a_link("b"), (a_link("a"), a_link("b"))),
        ((a_link(),), a_link(), (a_link(),)),
        # A copy has one link, to the version that it has, and keeps its place.
        (
            (a_link("a"), a_link("b")),
            a_link("a", source_version=2, copied_on=NOW + SECOND),
            (a_link("a", source_version=2, copied_on=NOW + SECOND), a_link("b")),
        ),
        # What was done earlier and is repeated does not take back what was done since.
        ((a_link(copied_on=NOW + SECOND),), a_link(), (a_link(copied_on=NOW + SECOND),)),
    ],
)
def test_a_copy_has_one_link(links: tuple[object, ...], new: object, expected: tuple[object, ...]) -> None:
    assert with_copy(a_source_key(copies=links), new).copies == expected


def test_a_link_that_is_true_no_more_goes_and_the_others_stay() -> None:
    key = a_source_key(copies=(a_link("a"), a_link("b")))
    assert without_copy(key, "a").copies == (a_link("b"),)
    assert without_copy(key, "c") == key


def test_history_is_kept_within_a_limit() -> None:
    key = a_source_key()
    for number in range(KEPT_ENTRIES + 5):
        key = key.recorded(HistoryEntry(NOW, "key.exported", ALICE, str(number)))
    assert [entry.detail for entry in key.history] == [str(number) for number in range(5, KEPT_ENTRIES + 5)]
