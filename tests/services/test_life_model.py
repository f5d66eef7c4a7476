"""Random lives of keys under one name: our actions, other people's, crashes, time, syncs, against a small model.

The model knows the vault (it is in memory) and what was asked for. It predicts what each of our actions comes to from
the lifecycle's table and from what the vault holds, and looks after each step at what must always hold.
MODEL_EXAMPLES=500 explores further than the run of every day, with other lives each time.
"""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.domain.drift import DriftKind
from core.domain.escrow import digest
from core.domain.keys import Condition, KeyVersion, Presence, Validity, VirtualKey, condition_at
from core.domain.lifecycle import TABLE
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import KeyAction
from core.errors import ConflictError, KeystewardError, NotFoundError, StaleWriteError
from core.services.waiting import StillWorkingError
from tests.builders.keys import CREATED, GROUP, a_deletion, a_version
from tests.builders.life import NAME, REASON, STORES, LifeStage, asked, deleting, ref_of, restoring
from tests.builders.lists import check_lists
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart

_EXPLORED = os.environ.get("MODEL_EXAMPLES")
_EXAMPLES, _STEPS = int(_EXPLORED or 200), 40
#: What other people must have done for a kind of drift to be true.
CAUSES: dict[DriftKind, frozenset[str]] = {
    DriftKind.NEW_VERSION: frozenset({"rotate", "recreate", "restore"}),
    DriftKind.VERSION_VANISHED: frozenset({"recreate", "restore"}),
    DriftKind.ENABLED: frozenset({"toggle", "restore"}),
    DriftKind.TAGS: frozenset({"restore"}),
    DriftKind.DATES: frozenset({"restore"}),
    DriftKind.SOFT_DELETED: frozenset({"delete"}),
    DriftKind.RECOVERED: frozenset({"recover", "restore"}),
    DriftKind.VANISHED: frozenset({"purge"}),
    # A restore of ours that was cut off, and whose key somebody deleted then, looks like somebody else's.
    DriftKind.RESTORED: frozenset({"restore", "recreate", "delete"}),
    DriftKind.RECREATED: frozenset({"recreate"}),
}
_ON_VERSIONS = frozenset({KeyAction.UPDATE, KeyAction.DEACTIVATE, KeyAction.ACTIVATE})
_TABLE_CODES = {step.code for actions in TABLE.values() for step in actions.values() if step.code}
_NOT_THERE = frozenset({"key_version_not_found", "escrow_not_found"})
ACTIONS = (
    KeyAction.UPDATE,
    KeyAction.DEACTIVATE,
    KeyAction.ACTIVATE,
    KeyAction.SOFT_DELETE,
    KeyAction.RECOVER,
    KeyAction.PURGE,
    KeyAction.RESTORE,
    KeyAction.DELETE,
)


@dataclass(frozen=True)
class Request:
    """One request, as an idempotency key stands for it: asked again, it is the same."""

    id: str
    action: KeyAction
    key: VirtualKey
    number: int | None = None
    without_escrow: bool = False

    def on(self, stage: LifeStage, if_match: str | None = None) -> Awaitable[VirtualKey]:
        """Send it."""
        ref, acting = ref_of(self.key), stage.acting
        how = asked(self.id, if_match=if_match)
        gone = deleting(self.id, without_escrow=self.without_escrow, if_match=if_match)
        calls: dict[KeyAction, Callable[[], Awaitable[VirtualKey]]] = {
            KeyAction.UPDATE: lambda: acting.attributes.update(ref, self.number, self.changes, how),
            KeyAction.DEACTIVATE: lambda: acting.attributes.deactivate(ref, self.number, REASON, how),
            KeyAction.ACTIVATE: lambda: acting.attributes.activate(ref, self.number, REASON, how),
            KeyAction.SOFT_DELETE: lambda: acting.deletions.soft_delete(ref, gone, acknowledged=True),
            KeyAction.RECOVER: lambda: acting.deletions.recover(ref, gone),
            KeyAction.PURGE: lambda: acting.deletions.purge(ref, gone),
            KeyAction.RESTORE: lambda: acting.restores.restore(ref, replace(restoring(self.id), asked=how)),
            KeyAction.DELETE: lambda: acting.deletions.destroy(ref, how),
        }
        return calls[self.action]()

    @property
    def changes(self) -> VersionChanges:
        return VersionChanges(tags=(("by", self.id),))


