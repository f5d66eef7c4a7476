"""What a second request with the same idempotency key means."""

from datetime import timedelta

import pytest

from core.domain.idempotency import KEPT_FOR, PENDING_FOR, IdempotentRequest, Verdict, verdict
from tests.builders.keys import NOW

TICK = timedelta(microseconds=1)
PENDING = IdempotentRequest("id", "acc", "fingerprint", NOW + PENDING_FOR, NOW + KEPT_FOR)
ANSWERED = PENDING.answered("sealed")


@pytest.mark.parametrize(
    ("found", "same", "after", "expected"),
    [
        (PENDING, True, timedelta(), Verdict.WAIT),
        (PENDING, True, PENDING_FOR - TICK, Verdict.WAIT),
        (PENDING, True, PENDING_FOR, Verdict.TAKE_OVER),
        (PENDING, False, timedelta(), Verdict.REFUSE),
        (PENDING, False, PENDING_FOR, Verdict.REFUSE),
        (ANSWERED, True, timedelta(), Verdict.REPLAY),
        (ANSWERED, True, KEPT_FOR - TICK, Verdict.REPLAY),
        (ANSWERED, False, KEPT_FOR - TICK, Verdict.REFUSE),
        (ANSWERED, True, KEPT_FOR, Verdict.START_ANEW),
        (ANSWERED, False, KEPT_FOR, Verdict.START_ANEW),
        (PENDING.given_up(NOW), True, timedelta(), Verdict.TAKE_OVER),
        (PENDING.given_up(NOW), False, timedelta(), Verdict.REFUSE),
    ],
)
def test_verdicts(found: IdempotentRequest, same: bool, after: timedelta, expected: Verdict) -> None:
    assert verdict(found, same=same, now=NOW + after) is expected


def test_pending_outlasts_the_platforms_time_limit() -> None:
    assert timedelta(seconds=230) < PENDING_FOR < KEPT_FOR
