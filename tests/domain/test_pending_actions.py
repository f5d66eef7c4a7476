"""What a pending action keeps, what it explains of what a sync finds, and what is left of a deactivation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.changes import absorbed, noted
from core.domain.drift import DriftKind
from core.domain.keys import Deletion, HistoryEntry, KeyVersion, Presence, Validity, VirtualKey, has_done
from core.domain.new_keys import VersionChanges
from core.domain.observed import ObservedKey
from core.domain.pending_actions import LEFT_OVER_AFTER, Deactivation, KeyAction, PendingAction, Retirement
from core.domain.sync import updated, vanished
from core.domain.wanted_changes import WantedChanges, wanted_by
from tests.builders.keys import ALICE, CREATED, NOW, a_context, a_deletion, a_key, a_version, an_observed

FIRST, SECOND, THIRD = (a_version(str(n) * 32, created=CREATED + timedelta(days=n)) for n in (1, 2, 3))
OFF = Validity(enabled=False)
DATES = Validity(not_before=NOW, expires_on=NOW + timedelta(days=9))


def pending(action: KeyAction, **details: str) -> PendingAction:
    return PendingAction("int_1", action, ALICE, NOW, details)


def wanting(action: KeyAction, changes: VersionChanges, *versions: KeyVersion, reason: str = "") -> PendingAction:
    wanted = WantedChanges(tuple(version.id for version in versions), changes, reason)
    return replace(pending(action), details=wanted.details())


def found(
    key: VirtualKey, *versions: KeyVersion, deletion: Deletion | None = None
) -> list[tuple[DriftKind, str | None]]:
    """Return the drift that a sync finds where the vault shows these versions."""
    seen = updated(a_context(), key, an_observed(*versions, deletion=deletion))
    assert seen.pending == key.pending
    return [(drift.kind, drift.version) for drift in seen.drift]


def disabled(version: KeyVersion) -> KeyVersion:
    return replace(version, validity=OFF, updated_on=NOW)


def test_what_is_older_than_a_request_lives_was_left_over() -> None:
    action = pending(KeyAction.PURGE)
    assert not action.left_over(NOW + LEFT_OVER_AFTER)
    assert action.left_over(NOW + LEFT_OVER_AFTER + timedelta(microseconds=1))


# --- what is wanted of versions -----------------------------------------------------------------------------------

_moments = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_changes = st.builds(
    VersionChanges,
    enabled=st.none() | st.booleans(),
    not_before=_moments,
    expires_on=_moments,
    operations=st.none() | st.lists(st.sampled_from(["sign", "verify"]), unique=True).map(tuple),
    tags=st.none() | st.dictionaries(st.text(min_size=1), st.text(), max_size=3).map(lambda tags: tuple(tags.items())),
)


@given(
    versions=st.lists(st.integers(0, 2**128 - 1).map(lambda n: f"{n:032x}"), max_size=3, unique=True).map(tuple),
    changes=_changes,
    reason=st.text(),
    retiring=st.booleans(),
)
def test_what_is_wanted_survives_being_written_down(
    versions: tuple[str, ...], changes: VersionChanges, reason: str, retiring: bool
) -> None:
    wanted = WantedChanges(versions, changes, reason, retiring)
    assert wanted_by(replace(pending(KeyAction.UPDATE), details=wanted.details())) == wanted


def test_other_actions_want_nothing_of_versions() -> None:
    assert wanted_by(None) is None
    assert wanted_by(pending(KeyAction.PURGE, without_escrow="true")) is None


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        (VersionChanges(), True),
        (VersionChanges(enabled=True), True),
        (VersionChanges(enabled=False), False),
        (VersionChanges(not_before=NOW), True),
        (VersionChanges(not_before=NOW, expires_on=NOW + timedelta(days=8)), False),
        (VersionChanges(operations=("verify", "sign")), True),
        (VersionChanges(operations=("sign",)), False),
        (VersionChanges(tags=(("b", "2"), ("a", "1"))), True),
        (VersionChanges(tags=()), False),
    ],
)
def test_a_version_is_as_it_is_wanted_or_not(changes: VersionChanges, met: bool) -> None:
    version = replace(FIRST, validity=DATES, tags=(("a", "1"), ("b", "2")))
    assert WantedChanges((FIRST.id,), changes).met([version, SECOND]) == ((FIRST.id,) if met else ())


@pytest.mark.parametrize(
    ("wanted", "event", "words"),
    [
        (WantedChanges(("v",), VersionChanges(tags=())), "key.updated", "v"),
        (WantedChanges(("v",), VersionChanges(enabled=False), "leak"), "key.deactivated", "leak"),
        (WantedChanges(("v",), VersionChanges(enabled=True)), "key.activated", ""),
        (WantedChanges(("v", "w"), VersionChanges(enabled=False), retiring=True), "key.version_retired", "v, w"),
    ],
)
def test_what_history_says(wanted: WantedChanges, event: str, words: str) -> None:
    assert (wanted.event, wanted.words) == (event, words)


# --- what an action explains --------------------------------------------------------------------------------------

TAGGED = replace(FIRST, tags=(("a", "1"),), updated_on=NOW)
CHANGES: dict[DriftKind, tuple[VersionChanges, KeyVersion]] = {
    DriftKind.ENABLED: (VersionChanges(enabled=False), disabled(FIRST)),
    DriftKind.DATES: (
        VersionChanges(not_before=NOW, expires_on=NOW + timedelta(days=9)),
        replace(FIRST, validity=DATES, updated_on=NOW),
    ),
    DriftKind.OPERATIONS: (VersionChanges(operations=("sign",)), replace(FIRST, operations=("sign",), updated_on=NOW)),
    DriftKind.TAGS: (VersionChanges(tags=(("a", "1"),)), TAGGED),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_that_is_wanted_is_no_drift(kind: DriftKind) -> None:
    changes, after = CHANGES[kind]
    key = a_key(FIRST, SECOND)
    assert found(key, after, SECOND) == [(kind, FIRST.id)]
    assert found(replace(key, pending=wanting(KeyAction.UPDATE, changes, FIRST)), after, SECOND) == []


def test_what_is_changed_otherwise_than_wanted_is_drift() -> None:
    action = wanting(KeyAction.UPDATE, VersionChanges(tags=(("a", "2"),)), FIRST)
    assert found(a_key(FIRST, pending=action), TAGGED) == [(DriftKind.TAGS, FIRST.id)]


def test_what_is_changed_beside_what_is_wanted_is_drift() -> None:
    key = a_key(FIRST, SECOND, pending=wanting(KeyAction.UPDATE, VersionChanges(tags=(("a", "1"),)), FIRST))
    assert found(key, replace(TAGGED, operations=("sign",)), SECOND) == [(DriftKind.OPERATIONS, FIRST.id)]
    assert found(key, TAGGED, disabled(SECOND)) == [(DriftKind.ENABLED, SECOND.id)]
    assert found(key, TAGGED, SECOND, THIRD) == [(DriftKind.NEW_VERSION, THIRD.id)]


@pytest.mark.parametrize(
    ("action", "presence", "deletion", "kind"),
    [
        (KeyAction.SOFT_DELETE, Presence.LIVE, a_deletion(), DriftKind.SOFT_DELETED),
        (KeyAction.RECOVER, Presence.SOFT_DELETED, None, DriftKind.RECOVERED),
        (KeyAction.RESTORE, Presence.PURGED, None, DriftKind.RESTORED),
    ],
)
def test_where_an_action_moves_a_key_is_no_drift(
    action: KeyAction, presence: Presence, deletion: Deletion | None, kind: DriftKind
) -> None:
    key = a_key(FIRST, presence=presence)
    assert found(key, FIRST, deletion=deletion) == [(kind, None)]
    assert found(replace(key, pending=pending(action)), FIRST, deletion=deletion) == []
    other = KeyAction.RECOVER if action is not KeyAction.RECOVER else KeyAction.SOFT_DELETE
    assert found(replace(key, pending=pending(other)), FIRST, deletion=deletion) == [(kind, None)]


def test_a_restored_key_is_as_it_was_when_it_was_backed_up() -> None:
    key = a_key(disabled(FIRST), SECOND, presence=Presence.PURGED, pending=pending(KeyAction.RESTORE))
    assert found(key, FIRST) == []
    assert found(key, FIRST, THIRD) == [(DriftKind.NEW_VERSION, THIRD.id)]


@pytest.mark.parametrize("action", [KeyAction.SOFT_DELETE, KeyAction.RECOVER])
def test_a_key_on_its_way_is_not_gone(action: KeyAction) -> None:
    key = a_key(FIRST, pending=pending(action))
    assert vanished(a_context(), key) == key


def test_a_key_that_is_being_purged_is_gone_without_drift() -> None:
    key = vanished(a_context(), a_key(FIRST, presence=Presence.SOFT_DELETED, pending=pending(KeyAction.PURGE)))
    assert (key.presence, key.drift) == (Presence.PURGED, ())


@pytest.mark.parametrize("action", [KeyAction.UPDATE, KeyAction.RESTORE, KeyAction.DELETE])
def test_a_key_that_goes_during_another_action_has_vanished(action: KeyAction) -> None:
    key = vanished(a_context(), a_key(FIRST, pending=pending(action)))
    assert (key.presence, [drift.kind for drift in key.drift]) == (Presence.PURGED, [DriftKind.VANISHED])


@pytest.mark.parametrize("deletion", [None, a_deletion()])
def test_a_tombstone_that_is_in_the_vault_again_is_drift(deletion: Deletion | None) -> None:
    assert found(a_key(FIRST, presence=Presence.DESTROYED), FIRST, deletion=deletion) == [(DriftKind.RESTORED, None)]


# --- what is left of a deactivation -------------------------------------------------------------------------------


def deactivation(*versions: KeyVersion) -> Deactivation:
    return Deactivation(NOW, ALICE, "leak", tuple(version.id for version in versions))


def left(key: VirtualKey) -> tuple[str, ...]:
    return key.deactivation.versions if key.deactivation else ()


def test_a_deactivation_names_what_it_disabled() -> None:
    wanted = WantedChanges((FIRST.id, SECOND.id), VersionChanges(enabled=False), "leak")
    key = noted(a_key(disabled(FIRST), disabled(SECOND)), wanted, ALICE, NOW)
    assert key.deactivation == deactivation(FIRST, SECOND)
    # Of one that was cut off it names what was done.
    assert left(noted(a_key(FIRST, disabled(SECOND)), wanted, ALICE, NOW)) == (SECOND.id,)
    assert noted(a_key(FIRST, SECOND), wanted, ALICE, NOW).deactivation is None


def test_a_deactivation_goes_on_with_an_earlier_one() -> None:
    key = a_key(disabled(FIRST), disabled(SECOND), deactivation=deactivation(FIRST))
    wanted = WantedChanges((SECOND.id,), VersionChanges(enabled=False), "again")
    changed = noted(key, wanted, ALICE, NOW)
    assert (left(changed), changed.deactivation and changed.deactivation.reason) == ((FIRST.id, SECOND.id), "again")


def test_an_activation_leaves_what_it_did_not_enable() -> None:
    key = a_key(FIRST, disabled(SECOND), deactivation=deactivation(FIRST, SECOND))
    wanted = WantedChanges((FIRST.id,), VersionChanges(enabled=True))
    assert left(noted(key, wanted, ALICE, NOW)) == (SECOND.id,)
    assert noted(replace(key, versions=(FIRST, SECOND)), wanted, ALICE, NOW).deactivation is None


def test_what_somebody_else_enabled_is_no_part_of_it_any_more() -> None:
    key = a_key(disabled(FIRST), disabled(SECOND), deactivation=deactivation(FIRST, SECOND))
    observed: ObservedKey = an_observed(FIRST, disabled(SECOND))
    assert left(absorbed(key, observed, NOW)) == (SECOND.id,)
    assert absorbed(key, an_observed(FIRST, SECOND), NOW).deactivation is None


def test_an_update_says_nothing_of_a_deactivation() -> None:
    key = a_key(disabled(FIRST), deactivation=deactivation(FIRST))
    assert noted(key, WantedChanges((FIRST.id,), VersionChanges(tags=())), ALICE, NOW) == key


def test_a_retired_version_is_no_deactivation() -> None:
    due = Retirement(FIRST.id, NOW, ALICE)
    later = Retirement(SECOND.id, NOW, ALICE)
    key = a_key(disabled(FIRST), SECOND, retirements=(due, later))
    wanted = WantedChanges((FIRST.id, SECOND.id), VersionChanges(enabled=False), retiring=True)
    changed = noted(key, wanted, ALICE, NOW)
    assert (changed.deactivation, changed.retirements) == (None, (later,))


def test_history_knows_whose_request_it_was() -> None:
    history = (HistoryEntry(NOW, "key.updated", ALICE), HistoryEntry(NOW, "key.purged", ALICE, "", "int_1"))
    assert has_done(history, "int_1")
    assert not has_done(history, "int_2")
