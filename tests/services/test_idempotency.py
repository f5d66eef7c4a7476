"""Idempotency keys: one attempt at a time, then the same answer; nothing readable at rest, nothing kept for ever."""

import asyncio
from datetime import timedelta

import pytest

from core.domain.idempotency import KEPT_FOR, PENDING_FOR, IdempotentRequest
from core.domain.secrets import SecretBytes
from core.errors import PolicyViolationError, StaleWriteError
from core.services.idempotency import Idempotency, IdempotencyInProgressError, Scope
from tests.fakes.clock import SteppedClock
from tests.fakes.interleaved import InterleavedCollection
from tests.fakes.sealing import sealing
from tests.fakes.storage import MemoryIndex

ACCOUNT = "acc_aebagbafaydqqcikbmgq2dyc"
SCOPE = Scope("prn_alice", ACCOUNT, "key-1")
PLATFORM = Scope("prn_alice", None, "key-1")
ANSWER = SecretBytes(b"the answer with ks_secret")


class Stage:
    """An idempotency service with one account, on memory."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.rows: InterleavedCollection[IdempotentRequest] = InterleavedCollection()
        self.index = MemoryIndex()
        self.sealing = sealing(self.clock)
        self.service = Idempotency(self.rows, self.index, self.sealing.sealer, self.clock)

    async def row(self, scope: Scope = SCOPE) -> IdempotentRequest | None:
        stored = await self.rows.get(scope.partition, scope.id)
        return stored.value if stored else None


@pytest.fixture
async def stage() -> Stage:
    stage = Stage()
    await stage.sealing.add_account(ACCOUNT)
    return stage


@pytest.mark.parametrize("scope", [SCOPE, PLATFORM])
async def test_the_second_request_gets_the_first_answer(stage: Stage, scope: Scope) -> None:
    first = await stage.service.begin(scope, "fingerprint")
    assert first.replay is None
    await stage.service.finish(first, ANSWER)
    assert (await stage.service.begin(scope, "fingerprint")).replay == ANSWER


async def test_the_same_key_for_another_request_is_refused(stage: Stage) -> None:
    await stage.service.finish(await stage.service.begin(SCOPE, "fingerprint"), ANSWER)
    with pytest.raises(PolicyViolationError) as refused:
        await stage.service.begin(SCOPE, "another")
    assert refused.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("other", [Scope("prn_bob", ACCOUNT, "key-1"), Scope("prn_alice", ACCOUNT, "key-2"), PLATFORM])
async def test_keys_are_the_callers_own(stage: Stage, other: Scope) -> None:
    await stage.service.finish(await stage.service.begin(SCOPE, "fingerprint"), ANSWER)
    assert (await stage.service.begin(other, "another")).replay is None


async def test_of_many_at_once_one_works(stage: Stage) -> None:
    outcomes = await asyncio.gather(
        *(stage.service.begin(SCOPE, "fingerprint") for _ in range(10)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, IdempotencyInProgressError) for outcome in outcomes) == 9


async def test_a_crashed_attempt_is_taken_over_by_one(stage: Stage) -> None:
    crashed = await stage.service.begin(SCOPE, "fingerprint")
    stage.clock.move(PENDING_FOR)
    outcomes = await asyncio.gather(
        *(stage.service.begin(SCOPE, "fingerprint") for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    with pytest.raises(StaleWriteError):
        await stage.service.finish(crashed, ANSWER)


async def test_an_abandoned_attempt_leaves_the_way_free(stage: Stage) -> None:
    first = await stage.service.begin(SCOPE, "fingerprint")
    await stage.service.abandon(first)
    second = await stage.service.begin(SCOPE, "fingerprint")
    assert (second.replay, second.request) == (None, first.request)


async def test_attempts_of_one_request_have_its_name_and_a_later_request_has_another(stage: Stage) -> None:
    first = await stage.service.begin(SCOPE, "fingerprint")
    stage.clock.move(PENDING_FOR)
    assert (await stage.service.begin(SCOPE, "fingerprint")).request == first.request
    stage.clock.move(KEPT_FOR)
    assert (await stage.service.begin(SCOPE, "fingerprint")).request != first.request


async def test_nothing_readable_is_stored(stage: Stage) -> None:
    await stage.service.finish(await stage.service.begin(SCOPE, "fingerprint"), ANSWER)
    row = await stage.row()
    assert row is not None
    assert "ks_secret" not in repr(row)
    assert "fingerprint" not in (row.fingerprint, row.answer)
    assert row.fingerprint.count(".") == 4  # a compact JWE


async def test_what_is_older_than_a_day_goes(stage: Stage) -> None:
    scopes = [Scope("prn_alice", ACCOUNT, f"key-{number}") for number in range(250)]
    for scope in scopes:
        await stage.service.begin(scope, "fingerprint")
    stage.clock.move(KEPT_FOR / 2)
    await stage.service.begin(PLATFORM, "fingerprint")
    assert await stage.service.expire() == 0
    stage.clock.move(KEPT_FOR / 2 + timedelta(seconds=2))
    assert await stage.service.expire() == 250
    assert await stage.row(scopes[0]) is None
    assert await stage.row(PLATFORM) is not None
    assert await stage.service.expire() == 0


async def test_a_request_taken_over_lives_on_by_its_own_date(stage: Stage) -> None:
    await stage.service.begin(SCOPE, "fingerprint")
    stage.clock.move(KEPT_FOR - timedelta(minutes=1))
    attempt = await stage.service.begin(SCOPE, "fingerprint")
    await stage.service.finish(attempt, ANSWER)
    stage.clock.move(timedelta(minutes=2))
    assert await stage.service.expire() == 0
    assert (await stage.service.begin(SCOPE, "fingerprint")).replay == ANSWER
    stage.clock.move(KEPT_FOR)
    assert await stage.service.expire() == 1
