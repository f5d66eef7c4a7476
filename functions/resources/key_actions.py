"""Actions on keys: attributes, deactivation, deletion, recovery, purge, restore, and the end of the escrow."""

from collections.abc import Awaitable

from core.domain.keys import VirtualKey
from core.domain.permissions import Permission
from core.domain.source_keys import SourceKey
from core.errors import ConflictError
from core.services.attribute_actions import ActionRequest
from core.services.deletion_actions import Deleting
from core.services.opened_keys import KeyRef
from core.services.restoring import Restoring
from core.services.waiting import IN_REQUEST, StillWorkingError
from core.wiring import App
from functions.found_keys import found_key, shown
from functions.models.base import NoQuery
from functions.models.jobs import JobAnswer
from functions.models.key_actions import Activate, Deactivate, KeyPatch, Purge, Restore, SoftDelete
from functions.models.key_detail import KeyAnswer
from functions.operations import Answer, Call, Operation, Precondition
from functions.resources.new_keys import REACHED

_TAG = "Life of a key"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"
_STATES = (
    "key_live", "key_soft_deleted", "key_purged", "key_destroyed", "key_action_pending", "key_replaced",
    "vault_not_selected",
)  # fmt: skip
_ESCROWED = ("escrow_needed", "virtual_key_only")


async def update_key(app: App, call: Call[KeyPatch, NoQuery]) -> Answer:
    """Change a key's attributes."""
    found = await found_key(app, call)
    if isinstance(found.key, SourceKey):
        changes = call.body.of_source()
        await app.source_attributes.update(_ref(call), call.body.version, changes, _asked(call))
    else:
        await app.attributes.update(_ref(call), call.body.version, call.body.in_vault(), _asked(call))
    return await _answered(app, call)


async def deactivate_key(app: App, call: Call[Deactivate, NoQuery]) -> Answer:
    """Disable a key."""
    found = await found_key(app, call)
    service = app.source_attributes if isinstance(found.key, SourceKey) else app.attributes
    await service.deactivate(_ref(call), call.body.version, call.body.reason, _asked(call))
    return await _answered(app, call)


async def activate_key(app: App, call: Call[Activate, NoQuery]) -> Answer:
    """Enable a key again."""
    found = await found_key(app, call)
    service = app.source_attributes if isinstance(found.key, SourceKey) else app.attributes
    await service.activate(_ref(call), call.body.version, call.body.reason, _asked(call))
    return await _answered(app, call)


async def soft_delete_key(app: App, call: Call[SoftDelete, NoQuery]) -> Answer:
    """Soft-delete a key."""
    await _require_virtual(app, call)
    how = await _deleting(app, call, without_escrow=call.body.without_escrow)
    return await _in_time(app, call, app.deletions.soft_delete(_ref(call), how, acknowledged=call.body.acknowledge))


async def recover_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Recover a soft-deleted key."""
    await _require_virtual(app, call)
    return await _in_time(app, call, app.deletions.recover(_ref(call), Deleting(_asked(call), seconds=IN_REQUEST)))


async def purge_key(app: App, call: Call[Purge, NoQuery]) -> Answer:
    """Purge a soft-deleted key."""
    await _require_virtual(app, call)
    how = await _deleting(app, call, without_escrow=call.body.without_escrow)
    return await _in_time(app, call, app.deletions.purge(_ref(call), how))


async def restore_key(app: App, call: Call[Restore, NoQuery]) -> Answer:
    """Restore a purged key from its escrow."""
    await _require_virtual(app, call)
    how = Restoring(_asked(call), call.body.generation, IN_REQUEST)
    return await _in_time(app, call, app.restores.restore(_ref(call), how))


async def delete_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Destroy the escrow of a purged key."""
    await _require_virtual(app, call)
    await app.deletions.destroy(_ref(call), _asked(call))
    return await _answered(app, call)


async def _in_time(app: App, call: Call[object, NoQuery], action: Awaitable[VirtualKey]) -> Answer:
    """Answer the key when the action has ended, or the job that goes on with it where the vault takes longer."""
    try:
        await action
    except StillWorkingError:
        job = await app.action_jobs.go_on(_ref(call), call.actor)
        if job is not None:
            return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}", status=202)
    return await _answered(app, call)


async def _deleting(app: App, call: Call[object, NoQuery], *, without_escrow: bool) -> Deleting:
    if without_escrow:
        await app.access.require(call.caller, call.account, Permission.KEY_WITHOUT_ESCROW, call.group)
    return Deleting(_asked(call), without_escrow=without_escrow, seconds=IN_REQUEST)


