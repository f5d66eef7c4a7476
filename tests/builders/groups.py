"""Groups with their services wired on memory."""

from dataclasses import dataclass, field
from typing import Any

from core.domain.accounts import Principal
from core.domain.callers import Actor, ActorKind
from core.domain.clouds import CLOUDS, CloudName
from core.domain.connection_drafts import ConnectionDraft, CredentialDraft
from core.domain.connections import CredentialKind
from core.domain.group_drafts import NewGroup
from core.domain.groups import Group, GroupKind
from core.domain.identity_use import ANY, IdentityOffer
from core.domain.jobs import Job, JobKind
from core.domain.reservations import Reservation
from core.domain.secrets import SecretText
from core.ports import Stored
from core.services.connections import Connections
from core.services.drills import Drills
from core.services.findings import FindingFilter, Findings
from core.services.groups import Groups
from core.services.jobs import Jobs
from core.services.locks import GroupLocks, Lock
from core.services.reservations import Reservations
from core.services.syncs import Syncs
from core.services.vault_links import VaultLinks
from tests.builders.people import ROOT, Office
from tests.fakes.connections import ShownVaults
from tests.fakes.storage import MemoryCollection, MemoryIndex, MemoryQueue
from tests.fakes.vault import FACTS

GUID = "11111111-1111-1111-1111-111111111111"
SECRET = "a-client-secret-with-end-wxyz"
ACTOR = Actor(ActorKind.USER, "prn_x", "X")


#: The deployment lends every identity but its own to every account.
OFFER = IdentityOffer(
    CLOUDS[CloudName.PUBLIC], own="99999999-9999-9999-9999-999999999999", accounts={ANY: frozenset({ANY})}
)


def a_draft(**members: Any) -> ConnectionDraft:
    credential = CredentialDraft(CredentialKind.CLIENT_SECRET, GUID, GUID, SecretText(SECRET))
    return ConnectionDraft(
        **{"cloud": CLOUDS[CloudName.PUBLIC], "credential": credential, "subscription_id": GUID} | members
    )


@dataclass
class Registry:
    """The services of groups; `account` has ROOT as its admin, and the vault FACTS can be linked."""

    office: Office = field(default_factory=Office)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    names: MemoryCollection[Reservation] = field(default_factory=MemoryCollection)

    def __post_init__(self) -> None:
        clock, rows = self.office.clock, self.office.group_rows
        self.clock = clock
        self.rows = rows
        self.vaults = ShownVaults(clock, FACTS)
        self.findings = Findings(self.index, clock)
        self.connections = Connections(self.office.sealing.sealer, self.vaults, rows, self.findings, OFFER, clock)
        jobs: MemoryCollection[Job] = MemoryCollection()
        locks: MemoryCollection[Lock] = MemoryCollection()
        self.queue = MemoryQueue()
        started = Jobs(jobs, self.index, self.queue, clock, {})
        self.syncs = Syncs(rows, self.index, started, GroupLocks(locks, jobs), clock)
        self.drills = Drills(rows, self.index, started, GroupLocks(locks, jobs, JobKind.DRILL), clock)
        self.groups = Groups(
            rows,
            self.index,
            connections=self.connections,
            links=VaultLinks(Reservations(self.names, clock), rows),
            members=self.office.group_members,
            syncs=self.syncs,
            drills=self.drills,
            clock=clock,
        )

    async def open(self) -> Principal:
        """Make the account; return its admin."""
        self.account = (await self.office.create_account(ROOT, "Contoso")).value.id
        self.admin = await self.office.access.resolve(ROOT, self.account)
        return self.admin

    async def azure_group(self, **members: Any) -> Stored[Group]:
        new = NewGroup(**{"kind": GroupKind.AZURE, "title": "Payments", "connection": a_draft()} | members)
        return await self.groups.create(self.admin, ACTOR, new)

    async def source_group(self) -> Stored[Group]:
        return await self.groups.create(self.admin, ACTOR, NewGroup(GroupKind.SOURCE, "Sources"))

    async def found(self) -> set[str]:
        """Codes of the account's findings."""
        page, _ = await self.findings.page(self.account, FindingFilter())
        return {finding.code.value for finding in page}
