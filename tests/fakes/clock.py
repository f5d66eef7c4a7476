"""A clock that moves when told to."""

from datetime import UTC, datetime, timedelta


class SteppedClock:
    """Stands still until `move`."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def move(self, by: timedelta) -> None:
        self._now += by