async def _require_virtual(app: App, call: Call[object, NoQuery]) -> None:
    """Raise ConflictError `virtual_key_only` for a source key: it is not in a vault."""
    found = await found_key(app, call)
    if isinstance(found.key, SourceKey):
        detail = "A source key is in no vault: it is deactivated, not deleted."
        raise ConflictError(detail, code="virtual_key_only")


async def _answered(app: App, call: Call[object, NoQuery]) -> Answer:
    found = await found_key(app, call)
    return Answer(shown(found, app.clock.now()), etag=found.etag)


def _ref(call: Call[object, NoQuery]) -> KeyRef:
    return KeyRef(call.account, call.group, call.path["key"])


def _asked(call: Call[object, NoQuery]) -> ActionRequest:
    return ActionRequest(call.request_id, call.actor, call.etag)


OPERATIONS = (
    Operation(
        name="update_key",
        method="PATCH",
        route=_ONE,
        summary="Change a key's dates, operations, permissions or tags",
        description="Written to the vault, then recorded. A key that changed in its vault since it was read is a 412.",
        needs=Permission.KEY_UPDATE,
        handler=update_key,
        tag=_TAG,
        body=KeyPatch,
        answer=KeyAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=(*_STATES, *REACHED, "dates_invalid", "date_not_removable", "tags_invalid", "key_not_allowed",
                "field_for_other_kind", "key_version_not_found"),
    ),
    Operation(
        name="deactivate_key",
        method="POST",
        route=f"{_ONE}/deactivate",
        summary="Disable a key, in its vault, too",
        description="All versions that are enabled, or one of them. Disabled, a key neither decrypts nor signs.",
        needs=Permission.KEY_DEACTIVATE,
        handler=deactivate_key,
        tag=_TAG,
        body=Deactivate,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=(*_STATES, *REACHED, "reason_invalid", "key_already_disabled", "key_version_not_found"),
    ),
    Operation(
        name="activate_key",
        method="POST",
        route=f"{_ONE}/activate",
        summary="Enable a key again",
        needs=Permission.KEY_ACTIVATE,
        handler=activate_key,
        tag=_TAG,
        body=Activate,
        body_optional=True,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=(*_STATES, *REACHED, "reason_invalid", "key_not_disabled", "key_expired", "key_version_not_found"),
    ),
    Operation(
        name="soft_delete_key",
        method="POST",
        route=f"{_ONE}/soft-delete",
        summary="Soft-delete a key with all versions",
        description="Needs `acknowledge`, and a verified escrow of every version: it is made now if it is not there.",
        needs=Permission.KEY_SOFT_DELETE,
        handler=soft_delete_key,
        tag=_TAG,
        body=SoftDelete,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(*_STATES, *_ESCROWED, *REACHED, "acknowledgement_needed", "key_managed"),
    ),
    Operation(
        name="recover_key",
        method="POST",
        route=f"{_ONE}/recover",
        summary="Recover a soft-deleted key with all versions",
        needs=Permission.KEY_RECOVER,
        handler=recover_key,
        tag=_TAG,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(*_STATES, "virtual_key_only", *REACHED),
    ),
    Operation(
        name="purge_key",
        method="POST",
        route=f"{_ONE}/purge",
        summary="Purge a soft-deleted key",
        description="Final in the vault; the escrow stays. Where the vault has purge protection, the problem says when "
        "Azure purges it.",
        needs=Permission.KEY_PURGE,
        handler=purge_key,
        tag=_TAG,
        body=Purge,
        body_optional=True,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(*_STATES, *_ESCROWED, *REACHED, "purge_protected"),
    ),
    Operation(
        name="restore_key",
        method="POST",
        route=f"{_ONE}/restore",
        summary="Restore a purged key from its escrow, with all versions",
        needs=Permission.KEY_RESTORE,
        handler=restore_key,
        tag=_TAG,
        body=Restore,
        body_optional=True,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(*_STATES, "virtual_key_only", *REACHED, "escrow_not_found", "restore_elsewhere", "restore_refused",
                "key_name_taken", "key_name_soft_deleted", "escrow_missing", "escrow_altered", "escrow_unreadable"),
    ),
    Operation(
        name="delete_key",
        method="DELETE",
        route=_ONE,
        summary="Destroy the escrow of a purged key: it cannot be restored any more",
        description="A tombstone stays.",
        needs=Permission.KEY_DELETE,
        handler=delete_key,
        tag=_TAG,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=(*_STATES, "virtual_key_only"),
    ),
)  # fmt: skip
