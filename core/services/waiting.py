"""Waiting for a vault to show what it has accepted: it deletes, recovers and purges a while after it said yes.

Source: recordings of vaults (a deletion or recovery shows after some 10 to 30 seconds, a restore straight after a purge
is a conflict for a while).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

from core.errors import VaultUnavailableError

#: As long as a request waits before it leaves the rest to a job; and as long as a job does before its next try.
IN_REQUEST = 20.0
IN_JOB = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0


class StillWorkingError(VaultUnavailableError):
    """The vault has accepted the request and is still at it."""

    default_code = "vault_still_working"


async def awaited[T](look: Callable[[], Awaitable[T | None]], seconds: float) -> T:
    """Return what `look` finds, asked again and again for so many seconds; StillWorkingError."""
    deadline, pause = monotonic() + seconds, _FIRST_PAUSE
    while True:
        found = await look()
        if found is not None:
            return found
        if monotonic() + pause > deadline:
            raise StillWorkingError("The vault is still working on this.", retry_after=timedelta(seconds=15))
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
