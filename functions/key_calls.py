"""What operations on one key share: which key, who asks, and the key or the job as the answer."""

from collections.abc import Awaitable

from core.domain.keys import VirtualKey
from core.errors import ConflictError
from core.services.attribute_actions import ActionRequest
from core.services.opened_keys import KeyRef
from core.services.waiting import StillWorkingError
from core.wiring import App
from functions.found_keys import found_key, shown
from functions.models.jobs import JobAnswer
from functions.operations import Answer, Call


def ref_of[Body, Query](call: Call[Body, Query]) -> KeyRef:
    """Return the route's key."""
    return KeyRef(call.account, call.group, call.path["key"])


def asked_of[Body, Query](call: Call[Body, Query]) -> ActionRequest:
    """Return who asks, as which request, and on which state of the key."""
    return ActionRequest(call.request_id, call.actor, call.etag)


async def answered[Body, Query](app: App, call: Call[Body, Query]) -> Answer:
    """Answer the route's key as it is now."""
    found = await found_key(app, call)
    return Answer(shown(found, app.clock.now()), etag=found.etag)


async def in_time[Body, Query](app: App, call: Call[Body, Query], action: Awaitable[VirtualKey]) -> Answer:
    """Answer the key when the action has ended, or the job that goes on with it where the vault takes longer."""
    try:
        await action
    except StillWorkingError:
        job = await app.action_jobs.go_on(ref_of(call), call.actor)
        if job is not None:
            return Answer(JobAnswer.of(job), location=f"v1/accounts/{call.account}/jobs/{job.id}", status=202)
    return await answered(app, call)


async def require_virtual[Body, Query](app: App, call: Call[Body, Query], detail: str) -> VirtualKey:
    """Return the route's key; ConflictError `virtual_key_only` for a source key: it is not in a vault."""
    key = (await found_key(app, call)).key
    if isinstance(key, VirtualKey):
        return key
    raise ConflictError(detail, code="virtual_key_only")
