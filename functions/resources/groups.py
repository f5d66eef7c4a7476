"""Groups and their connections."""

from core.domain.accounts import Principal
from core.domain.permissions import Permission
from core.errors import NotPermittedError, StaleWriteError
from core.wiring import App
from functions.models.base import NoQuery
from functions.models.connection_answers import ReportAnswer
from functions.models.connections import ConnectionTest
from functions.models.groups import GroupAnswer, GroupDraft, GroupItem, GroupPage, GroupPatch, VaultSelection
from functions.operations import Answer, Call, Operation, Precondition
from functions.paging import PageQuery, encoded
from functions.visibility import visible_groups

_TAG = "Groups"
_ROUTE = "v1/accounts/{account}/groups"
_ONE = f"{_ROUTE}/{{group}}"
_REACHED = ("vault_unavailable",)
_CONNECTED = ("connection_invalid", "identity_not_offered")
_DRAFTED = ("title_invalid", "group_invalid", "schedule_invalid", *_CONNECTED)
_LINKED = ("not_connected", "vault_not_offered", "vault_already_linked")
_DRILLED = ("group_unknown", "vault_not_selected", "scratch_own_vault", "scratch_purge_protected", "restore_elsewhere")


async def create_group(app: App, call: Call[GroupDraft, NoQuery]) -> Answer:
    """Create a group."""
    if not call.body.escrow.enabled:
        # Nobody holds a destructive permission on a group that is not there yet.
        raise NotPermittedError(Permission.ESCROW_DISABLE)
    if call.body.drill.restore_into is not None:
        await _require_restoring(app, call, call.body.drill.restore_into)
    created = await app.groups.create(call.membership, call.actor, call.body.new())
    location = f"v1/accounts/{call.account}/groups/{created.value.id}"
    return Answer(GroupAnswer.whole(created.value), etag=created.etag, location=location)


