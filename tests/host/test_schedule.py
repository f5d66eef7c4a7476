"""NCRONTAB expressions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.functions import FunctionError
from local.host.schedule import Schedule

# A Monday.
NOW = datetime(2026, 6, 1, 12, 34, 56, 700_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * * *", "2026-06-01T12:34:57"),
        ("0 */5 * * * *", "2026-06-01T12:35:00"),
        ("*/5 * * * *", "2026-06-01T12:35:00"),
        ("30 34 12 * * *", "2026-06-02T12:34:30"),
        ("0 0 9-17 * * mon-fri", "2026-06-01T13:00:00"),
        ("0 0 0 * * 0", "2026-06-07T00:00:00"),
        ("0 30 1,13 * Jan *", "2027-01-01T01:30:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 0 13 * Fri", "2026-11-13T00:00:00"),
        ("0 10/20 * * * *", "2026-06-01T12:50:00"),
    ],
)
def test_next_occurrence(text: str, expected: str) -> None:
    assert Schedule.parse(text).next_after(NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * * *", "* * * * * 7", "x * * * * *", "*/0 * * * * *", "5-1 * * * *"]
)
def test_malformed_expression(text: str) -> None:
    with pytest.raises(FunctionError):
        Schedule.parse(text)


def test_expression_that_never_occurs() -> None:
    with pytest.raises(FunctionError):
        Schedule.parse("0 0 0 31 2 *").next_after(NOW)


@pytest.mark.parametrize(
    ("text", "faster"), [("*/30 * * * * *", True), ("0 * * * * *", False), ("0,20 0 3 * * *", True)]
)
def test_interval_below_a_minute(text: str, *, faster: bool) -> None:
    assert Schedule.parse(text).has_interval_below(timedelta(minutes=1), NOW) is faster


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_occurrences_follow_one_another(moment: datetime) -> None:
    schedule = Schedule.parse("15 */7 3,4 * * 1-5")
    first = schedule.next_after(moment)
    assert first > moment
    assert (first.second, first.minute % 7, first.hour in {3, 4}, first.weekday() < 5) == (15, 0, True, True)
    assert schedule.next_after(first - timedelta(microseconds=1)) == first
