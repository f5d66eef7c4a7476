"""What becomes of a record when Keysteward itself changed the key: the answer is taken over, and is no drift."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.changes import absorbed, added, changed_version, revised
from core.domain.keys import HistoryEntry, KeyVersion, Presence, Validity
from core.domain.observed import fingerprint
from core.domain.pending_actions import Deactivation
from core.domain.sync import updated
from tests.builders.keys import ALICE, CREATED, NOW, a_context, a_deletion, a_key, a_listed, a_version, an_observed

LATER = CREATED + timedelta(days=30)
FIRST, SECOND = a_version(), a_version("2" * 32, created=LATER)
DISABLED = replace(SECOND, validity=Validity(enabled=False), updated_on=NOW)
ENTRY = HistoryEntry(NOW, "key.deactivated", ALICE, "why")


def test_a_change_that_is_recorded_is_no_drift_for_the_next_sync() -> None:
    key = changed_version(a_key(FIRST, SECOND), a_listed("db-key", DISABLED), DISABLED, ENTRY)
    assert key.versions == (FIRST, DISABLED)
    assert (key.history, key.observed_on) == ((ENTRY,), NOW)
    after = updated(a_context(), key, an_observed(FIRST, DISABLED))
    assert (after.drift, after.fingerprint) == ((), key.fingerprint)


def test_a_change_of_an_older_version_does_not_show_in_the_list() -> None:
    before = a_key(FIRST, SECOND)
    older = replace(FIRST, tags=(("old", "yes"),), updated_on=NOW)
    key = revised(before, a_listed("db-key", older), older, NOW)
    assert (key.versions, key.fingerprint) == ((older, SECOND), before.fingerprint)


def test_a_version_that_is_not_recorded_changes_nothing_but_the_history() -> None:
    before = a_key(FIRST)
    key = changed_version(before, a_listed("db-key", DISABLED), DISABLED, ENTRY)
    assert (key.versions, key.fingerprint, key.history) == (before.versions, before.fingerprint, (ENTRY,))


def test_a_version_that_the_vault_made_is_added_once_in_its_place() -> None:
    key = added(a_key(FIRST), a_listed("db-key", SECOND), SECOND, NOW)
    assert (key.versions, key.fingerprint) == ((FIRST, SECOND), fingerprint(a_listed("db-key", SECOND)))
    assert added(key, a_listed("db-key", SECOND), SECOND, NOW) == key
    late = added(a_key(SECOND), a_listed("db-key", FIRST), FIRST, NOW)
    assert (late.versions, late.fingerprint) == ((FIRST, SECOND), a_key(SECOND).fingerprint)


@pytest.mark.parametrize(
    ("observed", "presence", "versions"),
    [
        (an_observed(FIRST, SECOND), Presence.LIVE, (FIRST, SECOND)),
        (an_observed(FIRST), Presence.LIVE, (FIRST,)),
        # Of a soft-deleted key its vault shows the newest version only.
        (an_observed(DISABLED, deletion=a_deletion()), Presence.SOFT_DELETED, (FIRST, DISABLED)),
    ],
)
def test_what_a_vault_shows_is_taken_over_without_a_word(
    observed: object, presence: Presence, versions: tuple[KeyVersion, ...]
) -> None:
    before = a_key(FIRST, SECOND)
    key = absorbed(before, observed, NOW + timedelta(days=1))
    assert (key.presence, key.versions) == (presence, versions)
    assert (key.drift, key.history) == ((), ())
    assert (key.name, key.origin, key.escrow) == (before.name, before.origin, before.escrow)
    assert key.observed_on == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("observed", "left"),
    [((FIRST, DISABLED), (SECOND.id,)), ((FIRST, SECOND), None), ((FIRST,), None)],
)
def test_a_deactivation_is_forgotten_when_its_versions_are_enabled_again(
    observed: tuple[KeyVersion, ...], left: tuple[str, ...] | None
) -> None:
    deactivation = Deactivation(NOW, ALICE, "why", (FIRST.id, SECOND.id))
    key = absorbed(a_key(FIRST, DISABLED, deactivation=deactivation), an_observed(*observed), NOW)
    assert (key.deactivation.versions if key.deactivation else None) == left
