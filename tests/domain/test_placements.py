"""What is recorded of a key that was made: the same whichever of sync and request was first, and however often."""

from dataclasses import replace
from datetime import timedelta

from core.domain.callers import ActorKind
from core.domain.intents import Intent
from core.domain.keys import CopiedFrom, CopiedVersion, KeyOrigin, Presence, Validity, VirtualKey
from core.domain.placements import context_of, placed
from core.domain.sync import discovered, updated
from tests.builders.intents import an_intent
from tests.builders.keys import ALICE, NOW, a_context, a_deletion, a_generation, a_version, an_observed

LATER = NOW + timedelta(minutes=3)
VERSION = a_version(created=NOW)
OBSERVED = an_observed(VERSION, name="card-key")
LINK = CopiedFrom(
    "grp_sources", "key_source", "master", ALICE, NOW, (CopiedVersion("", 3, VERSION.public_key.thumbprint),)
)


def a_placed(recorded: VirtualKey | None = None, intent: Intent | None = None) -> VirtualKey:
    intent = intent or an_intent(origin=KeyOrigin.IMPORTED, event="key.imported")
    return placed(context_of(intent, "payments", LATER), intent, OBSERVED, recorded)


def what_is_said(key: VirtualKey) -> tuple[object, ...]:
    return key.id, key.name, key.azure_name, key.origin, key.created_by, key.copied_from, key.versions


def test_a_key_that_no_sync_has_seen_is_recorded_as_it_was_made() -> None:
    key = a_placed()
    assert (key.name, key.azure_name, key.origin, key.created_by) == ("Card key", "card-key", KeyOrigin.IMPORTED, ALICE)
    assert (key.versions, key.presence, key.recorded_on) == ((VERSION,), Presence.LIVE, LATER)
    assert [(entry.event, entry.actor, entry.detail) for entry in key.history] == [("key.imported", ALICE, VERSION.id)]


def test_a_key_that_a_sync_saw_first_is_said_to_be_the_same() -> None:
    found = discovered(a_context(), OBSERVED)
    key = a_placed(found)
    assert what_is_said(key) == what_is_said(a_placed())
    assert [entry.event for entry in key.history] == ["key.discovered", "key.imported"]
    assert key.history[0].actor.kind is ActorKind.SYNC
    assert not key.drift


def test_what_a_sync_wrote_meanwhile_stays() -> None:
    second = a_version("2" * 32, created=LATER)
    seen = an_observed(replace(VERSION, validity=Validity(enabled=False), updated_on=LATER), second, name="card-key")
    found = replace(
        updated(a_context(), discovered(a_context(), OBSERVED), seen), escrow=(a_generation(VERSION.id, second.id),)
    )
    key = a_placed(found)
    assert (key.versions, key.fingerprint) == (seen.versions, found.fingerprint)
    assert (key.escrow, key.drift) == (found.escrow, found.drift)
    assert (key.name, key.origin) == ("Card key", KeyOrigin.IMPORTED)


def test_a_key_that_somebody_deleted_meanwhile_is_not_live_again() -> None:
    deleted = updated(
        a_context(), discovered(a_context(), OBSERVED), an_observed(VERSION, name="card-key", deletion=a_deletion())
    )
    key = a_placed(deleted)
    assert (key.presence, key.deletion) == (Presence.SOFT_DELETED, deleted.deletion)
    assert key.drift == deleted.drift


def test_recording_it_again_changes_nothing() -> None:
    once = a_placed()
    assert a_placed(once) == once
    after_sync = a_placed(discovered(a_context(), OBSERVED))
    assert a_placed(after_sync) == after_sync


def test_a_later_try_does_not_take_back_what_was_changed_since() -> None:
    renamed = replace(a_placed(), name="Another name")
    assert a_placed(renamed).name == "Another name"


def test_a_copy_carries_its_link_with_the_version_that_the_vault_made() -> None:
    intent = an_intent(origin=KeyOrigin.KEYSTEWARD, event="key.copied", copied_from=LINK)
    for recorded in (None, discovered(a_context(), OBSERVED)):
        key = a_placed(recorded, intent)
        assert key.copied_from is not None
        assert replace(key.copied_from, versions=()) == replace(LINK, versions=())
        assert key.copied_from.versions == (CopiedVersion(VERSION.id, 3, VERSION.public_key.thumbprint),)
        assert not key.material_differs


def test_a_symmetric_copy_is_known_by_its_version() -> None:
    link = replace(LINK, versions=(CopiedVersion("", 1, None),))
    version = replace(VERSION, public_key=replace(VERSION.public_key, thumbprint=None))
    intent = an_intent(copied_from=link)
    key = placed(context_of(intent, "payments", LATER), intent, an_observed(version, name="card-key"), None)
    assert key.copied_from is not None
    assert key.copied_from.versions == (CopiedVersion(version.id, 1, None),)
    assert not key.material_differs


def test_a_vault_that_shows_another_public_key_than_that_of_the_source_is_found_out() -> None:
    link = replace(LINK, versions=(CopiedVersion("", 3, "of the source"),))
    assert a_placed(None, an_intent(copied_from=link)).material_differs


def test_the_cause_that_a_record_shows_is_the_intent() -> None:
    context = context_of(an_intent(), "payments", LATER)
    assert (context.account, context.group, context.job, context.now) == (
        an_intent().account,
        an_intent().group,
        "int_1",
        LATER,
    )
