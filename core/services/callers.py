"""Finds the principal that a caller is in an account, and binds e-mail invitations at the first sign-in.

Invariants:
- A row is a caller's only where tenant and object id (or the application of an API key) agree with it.
- An invitation is accepted from the home tenant only: another tenant may claim any e-mail address for its users.
- An invitation is bound by one conditional write of its row, so that of two identities one gets it, and an invitation
  that was deleted meanwhile binds nobody.
"""

from dataclasses import replace

from core.domain.accounts import Principal, PrincipalKind
from core.domain.callers import Caller, CallerKind
from core.domain.identities import email_principal_id, entra_principal_id
from core.errors import StaleWriteError
from core.ports import Collection
from core.services.identities import Identities


class Callers:
    """Callers as principals."""

    def __init__(self, principals: Collection[Principal], identities: Identities, home_tenant: str) -> None:
        self._principals = principals
        self._identities = identities
        self._home_tenant = home_tenant.lower()

    async def principal_of(self, caller: Caller, account: str) -> Principal | None:
        """Return what `caller` is in `account`, or None."""
        if caller.kind is CallerKind.API_KEY:
            return await self._application(caller, account)
        identity = _identity(caller)
        if identity is None:
            return None
        found = await self._bound(caller, account, identity)
        if found is None:
            linked = (await self._identities.memberships(identity)).get(account)
            found = await self._bound(caller, account, linked) if linked else None
        return found or await self._accept_invitation(caller, account, identity)

    async def accounts_of(self, caller: Caller) -> tuple[str, ...]:
        """Return the ids of the accounts that may know `caller`, invitations included, in order."""
        if caller.kind is CallerKind.API_KEY:
            return (caller.account,) if caller.account else ()
        identity = _identity(caller)
        if identity is None:
            return ()
        known = set(await self._identities.memberships(identity))
        invited_as = self._trusted_email(caller)
        if invited_as:
            known |= set(await self._identities.memberships(email_principal_id(invited_as)))
        return tuple(sorted(known))

    async def _application(self, caller: Caller, account: str) -> Principal | None:
        if caller.account != account:
            return None
        stored = await self._principals.get(account, caller.principal)
        if stored is None or stored.value.kind is not PrincipalKind.APPLICATION:
            return None
        return stored.value

    async def _bound(self, caller: Caller, account: str, id_: str) -> Principal | None:
        stored = await self._principals.get(account, id_)
        return stored.value if stored and _is_bound_to(stored.value, caller) else None

    async def _accept_invitation(self, caller: Caller, account: str, identity: str) -> Principal | None:
        email = self._trusted_email(caller)
        if email is None:
            return None
        stored = await self._principals.get(account, email_principal_id(email))
        if stored is None:
            return None
        accepted = stored.value
        if accepted.object_id is None:
            accepted = replace(
                accepted, tenant_id=caller.tenant_id, object_id=caller.object_id, name=caller.display_name
            )
            try:
                await self._principals.replace(account, accepted.id, accepted, stored.etag)
            except StaleWriteError:
                # Another request of the same person may have been first; whoever it was, the row tells.
                return await self._bound(caller, account, accepted.id)
        if not _is_bound_to(accepted, caller):
            return None
        await self._identities.link(identity, account, accepted.id)
        return accepted

    def _trusted_email(self, caller: Caller) -> str | None:
        is_home_user = caller.kind is CallerKind.USER and (caller.tenant_id or "").lower() == self._home_tenant
        return caller.email if is_home_user else None


def _is_bound_to(principal: Principal, caller: Caller) -> bool:
    # A person never acts as an application: applications perform cryptographic operations, people do not.
    fits = principal.kind is PrincipalKind.USER or caller.kind is CallerKind.SERVICE_PRINCIPAL
    bound_to = _identity(principal)
    return fits and bound_to is not None and bound_to == _identity(caller)


def _identity(one: Principal | Caller) -> str | None:
    if one.tenant_id is None or one.object_id is None:
        return None
    return entra_principal_id(one.tenant_id, one.object_id)
