"""Requests that carry an Idempotency-Key: what is kept of them, and what a second one with the same key means.

Invariants: one key of one caller in one account stands for one request; a request counts as crashed only after longer
than the platform lets any request live (230 s).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

PENDING_FOR = timedelta(minutes=5)
KEPT_FOR = timedelta(hours=24)


class Verdict(StrEnum):
    """What to do with a request whose key is there already."""

    START_ANEW = "start_anew"
    TAKE_OVER = "take_over"
    REFUSE = "refuse"
    WAIT = "wait"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request under its key. `fingerprint` and `answer` are sealed where the request belongs to an account.

    `answer` is None until the request was answered; `pending_until` is when it counts as crashed. `request` names the
    request to services, the same for every attempt, so that one goes on with what another left unfinished.
    """

    id: str
    partition: str
    fingerprint: str
    pending_until: datetime
    expires_on: datetime
    request: str = ""
    answer: str | None = None

    def answered(self, answer: str) -> "IdempotentRequest":
        """Return the request with its answer."""
        return replace(self, answer=answer)

    def given_up(self, now: datetime) -> "IdempotentRequest":
        """Return the request without an answer, for the next attempt to take over at once."""
        return replace(self, pending_until=now)


def verdict(found: IdempotentRequest, *, same: bool, now: datetime) -> Verdict:
    """Judge a request that found `found` under its key; `same` tells whether their fingerprints agree."""
    if now >= found.expires_on:
        return Verdict.START_ANEW
    if not same:
        return Verdict.REFUSE
    if found.answer is not None:
        return Verdict.REPLAY
    return Verdict.WAIT if now < found.pending_until else Verdict.TAKE_OVER
