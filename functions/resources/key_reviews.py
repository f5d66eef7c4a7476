"""What people do about what a sync found of a key: its drift, and rotation by the vault."""

from core.domain.keys import VirtualKey
from core.domain.permissions import Permission
from core.errors import ConflictError
from core.services.attribute_actions import ActionRequest
from core.services.opened_keys import KeyRef
from core.wiring import App
from functions.found_keys import found_key, shown
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
    await app.drift_reviews.acknowledge(_ref(call), call.body.note, _asked(call))
    return await _answered(app, call)


async def disable_vault_rotation(app: App, call: Call[None, NoQuery]) -> Answer:
    """Switch the vault's own rotation of a key off."""
    await _require_virtual(app, call)
    await app.vault_rotations.disable(_ref(call), _asked(call))
    return await _answered(app, call)


async def _require_virtual(app: App, call: Call[object, NoQuery]) -> None:
    """Raise ConflictError `virtual_key_only` for a source key: it is not in a vault."""
    if not isinstance((await found_key(app, call)).key, VirtualKey):
        raise ConflictError("A source key is in no vault: nobody changes it there.", code="virtual_key_only")


async def _answered(app: App, call: Call[object, NoQuery]) -> Answer:
    found = await found_key(app, call)
    return Answer(shown(found, app.clock.now()), etag=found.etag)


def _ref(call: Call[object, NoQuery]) -> KeyRef:
    return KeyRef(call.account, call.group, call.path["key"])


def _asked(call: Call[object, NoQuery]) -> ActionRequest:
    return ActionRequest(call.request_id, call.actor, call.etag)


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
