"""Actions on keys are cut at every call out of the process, before it or after it: nothing is lost or half done.

Nothing is purged that no escrow has, and no half action goes unnoticed. What follows a cut is what follows it in life:
the request again, another one, or reconciliation, with or without a sync that sees the key first. Then the process may
be cut again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count

import pytest

from core.domain.jobs import JobStatus
from core.domain.keys import Condition, Presence, VirtualKey
from core.domain.lifecycle import condition_of
from core.domain.pending_actions import KeyAction
from core.errors import ConflictError, VaultUnavailableError
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.life import (
    ACTS,
    AFTER,
    BOB,
    FROM,
    NAME,
    STORES,
    Act,
    LifeStage,
    activate,
    asked,
    deactivate,
    deleting,
    destroy,
    events,
    purge,
    restore,
    restoring,
    soft_delete,
    two_generations,
    versions,
)
from tests.builders.lists import check_lists
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart

type Prepare = Callable[[], Awaitable[LifeStage]]

DONE = {
    KeyAction.UPDATE: "key.updated",
    KeyAction.DEACTIVATE: "key.deactivated",
    KeyAction.ACTIVATE: "key.activated",
    KeyAction.SOFT_DELETE: "key.soft_deleted",
    KeyAction.RECOVER: "key.recovered",
    KeyAction.PURGE: "key.purged",
    KeyAction.RESTORE: "key.restored",
    KeyAction.DELETE: "key.destroyed",
}


async def unescrowed() -> LifeStage:
    """A group that escrows nothing any more, with a key that has a version that no escrow has."""
    stage = await LifeStage.of()
    stored = await stage.groups.get(ACCOUNT, GROUP)
    assert stored is not None
    group = replace(stored.value, escrow=replace(stored.value.escrow, enabled=False))
    await stage.groups.replace(ACCOUNT, GROUP, group, stored.etag)
    stage.vault.live[NAME] += versions(1, first=4)
    await stage.sync()
    return stage


async def deactivated() -> LifeStage:
    """A key that was deactivated, in two steps."""
    stage = await LifeStage.of()
    await stage.acting.attributes.deactivate(await stage.ref(), 1, "first", asked("int_prepared_1"))
    await deactivate(stage, "int_prepared_2")
    return stage


async def drifted(condition: Condition) -> LifeStage:
    """A key that somebody changed, which is found when the action looks."""
    stage = await LifeStage.of(condition)
    held = stage.vault.deleted[NAME][0] if NAME in stage.vault.deleted else stage.vault.live[NAME]
    held[-1] = replace(held[-1], tags=(("by", "mallory"),), updated_on=stage.clock.now())
    return stage


async def restore_older(stage: LifeStage, request: str) -> VirtualKey:
    older = (await stage.key()).escrow[0].id
    return await stage.acting.restores.restore(await stage.ref(), restoring(request, older))


async def by_a_job(act: Act, stage: LifeStage, request: str) -> VirtualKey:
    """Have the vault take so long that a job goes on with it."""
    stage.vault.slow = True
    try:
        return await act(stage, request)
    except VaultUnavailableError:
        await stage.jobs_of_actions.go_on(await stage.ref(), ALICE)
        stage.vault.slow = False
        stage.vault.settle()
        await stage.work()
        return await stage.key()
    finally:
        stage.vault.slow = False
        stage.vault.settle()


@dataclass(frozen=True)
class Scenario:
    """An action as one request makes it, from where, and the drift that it finds."""

    action: KeyAction
    act: Act
    prepare: Prepare
    drift: int = 0


SCENARIOS = {
    **{
        action.value: Scenario(action, act, partial(LifeStage.of, FROM[action]))
        for action, act in ACTS.items()
    },
    "soft-delete with an escrow made for it": Scenario(KeyAction.SOFT_DELETE, soft_delete, unescrowed),
    "activate what was deactivated": Scenario(KeyAction.ACTIVATE, activate, deactivated),
    "restore an older generation": Scenario(KeyAction.RESTORE, restore_older, two_generations),
    "destroy two generations": Scenario(KeyAction.DELETE, destroy, two_generations),
    "deactivate over drift": Scenario(KeyAction.DEACTIVATE, deactivate, partial(drifted, Condition.ACTIVE), drift=1),
    "purge over drift": Scenario(KeyAction.PURGE, purge, partial(drifted, Condition.SOFT_DELETED), drift=1),
    "soft-delete by a job": Scenario(
        KeyAction.SOFT_DELETE, partial(by_a_job, soft_delete), partial(LifeStage.of, Condition.ACTIVE)
    ),
}  # fmt: skip


# --- what comes after the cut -------------------------------------------------------------------------------------


async def again(stage: LifeStage, scenario: Scenario) -> bool:
    """The request is repeated once the first counts as crashed, and once more after it was answered."""
    stage.clock.move(timedelta(minutes=5))
    await scenario.act(stage, "int_1")
    await scenario.act(stage, "int_1")
    await check_lists(stage)
    return True


async def later(stage: LifeStage, scenario: Scenario) -> bool:
    """Nobody repeats it."""
    await settle(stage)
    return False


async def by_another(stage: LifeStage, scenario: Scenario) -> bool:
    """Somebody else asks for the same, when reconciliation has looked."""
    await settle(stage)
    # It was done before, unless the first was cut off early; what is left over is in nobody's way any more.
    with suppress(ConflictError):
        await scenario.act(stage, "int_2")
    assert (await stage.key()).pending is None
    return True


async def sync_first(then: Callable[[LifeStage, Scenario], Awaitable[bool]], stage: LifeStage, scn: Scenario) -> bool:
    """A sync sees what there is before anything else happens."""
    stage.clock.move(timedelta(minutes=1))
    await stage.sync("full")
    return await then(stage, scn)


async def settle(stage: LifeStage) -> None:
    """Time passes, and the timers tick."""
    stage.clock.move(timedelta(minutes=6))
    await stage.jobs.reconcile()
    await stage.work()
    await stage.acting.settling.reconcile(stage.jobs)


RECOVERIES = {
    "again": again,
    "later": later,
    "by another": by_another,
    "sync, again": partial(sync_first, again),
    "sync, later": partial(sync_first, later),
}


async def cut(stage: LifeStage, fuse: Fuse, work: Callable[[], Awaitable[object]]) -> None:
    """Do some work in a process that ends when the fuse blows; then there is another process."""
    kept = put_fuse(stage, fuse, STORES)
    stage.outbox = kept["queue"].sent
    try:
        await work()
    except (CrashError, BaseExceptionGroup):
        assert fuse.blew
    restart(stage, kept)
    stage.vault.slow = False
    stage.vault.settle()


async def check(stage: LifeStage, scenario: Scenario, before: VirtualKey, *, made: bool) -> None:
    """What must hold when everything has come to rest."""
    await stage.check()
    key = await stage.key()
    await check_nothing_lost(stage, before, key)
    condition = condition_of(key, stage.clock.now())
    done = events(key).count(DONE[scenario.action])
    requests = [entry.request for entry in key.history if entry.request]
    assert len(requests) == len(set(requests)), "one request is done once"
    if made or done:
        assert condition is AFTER.get(scenario.action, Condition.ACTIVE)
    if scenario.action is KeyAction.UPDATE:
        assert bool(done) == bool(key.current and key.current.tags)
    else:
        assert (done == 1) == (condition is AFTER[scenario.action]), "history says what happened"
    assert len(key.drift) - len(before.drift) == scenario.drift, "what was done is nobody else's doing"
    assert [e.event for e in key.history].count("key.discovered") == 1
    if scenario.action is KeyAction.DEACTIVATE and done:
        assert key.deactivation is not None
        assert len(key.deactivation.versions) == len(key.versions)


async def check_nothing_lost(stage: LifeStage, before: VirtualKey, key: VirtualKey) -> None:
    """Every version is in the vault or in an escrow that opens, but of a key that was destroyed."""
    if key.presence is Presence.DESTROYED:
        assert [name async for name in stage.blobs.names("") if await _holds(stage, name, key.id)] == []
        return
    in_vault = {v.id for v in (*stage.vault.live.get(NAME, ()), *stage.vault.deleted.get(NAME, ((), None))[0])}
    escrowed: set[str] = set()
    for generation in key.escrow:
        escrowed |= set((await stage.escrows.open(generation))[0].versions)
    assert {version.id for version in before.versions} <= in_vault | escrowed
    if not in_vault:
        assert not key.unescrowed


async def _holds(stage: LifeStage, archive: str, key: str) -> bool:
    content, _ = await stage.blobs.read(archive)
    return key.encode() in content


async def calm(stage: LifeStage) -> None:
    """Let everything that waits come to its end: patience runs out, jobs are sent again, a sync sees all."""
    await settle(stage)
    stage.clock.move(timedelta(hours=2))
    await settle(stage)
    await stage.sync("full")
    jobs = [stored.value async for _, stored in stage.job_rows.scan(ACCOUNT)]
    assert {job.status for job in jobs} <= {JobStatus.SUCCEEDED}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_crash_at_any_call(name: str, recovery: str, after: bool) -> None:
    scenario = SCENARIOS[name]
    for at in count(1):
        stage = await scenario.prepare()
        before = await stage.key()
        fuse = Fuse(at, after=after)
        await cut(stage, fuse, partial(scenario.act, stage, "int_1"))
        try:
            made = await RECOVERIES[recovery](stage, scenario) or not fuse.blew
            await calm(stage)
            await check(stage, scenario, before, made=made)
        except BaseException as error:
            error.add_note(f"cut at call {at}, {fuse.names[at - 1 :][:1]}, of {len(fuse.names)}")
            raise
        if not fuse.blew:
            break
    assert at > 8


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "drift" not in name and "job" not in name])
async def test_a_second_crash_while_reconciliation_looks(name: str) -> None:
    scenario = SCENARIOS[name]
    for first in count(1, 2):
        reached = False
        for second in count(1, 2):
            stage = await scenario.prepare()
            before = await stage.key()
            fuse, again_fuse = Fuse(first, after=True), Fuse(second, after=False)
            await cut(stage, fuse, partial(scenario.act, stage, "int_1"))
            await cut(stage, again_fuse, partial(settle, stage))
            reached = fuse.blew
            try:
                await calm(stage)
                await check(stage, scenario, before, made=not fuse.blew)
            except BaseException as error:
                error.add_note(f"cut at calls {first} and {second}: {fuse.names[-1:]}, {again_fuse.names[-1:]}")
                raise
            if not again_fuse.blew:
                break
        if not reached:
            break


async def test_the_process_may_end_at_every_attempt() -> None:
    """A deactivation of many versions, by a process that ends a few calls further on each time, is done in the end."""
    stage = await LifeStage.of(count=6)
    before = await stage.key()
    for reach in count(3, 2):
        fuse = Fuse(reach, after=bool(reach % 4 == 1))
        await cut(stage, fuse, partial(deactivate, stage, "int_1"))
        stage.clock.move(timedelta(seconds=10))
        if not fuse.blew:
            break
    await calm(stage)
    await check(stage, SCENARIOS["deactivate"], before, made=True)


async def test_a_life_with_a_crash_in_every_action() -> None:
    """Deleted, purged, restored: each cut at one of its calls, the same in all, and gone on with by reconciliation."""
    way = (deactivate, activate, soft_delete, purge, restore)
    for at in count(1):
        stage, blew = await LifeStage.of(), False
        before = await stage.key()
        for number, act in enumerate(way):
            fuse = Fuse(at, after=bool(number % 2))
            await cut(stage, fuse, partial(act, stage, f"int_{number}"))
            blew |= fuse.blew
            await settle(stage)
            if f"int_{number}" not in {entry.request for entry in (await stage.key()).history}:
                await act(stage, f"int_{number}_again")
        await calm(stage)
        await stage.check()
        key = await stage.key()
        await check_nothing_lost(stage, before, key)
        assert (key.presence, key.versions, key.drift) == (Presence.LIVE, before.versions, ()), at
        wanted = ["key.deactivated", "key.activated", "key.soft_deleted", "key.purged", "key.restored"]
        assert [event for event in events(key) if not event.endswith("_not_done")] == wanted, at
        if not blew:
            break


async def test_two_at_once_of_which_one_is_cut() -> None:
    """Two people ask for a purge; the process of one ends at any call while the other goes on."""
    for at in count(1):
        stage = await LifeStage.of(Condition.SOFT_DELETED)
        before = await stage.key()
        fuse = Fuse(at, after=True)
        await cut(stage, fuse, partial(purge, stage, "int_1"))
        # Perhaps all was done before.
        with suppress(ConflictError):
            await stage.acting.deletions.purge(await stage.ref(), deleting("int_2", by=BOB))
        key = await stage.key()
        assert key.presence is Presence.PURGED
        assert key.history[-1].actor in {ALICE, BOB}
        await calm(stage)
        await check(stage, SCENARIOS["purge"], before, made=True)
        if not fuse.blew:
            break
