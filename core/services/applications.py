"""Applications of an account: programs with roles in groups, known by API keys or by an Entra service principal.

Invariants: an application has no account role; an Entra identity is at most one principal of an account; deleting an
application ends every proof of it at once, because a proof is worth what the application's row says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.domain.accounts import GroupGrant, GroupRole, Principal, PrincipalKind
from core.domain.callers import Caller
from core.domain.groups import Group
from core.domain.identifiers import IdKind, new_id
from core.domain.identities import entra_principal_id, is_guid
from core.domain.permissions import Permission
from core.domain.titles import checked_title
from core.errors import ConflictError, InvalidRequestError
from core.ports import Clock, Collection, Stored
from core.services.access import Access
from core.services.conditional import require_match
from core.services.identities import Identities
from core.services.pages import Page
from core.services.principals import Principals


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """An Entra service principal, by the object id that it has in its tenant."""

    tenant_id: str
    object_id: str


@dataclass(frozen=True, slots=True)
class ApplicationChange:
    """What to change of an application; None leaves it as it is. `groups` replaces all roles."""

    title: str | None = None
    groups: Mapping[str, GroupRole] | None = None
    disabled: bool | None = None


class Applications:
    """Creates, lists, changes and deletes applications."""

    def __init__(
        self, access: Access, principals: Principals, identities: Identities, groups: Collection[Group], clock: Clock
    ) -> None:
        self._access = access
        self._principals = principals
        self._identities = identities
        self._groups = groups
        self._clock = clock

    async def page(
        self, caller: Caller, account: str, *, after: str | None = None, limit: int = 100
    ) -> Page[Stored[Principal]]:
        """Return a page of applications by id."""
        await self._access.require(caller, account, Permission.APPLICATION_READ)
        return await self._principals.page(
            account, lambda one: one.kind is PrincipalKind.APPLICATION, after=after, limit=limit
        )

    async def get(self, caller: Caller, account: str, application: str) -> Stored[Principal]:
        """Return an application; NotFoundError `application_not_found`."""
        await self._access.require(caller, account, Permission.APPLICATION_READ)
        return await self._principals.get(account, application, PrincipalKind.APPLICATION)

    async def create(
        self,
        caller: Caller,
        account: str,
        title: str,
        groups: Mapping[str, GroupRole],
        service_principal: ServicePrincipal | None = None,
    ) -> Stored[Principal]:
        """Create an application; ConflictError `identity_in_use` where its service principal is somebody already."""
        await self._access.require(caller, account, Permission.APPLICATION_WRITE)
        application = Principal(
            id=new_id(IdKind.APPLICATION),
            account=account,
            kind=PrincipalKind.APPLICATION,
            name=checked_title(title),
            created_on=self._clock.now(),
            groups=await self._grants(account, groups, {}),
        )
        if service_principal is not None:
            application = await self._bound(application, service_principal)
        return await self._principals.insert(application)

    async def update(
        self, caller: Caller, account: str, application: str, change: ApplicationChange, if_match: str | None = None
    ) -> Stored[Principal]:
        """Change title, roles in groups, or whether it is disabled."""
        await self._access.require(caller, account, Permission.APPLICATION_WRITE)
        stored = await self._principals.get(account, application, PrincipalKind.APPLICATION)
        require_match(stored.etag, if_match, "The application")
        changed = stored.value
        if change.title is not None:
            changed = replace(changed, name=checked_title(change.title))
        if change.groups is not None:
            changed = replace(changed, groups=await self._grants(account, change.groups, changed.groups))
        if change.disabled is not None:
            changed = replace(changed, disabled=change.disabled)
        return await self._principals.replace(changed, stored.etag)

    async def bind(
        self, caller: Caller, account: str, application: str, to: ServicePrincipal | None, if_match: str | None = None
    ) -> Stored[Principal]:
        """Bind the application to a service principal instead of the present one, or (None) to none."""
        await self._access.require(caller, account, Permission.APPLICATION_WRITE)
        stored = await self._principals.get(account, application, PrincipalKind.APPLICATION)
        require_match(stored.etag, if_match, "The application")
        unbound = replace(stored.value, tenant_id=None, object_id=None)
        changed = await self._bound(unbound, to) if to else unbound
        written = await self._principals.replace(changed, stored.etag)
        if _identity_of(stored.value) != _identity_of(changed):
            await self._unlink(stored.value)
        return written

    async def delete(self, caller: Caller, account: str, application: str, if_match: str | None = None) -> None:
        """Delete an application; its API keys and its service principal are nobody from then on."""
        await self._access.require(caller, account, Permission.APPLICATION_WRITE)
        stored = await self._principals.get(account, application, PrincipalKind.APPLICATION)
        require_match(stored.etag, if_match, "The application")
        await self._principals.delete(stored.value, stored.etag)
        await self._unlink(stored.value)

    async def _bound(self, application: Principal, to: ServicePrincipal) -> Principal:
        for field, value in (("tenant_id", to.tenant_id), ("object_id", to.object_id)):
            if not is_guid(value):
                raise InvalidRequestError("This is not a GUID.", code="guid_invalid", field=field)
        identity = entra_principal_id(to.tenant_id, to.object_id)
        for known in {identity, (await self._identities.memberships(identity)).get(application.account)}:
            somebody = await self._principals.find(application.account, known) if known else None
            if somebody and somebody.value.id != application.id and _identity_of(somebody.value) == identity:
                raise ConflictError("This identity is in the account already.", code="identity_in_use")
        await self._identities.link(identity, application.account, application.id)
        return replace(application, tenant_id=to.tenant_id, object_id=to.object_id)

    async def _unlink(self, application: Principal) -> None:
        identity = _identity_of(application)
        if identity:
            await self._identities.unlink(identity, application.account)

    async def _grants(
        self, account: str, roles: Mapping[str, GroupRole], present: Mapping[str, GroupGrant]
    ) -> dict[str, GroupGrant]:
        """Return grants for `roles`; what was granted beside a role stays while the role does."""
        known = await self._groups.get_many(account, list(roles))
        unknown = sorted(set(roles) - set(known))
        if unknown:
            raise InvalidRequestError(f"There is no group '{unknown[0]}'.", code="group_unknown", field="groups")
        kept = {id_: grant for id_, grant in present.items() if roles.get(id_) is grant.role}
        return {id_: kept.get(id_, GroupGrant(role)) for id_, role in roles.items()}


def _identity_of(principal: Principal) -> str | None:
    if principal.tenant_id is None or principal.object_id is None:
        return None
    return entra_principal_id(principal.tenant_id, principal.object_id)
