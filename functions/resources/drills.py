"""Escrow drills."""

from core.domain.permissions import Permission
from core.wiring import App
from functions.models.base import NoQuery
from functions.models.drills import DrillRequest
from functions.models.jobs import JobAnswer
from functions.operations import Answer, Call, Operation


async def start_escrow_drill(app: App, call: Call[DrillRequest, NoQuery]) -> Answer:
    """Start a drill, or answer the one that has not ended."""
    group = (await app.groups.get(call.account, call.group)).value
    named = call.body.restore_into
    if named is not None and named != group.drill.restore_into:
        # Whoever set the group's own scratch group was asked for this then.
        await app.access.require(call.caller, call.account, Permission.KEY_RESTORE, named)
    job = await app.drills.start(call.account, call.group, call.body.order(group.drill), call.actor)
    return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}")


OPERATIONS = (
    Operation(
        name="start_escrow_drill",
        method="POST",
        route="v1/accounts/{account}/groups/{group}/escrow-drill",
        summary="Prove that a group's escrow can be restored",
        description="Opens the newest escrow of every key, checks its digests and what a restore needs; on request "
        "restores a few keys into a scratch group's vault, compares them, and purges them there. A group has one drill "
        "at a time: while one has not ended, that one is the answer.",
        needs=Permission.KEY_RESTORE,
        handler=start_escrow_drill,
        tag="Jobs",
        body=DrillRequest,
        body_optional=True,
        answer=JobAnswer,
        status=202,
        located=True,
        errors=(
            "group_kind", "group_invalid", "group_unknown", "vault_not_selected", "scratch_own_vault",
            "scratch_purge_protected", "restore_elsewhere",
        ),
    ),
)  # fmt: skip
