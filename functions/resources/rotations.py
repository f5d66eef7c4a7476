"""Rotation of keys, re-import of purged copies, and rotation schedules."""

from contextlib import nullcontext

from core.domain.key_kinds import kind_of
from core.domain.keys import VirtualKey
from core.domain.permissions import Permission
from core.domain.source_keys import SourceKey
from core.material.material import KeyMaterial
from core.material.reading import Expected
from core.services.reimports import Reimporting
from core.services.rotation_schedules import require_schedule
from core.services.rotations import Rotating
from core.services.source_rotations import RotatingSource
from core.services.waiting import IN_REQUEST
from core.wiring import App
from functions.found_keys import found_key
from functions.key_calls import answered, asked_of, in_time, ref_of, require_virtual
from functions.models.base import NoQuery
from functions.models.jobs import JobAnswer
from functions.models.key_detail import KeyAnswer
from functions.models.rotations import ReimportBody, RotateBody, RotationScheduleAnswer, ScheduleBody
from functions.operations import Answer, Call, Operation, Precondition
from functions.resources.key_actions import STATES
from functions.resources.new_keys import MATERIAL, REACHED, UNWRAPPED, UPLOAD, require_unwrapping

_TAG = "Rotation"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"
_SCHEDULE = f"{_ONE}/rotation-schedule"
_BROUGHT = (
    "key_permission_missing", "key_not_active", "key_version_not_found", "key_not_found", "group_not_found",
    "key_not_allowed", "rotation_type_mismatch", "release_policy_unknown", "rotation_unclear", "dates_invalid",
)  # fmt: skip


async def rotate_key(app: App, call: Call[RotateBody, NoQuery]) -> Answer:
    """Rotate a key."""
    key = (await found_key(app, call)).key
    if isinstance(key, SourceKey):
        return await _rotate_source(app, call, key)
    body = call.body
    body.require_none_of("copies")
    body.require_one_way()
    source = body.source.group if body.source else key.copied_from.group if key.copied_from else None
    if source is not None and body.material is None:
        await app.access.require(call.caller, call.account, Permission.KEY_COPY, source)
    with await _material(app, call, _expected(key)) or nullcontext() as material:
        how = Rotating(
            asked=asked_of(call),
            validity=body.validity(),
            previous=body.previous.previous(),
            source=body.source.use() if body.source else None,
            material=material,
            size=body.size,
        )
        await app.rotations.rotate(ref_of(call), how)
    return await answered(app, call)


async def reimport_key(app: App, call: Call[ReimportBody, NoQuery]) -> Answer:
    """Import a purged copy again."""
    key = await require_virtual(app, call, "A source key is in no vault: it is never purged there.")
    if key.copied_from is not None:
        await app.access.require(call.caller, call.account, Permission.KEY_COPY, key.copied_from.group)
    how = Reimporting(asked_of(call), call.body.version, call.body.validity(), IN_REQUEST)
    return await in_time(app, call, app.reimports.reimport(ref_of(call), how))


async def get_rotation_schedule(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer a key's schedule."""
    return await _schedule(app, call)


async def put_rotation_schedule(app: App, call: Call[ScheduleBody, NoQuery]) -> Answer:
    """Give a key a schedule."""
    schedule = call.body.schedule()
    key = (await found_key(app, call)).key
    if isinstance(key, SourceKey) and schedule.rotate_copies:
        await _require_for_copies(app, call, key, None)
    await app.rotation_schedules.put(ref_of(call), schedule, asked_of(call))
    return await _schedule(app, call)


async def delete_rotation_schedule(app: App, call: Call[None, NoQuery]) -> Answer:
    """Take a key's schedule away."""
    await found_key(app, call)
    await app.rotation_schedules.delete(ref_of(call), asked_of(call))
    return Answer()


async def _schedule[Body](app: App, call: Call[Body, NoQuery]) -> Answer:
    found = await found_key(app, call)
    return Answer(RotationScheduleAnswer.shown(require_schedule(found.key)), etag=found.etag)


async def _rotate_source(app: App, call: Call[RotateBody, NoQuery], key: SourceKey) -> Answer:
    body = call.body
    body.require_none_of("source", "size")
    if body.copies != "none":
        await _require_for_copies(app, call, key, None if body.copies == "all" else body.copies)
    expected = Expected(key.kind.family, key.kind.size, key.kind.curve)
    with await _material(app, call, expected) or nullcontext() as material:
        how = RotatingSource(asked_of(call), body.validity(), body.previous.previous(), material)
        if body.copies == "none":
            await app.source_rotations.rotate(ref_of(call), how)
            return await answered(app, call)
        job = await app.rotation_jobs.order(ref_of(call), how, None if body.copies == "all" else body.copies)
    return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}", status=202)


