"""NCRONTAB schedules: `{second} {minute} {hour} {day} {month} {day of week}`, in UTC.

Unlike in Unix cron, day and day of week must both match. Five fields mean second 0. Fields hold `*`, numbers, names of
months and days, ranges, lists and steps; Sunday is 0.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from local.host.functions import FunctionError

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if number}
_DAYS = {name.lower(): (number + 1) % 7 for number, name in enumerate(calendar.day_abbr)}
_NO_NAMES: dict[str, int] = {}
_FIELDS = (
    (0, 59, _NO_NAMES),
    (0, 59, _NO_NAMES),
    (0, 23, _NO_NAMES),
    (1, 31, _NO_NAMES),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_FIVE = 5
# A leap day on a given day of week comes again after 40 years at most, across a century without one.
_HORIZON = timedelta(days=366 * 41)


@dataclass(frozen=True)
class Schedule:
    """The allowed values of each field."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    days_of_week: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read an expression of five or six fields, or raise FunctionError."""
        fields = text.split()
        if len(fields) == _FIVE:
            fields = ["0", *fields]
        if len(fields) != len(_FIELDS):
            raise FunctionError(f"the schedule '{text}' is not an NCRONTAB expression")
        try:
            return cls(*(_values(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)))
        except ValueError as error:
            raise FunctionError(f"the schedule '{text}': {error}") from None

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence after `moment`, or raise FunctionError if there is none."""
        return next(self.occurrences(moment))

    def occurrences(self, moment: datetime) -> Iterator[datetime]:
        """Yield the occurrences after `moment`, in order."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        end = moment + _HORIZON
        while day < end:
            if self._matches_day(day):
                yield from self._times_on(day, moment)
            day += timedelta(days=1)
            if day.month not in self.months:
                day = _first_of_next_month(day)
        raise FunctionError("the schedule never occurs")

    def has_interval_below(self, interval: timedelta, moment: datetime) -> bool:
        """Tell whether the next occurrences come faster than `interval`."""
        times = self.occurrences(moment)
        return any(later - earlier < interval for earlier, later in pairwise(next(times) for _ in range(3)))

    def _matches_day(self, day: datetime) -> bool:
        return day.month in self.months and day.day in self.days and (day.weekday() + 1) % 7 in self.days_of_week

    def _times_on(self, day: datetime, moment: datetime) -> Iterator[datetime]:
        minutes = (day.replace(hour=hour, minute=minute) for hour in self.hours for minute in self.minutes)
        start = moment.replace(second=0, microsecond=0)
        for minute in minutes:
            if minute >= start:
                times = (minute.replace(second=second) for second in self.seconds)
                yield from (time for time in times if time > moment)


def _first_of_next_month(day: datetime) -> datetime:
    return day if day.day == 1 else (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _values(field: str, low: int, high: int, names: dict[str, int]) -> tuple[int, ...]:
    chosen: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if step else start)
        if not low <= start <= end <= high:
            raise ValueError(f"'{part}' is not within {low} to {high}")
        chosen.update(range(start, end + 1, int(step or 1)))
    return tuple(sorted(chosen))


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)
