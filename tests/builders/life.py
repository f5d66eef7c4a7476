"""A vault with one key, synced and escrowed; what can be done to it, and what has to hold whatever was done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.callers import Actor, ActorKind
from core.domain.jobs import Job, JobKind
from core.domain.keys import Condition, KeyVersion, Presence, Validity, VirtualKey
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import KeyAction
from core.errors import KeystewardError
from core.ports import Stored
from core.services.action_settling import ActionJobs
from core.services.attribute_actions import ActionRequest
from core.services.deletion_actions import Deleting
from core.services.opened_keys import KeyRef
from core.services.restoring import Restoring
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, NOW, a_version
from tests.builders.lists import check_lists
from tests.builders.syncs import SyncStage
from tests.fakes.vault import FakeVault

NAME = "k"
BOB = Actor(ActorKind.USER, "prn_bob", "Bob")
REASON = "ticket 4711"
#: What the requests begin with that bring a key into its condition.
PREPARED = "int_prepared_"
#: What a process keeps outside of itself, but for its vault.
STORES = (
    "groups",
    "job_rows",
    "key_rows",
    "lock_rows",
    "source_rows",
    "name_rows",
    "index",
    "blobs",
    "queue",
    "sealer",
)
VALIDITY: Mapping[Condition, Validity] = {
    Condition.PRE_ACTIVE: Validity(not_before=NOW + timedelta(days=1)),
    Condition.ACTIVE: Validity(),
    Condition.DISABLED: Validity(enabled=False),
    Condition.EXPIRED: Validity(expires_on=NOW - timedelta(days=1)),
}
#: Calls that change a vault.
CHANGING = frozenset({"create", "update", "rotate", "delete", "recover", "purge", "restore"})

type Act = Callable[["LifeStage", str], Awaitable[VirtualKey]]


def versions(count: int, *, first: int = 1, validity: Validity | None = None) -> list[KeyVersion]:
    """Return versions of one key, a day apart, the last one with this validity; all, if it is disabled."""
    made = [
        a_version(f"{number:032x}", created=CREATED + timedelta(days=number)) for number in range(first, first + count)
    ]
    if validity is not None and not validity.enabled:
        return [replace(version, validity=validity) for version in made]
    return [*made[:-1], replace(made[-1], validity=validity or Validity())]


class LifeStage(SyncStage):
    """A key `k` of three versions."""

    def __init__(self, validity: Validity | None = None, count: int = 3) -> None:
        super().__init__(FakeVault(live={NAME: versions(count, validity=validity)}))
        self.vault.now = self.clock.now
        self.outbox = self.queue.sent

    @classmethod
    async def of(cls, condition: Condition = Condition.ACTIVE, count: int = 3) -> "LifeStage":
        """Return a stage whose key is in a condition, reached through Keysteward as far as it can be."""
        stage = cls(VALIDITY.get(condition), count)
        await stage.set_up()
        await stage.sync()
        for act in _WAY.get(condition, ()):
            await act(stage, f"{PREPARED}{act.__name__}")
        stage.vault.calls.clear()
        return stage

    async def stored(self) -> Stored[VirtualKey]:
        """Return the one key that is recorded."""
        (stored,) = [stored async for _, stored in self.key_rows.scan(GROUP)]
        return stored

    async def key(self) -> VirtualKey:
        return (await self.stored()).value

    async def ref(self) -> KeyRef:
        return ref_of(await self.key())

    def changes_sent(self) -> int:
        """Return how many requests would have changed the vault."""
        return sum(self.vault.calls[call] for call in CHANGING)

    @property
    def jobs_of_actions(self) -> ActionJobs:
        return ActionJobs(self.made.records, self.jobs)

    async def work(self) -> list[Job]:
        """Deliver every message; return the jobs that go on with actions, as they are then."""
        messages, self.outbox[:] = list(self.outbox), []
        for message, _ in messages:
            await self.jobs.run(message["account"], message["job"])
        jobs = [(await self.jobs.get(message["account"], message["job"])).value for message, _ in messages]
        return [job for job in jobs if job.kind is JobKind.ACTION]

    async def later(self, by: timedelta = timedelta(minutes=6)) -> int:
        """Let time pass and reconciliation run; return how many actions it settled."""
        self.clock.move(by)
        return await self.acting.settling.reconcile(self.jobs)

    async def check(self) -> None:
        """Check what must hold of every key, whatever was done: it is as the vault has it, and where lists say."""
        for key in await self._keys():
            assert key.pending is None, key.pending
            name = key.azure_name
            if key.presence is Presence.LIVE:
                assert key.versions == tuple(self.vault.live[name])
            elif key.presence is Presence.SOFT_DELETED:
                assert {version.id for version in key.versions} == {v.id for v in self.vault.deleted[name][0]}
                assert key.deletion == self.vault.deleted[name][1]
            if key.presence is Presence.DESTROYED:
                assert key.escrow == ()
            for generation in key.escrow:
                manifest, _ = await self.escrows.open(generation)
                assert (manifest.key, manifest.versions) == (key.id, generation.versions)
        await check_lists(self)
        assert not (await self.index.page("actions-open")).entries

    async def _keys(self) -> list[VirtualKey]:
        return [stored.value async for _, stored in self.key_rows.scan(GROUP)]


def ref_of(key: VirtualKey) -> KeyRef:
    return KeyRef(ACCOUNT, GROUP, key.id)


def asked(request: str = "int_1", *, by: Actor = ALICE, if_match: str | None = None) -> ActionRequest:
    return ActionRequest(request, by, if_match)


def deleting(request: str = "int_1", *, without_escrow: bool = False, **changes: object) -> Deleting:
    return Deleting(asked(request, **changes), without_escrow=without_escrow)


def restoring(request: str = "int_1", generation: str | None = None) -> Restoring:
    return Restoring(asked(request), generation)


async def update(stage: LifeStage, request: str) -> VirtualKey:
    changes = VersionChanges(expires_on=NOW + timedelta(days=400), tags=(("team", "cards"),))
    return await stage.acting.attributes.update(await stage.ref(), None, changes, asked(request))


async def deactivate(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.attributes.deactivate(await stage.ref(), None, REASON, asked(request))


async def activate(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.attributes.activate(await stage.ref(), None, REASON, asked(request))


async def soft_delete(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.deletions.soft_delete(await stage.ref(), deleting(request), acknowledged=True)


async def recover(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.deletions.recover(await stage.ref(), deleting(request))


async def purge(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.deletions.purge(await stage.ref(), deleting(request))


async def restore(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.restores.restore(await stage.ref(), restoring(request))


async def destroy(stage: LifeStage, request: str) -> VirtualKey:
    return await stage.acting.deletions.destroy(await stage.ref(), asked(request))


_WAY: Mapping[Condition, tuple[Act, ...]] = {
    Condition.SOFT_DELETED: (soft_delete,),
    Condition.PURGED: (soft_delete, purge),
    Condition.DESTROYED: (soft_delete, purge, destroy),
}
#: The actions that have no tests of their own elsewhere, as one request makes each.
ACTS: Mapping[KeyAction, Act] = {
    KeyAction.UPDATE: update,
    KeyAction.DEACTIVATE: deactivate,
    KeyAction.ACTIVATE: activate,
    KeyAction.SOFT_DELETE: soft_delete,
    KeyAction.RECOVER: recover,
    KeyAction.PURGE: purge,
    KeyAction.RESTORE: restore,
    KeyAction.DELETE: destroy,
}
#: From where each is done in tests of what comes in between.
FROM: Mapping[KeyAction, Condition] = {
    KeyAction.UPDATE: Condition.ACTIVE,
    KeyAction.DEACTIVATE: Condition.ACTIVE,
    KeyAction.ACTIVATE: Condition.DISABLED,
    KeyAction.SOFT_DELETE: Condition.ACTIVE,
    KeyAction.RECOVER: Condition.SOFT_DELETED,
    KeyAction.PURGE: Condition.SOFT_DELETED,
    KeyAction.RESTORE: Condition.PURGED,
    KeyAction.DELETE: Condition.PURGED,
}
#: Where each leads; an update leads nowhere.
AFTER: Mapping[KeyAction, Condition] = {
    KeyAction.DEACTIVATE: Condition.DISABLED,
    KeyAction.ACTIVATE: Condition.ACTIVE,
    KeyAction.SOFT_DELETE: Condition.SOFT_DELETED,
    KeyAction.RECOVER: Condition.ACTIVE,
    KeyAction.PURGE: Condition.PURGED,
    KeyAction.RESTORE: Condition.ACTIVE,
    KeyAction.DELETE: Condition.DESTROYED,
}


async def two_generations() -> LifeStage:
    """A purged key with an escrow of three versions, and one of four."""
    stage = await LifeStage.of()
    stage.vault.live[NAME] += versions(1, first=4)
    await stage.sync()
    del stage.vault.live[NAME]
    await stage.sync()
    return stage


async def without_any_escrow(stage: LifeStage) -> None:
    stored = await stage.stored()
    await stage.key_rows.replace(GROUP, stored.value.id, replace(stored.value, escrow=()), stored.etag)


async def refused(action: Awaitable[object], code: str) -> KeystewardError:
    with pytest.raises(KeystewardError) as caught:
        await action
    assert caught.value.code == code
    return caught.value


def events(key: VirtualKey) -> list[str]:
    """What history says of what a test did."""
    apart = {"key.discovered", "key.escrowed"}
    return [e.event for e in key.history if e.event not in apart and not e.request.startswith(PREPARED)]


def enabled(key: VirtualKey) -> dict[str, bool]:
    return {version.id: version.validity.enabled for version in key.versions}


def fails(stage: LifeStage, operation: str, error: KeystewardError, *, after: bool = False, times: int = 1) -> None:
    """Let the next calls of an operation fail, before their work or after it."""
    left = [times]

    def fail(called: str, name: str) -> None:
        if called == operation and left[0]:
            left[0] -= 1
            raise error

    setattr(stage.vault, "after" if after else "before", fail)


def raised(error: KeystewardError) -> None:
    raise error
