"""Schedules by which keys are rotated: when the next run is, by the clock on the wall of a time zone.

Invariants: runs increase strictly; a run is at the same local time of day before and after a change to daylight-saving
time; what was missed runs once, because the next run is reckoned from the moment at which somebody looks.

A local time that a change of the clock skips runs at the change; one that comes twice runs the first time. The 31st of
a shorter month is its last day.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.domain.callers import Actor
from core.errors import InvalidRequestError

#: What a trigger can count to.
LONGEST = {"every_days": 3_650, "every_months": 120, "days_before_expiry": 3_650}
#: A version is not rotated by its expiry before it is so old: else one that lives too short would be rotated for ever.
_YOUNGEST = timedelta(days=1)
#: So long after a run that came of a version's expiry, the version is looked at again, unless a new one came.
RETRIED_AFTER = timedelta(days=1)
_TICK = timedelta(seconds=1)
_MONTHS = 12


class Trigger(StrEnum):
    """What a schedule counts by."""

    EVERY_DAYS = "every_days"
    EVERY_MONTHS = "every_months"
    DAYS_BEFORE_EXPIRY = "days_before_expiry"


@dataclass(frozen=True, slots=True)
class Previous:
    """What becomes of the version that a rotation supersedes: it stays, or is disabled after `grace` (zero: now)."""

    grace: timedelta | None = None


KEEP_PREVIOUS = Previous()


@dataclass(frozen=True, slots=True)
class RotationSchedule:
    """When a key is rotated by itself, and how.

    `start` is a local date and time of `time_zone` (IANA name): the first run, or for a trigger by expiry the earliest
    moment and the time of day. `size` is that of a symmetric key in a vault, which the vault does not tell.
    """

    trigger: Trigger
    count: int
    start: datetime
    time_zone: str = "UTC"
    previous: Previous = KEEP_PREVIOUS
    rotate_copies: bool = False
    paused: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True)
class VersionLife:
    """When a key's current version was made, and when it expires."""

    created_on: datetime
    expires_on: datetime | None


@dataclass(frozen=True, slots=True)
class KeySchedule:
    """A schedule as a key's record has it. `next_on` was reckoned for a version that expires at `reckoned_for`."""

    schedule: RotationSchedule
    set_by: Actor
    set_on: datetime
    next_on: datetime | None = None
    reckoned_for: datetime | None = None


def checked(schedule: RotationSchedule) -> RotationSchedule:
    """Return a schedule that can be reckoned with; InvalidRequestError `rotation_schedule_invalid`."""
    zone_of(schedule)
    if not 1 <= schedule.count <= LONGEST[schedule.trigger.value]:
        detail = f"This counts from 1 to {LONGEST[schedule.trigger.value]}."
        raise InvalidRequestError(detail, code="rotation_schedule_invalid", field=schedule.trigger.value)
    if schedule.start.tzinfo is not None:
        detail = "The start is a local date and time, without an offset: the time zone says the rest."
        raise InvalidRequestError(detail, code="rotation_schedule_invalid", field="start")
    return replace(schedule, start=schedule.start.replace(microsecond=0, fold=0))


def zone_of(schedule: RotationSchedule) -> ZoneInfo:
    """Return a schedule's time zone; InvalidRequestError `rotation_schedule_invalid`."""
    try:
        return ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidRequestError(
            "The time zone is not an IANA name.", code="rotation_schedule_invalid", field="time_zone"
        ) from error


def next_run(schedule: RotationSchedule, life: VersionLife, after: datetime) -> datetime | None:
    """Return the first run after `after`, UTC; None while it is paused, or where nothing expires.

    By expiry, a run that should have been is due at once.
    """
    if schedule.paused:
        return None
    if schedule.trigger is Trigger.DAYS_BEFORE_EXPIRY:
        due = _before_expiry(schedule, life)
        return None if due is None else max(due, _whole(after) + _TICK)
    zone = zone_of(schedule)
    runs = (instant(local, zone) for local in _locals(schedule, after.astimezone(zone).replace(tzinfo=None)))
    return next(run for run in runs if run > after)


def planned(schedule: RotationSchedule, life: VersionLife, actor: Actor, now: datetime) -> KeySchedule:
    """Return a schedule as it is recorded when somebody sets it."""
    return KeySchedule(schedule, actor, now, next_run(schedule, life, now), life.expires_on)


def moved_on(scheduled: KeySchedule, life: VersionLife, now: datetime) -> KeySchedule:
    """Return a schedule after the run that was due by `now`.

    A trigger by expiry moves with the new version; until that has come, the old one is looked at again later.
    """
    if scheduled.schedule.trigger is Trigger.DAYS_BEFORE_EXPIRY:
        return replace(scheduled, next_on=_whole(now) + RETRIED_AFTER, reckoned_for=life.expires_on)
    return replace(scheduled, next_on=next_run(scheduled.schedule, life, now), reckoned_for=life.expires_on)


def kept_up(scheduled: KeySchedule | None, life: VersionLife | None) -> KeySchedule | None:
    """Return a schedule whose next run follows the expiry of the version that is current by now."""
    if scheduled is None or life is None or scheduled.schedule.trigger is not Trigger.DAYS_BEFORE_EXPIRY:
        return scheduled
    if scheduled.schedule.paused or scheduled.reckoned_for == life.expires_on:
        return scheduled
    return replace(scheduled, next_on=_before_expiry(scheduled.schedule, life), reckoned_for=life.expires_on)


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment, UTC, at which the clock on the wall shows `local`, or at which it skips it."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return moment
    # Skipped: read with the offset before the change it lies behind the change, with the one after it before.
    before, behind = local.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    offset = behind.astimezone(zone).utcoffset()
    while behind - before > _TICK:
        middle = before + (behind - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            behind = middle
        else:
            before = middle
    return behind


def _before_expiry(schedule: RotationSchedule, life: VersionLife) -> datetime | None:
    """Return the last time of day of the schedule's that leaves so many days, but not before its start."""
    if life.expires_on is None:
        return None
    zone, latest = zone_of(schedule), life.expires_on - timedelta(days=schedule.count)
    day = latest.astimezone(zone).date()
    due = instant(datetime.combine(day, schedule.start.time()), zone)
    if due > latest:
        due = instant(datetime.combine(day - timedelta(days=1), schedule.start.time()), zone)
    return max(due, instant(schedule.start, zone), _whole(life.created_on) + _YOUNGEST)


def _locals(schedule: RotationSchedule, after: datetime) -> Iterator[datetime]:
    """Yield the local times of a schedule, beginning with one that is not after `after` (local), or with its start."""
    start, count = schedule.start, schedule.count
    if schedule.trigger is Trigger.EVERY_DAYS:
        number = max(0, (after - start).days // count - 1)
        while True:
            yield start + timedelta(days=number * count)
            number += 1
    passed = (after.year - start.year) * _MONTHS + after.month - start.month
    number = max(0, passed // count - 1)
    while True:
        yield datetime.combine(_month_later(start.date(), number * count), start.time())
        number += 1


def _month_later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, _MONTHS)
    first = day.replace(year=day.year + years, month=month + 1, day=1)
    next_first = first.replace(year=first.year + month // 11, month=(month + 1) % _MONTHS + 1)
    return first.replace(day=min(day.day, (next_first - timedelta(days=1)).day))


def _whole(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(microsecond=0)
