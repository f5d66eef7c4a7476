"""Timers: each finds what is due and enqueues it, or cleans up; one call into a service."""

from collections.abc import Awaitable, Callable

import azure.functions as func

from core.wiring import App
from functions.triggers import triggered

_EVERY_MINUTE = "0 * * * * *"
_EVERY_HOUR = "0 17 * * * *"


def timers_blueprint(runtime: Callable[[], Awaitable[App]]) -> func.Blueprint:
    """Return the timer functions."""
    blueprint = func.Blueprint()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def schedule_syncs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Start the syncs that are due."""
        async with triggered("schedule_syncs"):
            await (await runtime()).syncs.schedule_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def reconcile_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Enqueue again the jobs that lost their message or their worker."""
        async with triggered("reconcile_jobs"):
            await (await runtime()).jobs.reconcile()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def expire_idempotency(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Delete the answers to repeated requests that are older than a day."""
        async with triggered("expire_idempotency"):
            await (await runtime()).idempotency.expire()

    return blueprint
