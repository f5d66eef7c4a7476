"""States follow from dates, `enabled` and presence; summaries survive being stored."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.keys import KeyState, Presence, Validity, state_at
from core.domain.summaries import account_positions, from_entry, summary_of, to_entry
from tests.builders.keys import ACCOUNT, NOW, a_generation, a_key, a_version

NBF = datetime(2026, 12, 1, tzinfo=UTC)
EXP = datetime(2027, 12, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NBF - TICK, KeyState.PRE_ACTIVE),
        (NBF, KeyState.ACTIVE),
        (EXP - TICK, KeyState.ACTIVE),
        (EXP, KeyState.DEACTIVATED),
    ],
)
def test_dates_bound_the_active_state(now: datetime, expected: KeyState) -> None:
    assert state_at(Presence.LIVE, Validity(not_before=NBF, expires_on=EXP), now) is expected


@pytest.mark.parametrize(
    ("presence", "expected"),
    [
        (Presence.SOFT_DELETED, KeyState.SOFT_DELETED),
        (Presence.PURGED, KeyState.PURGED),
        (Presence.DESTROYED, KeyState.DESTROYED),
    ],
)
def test_a_key_that_is_not_live_is_what_its_presence_says(presence: Presence, expected: KeyState) -> None:
    assert state_at(presence, Validity(not_before=NBF), NOW) is expected


def test_a_disabled_key_is_deactivated() -> None:
    assert state_at(Presence.LIVE, Validity(enabled=False, not_before=NBF), NOW) is KeyState.DEACTIVATED


_dates = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    validity=st.builds(Validity, enabled=st.booleans(), not_before=_dates, expires_on=_dates),
    tags=st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    presence=st.sampled_from(Presence),
    escrowed=st.booleans(),
)
def test_a_summary_survives_being_stored(
    validity: Validity, tags: tuple[tuple[str, str], ...], presence: Presence, escrowed: bool
) -> None:
    escrow = (a_generation("1" * 32),) if escrowed else ()
    summary = summary_of(a_key(a_version(validity=validity, tags=tags), presence=presence, escrow=escrow))
    assert from_entry(to_entry(summary)) == summary


def test_keys_without_a_deactivation_date_come_last() -> None:
    dated = summary_of(a_key(a_version(validity=Validity(expires_on=EXP))))
    undated = summary_of(a_key())
    tree = f"keys-by-expiry/{ACCOUNT}"
    assert account_positions(ACCOUNT, dated)[tree] < account_positions(ACCOUNT, undated)[tree]
