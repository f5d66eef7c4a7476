"""The system's clock."""

from datetime import UTC, datetime


class SystemClock:
    """Real time in UTC."""

    def now(self) -> datetime:
        """Return the current time."""
        return datetime.now(UTC)
