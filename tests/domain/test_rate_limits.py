"""Pacing by a vault's limits: data, sliding windows, and what a refusal does."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.connections import VaultType
from core.domain.rate_limits import Limit, Pace, VaultOperation, limit_of, weight_of

VAULT = Limit(4_000, 10.0)
START = 1_000.0


def spend(pace: Pace, limit: Limit, times: int, now: float, cost: int = 1) -> tuple[int, Pace]:
    """How many of `times` requests went out at once, and the pace after them."""
    for sent in range(times):
        wait, pace = pace.admit(limit, cost, now)
        if wait > 0:
            return sent, pace
    return times, pace


STANDARD, PREMIUM, HSM = VaultType.STANDARD, VaultType.PREMIUM, VaultType.MANAGED_HSM


@pytest.mark.parametrize(
    ("vault_type", "operation", "key_type", "name", "limit"),
    [
        (STANDARD, VaultOperation.GET, None, "all", Limit(4_000, 10.0)),
        (PREMIUM, VaultOperation.BACK_UP, "RSA-HSM", "all", Limit(4_000, 10.0)),
        (PREMIUM, VaultOperation.RESTORE, None, "all", Limit(4_000, 10.0)),
        (PREMIUM, VaultOperation.SET_ROTATION_POLICY, None, "all", Limit(4_000, 10.0)),
        (STANDARD, VaultOperation.CREATE, "EC", "create", Limit(20, 10.0)),
        (STANDARD, VaultOperation.CREATE, None, "create", Limit(20, 10.0)),
        (PREMIUM, VaultOperation.CREATE, "RSA", "create", Limit(20, 10.0)),
        (PREMIUM, VaultOperation.CREATE, "RSA-HSM", "create_hsm", Limit(10, 10.0)),
        (PREMIUM, VaultOperation.CREATE, None, "create_hsm", Limit(10, 10.0)),
        (STANDARD, VaultOperation.ROTATE, None, "create", Limit(20, 10.0)),
        (PREMIUM, VaultOperation.ROTATE, None, "create_hsm", Limit(10, 10.0)),
        (STANDARD, VaultOperation.IMPORT, "RSA", "import", Limit(300, 10.0)),
        (PREMIUM, VaultOperation.IMPORT, "RSA-HSM", "import", Limit(300, 10.0)),
        (HSM, VaultOperation.GET, None, "all", Limit(1_100, 1.0)),
        (HSM, VaultOperation.IMPORT, "RSA-HSM", "all", Limit(1_100, 1.0)),
        (HSM, VaultOperation.UPDATE, None, "all", Limit(1_100, 1.0)),
        (HSM, VaultOperation.CREATE, "oct-HSM", "create", Limit(1, 1.0)),
        (HSM, VaultOperation.ROTATE, None, "create", Limit(1, 1.0)),
        (HSM, VaultOperation.BACK_UP, None, "backup", Limit(10, 1.0)),
        (HSM, VaultOperation.RESTORE, None, "restore", Limit(10, 1.0)),
        (HSM, VaultOperation.DELETE, None, "delete", Limit(10, 1.0)),
        (HSM, VaultOperation.PURGE, None, "purge", Limit(10, 1.0)),
    ],
)
def test_limits_are_those_that_microsoft_documents(
    vault_type: VaultType, operation: VaultOperation, key_type: str | None, name: str, limit: Limit
) -> None:
    assert limit_of(vault_type, operation, key_type) == (name, limit)


@pytest.mark.parametrize(
    ("vault_type", "key_type", "at_once"), [(PREMIUM, "EC", 16), (PREMIUM, "EC-HSM", 8), (HSM, "EC-HSM", 1)]
)
def test_creating_keys_keeps_to_its_share(vault_type: VaultType, key_type: str, at_once: int) -> None:
    limit = limit_of(vault_type, VaultOperation.CREATE, key_type)[1]
    assert spend(Pace(), limit, 50, START)[0] == at_once


@pytest.mark.parametrize(
    ("vault_type", "key_type", "size", "weight"),
    [
        (VaultType.STANDARD, "RSA", 2048, 1),
        (VaultType.STANDARD, "RSA", 3072, 4),
        (VaultType.STANDARD, "RSA", 4096, 8),
        (VaultType.STANDARD, "EC", 521, 1),
        (VaultType.PREMIUM, "RSA-HSM", 2048, 2),
        (VaultType.PREMIUM, "RSA-HSM", 4096, 16),
        (VaultType.PREMIUM, "EC-HSM", 256, 2),
        (VaultType.MANAGED_HSM, "RSA-HSM", 4096, 1),
    ],
)
def test_larger_and_hardware_keys_weigh_more(vault_type: VaultType, key_type: str, size: int, weight: int) -> None:
    assert weight_of(vault_type, key_type, size) == weight


def test_a_first_sync_of_a_thousand_keys_fits_one_window() -> None:
    assert spend(Pace(), VAULT, 3_041, START)[0] == 3_041


def test_a_share_of_the_window_stays_free_for_others() -> None:
    sent, pace = spend(Pace(), VAULT, 4_000, START)
    assert sent == 3_200
    wait, _ = pace.admit(VAULT, 1, START)
    assert 10.0 <= wait <= 10.5
    assert pace.admit(VAULT, 1, START + wait)[0] == 0


def test_the_documented_mix_of_hardware_keys_fills_a_window() -> None:
    whole = Pace(share=1.0, share_then=1.0)
    sent, pace = spend(whole, VAULT, 248, START, weight_of(VaultType.PREMIUM, "RSA-HSM", 4096))
    more, _ = spend(pace, VAULT, 100, START, weight_of(VaultType.PREMIUM, "RSA-HSM", 2048))
    assert (sent, more) == (248, 16)


def test_managed_hsm_backups_keep_to_eight_a_second() -> None:
    limit = limit_of(VaultType.MANAGED_HSM, VaultOperation.BACK_UP)[1]
    assert spend(Pace(), limit, 20, START)[0] == 8


def test_a_cost_that_was_learnt_later_counts() -> None:
    pace = Pace().charged(VAULT, 3_200, START)
    assert pace.admit(VAULT, 1, START)[0] > 0


def test_a_cost_above_the_window_goes_out_alone() -> None:
    limit = Limit(1, 1.0)
    wait, pace = Pace().admit(limit, 5, START)
    assert wait == 0
    assert pace.admit(limit, 1, START)[0] > 0


@given(
    costs=st.lists(st.integers(1, 60), min_size=1, max_size=80),
    pauses=st.lists(st.floats(0, 3), min_size=80, max_size=80),
)
def test_no_window_ever_holds_more_than_the_capacity(costs: list[int], pauses: list[float]) -> None:
    limit, capacity = Limit(100, 10.0), 80
    now, pace, sent = START, Pace(), []
    for cost, pause in zip(costs, pauses, strict=False):
        now += pause
        wait, pace = pace.admit(limit, cost, now)
        while wait > 0:
            now += wait
            wait, pace = pace.admit(limit, cost, now)
        sent.append((now, cost))
    for end, _ in sent:
        assert sum(cost for at, cost in sent if end - limit.seconds < at <= end) <= capacity


def spacing(pace: Pace, limit: Limit, now: float) -> float:
    """How long one request waits that comes right behind another."""
    return pace.charged(limit, 1, now).admit(limit, 1, now)[0]


def test_of_a_limit_of_one_a_share_is_used_too() -> None:
    limit = limit_of(HSM, VaultOperation.CREATE)[1]
    assert 1.25 <= spacing(Pace(), limit, START) <= 1.32
    refused = Pace().refused(START, None)
    assert 2.4 <= spacing(refused, limit, START + 1) <= 2.7, "half of it after a refusal"
    assert 1.25 <= spacing(refused, limit, START + 60) <= 1.32


@pytest.mark.parametrize(("ahead", "windows"), [(0, 0), (7, 0), (8, 1), (15, 1), (16, 2), (80, 10)])
def test_the_wait_behind_others_is_told_beforehand(ahead: int, windows: int) -> None:
    limit = Limit(10, 10.0)
    assert Pace().expected_wait(limit, ahead, 1, START) == pytest.approx(windows * 10.5)


@given(spent=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 60)), max_size=30), cost=st.integers(1, 120))
def test_with_nobody_ahead_the_expected_wait_is_the_wait(spent: list[tuple[float, int]], cost: int) -> None:
    limit, now, pace = Limit(100, 10.0), START, Pace()
    for pause, units in spent:
        now += pause
        pace = pace.charged(limit, units, now)
    assert pace.expected_wait(limit, 0, cost, now) == pytest.approx(pace.admit(limit, cost, now)[0])


def test_a_pause_is_part_of_the_expected_wait() -> None:
    assert Pace().refused(START, 300.0).expected_wait(VAULT, 0, 1, START) == 300.0


def test_refusals_in_a_row_pause_longer_each_time() -> None:
    pace, now, pauses = Pace(), START, []
    for _ in range(6):
        pace = pace.refused(now, None)
        wait, _ = pace.admit(VAULT, 1, now)
        pauses.append(wait)
        now += wait
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]


def test_a_refusal_obeys_retry_after() -> None:
    assert Pace().refused(START, 7.0).admit(VAULT, 1, START)[0] == 7.0


def test_refusals_of_one_burst_count_once() -> None:
    pace = Pace()
    for late in range(5):
        pace = pace.refused(START + late / 10, None)
    assert (pace.refusals, pace.share_then) == (1, 0.4)


def test_a_longer_retry_after_within_a_pause_lengthens_it() -> None:
    pace = Pace().refused(START, None).refused(START, 5.0)
    assert pace.paused_until == START + 5.0


def test_the_share_halves_and_comes_back() -> None:
    pace = Pace().refused(START, None)
    shares = [round(pace.share_at(START + after), 2) for after in (0, 30, 60, 600)]
    assert shares == [0.4, 0.6, 0.8, 0.8]
    assert all(left <= right for left, right in itertools.pairwise(shares))


def test_an_answer_ends_the_row_of_refusals() -> None:
    pace = Pace().refused(START, None)
    assert pace.accepted(START + 0.5).refusals == 1
    assert pace.accepted(START + 1.5).refusals == 0