async def _material(app: App, call: Call[RotateBody, NoQuery], expected: Expected) -> KeyMaterial | None:
    if call.body.material is None:
        return None
    await require_unwrapping(app, call, call.body.material)
    return await app.given_keys.read(call.account, call.body.material.given(expected))


def _expected(key: VirtualKey) -> Expected:
    """Return what given material has to be: of the type of the current version, and on its curve."""
    current = key.current
    kind = kind_of(current.type, current.size, current.public_key.curve) if current else None
    return Expected(kind.family, None, kind.curve) if kind else Expected()


async def _require_for_copies[Body](
    app: App, call: Call[Body, NoQuery], key: SourceKey, chosen: tuple[str, ...] | None
) -> None:
    """Whoever rotates copies needs the permission for it in each of their groups."""
    groups = {copy.group for copy in key.copies if chosen is None or copy.key in chosen}
    for group in sorted(groups - {call.group}):
        await app.access.require(call.caller, call.account, Permission.KEY_ROTATE, group)


OPERATIONS = (
    Operation(
        name="rotate_key",
        method="POST",
        route=f"{_ONE}/rotate",
        summary="Rotate a key: give it a new current version",
        description="`source` needs `key.copy` on the group of the source key, and that key's own permission `export`. "
        "With `copies`, the answer is a job with a result for each copy, and `key.rotate` is needed on the group of "
        "each.",
        needs=Permission.KEY_ROTATE,
        handler=rotate_key,
        tag=_TAG,
        body=RotateBody,
        body_optional=True,
        upload=UPLOAD,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(
            *STATES, *REACHED, *_BROUGHT, *MATERIAL, *UNWRAPPED, "rotation_invalid", "field_for_other_kind",
            "key_managed", "version_limit", "key_size_unknown", "key_type_unknown", "own_material_needed",
            "key_at_source_version", "not_a_copy",
        ),
    ),
    Operation(
        name="reimport_key",
        method="POST",
        route=f"{_ONE}/reimport",
        summary="Import a purged copy again from its source key, under the same name",
        description="The key keeps its record, with history and escrow, and has one version then. Needs `key.copy` on "
        "the group of the source key, too.",
        needs=Permission.KEY_RESTORE,
        handler=reimport_key,
        tag=_TAG,
        body=ReimportBody,
        body_optional=True,
        answer=KeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        continued=True,
        errors=(*STATES, "virtual_key_only", *REACHED, *_BROUGHT, "no_source_key", "key_name_taken"),
    ),
    Operation(
        name="get_rotation_schedule",
        method="GET",
        route=_SCHEDULE,
        summary="Read a key's rotation schedule, and when it runs next",
        needs=Permission.ROTATION_POLICY_READ,
        handler=get_rotation_schedule,
        tag=_TAG,
        answer=RotationScheduleAnswer,
        etagged=True,
        errors=("rotation_schedule_not_found",),
    ),
    Operation(
        name="put_rotation_schedule",
        method="PUT",
        route=_SCHEDULE,
        summary="Have a key rotated by itself, in place of the schedule that it has",
        description="Of native keys in vaults, and of source keys; with `rotate_copies`, `key.rotate` is needed on the "
        "group of each copy. What is missed is run once, late.",
        needs=Permission.ROTATION_POLICY_WRITE,
        handler=put_rotation_schedule,
        tag=_TAG,
        body=ScheduleBody,
        answer=RotationScheduleAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        errors=(
            "rotation_schedule_invalid", "rotation_invalid", "schedule_on_copy", "schedule_on_imported", "key_managed",
            "key_size_unknown", "key_type_unknown", "key_permission_missing", "key_version_not_found",
            "key_soft_deleted", "key_purged", "key_destroyed", "group_not_found",
        ),
    ),
    Operation(
        name="delete_rotation_schedule",
        method="DELETE",
        route=_SCHEDULE,
        summary="Take a key's rotation schedule away",
        needs=Permission.ROTATION_POLICY_WRITE,
        handler=delete_rotation_schedule,
        tag=_TAG,
        status=204,
        precondition=Precondition.OPTIONAL,
        errors=("rotation_schedule_not_found",),
    ),
)  # fmt: skip
