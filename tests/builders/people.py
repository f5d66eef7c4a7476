"""Callers, principals, and an account's services wired on memory."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.domain.accounts import Account, AccountRole, ApiKey, GroupGrant, Principal, PrincipalKind
from core.domain.callers import Actor, ActorKind, Caller, CallerKind
from core.domain.groups import Group, GroupKind
from core.domain.identifiers import IdKind, derived_id
from core.domain.identities import Identity, entra_principal_id
from core.services.access import Access
from core.services.accounts import Accounts, CreateAccount
from core.services.api_keys import ApiKeys
from core.services.applications import Applications
from core.services.callers import Callers
from core.services.group_members import GroupMembers
from core.services.identities import Identities
from core.services.me import WhoAmI
from core.services.members import Members
from core.services.principals import Principals
from core.services.rewrap import RewrapDataKeys
from core.services.verify_api_key import VerifyApiKey
from tests.fakes.clock import SteppedClock
from tests.fakes.interleaved import InterleavedCollection
from tests.fakes.sealing import Sealing, sealing
from tests.fakes.storage import MemoryCollection, MemoryIndex

HOME = "11111111-1111-1111-1111-111111111111"
ABROAD = "99999999-9999-9999-9999-999999999999"
ON = datetime(2026, 1, 1, tzinfo=UTC)
GROUP = derived_id(IdKind.GROUP, "payments")
OTHER_GROUP = derived_id(IdKind.GROUP, "billing")


def object_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def a_user(name: str, *, tenant: str = HOME, email: str | None = None) -> Caller:
    oid = object_id(name)
    return Caller(CallerKind.USER, entra_principal_id(tenant, oid), name.title(), tenant, oid, email)


def a_service_principal(name: str) -> Caller:
    oid = object_id(name)
    return Caller(CallerKind.SERVICE_PRINCIPAL, entra_principal_id(HOME, oid), name, HOME, oid)


def a_principal(
    kind: PrincipalKind = PrincipalKind.USER,
    role: AccountRole | None = None,
    groups: dict[str, GroupGrant] | None = None,
    *,
    disabled: bool = False,
) -> Principal:
    return Principal("prn_x", "acc_x", kind, "X", ON, role=role, groups=groups or {}, disabled=disabled)


def a_group(account: str, id_: str = GROUP, kind: GroupKind = GroupKind.AZURE) -> Group:
    return Group(id_, account, kind, "Payments", Actor(ActorKind.USER, "prn_x", "X"), ON, ON)


@dataclass
class Office:
    """All services of accounts and principals, on memory; ROOT is the platform admin."""

    clock: SteppedClock = field(default_factory=SteppedClock)
    principal_rows: InterleavedCollection[Principal] = field(default_factory=InterleavedCollection)
    identity_rows: InterleavedCollection[Identity] = field(default_factory=InterleavedCollection)
    api_key_rows: InterleavedCollection[ApiKey] = field(default_factory=InterleavedCollection)
    group_rows: MemoryCollection[Group] = field(default_factory=MemoryCollection)

    def __post_init__(self) -> None:
        self.sealing: Sealing = sealing(self.clock)
        self.account_rows: MemoryCollection[Account] = self.sealing.accounts
        self.identities = Identities(self.identity_rows)
        self.callers = Callers(self.principal_rows, self.identities, HOME)
        self.access = Access(self.callers, self.clock, home_tenant=HOME, first_admin=object_id("root"))
        principals = Principals(self.principal_rows, self.access)
        self.create_account = CreateAccount(
            self.access, self.account_rows, principals, self.identities, self.sealing.data_keys, self.clock
        )
        self.accounts = Accounts(self.access, self.account_rows, self.callers)
        self.members = Members(self.access, principals, self.identities, self.clock, home_tenant=HOME)
        self.applications = Applications(self.access, principals, self.identities, self.group_rows, self.clock)
        self.group_members = GroupMembers(self.access, principals, self.group_rows)
        self.verify_api_key = VerifyApiKey(self.api_key_rows, principals, self.sealing.sealer, self.clock)
        self.api_keys = ApiKeys(
            self.access,
            principals,
            self.api_key_rows,
            MemoryIndex(),
            self.sealing.sealer,
            self.verify_api_key,
            self.clock,
        )
        self.who_am_i = WhoAmI(self.access, self.accounts, self.group_rows)
        self.rewrap = RewrapDataKeys(self.access, self.sealing.records, self.sealing.sealing_key)

    async def an_account(self, title: str = "Contoso") -> str:
        """An account whose admin is ROOT, with the two groups."""
        account = (await self.create_account(ROOT, title)).value.id
        for group in (GROUP, OTHER_GROUP):
            await self.group_rows.insert(account, group, a_group(account, group))
        return account


ROOT = a_user("root")
ALICE = a_user("alice", email="Alice@Contoso.example")
BOB = a_user("bob")
