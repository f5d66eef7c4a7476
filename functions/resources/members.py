"""Members of an account."""

from core.domain.permissions import Permission
from core.services.members import NewMember
from core.wiring import App
from functions.models.accounts import MemberChange, MemberDraft, PrincipalAnswer, PrincipalPage
from functions.models.base import NoQuery
from functions.operations import Answer, Call, Operation, Precondition
from functions.paging import PageQuery, encoded

_TAG = "Members"
_ROUTE = "v1/accounts/{account}/members"
_ONE = f"{_ROUTE}/{{member}}"


async def add_member(app: App, call: Call[MemberDraft, NoQuery]) -> Answer:
    """Add a member."""
    added = await app.members.add(call.caller, call.account, NewMember(**call.body.model_dump()))
    location = f"v1/accounts/{call.account}/members/{added.value.id}"
    return Answer(PrincipalAnswer.shown(added.value), etag=added.etag, location=location)


async def list_members(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of members."""
    query = call.query
    page = await app.members.page(call.caller, call.account, after=query.after, limit=query.limit)
    items = tuple(PrincipalAnswer.shown(stored.value) for stored in page.items)
    return Answer(PrincipalPage(items=items, next=encoded(page.next)))


async def get_member(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one member."""
    stored = await app.members.get(call.caller, call.account, call.path["member"])
    return Answer(PrincipalAnswer.shown(stored.value), etag=stored.etag)


async def update_member(app: App, call: Call[MemberChange, NoQuery]) -> Answer:
    """Change a member's role."""
    member, role = call.path["member"], call.body.role
    changed = await app.members.change_role(call.caller, call.account, member, role, call.etag)
    return Answer(PrincipalAnswer.shown(changed.value), etag=changed.etag)


async def delete_member(app: App, call: Call[None, NoQuery]) -> Answer:
    """Delete a member."""
    await app.members.delete(call.caller, call.account, call.path["member"], call.etag)
    return Answer()


OPERATIONS = (
    Operation(
        name="add_member",
        method="POST",
        route=_ROUTE,
        summary="Add a member by object id, or invite one by e-mail",
        needs=Permission.MEMBER_WRITE,
        handler=add_member,
        tag=_TAG,
        body=MemberDraft,
        answer=PrincipalAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=("invalid_request", "member_exists", "guid_invalid", "email_invalid", "email_outside_home_tenant"),
    ),
    Operation(
        name="list_members",
        method="GET",
        route=_ROUTE,
        summary="List the members",
        needs=Permission.MEMBER_READ,
        handler=list_members,
        tag=_TAG,
        query=PageQuery,
        answer=PrincipalPage,
    ),
    Operation(
        name="get_member",
        method="GET",
        route=_ONE,
        summary="Read a member",
        needs=Permission.MEMBER_READ,
        handler=get_member,
        tag=_TAG,
        answer=PrincipalAnswer,
        etagged=True,
    ),
    Operation(
        name="update_member",
        method="PATCH",
        route=_ONE,
        summary="Change a member's role",
        needs=Permission.MEMBER_WRITE,
        handler=update_member,
        tag=_TAG,
        body=MemberChange,
        answer=PrincipalAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=("last_admin",),
    ),
    Operation(
        name="delete_member",
        method="DELETE",
        route=_ONE,
        summary="Delete a member",
        needs=Permission.MEMBER_WRITE,
        handler=delete_member,
        tag=_TAG,
        status=204,
        precondition=Precondition.OPTIONAL,
        errors=("last_admin",),
    ),
)