_LOOP: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    """One loop for all lives: what a crash leaves half iterated is closed in it, whenever it is found."""
    _LOOP[:] = [asyncio.new_event_loop()]
    yield
    gc.collect()
    _LOOP[0].run_until_complete(asyncio.sleep(0))
    _LOOP[0].run_until_complete(_LOOP[0].shutdown_asyncgens())
    _LOOP.pop().close()


class Life(RuleBasedStateMachine):
    """One vault, one name, whatever keys have it one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = LifeStage(count=2)
        self.vault, self.rows, self.archives = self.stage.vault, self.stage.key_rows, self.stage.blobs
        self.requests: list[Request] = []
        self.outside: Counter[str] = Counter()
        self.sent = 0
        self.made = 2
        #: What is true until reconciliation and a sync have looked: a crash may have left something over.
        self.cut = False
        self.without_escrow = False
        self.wrong: list[str] = []
        self.vault.before = self.watch

    def run[T](self, work: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
        async def whole() -> T:
            return await work

        return _LOOP[0].run_until_complete(whole())

    @initialize()
    def begin(self) -> None:
        self.run(self.stage.set_up())
        self.run(self.stage.sync())

    # --- what the model knows -------------------------------------------------------------------------------------

    def keys(self) -> list[VirtualKey]:
        return [stored.value for (group, _), stored in sorted(self.rows._rows.items()) if group == GROUP]

    def known(self, key: VirtualKey) -> VirtualKey:
        return next(one for one in self.keys() if one.id == key.id)

    def tick(self) -> None:
        """Azure's times are whole seconds: no two changes within one."""
        self.stage.clock.move(timedelta(seconds=1))

    def watch(self, operation: str, name: str) -> None:
        """Look at every purge before the vault does it: an escrow that is whole has to cover every version."""
        if operation != "purge" or name not in self.vault.deleted:
            return
        purging = [key for key in self.keys() if key.pending and key.pending.action is KeyAction.PURGE]
        if any("without_escrow" in key.pending.details for key in purging if key.pending):
            return
        versions = {version.id for version in self.vault.deleted[name][0]}
        if not any(versions <= self.escrowed(key, newest=True) for key in purging):
            self.wrong.append("purged without an escrow of every version")

    def escrowed(self, key: VirtualKey, *, newest: bool = False) -> set[str]:
        """Return the versions that are in archives which are what was stored."""
        found: set[str] = set()
        for generation in key.escrow[-1:] if newest else key.escrow:
            content = self.archives._blobs.get(generation.archive, (b"", ""))[0]
            line = content[generation.offset : generation.offset + generation.length]
            if digest(line) == generation.digest:
                found |= set(generation.versions)
        return found

    def shown(self, key: VirtualKey) -> tuple[Presence | None, list[KeyVersion]]:
        """Return where the vault has a key, and its versions; None where another key has the name."""
        known = [version.id for version in key.versions]
        if NAME in self.vault.live:
            versions = self.vault.live[NAME]
            return (Presence.LIVE if known[0] in {v.id for v in versions} else None), versions
        if NAME in self.vault.deleted:
            versions = self.vault.deleted[NAME][0]
            ours = key.presence in {Presence.LIVE, Presence.SOFT_DELETED} or versions[-1].id in known
            return (Presence.SOFT_DELETED if ours else None), versions
        return (key.presence if key.presence is Presence.DESTROYED else Presence.PURGED), list(key.versions)

    def expected(self, request: Request) -> set[str]:
        """Return the codes with which a request may be refused; "" where it has to be done."""
        key = self.known(request.key)
        if any(entry.request == request.id for entry in key.history) and key.pending is None:
            presence, _ = self.shown(key)
            return {"", "key_replaced"} if presence is None else {""}
        if key.pending is not None:
            # What is under way is gone on with by whoever asks for the same, as far as the vault lets it.
            return {
                "",
                "key_action_pending",
                "key_replaced",
                "escrow_needed",
                "vault_still_working",
                *_NOT_THERE,
                *_TABLE_CODES,
            }
        presence, versions = self.shown(key)
        if presence is None and not self.idle():
            # While the vault is at it with another key, nobody sees that one.
            return {"", "key_replaced", *_NOT_THERE, *_TABLE_CODES}
        if presence is None:
            return {""} if (request.action, key.presence) == (KeyAction.DELETE, Presence.PURGED) else {
                "key_replaced", "key_live", "key_soft_deleted", "key_destroyed",
            }  # fmt: skip
        condition = condition_at(presence, versions[-1].validity, self.stage.clock.now())
        if (request.action, presence) == (KeyAction.RECOVER, Presence.SOFT_DELETED):
            # Which key it was that somebody made and deleted under the name shows when it is there again.
            return {"" if key.versions[0].id in {version.id for version in versions} else "key_replaced"}
        return {self.of_table(request, key, condition, versions)}

    def of_table(self, request: Request, key: VirtualKey, condition: Condition, versions: list[KeyVersion]) -> str:
        """Return what the table says, with what it leaves to the versions and to the escrow."""
        action = request.action
        if action in _ON_VERSIONS:
            refused = self.of_versions(request, key, condition, versions)
            if refused is not None:
                return refused
        code = TABLE[condition][action].code or ""
        if not code and action is KeyAction.PURGE and not request.without_escrow:
            seen = {version.id for version in (*key.versions, versions[-1])}
            code = "" if key.escrow and seen <= self.escrowed(key, newest=True) else "escrow_needed"
        if not code and action is KeyAction.RESTORE and not key.escrow:
            code = "escrow_not_found"
        return code

    @staticmethod
    def of_versions(request: Request, key: VirtualKey, condition: Condition, versions: list[KeyVersion]) -> str | None:
        """Return what the versions say of a change of attributes; None where the table says it."""
        number = request.number
        live = condition not in {Condition.SOFT_DELETED, Condition.PURGED, Condition.DESTROYED}
        if number is not None and number > len(versions if live else {v.id for v in (*key.versions, versions[-1])}):
            return "key_version_not_found"
        if not live or request.action is KeyAction.UPDATE:
            return None
        chosen = versions if number is None else [versions[number - 1]]
        if request.action is KeyAction.DEACTIVATE:
            return "" if any(version.validity.enabled for version in chosen) else "key_already_disabled"
        noted = key.deactivation.versions if key.deactivation else ()
        wanted = [v for v in versions if v.id in noted or v is versions[-1]] if number is None else chosen
        return "key_not_disabled" if all(version.validity.enabled for version in wanted) else ""

    # --- what we do -----------------------------------------------------------------------------------------------

    def request(self, data: st.DataObject) -> Request:
        keys = self.keys()
        key = keys[data.draw(st.integers(0, len(keys) - 1), "key")]
        number = data.draw(st.none() | st.integers(1, 3), "version")
        request = Request(
            f"int_{len(self.requests)}",
            ACTIONS[data.draw(st.integers(0, len(ACTIONS) - 1), "action")],
            key,
            number,
            data.draw(st.integers(0, 4), "without escrow") == 0,
        )
        self.requests.append(request)
        return request

    def send(self, request: Request, if_match: str | None = None) -> None:
        """Send a request and compare what comes of it with what is expected."""
        self.tick()
        expected, before = self.expected(request), self.stage.changes_sent()
        done = any(entry.request == request.id for entry in self.known(request.key).history)
        try:
            key = self.run(request.on(self.stage, if_match))
        except StaleWriteError:
            assert if_match is not None
            return
        except StillWorkingError:
            assert self.vault.slow or "vault_still_working" in expected
            return
        except (ConflictError, NotFoundError) as error:
            self.compare(request, error.code, expected)
            unsure = "vault_still_working" in expected or request.action is KeyAction.RECOVER
            assert unsure or self.stage.changes_sent() == before, "what is refused is not sent"
            return
        self.compare(request, "", expected)
        if done:
            assert self.stage.changes_sent() == before, "what was done is not done again"
            return
        assert key.pending is None
        self.check_done(request, key)

    @staticmethod
    def compare(request: Request, code: str, expected: set[str]) -> None:
        assert code in expected, f"{request.action} of version {request.number}: '{code}', expected {expected}"

    def check_done(self, request: Request, key: VirtualKey) -> None:
        presence, versions = self.shown(key)
        wanted = {
            KeyAction.SOFT_DELETE: Presence.SOFT_DELETED,
            KeyAction.PURGE: Presence.PURGED,
            KeyAction.DELETE: Presence.DESTROYED,
        }.get(request.action, Presence.LIVE)
        assert key.presence is wanted, request
        if presence is not None:
            assert presence is wanted, request
        if request.action is KeyAction.DEACTIVATE and request.number is None:
            assert not any(version.validity.enabled for version in versions)
        if request.action is KeyAction.ACTIVATE and request.number is None:
            assert versions[-1].validity.enabled
        if request.action is KeyAction.DELETE:
            assert not key.escrow

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        self.send(self.request(data))

    @rule(data=st.data(), stale=st.booleans())
    def act_on_what_was_read(self, data: st.DataObject, stale: bool) -> None:
        request = self.request(data)
        etag = self.rows._rows[GROUP, request.key.id].etag
        self.send(request, "stale" if stale else etag)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        self.send(self.earlier(data))

    def earlier(self, data: st.DataObject) -> Request:
        return self.requests[data.draw(st.integers(0, len(self.requests) - 1), "request")]

    @rule(data=st.data(), at=st.integers(1, 40), after=st.booleans())
    def act_and_crash(self, data: st.DataObject, at: int, after: bool) -> None:
        again = bool(self.requests) and data.draw(st.booleans(), "again")
        request = self.earlier(data) if again else self.request(data)
        self.crashing(Fuse(at, after=after), lambda: request.on(self.stage))

    @rule(at=st.integers(1, 60), after=st.booleans())
    def reconcile_and_crash(self, at: int, after: bool) -> None:
        self.crashing(Fuse(at, after=after), self.stage.later)

    @rule(at=st.integers(1, 60), after=st.booleans(), mode=st.sampled_from(["changes", "full"]))
    def sync_and_crash(self, at: int, after: bool, mode: str) -> None:
        self.crashing(Fuse(at, after=after), lambda: self.stage.sync(mode))
        # The worker's lease runs out, and the next sync takes the group's lock over.
        self.stage.clock.move(timedelta(minutes=5))

    def crashing(self, fuse: Fuse, work: Callable[[], Awaitable[object]]) -> None:
        self.tick()
        kept = put_fuse(self.stage, fuse, STORES)
        try:
            self.run(work())
        except (CrashError, BaseExceptionGroup):
            assert fuse.blew
        except KeystewardError:
            pass
        finally:
            restart(self.stage, kept)
            self.vault.before = self.watch
        self.cut |= fuse.blew

    @rule(minutes=st.sampled_from([1, 6, 70]))
    def wait(self, minutes: int) -> None:
        self.vault.slow = False
        self.vault.settle()
        self.run(self.stage.later(timedelta(minutes=minutes)))

    @rule()
    def take_longer(self) -> None:
        self.vault.slow = True

    @rule(mode=st.sampled_from(["changes", "full"]))
    def sync(self, mode: str) -> None:
        self.tick()
        self.run(self.stage.sync(mode))

    @rule()
    def calm(self) -> None:
        """Patience runs out, and a full sync looks at everything: then all is as the vault has it."""
        self.wait(6)
        self.wait(70)
        self.stage.outbox.clear()
        self.run(self.stage.sync("full"))
        self.run(self.stage.sync("full"))
        self.cut = False
        self.run(self.rested())

    async def rested(self) -> None:
        for key in self.keys():
            assert key.pending is None
            presence, versions = self.shown(key)
            if presence is Presence.LIVE:
                assert (key.presence, list(key.versions)) == (Presence.LIVE, versions)
                assert not key.unescrowed
            elif presence is Presence.SOFT_DELETED:
                assert key.presence is Presence.SOFT_DELETED
                assert versions[-1] in key.versions
            else:
                assert key.presence in {Presence.PURGED, Presence.DESTROYED}
            for generation in key.escrow:
                manifest, _ = await self.stage.escrows.open(generation)
                assert (manifest.key, manifest.versions) == (key.id, generation.versions)
        await check_lists(self.stage)
        assert not (await self.stage.index.page("actions-open")).entries

    # --- what other people do -------------------------------------------------------------------------------------

    def another(self) -> KeyVersion:
        self.made += 1
        return a_version(f"{self.made:032x}", created=CREATED + timedelta(days=self.made))

    def free(self) -> bool:
        return NAME not in self.vault.live and NAME not in self.vault.deleted

    def idle(self) -> bool:
        return not self.vault.being_deleted and not self.vault.being_recovered

    @precondition(lambda self: NAME in self.vault.live and self.idle())
    @rule(data=st.data())
    def others_toggle(self, data: st.DataObject) -> None:
        self.tick()
        versions = self.vault.live[NAME]
        at = data.draw(st.integers(0, len(versions) - 1), "version")
        validity = Validity(enabled=not versions[at].validity.enabled)
        versions[at] = replace(versions[at], validity=validity, updated_on=self.stage.clock.now())
        self.outside["toggle"] += 1

    @precondition(lambda self: NAME in self.vault.live and self.idle())
    @rule()
    def others_rotate(self) -> None:
        self.tick()
        self.vault.live[NAME].append(self.another())
        self.outside["rotate"] += 1

    @precondition(lambda self: NAME in self.vault.live and self.idle())
    @rule()
    def others_delete(self) -> None:
        self.tick()
        self.vault.delete(NAME, a_deletion(self.stage.clock.now()))
        self.outside["delete"] += 1

    @precondition(lambda self: NAME in self.vault.deleted and self.idle())
    @rule()
    def others_recover(self) -> None:
        self.tick()
        self.vault.live[NAME] = self.vault.deleted.pop(NAME)[0]
        self.outside["recover"] += 1

    @precondition(lambda self: NAME in self.vault.deleted and self.idle())
    @rule()
    def others_purge(self) -> None:
        self.tick()
        del self.vault.deleted[NAME]
        self.outside["purge"] += 1

    @precondition(lambda self: self.free() and self.idle())
    @rule()
    def others_make_another_key(self) -> None:
        self.tick()
        self.vault.live[NAME] = [self.another()]
        self.outside["recreate"] += 1

    @precondition(lambda self: self.free() and self.idle() and self.vault.backups)
    @rule(data=st.data())
    def others_restore(self, data: st.DataObject) -> None:
        self.tick()
        backups = list(self.vault.backups.values())
        self.vault.live[NAME] = list(backups[data.draw(st.integers(0, len(backups) - 1), "backup")][1])
        self.outside["restore"] += 1

    # --- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def what_always_holds(self) -> None:
        assert not self.wrong, "nothing is purged without an escrow of every version"
        open_ones = {str(entry["key"]) for _, entry in self.stage.index._entries("actions-open")}
        for key in self.keys():
            assert key.pending is None or key.id in open_ones, "what is pending is found again"
            assert not key.escrow or key.presence is not Presence.DESTROYED, "a tombstone keeps nothing"
            if key.pending is None or key.pending.action is not KeyAction.DELETE:
                covered = self.escrowed(key)
                assert all(set(generation.versions) <= covered for generation in key.escrow), "an escrow is there"
            for change in key.drift:
                assert any(self.outside[cause] for cause in CAUSES[change.kind]), f"nobody else did this: {change}"
            done = [entry.request for entry in key.history if entry.request]
            assert len(done) == len(set(done)), "a request is done once"
        if not self.cut:
            self.run(check_lists(self.stage))


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    derandomize=_EXPLORED is None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
