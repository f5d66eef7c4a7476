"""Members of an account: users by their account role, added by object id or invited by e-mail.

Invariants: an account keeps at least one admin who can sign in; two admins who leave at the same moment cannot leave
it without one, because each looks again after writing and takes the change back.
"""

from dataclasses import dataclass, replace

from core.domain.accounts import AccountRole, Principal, PrincipalKind
from core.domain.callers import Caller
from core.domain.identities import email_principal_id, entra_principal_id, is_email, is_guid
from core.domain.permissions import Permission
from core.errors import AlreadyExistsError, ConflictError, InvalidRequestError
from core.ports import Clock, Stored
from core.services.access import Access
from core.services.conditional import require_match
from core.services.identities import Identities
from core.services.pages import Page
from core.services.principals import Principals


@dataclass(frozen=True, slots=True)
class NewMember:
    """Who is to be a member: `object_id` (in `tenant_id`, else the home tenant) or `email`, not both."""

    role: AccountRole
    object_id: str | None = None
    tenant_id: str | None = None
    email: str | None = None
    name: str | None = None


class Members:
    """Adds, lists, changes and deletes members."""

    def __init__(
        self, access: Access, principals: Principals, identities: Identities, clock: Clock, *, home_tenant: str
    ) -> None:
        self._access = access
        self._principals = principals
        self._identities = identities
        self._clock = clock
        self._home_tenant = home_tenant

    async def page(
        self, caller: Caller, account: str, *, after: str | None = None, limit: int = 100
    ) -> Page[Stored[Principal]]:
        """Return a page of members by id."""
        await self._access.require(caller, account, Permission.MEMBER_READ)
        return await self._principals.page(
            account, lambda one: one.kind is PrincipalKind.USER, after=after, limit=limit
        )

    async def get(self, caller: Caller, account: str, member: str) -> Stored[Principal]:
        """Return a member; NotFoundError `member_not_found`."""
        await self._access.require(caller, account, Permission.MEMBER_READ)
        return await self._principals.get(account, member, PrincipalKind.USER)

    async def add(self, caller: Caller, account: str, new: NewMember) -> Stored[Principal]:
        """Add a member; AlreadyExistsError `member_exists`."""
        await self._access.require(caller, account, Permission.MEMBER_WRITE)
        principal = self._principal(account, new)
        linked = (await self._identities.memberships(principal.id)).get(account)
        if linked and await self._principals.find(account, linked):
            raise _member_exists()
        await self._identities.link(principal.id, account, principal.id)
        try:
            return await self._principals.insert(principal)
        except AlreadyExistsError as error:
            raise _member_exists() from error

    async def change_role(
        self, caller: Caller, account: str, member: str, role: AccountRole, if_match: str | None = None
    ) -> Stored[Principal]:
        """Give a member another role; ConflictError `last_admin`."""
        await self._access.require(caller, account, Permission.MEMBER_WRITE)
        stored = await self._principals.get(account, member, PrincipalKind.USER)
        require_match(stored.etag, if_match, "The member")
        return await self._with_role(stored, role)

    async def delete(self, caller: Caller, account: str, member: str, if_match: str | None = None) -> None:
        """Delete a member; ConflictError `last_admin`."""
        await self._access.require(caller, account, Permission.MEMBER_WRITE)
        stored = await self._principals.get(account, member, PrincipalKind.USER)
        require_match(stored.etag, if_match, "The member")
        if _is_acting_admin(stored.value):
            stored = await self._with_role(stored, AccountRole.MEMBER)
        await self._principals.delete(stored.value, stored.etag)
        for identity in _identities_of(stored.value):
            await self._identities.unlink(identity, account)

    async def _with_role(self, stored: Stored[Principal], role: AccountRole) -> Stored[Principal]:
        before = stored.value
        changed = replace(before, role=role)
        loses_admin = _is_acting_admin(before) and role is not AccountRole.ADMIN
        if loses_admin and not await self._another_admin(before):
            raise _last_admin()
        written = await self._principals.replace(changed, stored.etag)
        if loses_admin and not await self._another_admin(before):
            await self._principals.replace(before, written.etag)
            raise _last_admin()
        return written

    async def _another_admin(self, than: Principal) -> bool:
        return await self._principals.any(than.account, lambda one: one.id != than.id and _is_acting_admin(one))

    def _principal(self, account: str, new: NewMember) -> Principal:
        if (new.object_id is None) == (new.email is None):
            raise InvalidRequestError("Name either an object id or an e-mail address.", field="object_id")
        if new.object_id is not None:
            return self._by_object_id(account, new, new.object_id)
        return self._invited(account, new, new.email or "")

    def _by_object_id(self, account: str, new: NewMember, object_id: str) -> Principal:
        tenant_id = new.tenant_id or self._home_tenant
        for field, value in (("object_id", object_id), ("tenant_id", tenant_id)):
            if not is_guid(value):
                raise InvalidRequestError("This is not a GUID.", code="guid_invalid", field=field)
        return Principal(
            id=entra_principal_id(tenant_id, object_id),
            account=account,
            kind=PrincipalKind.USER,
            name=new.name or object_id,
            created_on=self._clock.now(),
            role=new.role,
            tenant_id=tenant_id,
            object_id=object_id,
        )

    def _invited(self, account: str, new: NewMember, email: str) -> Principal:
        if new.tenant_id is not None and new.tenant_id.lower() != self._home_tenant.lower():
            raise InvalidRequestError(
                "Only users of the home tenant can be invited by e-mail; name the object id of others.",
                code="email_outside_home_tenant",
                field="tenant_id",
            )
        if not is_email(email.strip()):
            raise InvalidRequestError("This is not an e-mail address.", code="email_invalid", field="email")
        return Principal(
            id=email_principal_id(email),
            account=account,
            kind=PrincipalKind.USER,
            name=new.name or email.strip(),
            created_on=self._clock.now(),
            role=new.role,
            email=email.strip().lower(),
        )


def _is_acting_admin(principal: Principal) -> bool:
    """An invitation that nobody accepted administers nothing."""
    return principal.role is AccountRole.ADMIN and principal.object_id is not None and not principal.disabled


def _identities_of(principal: Principal) -> set[str]:
    ids = {principal.id}
    if principal.tenant_id and principal.object_id:
        ids.add(entra_principal_id(principal.tenant_id, principal.object_id))
    return ids


def _member_exists() -> AlreadyExistsError:
    return AlreadyExistsError("This identity is in the account already.", code="member_exists")


def _last_admin() -> ConflictError:
    return ConflictError("An account keeps at least one admin.", code="last_admin")
