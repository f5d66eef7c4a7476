"""Roles of members and applications in one group.

Invariants: cryptographic operations are for applications, so the role `application` is given to them only; an auditor
of the account holds no other role anywhere; only who holds `group_member.grant_extra` adds a destructive permission.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.domain.accounts import AccountRole, GroupGrant, GroupRole, Principal, PrincipalKind
from core.domain.callers import Caller
from core.domain.groups import Group
from core.domain.permissions import DESTRUCTIVE, Decision, Permission, decide
from core.errors import InvalidRequestError, NotFoundError, NotPermittedError, StaleWriteError
from core.ports import Collection, Stored
from core.services.access import Access, group_not_found
from core.services.conditional import require_match
from core.services.pages import Page
from core.services.principals import Principals

#: Of those who write at once one succeeds each time, so as many groups may be created at once by one creator.
_ATTEMPTS = 32


@dataclass(frozen=True, slots=True)
class NewGrant:
    """The role that a principal is to have in a group, and the destructive permissions beside it."""

    role: GroupRole
    extra: tuple[str, ...] = ()


class GroupMembers:
    """Grants, lists and withdraws roles in groups."""

    def __init__(self, access: Access, principals: Principals, groups: Collection[Group]) -> None:
        self._access = access
        self._principals = principals
        self._groups = groups

    async def page(
        self, caller: Caller, account: str, group: str, *, after: str | None = None, limit: int = 100
    ) -> Page[Stored[Principal]]:
        """Return a page, by id, of the principals with a role in the group; account roles are not listed."""
        await self._require(caller, account, Permission.GROUP_MEMBER_READ, group)
        return await self._principals.page(account, lambda one: group in one.groups, after=after, limit=limit)

    async def get(self, caller: Caller, account: str, group: str, principal: str) -> Stored[Principal]:
        """Return a principal with a role in the group; NotFoundError `group_member_not_found`."""
        await self._require(caller, account, Permission.GROUP_MEMBER_READ, group)
        return await self._member(account, group, principal)

    async def grant(
        self, caller: Caller, account: str, group: str, principal: str, grant: NewGrant, if_match: str | None = None
    ) -> Stored[Principal]:
        """Give a principal a role in the group instead of the one that it has."""
        actor = await self._require(caller, account, Permission.GROUP_MEMBER_WRITE, group)
        stored = await self._principals.get(account, principal)
        require_match(stored.etag, if_match, "The member")
        _require_fitting(stored.value, grant)
        present = stored.value.groups.get(group)
        added = set(grant.extra) - set(present.extra if present else ())
        if added and decide(actor, group, Permission.GROUP_MEMBER_GRANT_EXTRA) is not Decision.ALLOWED:
            raise NotPermittedError(Permission.GROUP_MEMBER_GRANT_EXTRA)
        changed = GroupGrant(grant.role, tuple(sorted(set(grant.extra))))
        return await self._principals.replace(
            replace(stored.value, groups={**stored.value.groups, group: changed}), stored.etag
        )

    async def withdraw(
        self, caller: Caller, account: str, group: str, principal: str, if_match: str | None = None
    ) -> None:
        """Take the role in the group away; NotFoundError `group_member_not_found`."""
        await self._require(caller, account, Permission.GROUP_MEMBER_WRITE, group)
        stored = await self._member(account, group, principal)
        require_match(stored.etag, if_match, "The member")
        await self._principals.replace(replace(stored.value, groups=_without(stored.value.groups, group)), stored.etag)

    async def enrol_creator(self, creator: Principal, group: str) -> None:
        """Make whoever creates `group` its admin; part of creating it, so nothing is asked."""
        for attempt in range(1, _ATTEMPTS + 1):
            stored = await self._principals.get(creator.account, creator.id)
            groups = {**stored.value.groups, group: GroupGrant(GroupRole.ADMIN)}
            try:
                await self._principals.replace(replace(stored.value, groups=groups), stored.etag)
            except StaleWriteError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    async def _require(self, caller: Caller, account: str, permission: Permission, group: str) -> Principal:
        actor = await self._access.require(caller, account, permission, group)
        if await self._groups.get(account, group) is None:
            raise group_not_found()
        return actor

    async def _member(self, account: str, group: str, principal: str) -> Stored[Principal]:
        stored = await self._principals.find(account, principal)
        if stored is None or group not in stored.value.groups:
            raise NotFoundError("There is no such member of the group.", code="group_member_not_found")
        return stored


def _require_fitting(principal: Principal, grant: NewGrant) -> None:
    unknown = sorted(set(grant.extra) - DESTRUCTIVE)
    if unknown:
        raise InvalidRequestError(
            f"'{unknown[0]}' is not a permission that is granted beside a role.", code="extra_unknown", field="extra"
        )
    if grant.role is GroupRole.AUDITOR and grant.extra:
        raise InvalidRequestError("An auditor changes nothing.", code="extra_for_auditor", field="extra")
    if grant.role is GroupRole.APPLICATION and principal.kind is not PrincipalKind.APPLICATION:
        raise InvalidRequestError(
            "Only an application can have the role 'application'.", code="role_for_applications", field="role"
        )
    if principal.role is AccountRole.AUDITOR and grant.role is not GroupRole.AUDITOR:
        raise InvalidRequestError(
            "An auditor of the account can have no other role in a group.", code="role_for_auditor", field="role"
        )


def _without(grants: Mapping[str, GroupGrant], group: str) -> dict[str, GroupGrant]:
    return {id_: grant for id_, grant in grants.items() if id_ != group}
