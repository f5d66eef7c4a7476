"""What a sync makes of a record: nothing lost, every difference shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.changes import KEPT_PUBLIC_KEYS
from core.domain.drift import DriftKind
from core.domain.keys import CopiedFrom, CopiedVersion, KeyVersion, Presence, PublicKey, Validity, VirtualKey
from core.domain.summaries import summary_of
from core.domain.sync import (
    assemble,
    discovered,
    fingerprint,
    is_same_key,
    is_unchanged,
    needs_escrow,
    updated,
    vanished,
    versions_to_fetch,
)
from tests.builders.keys import (
    ALICE,
    CREATED,
    NOW,
    a_context,
    a_deletion,
    a_generation,
    a_key,
    a_listed,
    a_version,
    an_observed,
    listed_version,
)

LATER = CREATED + timedelta(days=30)


def changed(version: KeyVersion, **changes: object) -> KeyVersion:
    return replace(version, updated_on=LATER, **changes)


@pytest.mark.parametrize(
    ("after", "kind", "old", "new"),
    [
        (changed(a_version(), validity=Validity(enabled=False)), DriftKind.ENABLED, "true", "false"),
        (changed(a_version(), operations=("sign",)), DriftKind.OPERATIONS, "sign,verify", "sign"),
        (changed(a_version(), tags=(("env", "prod"),)), DriftKind.TAGS, "{}", '{"env": "prod"}'),
        (changed(a_version(), validity=Validity(expires_on=NOW)), DriftKind.DATES, "..", f"..{NOW.isoformat()}"),
    ],
)
def test_a_changed_attribute_is_drift_with_before_and_after(
    after: KeyVersion, kind: DriftKind, old: str, new: str
) -> None:
    key = updated(a_context(), a_key(), an_observed(after))
    assert [(d.kind, d.before, d.after, d.version) for d in key.drift] == [(kind, old, new, after.id)]
    assert key.history[-1].event == f"drift.{kind.value}"


def test_a_new_version_is_drift_and_becomes_current() -> None:
    second = a_version("2" * 32, created=LATER)
    key = updated(a_context(), a_key(), an_observed(a_version(), second))
    assert key.current == second
    assert [d.kind for d in key.drift] == [DriftKind.NEW_VERSION]


def test_what_only_keysteward_knows_is_carried_over() -> None:
    recorded = a_key(name="my name", escrow=(a_generation("1" * 32),))
    key = updated(a_context(), recorded, an_observed(changed(a_version(), tags=(("a", "b"),))))
    assert (key.id, key.name, key.origin, key.created_by) == (
        recorded.id, recorded.name, recorded.origin, recorded.created_by,
    )  # fmt: skip
    assert key.escrow == recorded.escrow


def test_seeing_the_same_again_adds_no_drift() -> None:
    second = a_version("2" * 32, created=LATER)
    once = updated(a_context(), a_key(), an_observed(a_version(), second))
    twice = updated(a_context(job="job_2"), once, an_observed(a_version(), second))
    assert twice.drift == once.drift


@pytest.mark.parametrize(
    ("before", "deletion", "kind"),
    [
        (Presence.LIVE, a_deletion(), DriftKind.SOFT_DELETED),
        (Presence.SOFT_DELETED, None, DriftKind.RECOVERED),
        (Presence.PURGED, None, DriftKind.RESTORED),
    ],
)
def test_a_moved_key_is_drift(before: Presence, deletion: object, kind: DriftKind) -> None:
    observed = an_observed(deletion=deletion)
    key = updated(a_context(), a_key(presence=before), observed)
    assert [d.kind for d in key.drift] == [kind]
    assert key.deletion == deletion


def test_a_soft_deleted_key_keeps_the_versions_that_its_vault_does_not_show() -> None:
    first, second = a_version(), a_version("2" * 32, created=LATER)
    key = updated(a_context(), a_key(first, second), an_observed(second, deletion=a_deletion()))
    assert key.versions == (first, second)
    assert [d.kind for d in key.drift] == [DriftKind.SOFT_DELETED]


def test_a_vanished_key_is_purged_and_keeps_its_escrow() -> None:
    key = vanished(a_context(), a_key(escrow=(a_generation("1" * 32),)))
    assert key.presence is Presence.PURGED
    assert key.escrow
    assert key.drift[-1].kind is DriftKind.VANISHED


@pytest.mark.parametrize(
    ("presence", "versions", "deletion", "same"),
    [
        (Presence.LIVE, ("1" * 32,), None, True),
        (Presence.LIVE, ("9" * 32,), None, False),
        (Presence.LIVE, ("9" * 32,), a_deletion(), True),  # a deleted key shows its newest version only
        (Presence.PURGED, ("1" * 32, "9" * 32), None, True),
        (Presence.PURGED, ("9" * 32,), None, False),
        (Presence.PURGED, ("9" * 32,), a_deletion(), False),
    ],
)
def test_a_key_is_told_from_another_of_its_name(
    presence: Presence, versions: tuple[str, ...], deletion: object, same: bool
) -> None:
    observed = an_observed(*(a_version(id_) for id_ in versions), deletion=deletion)
    assert is_same_key(a_key(presence=presence), observed) is same


def test_the_same_key_gets_the_same_id_whoever_finds_it() -> None:
    first, second = a_version(), a_version("2" * 32, created=LATER)
    assert (
        discovered(a_context(), an_observed(first)).id == discovered(a_context(job="x"), an_observed(first, second)).id
    )
    assert discovered(a_context(), an_observed(second)).id != discovered(a_context(), an_observed(first)).id


def test_versions_are_ordered_by_creation_not_by_id() -> None:
    old, new = a_version("f" * 32), a_version("0" * 32, created=LATER)
    listed = [listed_version(new), listed_version(old)]
    assert versions_to_fetch(None, listed) == [new.id, old.id]
    assert assemble(None, listed, {old.id: old, new.id: new}) == (old, new)


def test_only_versions_that_moved_are_fetched() -> None:
    first, second = a_version(), a_version("2" * 32, created=LATER)
    listed = [listed_version(first), listed_version(replace(second, updated_on=NOW))]
    assert versions_to_fetch(a_key(first, second), listed) == [second.id]


@pytest.mark.parametrize(
    ("versions", "escrowed", "presence", "needed"),
    [
        (("1" * 32,), (), Presence.LIVE, True),
        (("1" * 32,), ("1" * 32,), Presence.LIVE, False),
        (("1" * 32, "2" * 32), ("1" * 32,), Presence.LIVE, True),
        (("1" * 32,), (), Presence.SOFT_DELETED, False),
        (("1" * 32,), (), Presence.PURGED, False),
    ],
)
def test_a_live_key_is_escrowed_when_new_or_with_a_new_version(
    versions: tuple[str, ...], escrowed: tuple[str, ...], presence: Presence, needed: bool
) -> None:
    escrow = (a_generation(*escrowed),) if escrowed else ()
    assert needs_escrow(a_key(*(a_version(v) for v in versions), escrow=escrow, presence=presence)) is needed


@pytest.mark.parametrize(
    ("changes", "listed", "escrow", "unchanged"),
    [
        ({"escrow": (a_generation("1" * 32),)}, a_listed(), True, True),
        ({}, a_listed(), True, False),
        ({}, a_listed(), False, True),
        ({"escrow_problem": "backup_refused"}, a_listed(), True, True),
        ({"escrow": (a_generation("1" * 32),)}, a_listed(version=changed(a_version())), True, False),
        ({"escrow": (a_generation("1" * 32),)}, a_listed(deletion=a_deletion()), True, False),
    ],
)
def test_the_list_alone_tells_what_needs_no_request(
    changes: dict[str, object], listed: object, escrow: bool, unchanged: bool
) -> None:
    assert is_unchanged(summary_of(a_key(**changes)), listed, escrow=escrow) is unchanged


def test_everything_that_a_list_shows_is_in_the_fingerprint() -> None:
    base = a_listed()
    others = [
        replace(base, updated_on=LATER),
        replace(base, created_on=LATER),
        replace(base, validity=Validity(enabled=False)),
        replace(base, validity=Validity(not_before=NOW)),
        replace(base, validity=Validity(expires_on=NOW)),
        replace(base, tags=(("a", "b"),)),
        replace(base, exportable=True),
        replace(base, managed=True),
        replace(base, deletion=a_deletion()),
    ]
    assert len({fingerprint(listed) for listed in [base, *others]}) == len(others) + 1


def test_a_key_with_very_many_versions_keeps_all_thumbprints() -> None:
    versions = tuple(
        a_version(f"{n:032x}", created=CREATED + timedelta(minutes=n)) for n in range(KEPT_PUBLIC_KEYS + 5)
    )
    key = discovered(a_context(), an_observed(*versions))
    assert len(key.versions) == len(versions)
    assert all(version.public_key.thumbprint for version in key.versions)
    assert [version.public_key.n is None for version in key.versions[:6]] == [True] * 5 + [False]


def a_copy(*versions: KeyVersion, of: tuple[CopiedVersion, ...]) -> VirtualKey:
    link = CopiedFrom("grp_sources", "key_source", "master", ALICE, NOW, of)
    return a_key(*versions, copied_from=link)


FIRST = a_version()
OURS = CopiedVersion(FIRST.id, 1, FIRST.public_key.thumbprint)
SYMMETRIC = replace(FIRST, type="oct-HSM", public_key=PublicKey())


@pytest.mark.parametrize(
    ("second", "of", "strange"),
    [
        # Rotated outside: the vault made new material.
        (a_version("2" * 32, created=LATER), (OURS,), True),
        # The source key's material came once more, or another version of it that was copied before.
        (a_version("2" * 32, created=LATER, public_key=FIRST.public_key), (OURS,), False),
        (
            a_version("2" * 32, created=LATER, public_key=PublicKey(thumbprint="of version 2")),
            (OURS, CopiedVersion("3" * 32, 2, "of version 2")),
            False,
        ),
        # A key without a public key is known by the version that came from the source.
        (replace(SYMMETRIC, id="2" * 32, created_on=LATER), (CopiedVersion(FIRST.id, 1, None),), True),
        (
            replace(SYMMETRIC, id="2" * 32, created_on=LATER),
            (CopiedVersion(FIRST.id, 1, None), CopiedVersion("2" * 32, 2, None)),
            False,
        ),
    ],
)
def test_a_new_version_of_a_copy_that_is_not_its_sources_material_is_drift_of_material(
    second: KeyVersion, of: tuple[CopiedVersion, ...], strange: bool
) -> None:
    first = SYMMETRIC if second.public_key.thumbprint is None else FIRST
    key = updated(a_context(), a_copy(first, of=of), an_observed(first, second))
    found = [change for change in key.drift if change.kind is DriftKind.MATERIAL]
    assert [(change.after, change.version) for change in found] == (
        [(second.public_key.thumbprint, second.id)] if strange else []
    )
    assert key.material_differs is strange
    assert key.copied_from == a_copy(first, of=of).copied_from
    # It is said once.
    again = updated(a_context(job="job_2"), key, an_observed(first, second))
    assert again.drift == key.drift


def test_material_drift_names_the_version_of_the_source_that_was_copied_last() -> None:
    of = (replace(OURS, thumbprint="older"), replace(OURS, thumbprint="newest"))
    key = updated(a_context(), a_copy(FIRST, of=of), an_observed(FIRST, a_version("2" * 32, created=LATER)))
    (change,) = [change for change in key.drift if change.kind is DriftKind.MATERIAL]
    assert change.before == "newest"


def test_a_key_that_is_no_copy_has_no_material_to_drift_from() -> None:
    key = updated(a_context(), a_key(FIRST), an_observed(FIRST, a_version("2" * 32, created=LATER)))
    assert [change.kind for change in key.drift] == [DriftKind.NEW_VERSION]
    assert not key.material_differs


@pytest.mark.parametrize("copied", [True, False])
def test_a_version_whose_public_key_is_another_all_at_once_is_drift_of_material(copied: bool) -> None:
    other = changed(FIRST, public_key=PublicKey(thumbprint="other"))
    recorded = a_copy(FIRST, of=(OURS,)) if copied else a_key(FIRST)
    key = updated(a_context(), recorded, an_observed(other))
    assert [(c.kind, c.before, c.after) for c in key.drift] == [
        (DriftKind.MATERIAL, FIRST.public_key.thumbprint, "other")
    ]
    assert key.material_differs is copied


def test_a_copy_that_is_back_at_its_sources_material_differs_no_more() -> None:
    second = a_version("2" * 32, created=LATER)
    strange = updated(a_context(), a_copy(FIRST, of=(OURS,)), an_observed(FIRST, second))
    assert strange.material_differs
    third = a_version("3" * 32, created=LATER + timedelta(days=1), public_key=FIRST.public_key)
    back = updated(a_context(), strange, an_observed(FIRST, second, third))
    assert not back.material_differs
    assert [change.kind for change in back.drift].count(DriftKind.MATERIAL) == 1
