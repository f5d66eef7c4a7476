"""New keys: generated, imported, and new versions of source keys."""

from core.domain.keys import VirtualKey
from core.domain.permissions import Permission
from core.domain.source_keys import SourceKey
from core.material.reading import Expected
from core.services.source_keys import NewSourceVersion
from core.wiring import App
from functions.found_keys import found_key, read_key, shown, source_key
from functions.models.base import NoQuery
from functions.models.key_detail import KeyAnswer
from functions.models.new_keys import ImportBody, MaterialModel, NewKeyBody, VersionBody
from functions.operations import Answer, Call, Operation, Precondition, Upload

_TAG = "New keys"
_ROUTE = "v1/accounts/{account}/groups/{group}/keys"
UPLOAD = Upload("material.value", {"material.encoding": "base64"})
#: What any way of making a key may answer.
NAMED = (
    "key_name_invalid", "azure_name_invalid", "key_display_name_taken", "key_name_taken", "key_name_soft_deleted",
    "key_name_purged", "key_name_raced",
)  # fmt: skip
SETTLED = ("key_not_allowed", "key_kind_invalid", "dates_invalid", "tags_invalid", "release_policy_invalid",
           "field_for_other_kind", "vault_not_selected", "group_kind")  # fmt: skip
REACHED = (
    "vault_denied", "vault_unavailable", "vault_throttled", "vault_timeout", "vault_outcome_unknown", "vault_refused",
    "vault_conflict", "key_being_deleted", "key_being_recovered", "vault_answer_malformed", "request_in_progress",
)  # fmt: skip
MATERIAL = (
    "material_encoding_invalid", "material_too_large", "material_corrupt", "material_type_mismatch",
    "material_size_not_allowed", "material_size_mismatch", "material_curve_not_allowed", "material_curve_mismatch",
    "material_kind_unsupported", "material_format_unsupported", "material_public_only", "material_certificate",
    "material_inconsistent",
    "material_passphrase_required", "material_passphrase_wrong", "material_passphrase_unexpected",
    "material_passphrase_too_costly", "material_ambiguous", "material_exponent_not_allowed", "material_weak",
)  # fmt: skip
UNWRAPPED = (
    "unwrap_failed", "wrapped_material_malformed", "wrapping_key_unsuitable", "key_permission_missing",
    "key_not_active", "key_version_not_found", "key_not_found", "group_not_found",
)  # fmt: skip


async def create_key(app: App, call: Call[NewKeyBody, NoQuery]) -> Answer:
    """Generate a key."""
    kind = call.body.kind()
    group = (await app.groups.get(call.account, call.group)).value
    made = await app.new_keys.generate(call.body.new(call.request_id, group, call.actor), kind)
    return await answered(app, made)


async def import_key(app: App, call: Call[ImportBody, NoQuery]) -> Answer:
    """Import a key."""
    group = (await app.groups.get(call.account, call.group)).value
    await require_unwrapping(app, call, call.body.material)
    new = call.body.new(call.request_id, group, call.actor)
    with await app.given_keys.read(call.account, call.body.given()) as material:
        made = await app.new_keys.bring(new, material)
    return await answered(app, made)


async def add_key_version(app: App, call: Call[VersionBody, NoQuery]) -> Answer:
    """Give a source key a new version."""
    key = source_key(await found_key(app, call))
    material = None
    if call.body.material is not None:
        await require_unwrapping(app, call, call.body.material)
        expected = Expected(key.kind.family, key.kind.size, key.kind.curve)
        material = await app.given_keys.read(call.account, call.body.material.given(expected))
    version = NewSourceVersion(call.request_id, material, call.body.validity(), call.actor)
    await app.source_keys.add_version(call.account, call.group, key.id, version, call.etag)
    found = await found_key(app, call)
    return Answer(shown(found, app.clock.now()), etag=found.etag)


async def answered(app: App, made: VirtualKey | SourceKey) -> Answer:
    """Answer a key that was made."""
    found = await read_key(app, made.account, made.group, made.id)
    location = f"v1/accounts/{made.account}/groups/{made.group}/keys/{made.id}"
    return Answer(shown(found, app.clock.now()), etag=found.etag, location=location)


async def require_unwrapping[Body](app: App, call: Call[Body, NoQuery], material: MaterialModel) -> None:
    """Whoever has a key unwrapped needs the permission for it where that key is."""
    if material.unwrap is not None:
        await app.access.require(call.caller, call.account, Permission.KEY_TRANSFER, material.unwrap.group)


OPERATIONS = (
    Operation(
        name="create_key",
        method="POST",
        route=_ROUTE,
        summary="Generate a key, in the group's vault or as a source key",
        description="A name that the vault has already, or holds for a soft-deleted key, is a 409 whose `ways_out` say "
        "what can be done. With an Idempotency-Key, a repetition never makes a second key or version.",
        needs=Permission.KEY_CREATE,
        handler=create_key,
        tag=_TAG,
        body=NewKeyBody,
        answer=KeyAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=(*NAMED, *SETTLED, *REACHED),
    ),
    Operation(
        name="import_key",
        method="POST",
        route=f"{_ROUTE}/import",
        summary="Import a key, in the clear or wrapped under a source key, as JSON or as an uploaded file",
        description="The material is not kept, but in a source group. For a key that an HSM is to protect it travels "
        "wrapped under a key exchange key of that vault. `material.unwrap` needs `key.transfer` on the group of that "
        "key.",
        needs=Permission.KEY_IMPORT,
        handler=import_key,
        tag=_TAG,
        body=ImportBody,
        upload=UPLOAD,
        answer=KeyAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=(*NAMED, *SETTLED, *REACHED, *MATERIAL, *UNWRAPPED),
    ),
    Operation(
        name="add_key_version",
        method="POST",
        route=f"{_ROUTE}/{{key}}/versions",
        summary="Give a source key a new version, generated or imported",
        description="Its copies stay at the version that they have, and so does the previous version: `rotate_key` has "
        "more to offer.",
        needs=Permission.KEY_ROTATE,
        handler=add_key_version,
        tag=_TAG,
        body=VersionBody,
        body_optional=True,
        upload=UPLOAD,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=("virtual_key", "dates_invalid", *MATERIAL, *UNWRAPPED),
    ),
)
