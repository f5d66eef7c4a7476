"""Waiting for a vault's limit, on the clock of a test and against a vault that throttles."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.adapters.azure import rate_limit
from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.rate_limit import RateLimits, Turn, retry_after
from core.adapters.azure.vaults import AzureVaults
from core.adapters.clock import SystemClock
from core.domain.connections import ConnectionCause, ConnectionStage, VaultType
from core.domain.rate_limits import VaultOperation
from core.errors import VaultUnavailableError
from tests.builders.azure import Application, AzureWorld

URI = "https://v.example"


class Time:
    """A monotonic clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(rate_limit.asyncio, "sleep", time.sleep)
    return time


async def test_a_thousand_keys_wait_for_nothing(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.STANDARD)
    for _ in range(3_041):
        await pacer.admit(Turn(VaultOperation.GET, 1))
    assert time.now == 1_000.0


async def test_ten_thousand_requests_take_their_three_windows(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.STANDARD)
    for _ in range(10_000):
        await pacer.admit(Turn(VaultOperation.GET, 1))
    assert 30 <= time.now - 1_000 <= 33


async def test_backups_of_a_managed_hsm_do_not_hold_up_its_reads(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.MANAGED_HSM)
    for _ in range(8):
        await pacer.admit(Turn(VaultOperation.BACK_UP, 1))
    await pacer.admit(Turn(VaultOperation.GET, 1))
    assert time.now == 1_000.0
    await pacer.admit(Turn(VaultOperation.BACK_UP, 1))
    assert time.now > 1_000.0


async def test_what_an_answer_showed_to_cost_more_counts(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.PREMIUM)
    for _ in range(200):
        await pacer.admit(Turn(VaultOperation.GET, 1))
        pacer.charge(Turn(VaultOperation.GET, 15))
    assert time.now == 1_000.0
    await pacer.admit(Turn(VaultOperation.GET, 1))
    assert time.now > 1_009.0


async def test_a_refusal_holds_up_everybody(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.STANDARD)
    pacer.answered(Turn(VaultOperation.GET), 429, None)
    await pacer.admit(Turn(VaultOperation.LIST, 1))
    assert time.now == 1_001.0


async def test_keys_are_created_at_their_own_pace_and_hold_up_nothing_else(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.PREMIUM)
    for _ in range(16):
        await pacer.admit(Turn(VaultOperation.CREATE, key_type="EC"))
    for _ in range(8):
        await pacer.admit(Turn(VaultOperation.CREATE, key_type="EC-HSM"))
    for _ in range(240):
        await pacer.admit(Turn(VaultOperation.IMPORT, key_type="EC-HSM"))
    await pacer.admit(Turn(VaultOperation.DELETE))
    assert time.now == 1_000.0
    # A rotation counts as the creation that it is.
    await pacer.admit(Turn(VaultOperation.ROTATE))
    assert time.now > 1_009.0


async def test_nobody_waits_longer_than_a_minute(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.MANAGED_HSM)
    pacer.answered(Turn(VaultOperation.CREATE), 429, 61.0)
    with pytest.raises(VaultUnavailableError) as caught:
        await pacer.admit(Turn(VaultOperation.CREATE))
    assert (caught.value.code, caught.value.retry_after.total_seconds()) == ("vault_throttled", 61.0)
    assert caught.value.facts["cause"] == "throttled"
    await pacer.admit(Turn(VaultOperation.IMPORT))
    assert time.now == 1_000.0


async def test_who_comes_too_late_in_a_long_line_is_told_at_once(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.MANAGED_HSM)
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await over.wait()

    monkeypatch.setattr(rate_limit.asyncio, "sleep", sleep)
    waiting = [asyncio.create_task(pacer.admit(Turn(VaultOperation.CREATE))) for _ in range(100)]
    await asyncio.wait(waiting, timeout=0.05)
    refused = [task for task in waiting if task.done() and task.exception() is not None]
    waits = [error.retry_after.total_seconds() for task in refused if (error := task.exception())]
    # One went out at once, and four in five seconds may follow for a minute.
    assert (waiting[0].done(), len(refused)) == (True, 100 - 46)
    assert min(waits) > 60
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    over.set()
    time.now += 60
    await pacer.admit(Turn(VaultOperation.CREATE))


async def test_a_refusal_meanwhile_ends_a_wait_that_gets_too_long(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.MANAGED_HSM)

    async def refused_meanwhile(seconds: float) -> None:
        time.now += seconds
        pacer.answered(Turn(VaultOperation.CREATE), 429, 90.0)

    monkeypatch.setattr(rate_limit.asyncio, "sleep", refused_meanwhile)
    await pacer.admit(Turn(VaultOperation.CREATE))
    with pytest.raises(VaultUnavailableError):
        await pacer.admit(Turn(VaultOperation.CREATE))


async def test_whoever_asks_first_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = RateLimits().of(URI, VaultType.MANAGED_HSM)
    order: list[int] = []

    async def ask(number: int, cost: int) -> None:
        await pacer.admit(Turn(VaultOperation.BACK_UP, cost))
        order.append(number)

    # The second one needs the whole window, and those behind it do not slip through before.
    await asyncio.gather(ask(0, 7), ask(1, 8), ask(2, 1), ask(3, 1))
    assert order == [0, 1, 2, 3]


async def test_a_probe_that_gets_no_turn_says_so(azure: AzureWorld, application: Application) -> None:
    limits = RateLimits()
    vaults = AzureVaults(SystemClock(), AppIdentity(), limits)
    vault = await azure.vault(application)
    limits.of(vault.uri, vault.type).answered(Turn(VaultOperation.LIST), 429, 90.0)
    report = await vaults.test(azure.connection(application), vault)
    assert (report.cause, report.stage) == (ConnectionCause.THROTTLED, ConnectionStage.VAULT)
    await vaults.close()


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("0", None), ("", None), ("soon", None), ("-3", None)]
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}) == seconds


def test_retry_after_as_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after({"Retry-After": format_datetime(then, usegmt=True)}) == pytest.approx(90, abs=3)
    assert retry_after({"Retry-After": format_datetime(then - timedelta(days=1), usegmt=True)}) is None
    assert retry_after({}) is None


async def test_a_vault_with_less_room_than_documented_still_answers_everything(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    vault = await azure.vault(application)
    await azure.seed(vault, {"name": "k", "count": 50})
    await azure.fault(action={"kind": "respond", "status": 429, "code": "Throttled"}, vault=vault.name, probability=0.1)
    async with vaults.keys("grp_r", azure.connection(application), vault) as keys:
        found = await asyncio.gather(*(keys.get_version(f"k-{number:06d}", None) for number in range(50)))
    assert len({listed.name for listed, _ in found}) == 50
