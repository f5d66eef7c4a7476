"""The table of conditions and actions, cell by cell, and the bounds of the conditions."""

from datetime import UTC, datetime, timedelta

import pytest

from core.domain.keys import Condition, KeyState, Presence, Validity, VirtualKey
from core.domain.lifecycle import TABLE, condition_of, refusal, require
from core.domain.pending_actions import KeyAction
from core.errors import ConflictError
from functions.codes import CODES
from tests.builders.keys import a_key, a_version
from tests.builders.life import VALIDITY

NBF = datetime(2026, 12, 1, tzinfo=UTC)
EXP = datetime(2027, 12, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
NOW = NBF + timedelta(days=1)

LIVE, DELETED, PURGED, DESTROYED = "key_live", "key_soft_deleted", "key_purged", "key_destroyed"
#: The code of each cell, None where the action happens: in the order of the conditions below.
CODES_BY_ACTION: dict[KeyAction, tuple[str | None, ...]] = {
    KeyAction.UPDATE: (None, None, None, None, DELETED, PURGED, DESTROYED),
    KeyAction.DEACTIVATE: (None, None, "key_already_disabled", None, DELETED, PURGED, DESTROYED),
    KeyAction.ACTIVATE: ("key_not_disabled", "key_not_disabled", None, "key_expired", DELETED, PURGED, DESTROYED),
    KeyAction.ROTATE: (None, None, None, None, DELETED, PURGED, DESTROYED),
    KeyAction.SOFT_DELETE: (None, None, None, None, DELETED, PURGED, DESTROYED),
    KeyAction.RECOVER: (LIVE, LIVE, LIVE, LIVE, None, PURGED, DESTROYED),
    KeyAction.PURGE: (LIVE, LIVE, LIVE, LIVE, None, PURGED, DESTROYED),
    KeyAction.RESTORE: (LIVE, LIVE, LIVE, LIVE, DELETED, None, DESTROYED),
    KeyAction.REIMPORT: (LIVE, LIVE, LIVE, LIVE, DELETED, None, DESTROYED),
    KeyAction.DELETE: (LIVE, LIVE, LIVE, LIVE, DELETED, None, DESTROYED),
}
CONDITIONS = (
    Condition.PRE_ACTIVE,
    Condition.ACTIVE,
    Condition.DISABLED,
    Condition.EXPIRED,
    Condition.SOFT_DELETED,
    Condition.PURGED,
    Condition.DESTROYED,
)
CELLS = [
    (condition, action, code)
    for action, codes in CODES_BY_ACTION.items()
    for condition, code in zip(CONDITIONS, codes, strict=True)
]


def in_condition(condition: Condition) -> VirtualKey:
    presence = Presence(condition.replace("-", "_")) if condition not in VALIDITY else Presence.LIVE
    return a_key(a_version(validity=VALIDITY.get(condition, Validity())), presence=presence)


def test_the_table_has_every_condition_and_every_action() -> None:
    assert set(TABLE) == set(CONDITIONS) == set(Condition)
    assert all(set(actions) == set(CODES_BY_ACTION) == set(KeyAction) for actions in TABLE.values())
    for actions in TABLE.values():
        assert all(bool(step.result) != bool(step.code) for step in actions.values())


@pytest.mark.parametrize(("condition", "action", "code"), CELLS)
def test_a_cell(condition: Condition, action: KeyAction, code: str | None) -> None:
    key = in_condition(condition)
    now = key.recorded_on
    assert condition_of(key, now) is condition
    assert TABLE[condition][action].code == code
    if code is None:
        require(key, action, now)
        return
    with pytest.raises(ConflictError) as caught:
        require(key, action, now)
    state = KeyState.DEACTIVATED if condition in {Condition.DISABLED, Condition.EXPIRED} else KeyState(condition)
    assert (caught.value.code, caught.value.facts) == (code, {"state": state, "action": action})
    assert CODES[code].family is ConflictError


def test_a_refusal_that_is_not_in_the_cell_says_the_state_too() -> None:
    error = refusal(in_condition(Condition.ACTIVE), KeyAction.DEACTIVATE, "key_already_disabled", NOW)
    assert (error.code, error.facts["state"]) == ("key_already_disabled", KeyState.ACTIVE)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NBF - TICK, Condition.PRE_ACTIVE),
        (NBF, Condition.ACTIVE),
        (EXP - TICK, Condition.ACTIVE),
        (EXP, Condition.EXPIRED),
    ],
)
def test_dates_bound_the_conditions(now: datetime, expected: Condition) -> None:
    key = a_key(a_version(validity=Validity(not_before=NBF, expires_on=EXP)))
    assert condition_of(key, now) is expected


@pytest.mark.parametrize("now", [NBF - TICK, NOW, EXP])
def test_a_disabled_key_is_disabled_whatever_its_dates(now: datetime) -> None:
    key = a_key(a_version(validity=Validity(enabled=False, not_before=NBF, expires_on=EXP)))
    assert condition_of(key, now) is Condition.DISABLED


@pytest.mark.parametrize("presence", [Presence.SOFT_DELETED, Presence.PURGED, Presence.DESTROYED])
@pytest.mark.parametrize("validity", VALIDITY.values())
def test_a_key_that_is_not_live_is_where_it_is_whatever_its_dates(presence: Presence, validity: Validity) -> None:
    assert condition_of(a_key(a_version(validity=validity), presence=presence), NOW).value == presence.replace("_", "-")


def test_the_current_version_decides() -> None:
    older = a_version("1" * 32, validity=Validity(enabled=False))
    newer = a_version("2" * 32, created=NBF)
    assert condition_of(a_key(older, newer), NOW) is Condition.ACTIVE
    assert condition_of(a_key(newer, older), NOW) is Condition.DISABLED
