"""When key exchange keys are used, renewed and retired, and what a vault is asked for."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from core.domain.exchange_keys import OVERLAP, RENEWED_AFTER, ExchangeKey, GroupExchangeKeys, wanted
from core.domain.key_kinds import Target, violations
from tests.builders.keys import ACCOUNT, GROUP, NOW

TICK = timedelta(microseconds=1)
RENEW = NOW + RENEWED_AFTER


def a_key(number: int = 1, created_on: datetime = NOW, retired_on: datetime | None = None) -> ExchangeKey:
    return ExchangeKey(f"kek-{number}", "1" * 32, f"key_{number}", created_on, retired_on)


def the_group(*keys: ExchangeKey) -> GroupExchangeKeys:
    return GroupExchangeKeys(ACCOUNT, GROUP, keys)


@pytest.mark.parametrize(
    ("now", "wraps"),
    [
        (NOW, True),
        # The vault's clock may be ahead of ours.
        (NOW - timedelta(minutes=5), True),
        (RENEW - TICK, True),
        (RENEW, False),
        (RENEW + OVERLAP, False),
    ],
)
def test_a_key_exchange_key_wraps_until_it_is_renewed(now: datetime, wraps: bool) -> None:
    assert a_key().wraps_at(now) is wraps
    assert (the_group(a_key()).current(now) is not None) is wraps
    assert not a_key(retired_on=NOW).wraps_at(now)


def test_blobs_can_be_imported_for_a_while_after_another_took_its_place() -> None:
    assert a_key().retire_on - a_key().renew_on == OVERLAP
    # It ends in the vault at the latest when it is retired, so one that nobody retires ends by itself.
    assert wanted(NOW + TICK).validity.expires_on == a_key().retire_on


def test_the_newest_that_wraps_is_the_current_one() -> None:
    old, new = a_key(1, NOW - timedelta(days=29)), a_key(2)
    assert the_group(old, new).current(NOW) == new
    assert the_group(old, replace(new, retired_on=NOW)).current(NOW) == old
    assert the_group().current(NOW) is None
    assert the_group(old).current(NOW + timedelta(days=1)) is None


def test_a_vault_is_asked_for_what_can_be_a_key_exchange_key_and_nothing_else() -> None:
    new = wanted(NOW)
    assert (new.type, new.kind.size, new.operations, new.exportable) == ("RSA-HSM", 4096, ("import",), False)
    for target in (Target.PREMIUM_HSM, Target.MANAGED_HSM):
        assert violations(target, new.kind, new.operations) == ()


def test_one_more_is_remembered_once() -> None:
    once = the_group(a_key(1)).with_key(a_key(2))
    assert once.keys == (a_key(1), a_key(2))
    assert once.with_key(a_key(2)) == once


def test_one_is_retired_once_and_the_others_stay() -> None:
    retired = the_group(a_key(1), a_key(2)).retired("key_1", NOW)
    assert retired.keys == (a_key(1, retired_on=NOW), a_key(2))
    assert retired.retired("key_1", NOW + TICK) == retired
    assert retired.retired("key_3", NOW) == retired
    assert retired.find("key_1") == a_key(1, retired_on=NOW)
    assert retired.find("key_3") is None
