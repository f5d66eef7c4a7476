"""Actions on keys: attributes, deactivation, deletion, recovery, purge, restore, and the end of the escrow."""

from core.domain.permissions import Permission
from core.domain.source_keys import SourceKey
from core.services.deletion_actions import Deleting
from core.services.restoring import Restoring
from core.services.waiting import IN_REQUEST
from core.wiring import App
from functions.found_keys import found_key
from functions.key_calls import answered, asked_of, in_time, ref_of, require_virtual
from functions.models.base import NoQuery
from functions.models.key_actions import Activate, Deactivate, KeyPatch, Purge, Restore, SoftDelete
from functions.models.key_detail import KeyAnswer
from functions.operations import Answer, Call, Operation, Precondition
from functions.resources.new_keys import REACHED

_TAG = "Life of a key"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"
STATES = (
    "key_live", "key_soft_deleted", "key_purged", "key_destroyed", "key_action_pending", "key_replaced",
    "vault_not_selected",
)  # fmt: skip
_ESCROWED = ("escrow_needed", "virtual_key_only")


async def update_key(app: App, call: Call[KeyPatch, NoQuery]) -> Answer:
    """Change a key's attributes."""
    found = await found_key(app, call)
    if isinstance(found.key, SourceKey):
        changes = call.body.of_source()
        # With `export` the material can leave Keysteward: who adds it needs the right to take it out.
        if "export" in set(changes.permissions or ()) - set(found.key.permissions):
            await app.access.require(call.caller, call.account, Permission.KEY_EXPORT, call.group)
        await app.source_attributes.update(ref_of(call), call.body.version, changes, asked_of(call))
    else:
        await app.attributes.update(ref_of(call), call.body.version, call.body.in_vault(), asked_of(call))
    return await answered(app, call)


async def deactivate_key(app: App, call: Call[Deactivate, NoQuery]) -> Answer:
    """Disable a key."""
    found = await found_key(app, call)
    service = app.source_attributes if isinstance(found.key, SourceKey) else app.attributes
    await service.deactivate(ref_of(call), call.body.version, call.body.reason, asked_of(call))
    return await answered(app, call)


async def activate_key(app: App, call: Call[Activate, NoQuery]) -> Answer:
    """Enable a key again."""
    found = await found_key(app, call)
    service = app.source_attributes if isinstance(found.key, SourceKey) else app.attributes
    await service.activate(ref_of(call), call.body.version, call.body.reason, asked_of(call))
    return await answered(app, call)


async def soft_delete_key(app: App, call: Call[SoftDelete, NoQuery]) -> Answer:
    """Soft-delete a key."""
    await _require_virtual(app, call)
    how = await _deleting(app, call, without_escrow=call.body.without_escrow)
    return await in_time(app, call, app.deletions.soft_delete(ref_of(call), how, acknowledged=call.body.acknowledge))


async def recover_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Recover a soft-deleted key."""
    await _require_virtual(app, call)
    return await in_time(app, call, app.deletions.recover(ref_of(call), Deleting(asked_of(call), seconds=IN_REQUEST)))


async def purge_key(app: App, call: Call[Purge, NoQuery]) -> Answer:
    """Purge a soft-deleted key."""
    await _require_virtual(app, call)
    how = await _deleting(app, call, without_escrow=call.body.without_escrow)
    return await in_time(app, call, app.deletions.purge(ref_of(call), how))


async def restore_key(app: App, call: Call[Restore, NoQuery]) -> Answer:
    """Restore a purged key from its escrow."""
    await _require_virtual(app, call)
    how = Restoring(asked_of(call), call.body.generation, IN_REQUEST)
    return await in_time(app, call, app.restores.restore(ref_of(call), how))


async def delete_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Destroy the escrow of a purged key."""
    await _require_virtual(app, call)
    await app.deletions.destroy(ref_of(call), asked_of(call))
    return await answered(app, call)


async def _deleting(app: App, call: Call[object, NoQuery], *, without_escrow: bool) -> Deleting:
    if without_escrow:
        await app.access.require(call.caller, call.account, Permission.KEY_WITHOUT_ESCROW, call.group)
    return Deleting(asked_of(call), without_escrow=without_escrow, seconds=IN_REQUEST)


async def _require_virtual(app: App, call: Call[object, NoQuery]) -> None:
    await require_virtual(app, call, "A source key is in no vault: it is deactivated, not deleted.")


OPERATIONS = (
    Operation(
        name="update_key",
        method="PATCH",
        route=_ONE,
        summary="Change a key's dates, operations, permissions or tags",
        description="Written to the vault, then recorded. A key that changed in its vault since it was read is a 412. "
        "To add `export` to a source key's permissions needs `key.export`, too.",
        needs=Permission.KEY_UPDATE,
        handler=update_key,
        tag=_TAG,
        body=KeyPatch,
        answer=KeyAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=(*STATES, *REACHED, "dates_invalid", "date_not_removable", "tags_invalid", "key_not_allowed",
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
        errors=(*STATES, *REACHED, "reason_invalid", "key_already_disabled", "key_version_not_found"),
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
        errors=(*STATES, *REACHED, "reason_invalid", "key_not_disabled", "key_expired", "key_version_not_found"),
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
        errors=(*STATES, *_ESCROWED, *REACHED, "acknowledgement_needed", "key_managed"),
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
        errors=(*STATES, "virtual_key_only", *REACHED),
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
        errors=(*STATES, *_ESCROWED, *REACHED, "purge_protected"),
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
        errors=(*STATES, "virtual_key_only", *REACHED, "escrow_not_found", "restore_elsewhere", "restore_refused",
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
        errors=(*STATES, "virtual_key_only"),
    ),
)  # fmt: skip
