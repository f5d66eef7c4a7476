"""Accounts, members and applications on the wire."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field

from core.domain.accounts import AccountRole, GroupRole, Principal, PrincipalKind
from functions.models.base import AnswerModel, Guid, Page, RequestModel, Title

GroupId = Annotated[str, Field(pattern=r"^grp_[a-z2-7]{24}$", examples=["grp_aebagbafaydqqcikbmgq2dyc"])]
Email = Annotated[str, Field(min_length=3, max_length=255, examples=["ada@contoso.com"])]
Roles = Annotated[dict[GroupId, GroupRole], Field(max_length=1_000)]


class AccountDraft(RequestModel):
    """A new account, or an account's new title."""

    title: Title


class AccountAnswer(AnswerModel):
    """An account."""

    id: str
    title: str
    created_on: datetime


class AccountPage(Page[AccountAnswer]):
    """Accounts of the caller."""


class MemberDraft(RequestModel):
    """A new member: an Entra object id (of `tenant_id`, else of the home tenant) or an e-mail address, not both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "member", "email": "ada@contoso.com"}]})

    role: AccountRole
    object_id: Guid | None = None
    tenant_id: Guid | None = None
    email: Email | None = None
    name: Title | None = None


class MemberChange(RequestModel):
    """A member's new role."""

    role: AccountRole


class GrantAnswer(AnswerModel):
    """A role in a group, and the destructive permissions given beside it."""

    group: str
    role: GroupRole
    extra: tuple[str, ...]


class PrincipalAnswer(AnswerModel):
    """A member or an application. Its `object_id` is null until an invitation is accepted, or if there is none."""

    id: str
    kind: PrincipalKind
    name: str
    role: AccountRole | None
    tenant_id: str | None
    object_id: str | None
    email: str | None
    disabled: bool
    created_on: datetime
    groups: tuple[GrantAnswer, ...]

    @classmethod
    def shown(cls, principal: Principal) -> Self:
        """Show a principal with all its roles."""
        grants = sorted(principal.groups.items())
        return cls(
            id=principal.id,
            kind=principal.kind,
            name=principal.name,
            role=principal.role,
            tenant_id=principal.tenant_id,
            object_id=principal.object_id,
            email=principal.email,
            disabled=principal.disabled,
            created_on=principal.created_on,
            groups=tuple(GrantAnswer(group=id_, role=grant.role, extra=grant.extra) for id_, grant in grants),
        )


class PrincipalPage(Page[PrincipalAnswer]):
    """Members, or applications, by id."""


class ServicePrincipalModel(RequestModel):
    """An Entra service principal, by the object id that it has in its tenant."""

    tenant_id: Guid
    object_id: Guid


class ApplicationDraft(RequestModel):
    """A new application and its roles in groups, by group id."""

    title: Title
    groups: Roles = Field(default_factory=dict)
    service_principal: ServicePrincipalModel | None = None


class ApplicationPatch(RequestModel):
    """What to change; what is absent or null stays. `groups` replaces all roles."""

    title: Title | None = None
    groups: Roles | None = None
    disabled: bool | None = None


class GroupGrantDraft(RequestModel):
    """A role in a group, and the destructive permissions to give beside it."""

    role: GroupRole
    extra: Annotated[tuple[str, ...], Field(max_length=20, examples=[["key.purge"]])] = ()


class GroupMemberAnswer(AnswerModel):
    """A principal with its role in one group."""

    id: str
    kind: PrincipalKind
    name: str
    email: str | None
    role: GroupRole
    extra: tuple[str, ...]

    @classmethod
    def shown(cls, principal: Principal, group: str) -> Self:
        """Show a principal's role in `group`."""
        grant = principal.groups[group]
        return cls(
            id=principal.id,
            kind=principal.kind,
            name=principal.name,
            email=principal.email,
            role=grant.role,
            extra=grant.extra,
        )


class GroupMemberPage(Page[GroupMemberAnswer]):
    """Who has a role in a group; account roles are not listed."""
