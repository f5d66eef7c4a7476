"""Waiting for a vault's limit, on the clock of a test and against a vault that throttles."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.adapters.azure import rate_limit
from core.adapters.azure.rate_limit import RateLimits, retry_after
from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import VaultType
from core.domain.rate_limits import VaultOperation
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
        await pacer.admit(VaultOperation.GET, 1)
    assert time.now == 1_000.0


async def test_ten_thousand_requests_take_their_three_windows(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.STANDARD)
    for _ in range(10_000):
        await pacer.admit(VaultOperation.GET, 1)
    assert 30 <= time.now - 1_000 <= 33


async def test_backups_of_a_managed_hsm_do_not_hold_up_its_reads(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.MANAGED_HSM)
    for _ in range(8):
        await pacer.admit(VaultOperation.BACK_UP, 1)
    await pacer.admit(VaultOperation.GET, 1)
    assert time.now == 1_000.0
    await pacer.admit(VaultOperation.BACK_UP, 1)
    assert time.now > 1_000.0


async def test_what_an_answer_showed_to_cost_more_counts(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.PREMIUM)
    for _ in range(200):
        await pacer.admit(VaultOperation.GET, 1)
        pacer.charge(VaultOperation.GET, 15)
    assert time.now == 1_000.0
    await pacer.admit(VaultOperation.GET, 1)
    assert time.now > 1_009.0


async def test_a_refusal_holds_up_everybody(time: Time) -> None:
    pacer = RateLimits(clock=time).of(URI, VaultType.STANDARD)
    pacer.answered(VaultOperation.GET, 429, None)
    await pacer.admit(VaultOperation.LIST, 1)
    assert time.now == 1_001.0


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
