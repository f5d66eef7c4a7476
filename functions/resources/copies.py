"""Copies of source keys to vaults and to other source groups."""

from core.domain.permissions import Permission
from core.services.source_keys import SourceUse
from core.wiring import App
from functions.found_keys import found_key, source_key
from functions.models.base import NoQuery
from functions.models.jobs import JobAnswer
from functions.models.new_keys import CopyBody
from functions.operations import Answer, Call, Operation
from functions.resources.new_keys import NAMED, SETTLED


async def copy_key(app: App, call: Call[CopyBody, NoQuery]) -> Answer:
    """Start the copying of a source key."""
    key = source_key(await found_key(app, call))
    groups = {}
    for id_ in dict.fromkeys(target.group for target in call.body.targets):
        await app.access.require(call.caller, call.account, Permission.KEY_COPY, id_)
        groups[id_] = (await app.groups.get(call.account, id_)).value
    wanted = [target.wanted(groups[target.group]) for target in call.body.targets]
    use = SourceUse(call.group, key.id, call.body.version)
    job = await app.copies.start(call.request_id, call.account, use, wanted, call.actor)
    return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}")


OPERATIONS = (
    Operation(
        name="copy_key",
        method="POST",
        route="v1/accounts/{account}/groups/{group}/keys/{key}/copies",
        summary="Copy a source key to one or more groups",
        description="A job with a result for each target. The source key needs its own permission `export`, the caller "
        "`key.copy` on each target's group, too. Whatever can be refused is refused before the job starts.",
        needs=Permission.KEY_COPY,
        handler=copy_key,
        tag="New keys",
        body=CopyBody,
        answer=JobAnswer,
        status=202,
        located=True,
        errors=("virtual_key", "key_permission_missing", "key_not_active", "key_version_not_found", "group_not_found",
                *NAMED, *SETTLED),
    ),
)  # fmt: skip
