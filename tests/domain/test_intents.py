"""Whether a version that a vault shows is the one that was asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.domain.intents import is_expected
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import PublicKey, Validity
from tests.builders.intents import NEW, SHOWN, VALIDITY, an_intent
from tests.builders.keys import NOW


def test_what_was_asked_for_is_expected_in_any_order() -> None:
    assert is_expected(an_intent(), SHOWN)
    assert is_expected(an_intent(thumbprint="print"), SHOWN)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "RSA"},
        {"type": "EC-HSM"},
        {"size": 2048},
        {"public_key": PublicKey(curve="P-256", thumbprint="print")},
        {"operations": ("sign",)},
        {"operations": ("sign", "verify", "encrypt")},
        {"operations": ()},
        {"tags": ()},
        {"tags": (("env", "test"), ("team", "cards"))},
        {"tags": (("env", "prod"), ("team", "cards"), ("more", ""))},
        {"validity": Validity()},
        {"validity": replace(VALIDITY, enabled=False)},
        {"validity": replace(VALIDITY, not_before=None)},
        {"validity": replace(VALIDITY, expires_on=NOW + timedelta(days=364))},
        {"exportable": False},
    ],
    ids=str,
)
def test_every_attribute_that_differs_makes_it_somebody_elses(changes: dict[str, object]) -> None:
    assert not is_expected(an_intent(), replace(SHOWN, **changes))


@pytest.mark.parametrize(
    ("wanted", "shown", "expected"),
    [
        ("print", "print", True),
        ("print", "other", False),
        ("print", None, False),
        # Nobody knows beforehand what a vault generates.
        (None, "print", True),
        (None, None, True),
    ],
)
def test_material_of_ours_is_known_by_its_public_key(wanted: str | None, shown: str | None, expected: bool) -> None:
    version = replace(SHOWN, public_key=PublicKey(n="AQAB", e="AQAB", thumbprint=shown))
    assert is_expected(an_intent(thumbprint=wanted), version) is expected


@pytest.mark.parametrize(
    ("curve", "size", "expected"),
    [("P-256", 256, True), ("P-256K", 256, False), ("P-384", 384, False), (None, 256, False)],
)
def test_a_curve_tells_ec_keys_apart_and_their_bits_do_not(curve: str | None, size: int, expected: bool) -> None:
    new = replace(NEW, type="EC-HSM", kind=KeyKind(KeyFamily.EC, curve="P-256"))
    version = replace(SHOWN, type="EC-HSM", size=size, public_key=PublicKey(curve=curve, thumbprint="print"))
    assert is_expected(an_intent(new), version) is expected


@pytest.mark.parametrize(("size", "expected"), [(256, True), (None, True), (128, False)])
def test_a_symmetric_key_is_expected_with_the_size_that_the_vault_tells_if_it_tells_one(
    size: int | None, expected: bool
) -> None:
    new = replace(NEW, type="oct-HSM", kind=KeyKind(KeyFamily.AES, 256))
    version = replace(SHOWN, type="oct-HSM", size=size, public_key=PublicKey())
    assert is_expected(an_intent(new), version) is expected


def test_dates_are_the_same_in_any_time_zone() -> None:
    utc = replace(SHOWN, validity=Validity(not_before=datetime(2026, 11, 23, 12, tzinfo=UTC)))
    new = replace(NEW, validity=Validity(not_before=NOW.astimezone()))
    assert is_expected(an_intent(new), utc)


@pytest.mark.parametrize(
    ("ago", "left"),
    [
        (None, 0),
        (0, 60),
        (1, 59),
        (59, 1),
        (60, 0),
        (3600, 0),
        # The clock of the process that sent it is ahead of ours.
        (-2, 60),
        (-60, 60),
        # It was turned back.
        (-61, 0),
        (-86_400, 0),
    ],
)
def test_a_request_may_arrive_for_a_minute_after_it_was_given_up_on(ago: int | None, left: int) -> None:
    intent = an_intent(sent_on=None if ago is None else NOW - timedelta(seconds=ago))
    assert intent.may_arrive_for(NOW) == timedelta(seconds=left)


def test_an_intent_that_is_done_says_when_and_what_came_of_it() -> None:
    done = an_intent().done("key_1", NOW + timedelta(seconds=5))
    assert (done.key, done.ended_on) == ("key_1", NOW + timedelta(seconds=5))
    assert replace(done, key=None, ended_on=None) == an_intent()
