"""What people do about what a sync found of a key: its drift, and rotation by the vault."""

from core.domain.permissions import Permission
from core.wiring import App
from functions.key_calls import answered, asked_of, ref_of, require_virtual
from functions.models.base import NoQuery
from functions.models.key_detail import KeyAnswer
from functions.models.key_reviews import DriftAcknowledgement
from functions.operations import Answer, Call, Operation, Precondition
from functions.resources.new_keys import REACHED

_TAG = "Life of a key"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"


async def acknowledge_drift(app: App, call: Call[DriftAcknowledgement, NoQuery]) -> Answer:
    """Note that somebody looked at a key's drift."""
    await _require_virtual(app, call)
    await app.drift_reviews.acknowledge(ref_of(call), call.body.note, asked_of(call))
    return await answered(app, call)


async def disable_vault_rotation(app: App, call: Call[None, NoQuery]) -> Answer:
    """Switch the vault's own rotation of a key off."""
    await _require_virtual(app, call)
    await app.vault_rotations.disable(ref_of(call), asked_of(call))
    return await answered(app, call)


async def _require_virtual(app: App, call: Call[object, NoQuery]) -> None:
    await require_virtual(app, call, "A source key is in no vault: nobody changes it there.")


OPERATIONS = (
    Operation(
        name="acknowledge_drift",
        method="POST",
        route=f"{_ONE}/drift/acknowledge",
        summary="Note that somebody looked at what was changed outside Keysteward",
        description="The key is no longer listed as drifted; the entries stay. With `If-Match`, drift that came since "
        "the key was read is a 412 rather than acknowledged unseen.",
        needs=Permission.KEY_UPDATE,
        handler=acknowledge_drift,
        tag=_TAG,
        body=DriftAcknowledgement,
        body_optional=True,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=("reason_invalid", "virtual_key_only"),
    ),
    Operation(
        name="disable_vault_rotation",
        method="POST",
        route=f"{_ONE}/vault-rotation/disable",
        summary="Switch the vault's own rotation of a key off",
        description="Azure would replace material that was brought into the vault by its own. The rest of the vault's "
        "policy stays.",
        needs=Permission.ROTATION_POLICY_WRITE,
        handler=disable_vault_rotation,
        tag=_TAG,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=(
            "virtual_key_only", "key_soft_deleted", "key_purged", "key_destroyed", "key_replaced",
            "vault_not_selected", "vault_rotation_stays", *REACHED,
        ),
    ),
)  # fmt: skip
