"""A stage with keys to rotate, and what has to be true of keys that were rotated."""

from datetime import timedelta
from typing import Any

from core.domain.jobs import Job
from core.domain.key_kinds import KeyKind, Protection
from core.domain.keys import KeyVersion, VirtualKey
from core.domain.new_keys import KeyNames, KeySettings
from core.domain.rotation_schedules import Previous
from core.domain.source_keys import SourceKey
from core.services.attribute_actions import ActionRequest
from core.services.copies import WantedCopy
from core.services.opened_keys import KeyRef
from core.services.reimports import Reimporting
from core.services.rotations import Rotating
from core.services.source_rotations import RotatingSource
from tests.builders.keys import ACCOUNT, ALICE, GROUP
from tests.builders.new_keys import EC, GROUPS, PREMIUM, SOURCES, KeyStage, use_of
from tests.fakes.vault import FakeVault

NOW_RETIRED = Previous(timedelta())


class RotationStage(KeyStage):
    """Keys of every kind that can be rotated."""

    def vault_of(self, group: str) -> FakeVault:
        return self.vault if group == GROUP else self.premium

    async def a_native_key(
        self, kind: KeyKind = EC, group: str = GROUP, name: str = "db-key", **settings: Any
    ) -> KeyRef:
        """Have a vault generate a key; tests later than a second, as keys that are rotated are old."""
        new = self.key(f"int_{name}_{group}", group, azure_name=name, **settings)
        made = await self.made.new_keys.generate(new, kind)
        self.clock.move(timedelta(days=1))
        return KeyRef(ACCOUNT, group, made.id)

    async def a_source(self, kind: KeyKind = EC, copies: tuple[str, ...] = (), **settings: Any) -> SourceKey:
        """Make a source key with a copy in each of these groups."""
        source = await self.a_source_key(kind=kind, **settings)
        if copies:
            wanted = [
                WantedCopy(
                    GROUPS[group],
                    KeyNames(azure_name="master") if group in {GROUP, PREMIUM} else KeyNames(),
                    KeySettings(protection=Protection.HSM) if group == PREMIUM else KeySettings(),
                )
                for group in copies
            ]
            await self.copies.start("int_copies", ACCOUNT, use_of(source), wanted, ALICE)
            (job,) = await self.work()
            assert job.status == "succeeded", job.results
        self.clock.move(timedelta(days=1))
        return await self.source()

    async def source(self) -> SourceKey:
        (source,) = await self.source_keys()
        return source

    async def copy_in(self, group: str) -> VirtualKey:
        (copy,) = [key for key in await self.virtual_keys(group) if key.copied_from is not None]
        return copy

    async def read(self, ref: KeyRef) -> VirtualKey:
        return (await self.made.records.get(ref.account, ref.group, ref.key)).value

    async def rotate(self, ref: KeyRef, request: str = "int_rotate", **how: Any) -> VirtualKey:
        return await self.rotating.rotations.rotate(ref, Rotating(asked(request), **how))

    async def rotate_source(self, request: str = "int_rotate", **how: Any) -> SourceKey:
        source = await self.source()
        ref = KeyRef(ACCOUNT, SOURCES, source.id)
        return (await self.rotating.source_rotations.rotate(ref, RotatingSource(asked(request), **how))).value

    async def order(self, request: str = "int_rotate", copies: tuple[str, ...] | None = None, **how: Any) -> Job:
        source = await self.source()
        ref = KeyRef(ACCOUNT, SOURCES, source.id)
        return await self.rotation_jobs.order(ref, RotatingSource(asked(request), **how), copies)

    async def reimport(self, ref: KeyRef, request: str = "int_reimport", **how: Any) -> VirtualKey:
        return await self.acting.reimports.reimport(ref, Reimporting(asked(request), **how))

    async def purge(self, ref: KeyRef) -> None:
        """Have a key purged outside, and the record know it."""
        key = await self.read(ref)
        vault = self.vault_of(ref.group)
        await vault.delete(key.azure_name)
        await vault.purge(key.azure_name)
        await self.sync_all()

    async def tick(self) -> None:
        """All timers tick that have to do with rotation, and the messages are delivered."""
        await self.acting.settling.reconcile(self.jobs)
        await self.made.placements.reconcile()
        await self.made.source_records.reconcile()
        await self.rotation_schedules.start_due()
        await self.acting.retirements.retire_due()
        await self.jobs.reconcile()
        await self.work()

    async def findings_of(self, code: str) -> dict[str, str]:
        """The findings of a code, by key."""
        tree = f"findings/{ACCOUNT}"
        found = [entry async for leaf in self.index.leaves(tree) for _, entry in leaf]
        return {str(entry["key"]): str(entry["detail"]) for entry in found if entry["code"] == code}


def asked(request: str = "int_rotate", if_match: str | None = None) -> ActionRequest:
    return ActionRequest(request, ALICE, if_match)


def ref_of(key: VirtualKey | SourceKey) -> KeyRef:
    return KeyRef(key.account, key.group, key.id)


def held(vault: FakeVault, name: str) -> list[KeyVersion]:
    """The versions that a vault has, oldest first."""
    return sorted(vault.live[name], key=lambda version: (version.created_on, version.id))
