"""Syncs and jobs."""

from core.domain.jobs import Job
from core.domain.permissions import Permission
from core.errors import NotFoundError
from core.wiring import App
from functions.models.base import NoQuery
from functions.models.jobs import JobAnswer, JobPage, SyncRequest
from functions.operations import Answer, Call, Operation
from functions.paging import PageQuery, encoded
from functions.visibility import visible_groups

_TAG = "Jobs"
_ROUTE = "v1/accounts/{account}/jobs"
_ONE = f"{_ROUTE}/{{job}}"


async def start_sync(app: App, call: Call[SyncRequest, NoQuery]) -> Answer:
    """Start a sync, or answer the one that has not ended."""
    job = await app.syncs.start(call.account, call.group, mode=call.body.mode, actor=call.actor)
    return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}")


async def list_jobs(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of the jobs that the caller sees."""
    visible = visible_groups(call.membership, Permission.JOB_READ)
    jobs, following = await app.jobs.page(call.account, after=call.query.after, limit=call.query.limit)
    items = tuple(JobAnswer.of(job) for job in jobs if visible is None or job.group in visible)
    return Answer(JobPage(items=items, next=encoded(following)))


async def get_job(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one job."""
    return Answer(JobAnswer.of(await _job(app, call, Permission.JOB_READ)))


async def cancel_job(app: App, call: Call[None, NoQuery]) -> Answer:
    """Ask a job to stop."""
    job = await _job(app, call, Permission.JOB_CANCEL)
    return Answer(JobAnswer.of(await app.jobs.cancel(call.account, job.id)))


async def _job(app: App, call: Call[None, NoQuery], permission: Permission) -> Job:
    """Return the job if the caller holds `permission` on its group; one that it does not see is not there."""
    job = (await app.jobs.get(call.account, call.path["job"])).value
    visible = visible_groups(call.membership, Permission.JOB_READ)
    if visible is not None and job.group not in visible:
        raise NotFoundError("There is no such job.", code="job_not_found")
    if job.group is not None:
        await app.access.require(call.caller, call.account, permission, job.group)
    return job


OPERATIONS = (
    Operation(
        name="start_sync",
        method="POST",
        route="v1/accounts/{account}/groups/{group}/sync",
        summary="Sync a group with its vault",
        description="A group has one sync at a time: while one has not ended, that one is the answer.",
        needs=Permission.GROUP_SYNC,
        handler=start_sync,
        tag=_TAG,
        body=SyncRequest,
        body_optional=True,
        answer=JobAnswer,
        status=202,
        located=True,
        errors=("group_kind", "vault_not_selected"),
    ),
    Operation(
        name="list_jobs",
        method="GET",
        route=_ROUTE,
        summary="List the jobs that I see, newest first",
        needs=Permission.JOB_READ,
        handler=list_jobs,
        tag=_TAG,
        query=PageQuery,
        answer=JobPage,
    ),
    Operation(
        name="get_job",
        method="GET",
        route=_ONE,
        summary="Read a job and its progress",
        needs=Permission.JOB_READ,
        handler=get_job,
        tag=_TAG,
        answer=JobAnswer,
    ),
    Operation(
        name="cancel_job",
        method="POST",
        route=f"{_ONE}/cancel",
        summary="Cancel a job",
        description="It stops between two keys; what it did stays.",
        needs=Permission.JOB_CANCEL,
        handler=cancel_job,
        tag=_TAG,
        answer=JobAnswer,
        errors=("job_ended",),
    ),
)
