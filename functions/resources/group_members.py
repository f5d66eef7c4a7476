"""Roles of members and applications in a group."""

from core.domain.permissions import Permission
from core.services.group_members import NewGrant
from core.wiring import App
from functions.models.accounts import GroupGrantDraft, GroupMemberAnswer, GroupMemberPage
from functions.models.base import NoQuery
from functions.operations import Answer, Call, Operation, Precondition
from functions.paging import PageQuery, encoded

_TAG = "Group members"
_ROUTE = "v1/accounts/{account}/groups/{group}/members"
_ONE = f"{_ROUTE}/{{principal}}"


async def list_group_members(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a group's members."""
    page = await app.group_members.page(
        call.caller, call.account, call.group, after=call.query.after, limit=call.query.limit
    )
    items = tuple(GroupMemberAnswer.shown(stored.value, call.group) for stored in page.items)
    return Answer(GroupMemberPage(items=items, next=encoded(page.next)))


async def get_group_member(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one member of a group."""
    principal = call.path["principal"]
    stored = await app.group_members.get(call.caller, call.account, call.group, principal)
    return Answer(GroupMemberAnswer.shown(stored.value, call.group), etag=stored.etag)


async def put_group_member(app: App, call: Call[GroupGrantDraft, NoQuery]) -> Answer:
    """Give a principal a role in a group."""
    grant = NewGrant(call.body.role, call.body.extra)
    principal = call.path["principal"]
    stored = await app.group_members.grant(call.caller, call.account, call.group, principal, grant, call.etag)
    return Answer(GroupMemberAnswer.shown(stored.value, call.group), etag=stored.etag)


async def delete_group_member(app: App, call: Call[None, NoQuery]) -> Answer:
    """Take a principal's role in a group away."""
    principal = call.path["principal"]
    await app.group_members.withdraw(call.caller, call.account, call.group, principal, call.etag)
    return Answer()


OPERATIONS = (
    Operation(
        name="list_group_members",
        method="GET",
        route=_ROUTE,
        summary="List who has a role in a group",
        needs=Permission.GROUP_MEMBER_READ,
        handler=list_group_members,
        tag=_TAG,
        query=PageQuery,
        answer=GroupMemberPage,
    ),
    Operation(
        name="get_group_member",
        method="GET",
        route=_ONE,
        summary="Read a role in a group",
        needs=Permission.GROUP_MEMBER_READ,
        handler=get_group_member,
        tag=_TAG,
        answer=GroupMemberAnswer,
        etagged=True,
        errors=("group_member_not_found",),
    ),
    Operation(
        name="put_group_member",
        method="PUT",
        route=_ONE,
        summary="Give a member or an application a role in a group, instead of the one that it has",
        description="A destructive permission that is new in `extra` needs `group_member.grant_extra`, too.",
        needs=Permission.GROUP_MEMBER_WRITE,
        handler=put_group_member,
        tag=_TAG,
        body=GroupGrantDraft,
        answer=GroupMemberAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=("extra_unknown", "extra_for_auditor", "role_for_applications", "role_for_auditor"),
    ),
    Operation(
        name="delete_group_member",
        method="DELETE",
        route=_ONE,
        summary="Take a role in a group away",
        needs=Permission.GROUP_MEMBER_WRITE,
        handler=delete_group_member,
        tag=_TAG,
        status=204,
        precondition=Precondition.OPTIONAL,
        errors=("group_member_not_found",),
    ),
)
