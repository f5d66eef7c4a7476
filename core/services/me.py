"""Who I am: my accounts, my roles, and the groups that I see with whether they are connected."""

from dataclasses import dataclass

from core.domain.accounts import Account, AccountRole, GroupRole, Principal, PrincipalKind
from core.domain.callers import Caller
from core.domain.groups import ConnectionState, Group, GroupKind
from core.domain.permissions import Permission, sees_every_group
from core.ports import Collection
from core.services.access import Access
from core.services.accounts import Accounts

ACCOUNT_LIMIT = 50
GROUP_LIMIT = 100


@dataclass(frozen=True, slots=True)
class MyGroup:
    """A group that I see; `role` is None where an account role shows it. `external`: a vault holds its keys."""

    id: str
    title: str
    kind: GroupKind
    external: bool
    connection: ConnectionState
    role: GroupRole | None
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MyAccount:
    """An account of mine; `more_groups` says that there are groups beyond the first GROUP_LIMIT."""

    id: str
    title: str
    principal: str
    kind: PrincipalKind
    role: AccountRole | None
    groups: tuple[MyGroup, ...]
    more_groups: bool


@dataclass(frozen=True, slots=True)
class Me:
    """The answer; `more_accounts` says that there are accounts beyond the first ACCOUNT_LIMIT."""

    caller: Caller
    permissions: tuple[Permission, ...]
    accounts: tuple[MyAccount, ...]
    more_accounts: bool


class WhoAmI:
    """Describes callers to themselves."""

    def __init__(self, access: Access, accounts: Accounts, groups: Collection[Group]) -> None:
        self._access = access
        self._accounts = accounts
        self._groups = groups

    async def __call__(self, caller: Caller) -> Me:
        """Describe `caller`; whoever is known nowhere has no accounts."""
        mine = await self._accounts.mine(caller, limit=ACCOUNT_LIMIT)
        accounts = [await self._account(caller, stored.value) for stored in mine.items]
        permissions = tuple(sorted(self._access.platform_permissions(caller)))
        return Me(caller, permissions, tuple(accounts), more_accounts=mine.next is not None)

    async def _account(self, caller: Caller, account: Account) -> MyAccount:
        principal = await self._access.resolve(caller, account.id)
        groups = await self._visible_groups(principal)
        return MyAccount(
            id=account.id,
            title=account.title,
            principal=principal.id,
            kind=principal.kind,
            role=principal.role,
            groups=tuple(_my_group(principal, group) for group in groups[:GROUP_LIMIT]),
            more_groups=len(groups) > GROUP_LIMIT,
        )

    async def _visible_groups(self, principal: Principal) -> list[Group]:
        """Return up to one group more than are shown, by id."""
        if not sees_every_group(principal):
            ids = sorted(principal.groups)[: GROUP_LIMIT + 1]
            found = await self._groups.get_many(principal.account, ids)
            return [found[id_].value for id_ in ids if id_ in found]
        groups: list[Group] = []
        async for _, stored in self._groups.scan(principal.account):
            groups.append(stored.value)
            if len(groups) > GROUP_LIMIT:
                break
        return groups


def _my_group(principal: Principal, group: Group) -> MyGroup:
    grant = principal.groups.get(group.id)
    return MyGroup(
        id=group.id,
        title=group.title,
        kind=group.kind,
        external=group.kind is GroupKind.AZURE,
        connection=group.connection_state,
        role=grant.role if grant else None,
        extra=grant.extra if grant else (),
    )
