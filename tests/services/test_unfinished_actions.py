"""Actions on keys that stay pending: found after an hour, and cleared by whoever settles them."""

from datetime import timedelta

import pytest

from core.errors import VaultUnavailableError
from core.services.attribute_actions import ActionRequest
from core.services.findings import FindingCode, FindingFilter
from core.services.opened_keys import KeyRef
from tests.builders.keys import ACCOUNT, ALICE, GROUP, a_version
from tests.builders.syncs import SyncStage
from tests.fakes.vault import FakeVault


async def pending_stage() -> tuple[SyncStage, KeyRef]:
    """A key whose deactivation was done in the vault, though its answer was lost; the vault is away since."""
    stage = SyncStage(FakeVault(live={"one": [a_version()]}))
    await stage.set_up()
    await stage.sync()
    (key,) = (await stage.by_name()).values()
    ref = KeyRef(ACCOUNT, GROUP, key.id)

    def lose(operation: str, name: str) -> None:
        if operation == "update":
            raise VaultUnavailableError("lost")

    stage.vault.after = lose
    with pytest.raises(VaultUnavailableError):
        await deactivate(stage, ref)
    stage.vault.after = lambda operation, name: None
    stage.vault.before = away
    return stage, ref


def away(operation: str, name: str) -> None:
    raise VaultUnavailableError("away")


async def deactivate(stage: SyncStage, ref: KeyRef) -> None:
    await stage.acting.attributes.deactivate(ref, None, "a reason", ActionRequest("int_1", ALICE))


async def codes(stage: SyncStage) -> set[tuple[FindingCode, str | None]]:
    page, _ = await stage.findings.page(ACCOUNT, FindingFilter(code=FindingCode.ACTION_UNFINISHED))
    return {(finding.code, finding.key) for finding in page}


async def test_what_is_pending_for_an_hour_is_found_until_reconciliation_settles_it() -> None:
    stage, ref = await pending_stage()
    stage.clock.move(timedelta(minutes=30))
    assert await stage.acting.settling.reconcile(stage.jobs) == 0
    assert await codes(stage) == set()
    stage.clock.move(timedelta(minutes=31))
    assert await stage.acting.settling.reconcile(stage.jobs) == 0
    assert await codes(stage) == {(FindingCode.ACTION_UNFINISHED, ref.key)}
    stage.vault.before = lambda operation, name: None
    assert await stage.acting.settling.reconcile(stage.jobs) == 1
    assert await codes(stage) == set()


async def test_a_request_that_comes_again_clears_it_too() -> None:
    stage, ref = await pending_stage()
    stage.clock.move(timedelta(minutes=61))
    await stage.acting.settling.reconcile(stage.jobs)
    stage.vault.before = lambda operation, name: None
    await deactivate(stage, ref)
    assert (await stage.by_name())["one"].pending is None
    assert await codes(stage) == set()


async def test_a_conclusion_that_was_cut_off_is_cleared_by_the_next_tick() -> None:
    stage, _ = await pending_stage()
    stage.clock.move(timedelta(minutes=61))
    await stage.acting.settling.reconcile(stage.jobs)
    stage.vault.before = lambda operation, name: None
    settle, left = stage.acting.actions._findings.settle, [VaultUnavailableError("away")]

    async def fail_once(*args: object) -> None:
        if left:
            raise left.pop()
        await settle(*args)  # type: ignore[arg-type]

    stage.acting.actions._findings.settle = fail_once  # type: ignore[method-assign, assignment]
    await stage.acting.settling.reconcile(stage.jobs)
    assert len(await codes(stage)) == 1
    await stage.acting.settling.reconcile(stage.jobs)
    assert await codes(stage) == set()
