"""Names that can have one holder: a row whose id is the name, so that the insert decides between two who want it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

#: A reservation whose holder does not exist by then was left over by a crash.
GRACE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who holds a name, and since when."""

    holder: str
    reserved_on: datetime

    def left_over(self, now: datetime, *, holder_exists: bool) -> bool:
        """Whether another may take it."""
        return not holder_exists and now - self.reserved_on > GRACE
