"""The two clocks of the emulated world.

Resource time moves by days in a test (retention, expiry of keys). Token time is a separate knob, so that such a move
does not invalidate the access tokens that SDK clients hold in their caches.
"""

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Real time plus an offset in seconds for resources, and one for tokens."""

    offset_seconds: float = 0.0
    token_offset_seconds: float = 0.0

    def now(self) -> float:
        """Return the time of resources (created, deleted, nbf, exp) in seconds since 1970."""
        return time.time() + self.offset_seconds

    def token_now(self) -> float:
        """Return the time that access tokens, assertions and client secrets are judged by, in seconds since 1970."""
        return time.time() + self.token_offset_seconds
