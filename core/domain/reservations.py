"""Names that can have one holder: a row whose id is the name, so that the insert decides between two who want it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

#: A reservation that its holder does not use by then was left over by a crash.
GRACE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who holds a name, and since when."""

    holder: str
    reserved_on: datetime

    def left_over(self, now: datetime, *, in_use: bool) -> bool:
        """Whether another may take it. One from the future was written before the clock was turned back."""
        return not in_use and abs(now - self.reserved_on) > GRACE
