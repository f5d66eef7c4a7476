"""Timer triggers.

One instance runs a timer (the lock). Its state is the blob `timers/{host id}/{function}/status` in the container
`azure-webjobs-hosts`: a schedule missed while no host ran gives one run with `past_due`. A failed run is not repeated.
"""

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from local.host.functions import Function
from local.host.lock import hold
from local.host.messages import TypedData
from local.host.schedule import Schedule
from local.host.settings import HostOptions
from local.host.worker import Worker

_LOG = logging.getLogger(__name__)
_CONTAINER = "azure-webjobs-hosts"
_MONITORED_FROM = timedelta(minutes=1)


@dataclass(frozen=True)
class TimerStatus:
    """What the status blob holds: the last run, and the next one due after it."""

    last: datetime
    next: datetime

    def to_json(self) -> dict[str, str]:
        """Return the blob's fields."""
        return {"Last": self.last.isoformat(), "Next": self.next.isoformat(), "LastUpdated": self.last.isoformat()}


class TimerListener:
    """Runs one timer function at its schedule."""

    def __init__(self, function: Function, worker: Worker, blobs: BlobServiceClient, options: HostOptions) -> None:
        self._function = function
        self._worker = worker
        self._options = options
        self._schedule = Schedule.parse(str(function.trigger.settings["schedule"]))
        container = blobs.get_container_client(_CONTAINER)
        self._container = container
        full_name = f"Host.Functions.{function.name}"
        self._lock_blob = container.get_blob_client(f"locks/{options.host_id}/{full_name}.Listener")
        self._status_blob = container.get_blob_client(f"timers/{options.host_id}/{full_name}/status")
        self._monitored = function.trigger.settings.get("useMonitor") is not False and not (
            self._schedule.has_interval_below(_MONITORED_FROM, datetime.now(UTC))
        )

    async def run(self) -> None:
        """Take the lock and run the schedule; ends only when cancelled."""
        with contextlib.suppress(ResourceExistsError):
            await self._container.create_container()
        period, polling = self._options.listener_lock_period, self._options.listener_lock_polling
        await hold(self._lock_blob, self._follow_schedule, period=period, polling=polling)

    async def run_now(self, status: TimerStatus | None = None, *, past_due: bool = False) -> bool:
        """Run the function once, and tell whether it succeeded."""
        timer = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.to_json() if status else None,
            "IsPastDue": past_due,
        }
        answer = await self._worker.invoke(self._function, TypedData(json=json.dumps(timer)))
        if answer.result.exception is not None:
            error = answer.result.exception
            _LOG.error("timer %s failed: %s\n%s", self._function.name, error.message, error.stack_trace)
        return answer.succeeded

    async def _follow_schedule(self) -> None:
        status = await _read(self._status_blob) if self._monitored else None
        if status is not None and status.next <= datetime.now(UTC):
            status = await self._run_and_record(status, past_due=True)
        elif self._function.trigger.settings.get("runOnStartup") is True:
            status = await self._run_and_record(status, past_due=False)
        while True:
            due = self._schedule.next_after(datetime.now(UTC))
            if status is None:
                status = await self._record(due)
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            status = await self._run_and_record(status, past_due=False)

    async def _run_and_record(self, status: TimerStatus | None, *, past_due: bool) -> TimerStatus:
        await self.run_now(status, past_due=past_due)
        return await self._record(self._schedule.next_after(datetime.now(UTC)))

    async def _record(self, due: datetime) -> TimerStatus:
        status = TimerStatus(datetime.now(UTC), due)
        if self._monitored:
            await self._status_blob.upload_blob(json.dumps(status.to_json()), overwrite=True)
        return status


async def _read(blob: BlobClient) -> TimerStatus | None:
    try:
        stored = json.loads(await (await blob.download_blob()).readall())
    except ResourceNotFoundError:
        return None
    return TimerStatus(datetime.fromisoformat(stored["Last"]), datetime.fromisoformat(stored["Next"]))
