"""A whole sync in memory: services over hand-written fakes, with a vault that a test arranges."""

from datetime import datetime, timedelta

from core.action_wiring import ActionServices
from core.care_wiring import CareServices
from core.domain.clouds import CLOUDS, CloudName
from core.domain.connections import Connection, Credential, CredentialKind, OpenConnection
from core.domain.exchange_keys import GroupExchangeKeys
from core.domain.groups import EscrowSettings, Group, GroupKind
from core.domain.intents import Intent
from core.domain.jobs import Job, JobKind
from core.domain.keys import VirtualKey
from core.domain.reservations import Reservation
from core.domain.secrets import SecretBytes
from core.domain.source_keys import SourceKey
from core.key_wiring import KeyServices, KeyStores
from core.ports import Binding, Sealer
from core.rotation_wiring import RotationServices
from core.services.escrows import Escrows
from core.services.findings import Findings
from core.services.jobs import Jobs, Work
from core.services.keys import Keys
from core.services.locks import GroupLocks, Lock
from core.services.materials import SealedMaterial
from core.services.sync_work import SyncWork
from core.services.syncs import Syncs
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW
from tests.fakes.clock import SteppedClock
from tests.fakes.storage import MemoryBlobs, MemoryCollection, MemoryIndex, MemoryQueue
from tests.fakes.vault import FACTS, FakeVault, FakeVaults


class ReversingSealer:
    """Seals by writing the binding before the reversed content: enough to see that both sides name the same binding."""

    async def seal(self, binding: Binding, content: SecretBytes) -> str:
        return (
            f"{binding.account}|{binding.purpose}|{binding.object_id}|{binding.version}|{content.reveal()[::-1].hex()}"
        )

    async def open(self, binding: Binding, sealed: str) -> SecretBytes:
        *bound, content = sealed.split("|")
        assert bound == [binding.account, binding.purpose, binding.object_id, binding.version]
        return SecretBytes(bytes.fromhex(content)[::-1])


class OpenedConnections:
    """Connections that hold no secrets; `noted` are the groups whose report was looked at."""

    def __init__(self) -> None:
        self.noted: list[Group] = []

    async def open(self, group: Group) -> OpenConnection:
        assert group.connection is not None
        return OpenConnection(group.connection)

    async def note(self, group: Group) -> None:
        self.noted.append(group)


def a_group(now: datetime = NOW) -> Group:
    credential = Credential(CredentialKind.MANAGED_IDENTITY)
    return Group(
        id=GROUP,
        account=ACCOUNT,
        kind=GroupKind.AZURE,
        title="Payments",
        created_by=ALICE,
        created_on=now,
        updated_on=now,
        connection=Connection(CLOUDS[CloudName.PUBLIC], credential, "s1"),
        vault=FACTS,
        escrow=EscrowSettings(keep_generations=2),
    )


class SyncStage:
    """Everything that a sync touches."""

    def __init__(self, vault: FakeVault | None = None) -> None:
        self.clock = SteppedClock(NOW)
        self.vault = vault or FakeVault()
        self.vaults = FakeVaults(self.vault)
        self.groups: MemoryCollection[Group] = MemoryCollection()
        self.job_rows: MemoryCollection[Job] = MemoryCollection()
        self.key_rows: MemoryCollection[VirtualKey] = MemoryCollection()
        self.lock_rows: MemoryCollection[Lock] = MemoryCollection()
        self.source_rows: MemoryCollection[SourceKey] = MemoryCollection()
        self.material_rows: MemoryCollection[SealedMaterial] = MemoryCollection()
        self.intent_rows: MemoryCollection[Intent] = MemoryCollection()
        self.exchange_rows: MemoryCollection[GroupExchangeKeys] = MemoryCollection()
        self.name_rows: MemoryCollection[Reservation] = MemoryCollection()
        self.sealer: Sealer = ReversingSealer()
        self.index = MemoryIndex()
        self.blobs = MemoryBlobs()
        self.queue = MemoryQueue()
        self.connections = OpenedConnections()
        self.wire()

    def wire(self) -> None:
        """Make the services anew, as a restarted process does."""
        self.locks = GroupLocks(self.lock_rows, self.job_rows)
        self.findings = Findings(self.index, self.clock)
        self.escrows = Escrows(self.blobs, self.sealer, self.clock)
        self.keys = Keys(self.key_rows, self.index, self.clock)
        stores = KeyStores(
            groups=self.groups,
            keys=self.key_rows,
            source_keys=self.source_rows,
            materials=self.material_rows,
            intents=self.intent_rows,
            exchange_keys=self.exchange_rows,
            names=self.name_rows,
            index=self.index,
        )
        self.made = KeyServices(
            stores,
            vaults=self.vaults,
            connections=self.connections,
            sealer=self.sealer,
            escrows=self.escrows,
            clock=self.clock,
        )
        work = SyncWork(
            self.groups,
            self.index,
            vaults=self.vaults,
            connections=self.connections,
            records=self.made.records,
            escrows=self.escrows,
            findings=self.findings,
            locks=self.locks,
            clock=self.clock,
        )
        self.acting = ActionServices(
            self.index,
            vaults=self.made.vaults,
            records=self.made.records,
            source_records=self.made.source_records,
            sources=self.made.source_keys,
            exchange_keys=self.made.exchange_keys,
            escrows=self.escrows,
            names=self.made.names,
            clock=self.clock,
        )
        self.care = CareServices(
            self.groups,
            self.index,
            locks=self.lock_rows,
            job_rows=self.job_rows,
            vaults=self.made.vaults,
            records=self.made.records,
            opened=self.acting.opened,
            escrows=self.escrows,
            findings=self.findings,
            clock=self.clock,
        )
        self.rotating = RotationServices(self.index, self.made, self.acting, self.clock)
        works: dict[JobKind, Work] = {
            JobKind.SYNC: work,
            JobKind.COPY: self.made.copy_work,
            JobKind.ACTION: self.acting.settling,
            JobKind.ROTATE: self.rotating.work,
            JobKind.DRILL: self.care.drill_work,
        }
        self.jobs = Jobs(self.job_rows, self.index, self.queue, self.clock, works)
        self.syncs = Syncs(self.groups, self.index, self.jobs, self.locks, self.clock)
        self.rotation_jobs = self.rotating.jobs(self.jobs)
        self.rotation_schedules = self.rotating.schedules(self.rotation_jobs)
        self.drills = self.care.drills(self.jobs)

    async def set_up(self, group: Group | None = None) -> None:
        await self.groups.insert(ACCOUNT, GROUP, group or a_group())

    async def group(self) -> Group:
        stored = await self.groups.get(ACCOUNT, GROUP)
        assert stored is not None
        return stored.value

    async def sync(self, mode: str = "changes") -> Job:
        """Start a sync and run it to wherever it gets."""
        job = await self.syncs.start(ACCOUNT, GROUP, mode=mode, actor=ALICE)
        await self.jobs.run(ACCOUNT, job.id)
        self.clock.move(timedelta(minutes=1))
        return (await self.jobs.get(ACCOUNT, job.id)).value

    async def by_name(self) -> dict[str, VirtualKey]:
        """All key records by Azure name, the replaced ones by name and id."""
        found: dict[str, VirtualKey] = {}
        async for _, stored in self.key_rows.scan(GROUP):
            key = stored.value
            found[key.azure_name if key.azure_name not in found else f"{key.azure_name}!{key.id}"] = key
        return found
