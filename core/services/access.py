"""Decides who may do what before a use case touches anything.

    actor = await access.require(caller, account, Permission.GROUP_SYNC, group)

Invariants: an account that is not there and one of which the caller is no member give the same error; so do a group
that is not there and one that the caller does not see. A change of roles made by another instance takes effect after
at most five seconds; one made here at once.
"""

from datetime import timedelta

from core.domain.accounts import Principal
from core.domain.callers import Caller, CallerKind
from core.domain.permissions import PLATFORM, Decision, Permission, decide
from core.errors import NotFoundError, NotPermittedError
from core.ports import Clock
from core.services.callers import Callers
from core.timed_cache import TimedCache

_LIFETIME = timedelta(seconds=5)
_LIMIT = 10_000


def account_not_found() -> NotFoundError:
    """The one answer for an account that is not there or not the caller's."""
    return NotFoundError("There is no such account.", code="account_not_found")


def group_not_found() -> NotFoundError:
    """The one answer for a group that is not there or not the caller's."""
    return NotFoundError("There is no such group.", code="group_not_found")


class Access:
    """The permissions of callers; `first_admin` is an Entra object id in `home_tenant`."""

    def __init__(self, callers: Callers, clock: Clock, *, home_tenant: str, first_admin: str) -> None:
        self._callers = callers
        self._platform_admin = (home_tenant.lower(), first_admin.lower())
        self._principals: TimedCache[tuple[str, Caller], Principal] = TimedCache(clock, _LIFETIME, _LIMIT)

    async def resolve(self, caller: Caller, account: str) -> Principal:
        """Return what `caller` is in `account`; NotFoundError `account_not_found`."""
        # Only those who are found are kept: a stranger's guesses must not push members out.
        return await self._principals.get((account, caller), lambda: self._find(caller, account))

    async def require(
        self, caller: Caller, account: str, permission: Permission, group: str | None = None
    ) -> Principal:
        """Return the principal if it holds `permission`; NotFoundError for what it may not see; NotPermittedError."""
        principal = await self.resolve(caller, account)
        decision = decide(principal, group, permission)
        if decision is Decision.HIDDEN:
            raise group_not_found()
        if decision is Decision.LACKING:
            raise NotPermittedError(permission)
        return principal

    def platform_permissions(self, caller: Caller) -> frozenset[Permission]:
        """Return what `caller` may do outside accounts."""
        who = ((caller.tenant_id or "").lower(), (caller.object_id or "").lower())
        is_entra = caller.kind is not CallerKind.API_KEY
        return PLATFORM if is_entra and who == self._platform_admin else frozenset()

    def require_platform(self, caller: Caller, permission: Permission) -> None:
        """NotPermittedError unless `caller` holds `permission` on the platform."""
        if permission not in self.platform_permissions(caller):
            raise NotPermittedError(permission)

    def forget(self, account: str) -> None:
        """Read the principals of `account` again; called after every write of one."""
        self._principals.drop(lambda key: key[0] == account)

    async def _find(self, caller: Caller, account: str) -> Principal:
        principal = await self._callers.principal_of(caller, account)
        if principal is None or principal.disabled:
            raise account_not_found()
        return principal
