"""A stage with a second vault of the same account, into which drills restore."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from core.domain.connections import OpenConnection, VaultFacts, VaultType
from core.domain.drills import DrillOrder
from core.domain.groups import Group
from core.domain.jobs import Job
from core.domain.keys import KeyVersion
from core.ports import VaultKeys
from core.services.findings import Finding, FindingCode, FindingFilter
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, a_version
from tests.builders.syncs import SyncStage, a_group
from tests.fakes.vault import FACTS, FakeVault, FakeVaults

SCRATCH = "grp_ssssssssssssssssssssssss"
#: Everything that a process keeps outside of itself, but for its vaults.
STORES = ("groups", "job_rows", "key_rows", "lock_rows", "index", "blobs", "queue", "sealer")


class TwoVaults(FakeVaults):
    """Opens the vault of GROUP and that of SCRATCH; `protected` is what Resource Manager says of the latter."""

    def __init__(self, vault: FakeVault, scratch: FakeVault) -> None:
        super().__init__(vault)
        self.others: dict[str, Any] = {SCRATCH: scratch}
        self.protected = False

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[VaultKeys]:
            if self.error is not None:
                raise self.error
            yield self.others[SCRATCH] if vault.name == "scratch" else self.vault

        return opened()

    async def facts(self, connection: OpenConnection, vault: VaultFacts) -> VaultFacts:
        facts = await super().facts(connection, vault)
        return replace(facts, purge_protection=self.protected) if facts.name == "scratch" else facts


SCRATCH_FACTS = replace(
    FACTS,
    resource_id=FACTS.resource_id.replace("payments", "scratch"),
    name="scratch",
    uri="https://scratch.vault.azure.net",
)


def a_scratch_group(**facts: Any) -> Group:
    return replace(a_group(), id=SCRATCH, title="Scratch", vault=replace(SCRATCH_FACTS, **facts))


class DrillStage(SyncStage):
    """Some keys in a vault, and a scratch vault that restores their backups."""

    def __init__(self, vault: FakeVault | None = None) -> None:
        super().__init__(vault)
        self.scratch = FakeVault(backups=self.vault.backups)
        self.vaults: TwoVaults = TwoVaults(self.vault, self.scratch)
        self.wire()

    async def set_up(self, group: Group | None = None, scratch: Group | None = None) -> None:
        await super().set_up(group)
        scratch = scratch or a_scratch_group()
        await self.groups.insert(ACCOUNT, scratch.id, scratch)

    async def drill(self, **order: Any) -> Job:
        """Start a drill and run it to wherever it gets."""
        job = await self.drills.start(ACCOUNT, GROUP, DrillOrder(**order), ALICE)
        return await self.run(job)

    async def run(self, job: Job) -> Job:
        await self.jobs.run(ACCOUNT, job.id)
        self.clock.move(timedelta(minutes=1))
        return (await self.jobs.get(ACCOUNT, job.id)).value

    async def found(self, **wanted: Any) -> list[Finding]:
        """The account's findings."""
        return (await self.findings.page(ACCOUNT, FindingFilter(**wanted)))[0]

    async def codes(self) -> set[FindingCode]:
        return {finding.code for finding in await self.found()}

    async def copies(self) -> int:
        """How many copies are written down."""
        return len((await self.index.page("scratch-copies")).entries)


def a_drill_vault(count: int = 3) -> FakeVault:
    """Keys with a version each, the first with two."""
    vault = FakeVault(live={f"key-{n:03d}": [drill_version(n, 1)] for n in range(count)})
    if count:
        vault.live["key-000"].append(drill_version(0, 2))
    return vault


def drill_version(key: int, number: int, **changes: Any) -> KeyVersion:
    return a_version(f"{key:016x}{number:016x}", created=CREATED + timedelta(days=number), **changes)


def as_hsm(group: Group) -> Group:
    """A group as it is with a managed HSM for its vault."""
    assert group.vault is not None
    return replace(group, vault=replace(group.vault, type=VaultType.MANAGED_HSM))
