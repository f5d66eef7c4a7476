"""What a drill is allowed to do and what it proves; and that its walk passes every key once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.connections import VaultFacts, VaultType
from core.domain.drill_walks import RESTORING, WALKING, DrillWalk
from core.domain.drills import (
    DrillOrder,
    DrillSettings,
    check_drill,
    check_proof,
    check_scratch,
    chosen,
    is_restorable,
    next_drill,
)
from core.domain.escrow import Manifest, overdue, require_complete
from core.domain.keys import Presence, PublicKey
from core.errors import ConflictError, IntegrityError, InvalidRequestError, VaultAnswerError
from tests.builders.keys import NOW, a_generation, a_key, a_version, an_observed

VAULT = VaultFacts(
    resource_id="/subscriptions/S1/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/payments",
    name="payments",
    type=VaultType.PREMIUM,
    uri="https://payments.vault.azure.net",
    location="westeurope",
    tenant_id="t",
    soft_delete_retention_days=90,
    purge_protection=True,
    rbac=True,
    observed_on=datetime(2026, 1, 1, tzinfo=UTC),
)
SCRATCH = replace(
    VAULT, resource_id=VAULT.resource_id.replace("payments", "scratch").lower(), name="scratch", purge_protection=False
)
HSM = replace(VAULT, type=VaultType.MANAGED_HSM)
ONE, TWO = a_version("1" * 32), a_version("2" * 32, created=NOW)


def a_manifest(*versions: str, **changes: object) -> Manifest:
    key = a_key()
    whole = Manifest(
        generation="esc_1",
        account=key.account,
        group=key.group,
        key=key.id,
        azure_name=key.azure_name,
        vault_id=VAULT.resource_id,
        vault_uri=VAULT.uri,
        vault_type="premium",
        location="westeurope",
        geography="Europe",
        subscription="S1",
        tenant="t",
        versions=versions or (ONE.id, TWO.id),
        backup_digest="00",
        created_on=NOW.isoformat(),
        job="job_1",
    )
    return replace(whole, **changes)


# --- where ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "scratch", "code"),
    [
        (VAULT, SCRATCH, None),
        (VAULT, replace(SCRATCH, location="North Europe"), None),
        (VAULT, replace(SCRATCH, location="eastus"), "restore_elsewhere"),
        (VAULT, replace(SCRATCH, resource_id="/subscriptions/s2/x/vaults/scratch"), "restore_elsewhere"),
        (VAULT, replace(SCRATCH, type=VaultType.MANAGED_HSM), "restore_elsewhere"),
        (HSM, SCRATCH, "restore_elsewhere"),
        (HSM, replace(SCRATCH, type=VaultType.MANAGED_HSM, location="eastus"), None),
        (VAULT, replace(SCRATCH, purge_protection=True), "scratch_purge_protected"),
        (VAULT, replace(SCRATCH, resource_id=VAULT.resource_id.lower()), "scratch_own_vault"),
    ],
)
def test_a_scratch_vault_takes_backups_and_lets_them_be_purged(
    own: VaultFacts, scratch: VaultFacts, code: str | None
) -> None:
    if code is None:
        check_scratch(own, scratch)
        return
    with pytest.raises(ConflictError) as refused:
        check_scratch(own, scratch)
    assert refused.value.code == code


def test_a_standard_vault_holds_no_hardware() -> None:
    hardware = [ONE, replace(TWO, type="EC-HSM")]
    assert is_restorable([ONE, TWO], replace(SCRATCH, type=VaultType.STANDARD))
    assert not is_restorable(hardware, replace(SCRATCH, type=VaultType.STANDARD))
    assert is_restorable(hardware, SCRATCH)


# --- proof ---------------------------------------------------------------------------------------------------------


def test_a_key_that_came_back_as_it_was_is_proof() -> None:
    key, manifest = a_key(ONE, TWO), a_manifest()
    check_proof(key, manifest, an_observed(ONE, TWO))
    # A version that was made between the list and the backup came back, too.
    check_proof(key, manifest, an_observed(ONE, TWO, a_version("3" * 32, created=NOW)))
    # One that the vault has lost since is not the backup's.
    check_proof(a_key(TWO), manifest, an_observed(ONE, TWO))


@pytest.mark.parametrize(
    ("observed", "code"),
    [
        (an_observed(ONE), "restore_incomplete"),
        (an_observed(ONE, replace(TWO, public_key=PublicKey(thumbprint="another"))), "restore_differs"),
        (an_observed(replace(ONE, public_key=PublicKey()), TWO), "restore_differs"),
    ],
)
def test_a_key_that_came_back_otherwise_is_none(observed: object, code: str) -> None:
    with pytest.raises(VaultAnswerError) as refused:
        check_proof(a_key(ONE, TWO), a_manifest(), observed)  # type: ignore[arg-type]
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"azure_name": "DB-KEY"}, None),
        ({"schema": 2}, "escrow_schema_unknown"),
        ({"key": "key_another"}, "escrow_misplaced"),
        ({"account": "acc_another"}, "escrow_misplaced"),
        ({"generation": "esc_another"}, "escrow_misplaced"),
        ({"azure_name": "another"}, "escrow_misplaced"),
        ({"geography": ""}, "escrow_incomplete"),
        ({"subscription": ""}, "escrow_incomplete"),
        ({"vault_id": ""}, "escrow_incomplete"),
        ({"versions": (ONE.id,)}, "escrow_incomplete"),
        ({"versions": ()}, "escrow_incomplete"),
    ],
)
def test_a_manifest_says_all_that_a_restore_needs(changes: dict[str, object], code: str | None) -> None:
    generation = a_generation(ONE.id, TWO.id)
    if code is None:
        require_complete(a_manifest(**changes), a_key(ONE, TWO), generation)
        return
    with pytest.raises(IntegrityError) as refused:
        require_complete(a_manifest(**changes), a_key(ONE, TWO), generation)
    assert refused.value.code == code


def test_what_no_escrow_has_is_overdue_after_a_day() -> None:
    day = timedelta(days=1)
    key = a_key(ONE, TWO, escrow=(a_generation(ONE.id),), recorded_on=NOW - 9 * day)
    assert overdue(key, NOW + day) == frozenset()
    assert overdue(key, NOW + day + timedelta(seconds=1)) == {TWO.id}
    assert overdue(replace(key, recorded_on=NOW + day), NOW + 2 * day) == frozenset(), "not known for a day yet"
    later = NOW + 9 * day
    assert overdue(replace(key, escrow=()), later) == {ONE.id, TWO.id}
    for known in (
        {"presence": Presence.SOFT_DELETED},
        {"escrow_problem": "backup_refused"},
        {"escrow": (replace(a_generation(ONE.id), broken="escrow_missing"),)},
    ):
        assert overdue(replace(key, **known), later) == frozenset()


def test_a_broken_escrow_covers_nothing() -> None:
    key = a_key(ONE, TWO, escrow=(a_generation(ONE.id, TWO.id),))
    assert key.unescrowed == frozenset()
    broken = replace(key, escrow=(replace(key.escrow[0], broken="escrow_missing"),))
    assert broken.unescrowed == {ONE.id, TWO.id}


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        DrillSettings(every_days=0),
        DrillSettings(every_days=366),
        DrillSettings(sample=0),
        DrillSettings(restores=0),
        DrillSettings(restores=11),
        DrillOrder(sample=100_001),
    ],
)
def test_bounds(settings: DrillSettings | DrillOrder) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_drill(settings)
    assert refused.value.code == "group_invalid"


def test_the_next_drill_is_late_rather_than_never() -> None:
    assert next_drill(DrillSettings(every_days=2), NOW, NOW) == NOW + timedelta(days=2)
    assert next_drill(DrillSettings(), NOW - timedelta(days=30), NOW) == NOW
    assert next_drill(DrillSettings(paused=True), NOW, NOW) is None


@given(
    st.builds(
        DrillOrder,
        sample=st.none() | st.integers(1, 100),
        restore_into=st.none() | st.just("grp_x"),
        restores=st.integers(1, 10),
    )
)
def test_an_order_survives_as_a_jobs_options(order: DrillOrder) -> None:
    read = DrillOrder.of(order.options())
    assert (read.sample, read.restore_into) == (order.sample, order.restore_into)
    assert order.restore_into is None or read.restores == order.restores


@given(st.sets(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)), st.integers(1, 10), st.text())
def test_a_choice_is_the_same_however_it_is_made(keys: set[str], number: int, job: str) -> None:
    at_once = chosen(job, keys, number)
    assert len(at_once) == min(number, len(keys))
    one_by_one: tuple[str, ...] = ()
    for key in sorted(keys):
        one_by_one = chosen(job, {*one_by_one, key}, number)
    assert one_by_one == at_once


# --- the walk ------------------------------------------------------------------------------------------------------


def walked(keys: list[str], walk: DrillWalk, leaf: int) -> tuple[list[str], DrillWalk]:
    """Walk as a drill does, through its checkpoint after each leaf."""
    looked_at: list[str] = []
    passes = [(False, [key for key in keys if key > (walk.position or walk.start)])] if not walk.wrapped else []
    if walk.start:
        passes.append((True, [key for key in keys if key <= walk.start]))
    for wrapped, positions in passes:
        for at in range(0, len(positions), leaf):
            if walk.ended:
                return looked_at, walk
            some = positions[at : at + leaf]
            share = walk.share([(key, key) for key in some], wrapped=wrapped)
            looked_at += [key for key, _ in share]
            cut = walk.left is not None and len(share) == walk.left
            walk = walk.moved(share[-1][0] if cut else some[-1], len(share), {"opened": len(share)}, wrapped=wrapped)
            walk = DrillWalk.of(walk.checkpoint(WALKING))
    return looked_at, walk


@given(
    st.sets(st.integers(0, 999).map(lambda number: f"key-{number:03}"), min_size=1),
    st.none() | st.integers(1, 20),
    st.integers(1, 9),
)
def test_every_key_has_its_turn(keys: set[str], sample: int | None, leaf: int) -> None:
    ordered, seen, position = sorted(keys), list[str](), ""
    rounds = 1 if sample is None else -(-len(keys) // sample)
    for _ in range(rounds):
        start = position if sample is not None else ""
        looked_at, walk = walked(ordered, DrillWalk(start=start, left=sample), leaf)
        assert len(looked_at) == len(set(looked_at)) == min(len(keys), sample or len(keys))
        assert walk.counts.get("opened", 0) == len(looked_at)
        seen, position = [*seen, *looked_at], walk.position
    assert set(seen) == keys


def test_a_walk_survives_in_a_checkpoint() -> None:
    walk = DrillWalk("a", "b", wrapped=True, left=3, counts={"opened": 2}, candidates=("key_1", "key_2"))
    assert DrillWalk.of(walk.checkpoint(RESTORING)) == walk
    assert DrillWalk.of(DrillWalk().checkpoint(WALKING)) == DrillWalk()
