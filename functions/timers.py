"""Timers: each finds what is due and enqueues it, or cleans up; one call into a service."""

from collections.abc import Awaitable, Callable

import azure.functions as func

from core.wiring import App
from functions.triggers import triggered

_EVERY_MINUTE = "0 * * * * *"
_EVERY_FIVE_MINUTES = "30 */5 * * * *"
_EVERY_HOUR = "0 17 * * * *"


type _Runtime = Callable[[], Awaitable[App]]


def timers_blueprint(runtime: _Runtime) -> func.Blueprint:
    """Return the timer functions."""
    blueprint = func.Blueprint()
    _start_what_is_due(blueprint, runtime)
    _look_after_what_was_cut_off(blueprint, runtime)
    _forget_what_is_over(blueprint, runtime)
    return blueprint


def _start_what_is_due(blueprint: func.Blueprint, runtime: _Runtime) -> None:
    """Register those that find what is due."""

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def schedule_syncs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Start the syncs that are due."""
        async with triggered("schedule_syncs"):
            await (await runtime()).syncs.schedule_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def rotate_due_keys(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Start the rotation of the keys whose schedules are due."""
        async with triggered("rotate_due_keys"):
            await (await runtime()).rotation_schedules.start_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def retire_previous_versions(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Disable the versions that rotations superseded, when their time of grace is over."""
        async with triggered("retire_previous_versions"):
            await (await runtime()).retirements.retire_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def retire_key_exchange_keys(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Disable the key exchange keys whose time is over."""
        async with triggered("retire_key_exchange_keys"):
            await (await runtime()).exchange_keys.retire_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def drill_escrow(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Start the escrow drills that are due."""
        async with triggered("drill_escrow"):
            await (await runtime()).drills.schedule_due()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def find_expiring_keys(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Find the keys that have expired or are about to."""
        async with triggered("find_expiring_keys"):
            await (await runtime()).expiring_keys.find()


def _look_after_what_was_cut_off(blueprint: func.Blueprint, runtime: _Runtime) -> None:
    """Register those that find what a crash left over."""

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def reconcile_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Enqueue again the jobs that lost their message or their worker."""
        async with triggered("reconcile_jobs"):
            await (await runtime()).jobs.reconcile()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_FIVE_MINUTES, run_on_startup=False)
    async def reconcile_intents(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Find out what became of new keys whose request was cut off, and record and list them."""
        async with triggered("reconcile_intents"):
            app = await runtime()
            await app.placements.reconcile()
            await app.source_keys.reconcile()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_MINUTE, run_on_startup=False)
    async def reconcile_actions(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Find out what became of actions on keys that were cut off, and record it."""
        async with triggered("reconcile_actions"):
            app = await runtime()
            await app.settling.reconcile(app.jobs)

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_FIVE_MINUTES, run_on_startup=False)
    async def clear_scratch_copies(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Purge what drills that were cut off left in scratch vaults."""
        async with triggered("clear_scratch_copies"):
            app = await runtime()
            await app.scratch_restores.clear_left_over(app.jobs)


def _forget_what_is_over(blueprint: func.Blueprint, runtime: _Runtime) -> None:
    """Register those that delete what nobody needs any more."""

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def expire_idempotency(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Delete the answers to repeated requests that are older than a day."""
        async with triggered("expire_idempotency"):
            await (await runtime()).idempotency.expire()

    @blueprint.timer_trigger(arg_name="timer", schedule=_EVERY_HOUR, run_on_startup=False)
    async def expire_intents(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding demands it
        """Forget the intents that were done more than a day ago."""
        async with triggered("expire_intents"):
            await (await runtime()).intents.expire()
