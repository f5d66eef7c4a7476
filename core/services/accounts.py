"""Accounts: created by the platform admin, who becomes the first admin of each; everything else is its members'.

Invariant: an account's row is written last, so that an account is there whole or not at all.
"""

from dataclasses import replace

from core.domain.accounts import Account, AccountRole, Principal, PrincipalKind
from core.domain.callers import Caller
from core.domain.identifiers import IdKind, new_id
from core.domain.identities import entra_principal_id
from core.domain.permissions import Permission
from core.domain.titles import checked_title
from core.errors import NotFoundError, NotPermittedError
from core.ports import Clock, Collection, DataKeys, Stored
from core.services.access import Access, account_not_found
from core.services.callers import Callers
from core.services.conditional import require_match
from core.services.identities import Identities
from core.services.pages import Page
from core.services.principals import Principals

_PARTITION = "account"


class CreateAccount:
    """Creates an account with its first data key and its first admin."""

    def __init__(
        self,
        access: Access,
        accounts: Collection[Account],
        principals: Principals,
        identities: Identities,
        data_keys: DataKeys,
        clock: Clock,
    ) -> None:
        self._access = access
        self._accounts = accounts
        self._principals = principals
        self._identities = identities
        self._data_keys = data_keys
        self._clock = clock

    async def __call__(self, caller: Caller, title: str) -> Stored[Account]:
        """Create an account whose admin is `caller`; needs `account.create`."""
        self._access.require_platform(caller, Permission.ACCOUNT_CREATE)
        account = new_id(IdKind.ACCOUNT)
        title = checked_title(title)
        data_key = await self._data_keys.create(account)
        admin = self._first_admin(caller, account)
        await self._identities.link(admin.id, account, admin.id)
        await self._principals.insert(admin)
        return await self._accounts.insert(_PARTITION, account, Account(account, title, self._clock.now(), data_key))

    def _first_admin(self, caller: Caller, account: str) -> Principal:
        if caller.tenant_id is None or caller.object_id is None:
            raise NotPermittedError(Permission.ACCOUNT_CREATE)
        return Principal(
            id=entra_principal_id(caller.tenant_id, caller.object_id),
            account=account,
            kind=PrincipalKind.USER,
            name=caller.display_name,
            created_on=self._clock.now(),
            role=AccountRole.ADMIN,
            tenant_id=caller.tenant_id,
            object_id=caller.object_id,
            email=caller.email,
        )


class Accounts:
    """Reads and renames accounts."""

    def __init__(self, access: Access, accounts: Collection[Account], callers: Callers) -> None:
        self._access = access
        self._accounts = accounts
        self._callers = callers

    async def get(self, caller: Caller, account: str) -> Stored[Account]:
        """Return the account."""
        await self._access.require(caller, account, Permission.ACCOUNT_READ)
        return await self._stored(account)

    async def rename(self, caller: Caller, account: str, title: str, if_match: str | None = None) -> Stored[Account]:
        """Give the account another title."""
        await self._access.require(caller, account, Permission.ACCOUNT_UPDATE)
        stored = await self._stored(account)
        require_match(stored.etag, if_match, "The account")
        renamed = replace(stored.value, title=checked_title(title))
        return await self._accounts.replace(_PARTITION, account, renamed, stored.etag)

    async def mine(self, caller: Caller, *, after: str | None = None, limit: int = 100) -> Page[Stored[Account]]:
        """Return a page, by id, of the accounts in which `caller` is somebody."""
        ids = [id_ for id_ in await self._callers.accounts_of(caller) if after is None or id_ > after]
        mine: list[Stored[Account]] = []
        for id_ in ids:
            if len(mine) == limit:
                return Page(tuple(mine), mine[-1].value.id)
            found = await self._accounts.get(_PARTITION, id_) if await self._knows(caller, id_) else None
            mine += [found] if found else []
        return Page(tuple(mine), None)

    async def _knows(self, caller: Caller, account: str) -> bool:
        try:
            await self._access.resolve(caller, account)
        except NotFoundError:
            return False
        return True

    async def _stored(self, account: str) -> Stored[Account]:
        stored = await self._accounts.get(_PARTITION, account)
        if stored is None:
            raise account_not_found()
        return stored
