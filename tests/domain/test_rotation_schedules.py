"""When a schedule runs: by the clock on the wall, whatever changes of that clock come."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.rotation_schedules import (
    KeySchedule,
    RotationSchedule,
    Trigger,
    VersionLife,
    checked,
    instant,
    kept_up,
    moved_on,
    next_run,
    planned,
)
from core.errors import InvalidRequestError
from tests.builders.keys import ALICE

BERLIN = "Europe/Berlin"
#: Changes of every kind: an hour, half an hour, a whole day that was skipped, none.
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran", "Africa/Casablanca", "UTC")
ENDLESS = VersionLife(datetime(2026, 1, 1, tzinfo=UTC), None)


def every_days(count: int, start: str, zone: str = BERLIN, **more: object) -> RotationSchedule:
    return RotationSchedule(Trigger.EVERY_DAYS, count, datetime.fromisoformat(start), zone, **more)  # type: ignore[arg-type]


def every_months(count: int, start: str, zone: str = BERLIN) -> RotationSchedule:
    return RotationSchedule(Trigger.EVERY_MONTHS, count, datetime.fromisoformat(start), zone)


def before_expiry(count: int, start: str, zone: str = BERLIN) -> RotationSchedule:
    return RotationSchedule(Trigger.DAYS_BEFORE_EXPIRY, count, datetime.fromisoformat(start), zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    first, last = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (first_year, last_year))
    return st.datetimes(first, last)


def runs(schedule: RotationSchedule, after: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        run = next_run(schedule, ENDLESS, after)
        assert run is not None
        found.append(run)
        after = run
    return found


def wall(run: datetime, zone: str) -> datetime:
    return run.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        # the start itself, and never before it
        (every_days(30, "2026-05-01T02:00"), "2026-01-01", "2026-05-01T00:00"),
        (every_days(30, "2026-05-01T02:00"), "2026-05-01T00:00", "2026-05-31T00:00"),
        # what was missed collapses into the next one
        (every_days(1, "2020-01-01T02:00"), "2026-05-01T00:00:01", "2026-05-02T00:00"),
        (every_days(7, "2026-01-01T02:00"), "2026-03-01T12:00", "2026-03-05T01:00"),
        # 02:30 is skipped on 29 March: it runs at the change, and at 02:30 on the next day
        (every_days(1, "2026-03-28T02:30"), "2026-03-28T12:00", "2026-03-29T01:00"),
        (every_days(1, "2026-03-28T02:30"), "2026-03-29T01:00", "2026-03-30T00:30"),
        # 02:30 comes twice on 25 October: it runs the first time, and not the second
        (every_days(1, "2026-10-24T02:30"), "2026-10-24T12:00", "2026-10-25T00:30"),
        (every_days(1, "2026-10-24T02:30"), "2026-10-25T00:30", "2026-10-26T01:30"),
        (every_days(1, "2026-10-24T02:30"), "2026-10-25T01:00", "2026-10-26T01:30"),
        # Samoa had no 30 December 2011: that day's run is at the change, where the 31st begins
        (every_days(1, "2011-12-28T00:00", "Pacific/Apia"), "2011-12-29T12:00", "2011-12-30T10:00"),
        (every_days(1, "2011-12-28T00:00", "Pacific/Apia"), "2011-12-30T10:00", "2011-12-31T10:00"),
        # half an hour, on Lord Howe Island
        (every_days(1, "2026-10-03T02:15", "Australia/Lord_Howe"), "2026-10-03T12:00", "2026-10-03T15:30"),
        # the 31st is the last day of a shorter month, and the 31st again after it
        (every_months(1, "2026-01-31T02:00"), "2026-01-31T12:00", "2026-02-28T01:00"),
        (every_months(1, "2026-01-31T02:00"), "2026-02-28T12:00", "2026-03-31T00:00"),
        (every_months(1, "2028-01-31T02:00"), "2028-02-01T12:00", "2028-02-29T01:00"),
        (every_months(3, "2026-11-30T02:00"), "2026-12-01T12:00", "2027-02-28T01:00"),
        (every_months(12, "2024-02-29T02:00"), "2025-01-01T12:00", "2025-02-28T01:00"),
        (every_months(120, "2026-01-31T02:00"), "2026-01-31T12:00", "2036-01-31T01:00"),
    ],
)
def test_the_next_run(schedule: RotationSchedule, after: str, expected: str) -> None:
    assert next_run(schedule, ENDLESS, at(after)) == at(expected)


@pytest.mark.parametrize(
    ("count", "start", "after", "expected"),
    [
        # the version expires on 1 July at noon UTC, 14:00 in Berlin; 30 days before is 1 June
        (30, "2026-01-01T02:00", "2026-03-01", "2026-06-01T00:00"),
        (30, "2026-01-01T14:00", "2026-03-01", "2026-06-01T12:00"),
        # a later time of day would leave less than 30 days: the day before
        (30, "2026-01-01T15:00", "2026-03-01", "2026-05-31T13:00"),
        # not before the start
        (30, "2026-06-10T02:00", "2026-03-01", "2026-06-10T00:00"),
        # late rather than never
        (30, "2026-01-01T02:00", "2026-06-20T08:00", "2026-06-20T08:00:01"),
    ],
)
def test_a_run_before_expiry(count: int, start: str, after: str, expected: str) -> None:
    life = VersionLife(at("2026-01-01"), at("2026-07-01T12:00"))
    assert next_run(before_expiry(count, start), life, at(after)) == at(expected)


def test_a_version_that_lives_too_short_is_not_rotated_for_ever() -> None:
    life = VersionLife(at("2026-06-01T12:00"), at("2026-06-03T12:00"))
    assert next_run(before_expiry(30, "2026-01-01T02:00"), life, at("2026-06-01T12:00")) == at("2026-06-02T12:00")


def test_what_does_not_expire_or_is_paused_has_no_run() -> None:
    assert next_run(before_expiry(30, "2026-01-01T02:00"), ENDLESS, at("2026-06-01")) is None
    assert next_run(every_days(1, "2026-01-01T02:00", paused=True), ENDLESS, at("2026-06-01")) is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from((Trigger.EVERY_DAYS, Trigger.EVERY_MONTHS)),
    st.integers(1, 40),
    times(1995, 2035),
    times(1995, 2037).map(lambda time: time.replace(tzinfo=UTC)),
)
def test_runs_increase_and_keep_the_time_of_day(
    zone: str, trigger: Trigger, count: int, start: datetime, after: datetime
) -> None:
    schedule = checked(RotationSchedule(trigger, count, start, zone))
    found = runs(schedule, after, 6)
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    first = instant(schedule.start, ZoneInfo(zone))
    assert all(run >= first for run in found)
    for run in found:
        shown = wall(run, zone)
        if shown.time() != schedule.start.time():
            # Only where the clock skips that time: it runs at the change.
            before = wall(run - timedelta(seconds=1), zone)
            assert shown - before > timedelta(seconds=1)
            assert before < datetime.combine(before.date(), schedule.start.time()) or shown.date() != before.date()
        else:
            # Of two that look the same, the first.
            assert run == instant(shown, ZoneInfo(zone))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.integers(1, 400), times(2000, 2030))
def test_no_run_is_left_out(zone: str, count: int, start: datetime) -> None:
    """Asked for at any time, the next run is the one that follows in the list of all runs."""
    schedule = checked(RotationSchedule(Trigger.EVERY_DAYS, count, start, zone))
    known = runs(schedule, instant(schedule.start, ZoneInfo(zone)) - timedelta(seconds=1), 5)
    for earlier, later in pairwise(known):
        for after in (earlier, earlier + (later - earlier) / 2, later - timedelta(seconds=1)):
            assert next_run(schedule, ENDLESS, after) == later


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(1, 300),
    st.times(),
    times(2000, 2030).map(lambda time: time.replace(tzinfo=UTC)),
    st.integers(2, 900),
)
def test_a_run_before_expiry_leaves_its_days(
    zone: str, count: int, day_time: time, created: datetime, lifetime: int
) -> None:
    life = VersionLife(created, created + timedelta(days=lifetime))
    schedule = checked(
        RotationSchedule(Trigger.DAYS_BEFORE_EXPIRY, count, datetime.combine(date(1990, 1, 1), day_time), zone)
    )
    run = next_run(schedule, life, created)
    assert run is not None
    assert life.expires_on is not None
    latest = life.expires_on - timedelta(days=count)
    youngest = created + timedelta(days=1)
    if run > youngest:
        assert latest - timedelta(days=2, hours=2) < run <= latest
    else:
        assert youngest - timedelta(seconds=1) <= run <= youngest


def test_a_schedule_moves_on_once_however_much_was_missed() -> None:
    schedule = every_days(1, "2026-01-01T02:00")
    scheduled = planned(schedule, ENDLESS, ALICE, at("2026-01-10T12:00"))
    assert scheduled.next_on == at("2026-01-11T01:00")
    late = moved_on(scheduled, ENDLESS, at("2026-03-01T12:00"))
    assert late.next_on == at("2026-03-02T01:00")


def test_a_schedule_by_expiry_follows_the_version() -> None:
    schedule = before_expiry(30, "2026-01-01T02:00")
    life = VersionLife(at("2026-01-01"), at("2026-07-01T12:00"))
    scheduled = planned(schedule, life, ALICE, at("2026-03-01"))
    assert kept_up(scheduled, life) is scheduled
    moved_earlier = VersionLife(life.created_on, at("2026-05-01T12:00"))
    assert kept_up(scheduled, moved_earlier) == KeySchedule(
        schedule, ALICE, at("2026-03-01"), at("2026-04-01T00:00"), at("2026-05-01T12:00")
    )
    endless = kept_up(scheduled, VersionLife(life.created_on, None))
    assert endless is not None
    assert endless.next_on is None
    # After a run, the same version is looked at again a day later; a new one is reckoned with at once.
    tried = moved_on(scheduled, life, at("2026-06-01T00:00:10"))
    assert tried.next_on == at("2026-06-02T00:00:10")
    assert kept_up(tried, life) is tried
    rotated = kept_up(tried, VersionLife(at("2026-06-01T00:01"), at("2026-11-29T12:01")))
    assert rotated is not None
    assert rotated.next_on == at("2026-10-30T01:00")


def test_other_schedules_do_not_follow_the_version() -> None:
    scheduled = planned(every_days(30, "2026-05-01T02:00"), ENDLESS, ALICE, at("2026-03-01"))
    assert kept_up(scheduled, VersionLife(at("2026-04-01"), at("2026-05-01"))) is scheduled
    assert kept_up(None, ENDLESS) is None


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (every_days(0, "2026-05-01T02:00"), "every_days"),
        (every_days(3_651, "2026-05-01T02:00"), "every_days"),
        (every_months(121, "2026-05-01T02:00"), "every_months"),
        (every_days(1, "2026-05-01T02:00", "Europe/Nowhere"), "time_zone"),
        (every_days(1, "2026-05-01T02:00", "../etc/passwd"), "time_zone"),
        (every_days(1, "2026-05-01T02:00", ""), "time_zone"),
        (every_days(1, "2026-05-01T02:00+02:00"), "start"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(schedule: RotationSchedule, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        checked(schedule)
    assert (refused.value.code, refused.value.field) == ("rotation_schedule_invalid", field)