async def list_groups(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of the groups that the caller sees."""
    visible = visible_groups(call.membership, Permission.GROUP_READ)
    page = await app.groups.page(call.account, visible=visible, after=call.query.after, limit=call.query.limit)
    items = tuple(GroupItem.shown(stored.value) for stored in page.items)
    return Answer(GroupPage(items=items, next=encoded(page.next)))


async def get_group(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one group."""
    stored = await app.groups.get(call.account, call.group)
    return Answer(GroupAnswer.whole(stored.value), etag=stored.etag)


async def update_group(app: App, call: Call[GroupPatch, NoQuery]) -> Answer:
    """Change a group."""
    present = await app.groups.get(call.account, call.group)
    if present.etag != call.etag:
        raise StaleWriteError("The group")
    changes = call.body.changes(present.value)
    if call.body.escrow is not None:
        await _require(app, call, Permission.ESCROW_UPDATE)
        if present.value.escrow.enabled and not call.body.escrow.applied_to(present.value.escrow).enabled:
            await _require(app, call, Permission.ESCROW_DISABLE)
    if call.body.key_policy is not None:
        await _require(app, call, Permission.GROUP_POLICY_WRITE)
    if call.body.drill is not None:
        await _require(app, call, Permission.KEY_RESTORE)
        if call.body.drill.restore_into is not None:
            await _require_restoring(app, call, call.body.drill.restore_into)
    updated = await app.groups.update(call.account, call.group, changes, call.etag)
    return Answer(GroupAnswer.whole(updated.value), etag=updated.etag)


async def delete_group(app: App, call: Call[None, NoQuery]) -> Answer:
    """Delete a group."""
    await app.groups.delete(call.account, call.group, call.etag)
    return Answer()


async def select_vault(app: App, call: Call[VaultSelection, NoQuery]) -> Answer:
    """Link a group to its vault."""
    linked = await app.groups.select_vault(call.account, call.group, call.body.resource_id, call.etag)
    return Answer(GroupAnswer.whole(linked.value), etag=linked.etag)


async def test_connection(app: App, call: Call[ConnectionTest, NoQuery]) -> Answer:
    """Test a connection that is not saved."""
    report = await app.connections.test_unsaved(call.account, call.body.connection.draft(), call.body.vault)
    return Answer(ReportAnswer.shown(report))


async def test_group_connection(app: App, call: Call[None, NoQuery]) -> Answer:
    """Test a group's connection."""
    return Answer(ReportAnswer.shown(await app.connections.test_saved(call.account, call.group)))


async def _require(app: App, call: Call[GroupPatch, NoQuery], permission: Permission) -> Principal:
    return await app.access.require(call.caller, call.account, permission, call.group)


async def _require_restoring(app: App, call: Call[object, NoQuery], scratch: str) -> None:
    """Whoever has keys restored into a group's vault needs the permission to restore there."""
    await app.access.require(call.caller, call.account, Permission.KEY_RESTORE, scratch)


OPERATIONS = (
    Operation(
        name="create_group",
        method="POST",
        route=_ROUTE,
        summary="Create a group and become its admin",
        description="An Azure group may be saved while it is not connected: its report says why it is not.",
        needs=Permission.GROUP_CREATE,
        handler=create_group,
        tag=_TAG,
        body=GroupDraft,
        answer=GroupAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=(*_DRAFTED, *_LINKED, *_DRILLED, "group_kind", "group_not_found", *_REACHED),
    ),
    Operation(
        name="list_groups",
        method="GET",
        route=_ROUTE,
        summary="List the groups that I see",
        needs=Permission.GROUP_READ,
        handler=list_groups,
        tag=_TAG,
        query=PageQuery,
        answer=GroupPage,
    ),
    Operation(
        name="get_group",
        method="GET",
        route=_ONE,
        summary="Read a group, its connection and the latest test of it",
        needs=Permission.GROUP_READ,
        handler=get_group,
        tag=_TAG,
        answer=GroupAnswer,
        etagged=True,
    ),
    Operation(
        name="update_group",
        method="PATCH",
        route=_ONE,
        summary="Change a group, its connection or its schedules",
        description="A changed connection is tested. `escrow` needs `escrow.update`; ending it `escrow.disable`, too. "
        "`key_policy` needs `group_policy.write`; `drill` needs `key.restore`, in the scratch group, too.",
        needs=Permission.GROUP_UPDATE,
        handler=update_group,
        tag=_TAG,
        body=GroupPatch,
        answer=GroupAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=(*_DRAFTED, *_DRILLED, "secret_required", "field_fixed", "group_kind", *_REACHED),
    ),
    Operation(
        name="delete_group",
        method="DELETE",
        route=_ONE,
        summary="Delete a group that holds no keys",
        needs=Permission.GROUP_DELETE,
        handler=delete_group,
        tag=_TAG,
        status=204,
        precondition=Precondition.OPTIONAL,
        errors=("group_not_empty",),
    ),
    Operation(
        name="select_vault",
        method="PUT",
        route=f"{_ONE}/vault",
        summary="Link a group to one of the vaults that its connection shows",
        description="Once: a group keeps its vault.",
        needs=Permission.GROUP_UPDATE,
        handler=select_vault,
        tag=_TAG,
        body=VaultSelection,
        answer=GroupAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=("group_kind", "field_fixed", "identity_not_offered", *_LINKED, *_REACHED),
    ),
    Operation(
        name="test_connection",
        method="POST",
        route="v1/accounts/{account}/connections/test",
        summary="Test a connection that is not saved, and discover its vaults",
        description="With `vault` it also tells which key permissions are held there. A bad connection is an answer, "
        "not an error.",
        needs=Permission.CONNECTION_TEST,
        handler=test_connection,
        tag=_TAG,
        body=ConnectionTest,
        answer=ReportAnswer,
        errors=(*_CONNECTED, *_REACHED),
    ),
    Operation(
        name="test_group_connection",
        method="POST",
        route=f"{_ONE}/connection/test",
        summary="Test a group's connection, discover its vaults, and probe the permissions on its vault",
        needs=Permission.GROUP_TEST,
        handler=test_group_connection,
        tag=_TAG,
        answer=ReportAnswer,
        errors=("group_kind", "identity_not_offered", *_REACHED),
    ),
)
