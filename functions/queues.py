"""Queue triggers: run the job that a message names. Messages come at least once, and twice does no harm."""

import json
import logging
from collections.abc import Awaitable, Callable

import azure.functions as func

from core.domain.identifiers import IdKind, is_id
from core.wiring import App
from functions import logs
from functions.triggers import triggered

CONNECTION = "AzureWebJobsStorage"
QUEUE = "jobs"
#: Where the host moves a message that failed `maxDequeueCount` times.
POISON_QUEUE = f"{QUEUE}-poison"

_log = logging.getLogger(__name__)


def queues_blueprint(runtime: Callable[[], Awaitable[App]]) -> func.Blueprint:
    """Return the queue functions."""
    blueprint = func.Blueprint()

    @blueprint.queue_trigger(arg_name="message", queue_name=QUEUE, connection=CONNECTION)
    async def run_job(message: func.QueueMessage) -> None:
        """Run a job."""
        named = job_of(message.get_body())
        if named is None:
            logs.event(_log, logging.ERROR, "queue message unreadable", queue=QUEUE)
            return
        async with triggered("run_job", named[0]):
            await (await runtime()).jobs.run(*named)

    @blueprint.queue_trigger(arg_name="message", queue_name=POISON_QUEUE, connection=CONNECTION)
    async def fail_poisoned_job(message: func.QueueMessage) -> None:
        """Fail a job whose message was given up, so that it shows."""
        named = job_of(message.get_body())
        if named is None:
            logs.event(_log, logging.ERROR, "queue message unreadable", queue=POISON_QUEUE)
            return
        async with triggered("fail_poisoned_job", named[0]):
            await (await runtime()).jobs.poisoned(*named)

    return blueprint


def job_of(body: bytes) -> tuple[str, str] | None:
    """Return account and job that a message names, or None if it is none of ours."""
    try:
        members = json.loads(body)
        account, job = members["account"], members["job"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(account, str) or not isinstance(job, str):
        return None
    return (account, job) if is_id(job, IdKind.JOB) else None
